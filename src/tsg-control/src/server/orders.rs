//! What operators order. Each order is checked whole before anything changes; its answer is true
//! once the records that it caused are durable.

use super::group::{Group, Want};
use super::record::{GatewayRecord, GroupRecord, PolicyRecord, Record};
use super::{Gateway, Server};
use crate::group::Settings;
use crate::keys::PublicKey;
use crate::message::{self, Command, CommandKind, MAX_POLICY, Refused, ToGateway};
use crate::policy::Policy;
use core::fmt;
use std::net::IpAddr;
use tsg_esp::spi::Spi;

/// Names of gateways and groups are at most this long.
const MOST_NAME: usize = 48;

/// An operator may pin this many machines to a gateway.
pub const MOST_PINNED: usize = 256;

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// There is no such thing.
    NotFound(String),
    /// It does not fit to what there is.
    Conflict(String),
    /// The order itself is wrong.
    Invalid(String),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(text) | Self::Conflict(text) | Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for OrderError {}

pub(super) type Answer<T = ()> = Result<T, OrderError>;

pub(super) fn not_found<T>(text: String) -> Answer<T> {
    Err(OrderError::NotFound(text))
}

fn conflict<T>(text: String) -> Answer<T> {
    Err(OrderError::Conflict(text))
}

/// A name that can stand in a file name, a log line and a command.
fn good_name(what: &str, name: &str) -> Answer {
    let fits = (1..=MOST_NAME).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits {
        return Ok(());
    }
    Err(OrderError::Invalid(format!(
        "a {what}'s name has 1 to {MOST_NAME} letters, digits, `-`, `_` and `.`, and begins with a \
         letter or digit"
    )))
}

impl Server {
    /// A new group with default settings, an empty policy and no members.
    ///
    /// # Errors
    /// The name is taken or cannot be one.
    pub fn add_group(&mut self, name: &str, now: u64) -> Answer {
        good_name("group", name)?;
        if self.groups.contains_key(name) {
            return conflict(format!("there is a group {name:?} already"));
        }
        let settings = Settings::default();
        let record = GroupRecord {
            name: name.to_owned(),
            policy: policy_record(1, Policy::default(), &settings),
            settings,
            previous: None,
            last_epoch: 0,
            epochs: Vec::new(),
        };
        self.records.push_back(Record::Group(record.clone()));
        self.groups.insert(name.to_owned(), Group::restore(record, now));
        Ok(())
    }

    /// Removes a group that nobody is in.
    ///
    /// # Errors
    /// There is no such group, or it has gateways.
    pub fn remove_group(&mut self, name: &str) -> Answer {
        self.group(name)?;
        if self.gateways.values().any(|gateway| gateway.record.group == name) {
            return conflict(format!("group {name:?} has gateways: remove them first"));
        }
        self.groups.remove(name);
        self.discard_tokens_of(name);
        self.records.push_back(Record::GroupGone(name.to_owned()));
        Ok(())
    }

    /// Changes settings of a group; all of them or none.
    ///
    /// # Errors
    /// There is no such group, or a setting is wrong.
    pub fn set_group(&mut self, name: &str, changes: &[(String, String)], now: u64) -> Answer {
        let old = self.group(name)?.record.settings.clone();
        let mut new = old.clone();
        for (setting, value) in changes {
            new.set(setting, value).map_err(|error| OrderError::Invalid(error.to_string()))?;
        }
        if new == old {
            return Ok(());
        }
        new.check().map_err(|error| OrderError::Invalid(error.to_string()))?;
        let Some(group) = self.groups.get_mut(name) else { return Ok(()) };
        let PolicyRecord { version, policy, .. } = &group.record.policy;
        let next = policy_record(version + 1, policy.clone(), &new);
        let same = PolicyRecord { version: group.record.policy.version, ..next.clone() }
            == group.record.policy;
        let rekey = new.carriage() != old.carriage() || new.cipher != old.cipher;
        group.record.settings = new;
        match same {
            true => group.touch(),
            false => group.prepare_policy(next, now),
        }
        let record = group.record.clone();
        self.records.push_back(Record::Group(record));
        if rekey && self.members(name).next().is_some() {
            self.want_epoch(name, Want::Routine);
        }
        self.advance(now);
        Ok(())
    }

    /// Gives a group new rules. Gives the number of the version.
    ///
    /// # Errors
    /// There is no such group, or a rule is wrong.
    pub fn set_policy(&mut self, name: &str, policy: Policy, now: u64) -> Answer<u64> {
        policy.check().map_err(|error| OrderError::Invalid(error.to_string()))?;
        let long = message::encoded_len(&policy);
        if long > MAX_POLICY {
            return Err(OrderError::Invalid(format!(
                "the policy takes {long} bytes, {MAX_POLICY} are possible: use fewer rules or \
                 larger networks and port ranges"
            )));
        }
        self.group(name)?;
        let Some(group) = self.groups.get_mut(name) else { return Ok(0) };
        let version = group.record.policy.version + 1;
        let next = policy_record(version, policy, &group.record.settings);
        group.prepare_policy(next, now);
        let record = group.record.clone();
        self.records.push_back(Record::Group(record));
        self.advance(now);
        Ok(version)
    }

    /// A new epoch for a group. Gives whether it began at once; otherwise it follows on a change
    /// that still runs.
    ///
    /// # Errors
    /// There is no such group, or it has no members to give keys to.
    pub fn rekey(&mut self, name: &str, now: u64) -> Answer<u64> {
        let last = self.group(name)?.record.last_epoch;
        if self.members(name).next().is_none() {
            return conflict(format!("group {name:?} has no gateways to give keys to"));
        }
        self.want_epoch(name, Want::Routine);
        self.advance(now);
        Ok(last + 1)
    }

    /// The next epoch of a group hands out sender numbers from this one on. For simulations: nobody
    /// else can wait until sixteen million are used up.
    ///
    /// # Errors
    /// There is no such group.
    #[doc(hidden)]
    pub fn begin_senders_at(&mut self, name: &str, first: u32) -> Answer {
        self.group(name)?;
        if let Some(group) = self.groups.get_mut(name) {
            group.first_sender = first.clamp(1, Spi::MAX_SENDER);
        }
        Ok(())
    }

    /// A new epoch for every group that has members.
    pub fn rekey_all(&mut self, now: u64) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            if self.members(&name).next().is_some() {
                self.want_epoch(&name, Want::Routine);
            }
        }
        self.advance(now);
    }

    /// Lets a waiting gateway into a group, or back in when it was revoked. A machine that was
    /// never heard of can be let in ahead of its first message.
    ///
    /// # Errors
    /// There is no such group, or the gateway is a member already.
    pub fn approve(&mut self, key: PublicKey, group: &str, wall: u64, now: u64) -> Answer<String> {
        self.group(group)?;
        let member = self.gateways.get(&key).filter(|known| known.record.revoked.is_none());
        if let Some(GatewayRecord { name, group, .. }) = member.map(|member| &member.record) {
            return conflict(format!("{name} is in group {group:?} already"));
        }
        let name = self.let_in(key, group, wall);
        self.map_changed(group, now);
        self.advance(now);
        Ok(name)
    }

    /// Makes it a member. Its name is the answer; whoever calls this moves the group on then.
    pub(super) fn let_in(&mut self, key: PublicKey, group: &str, wall: u64) -> String {
        let stranger = self.pending.remove(&key);
        let earlier = self.gateways.get(&key).map(|gateway| &gateway.record);
        let (earlier, tags) = earlier.map(|it| (it.name.clone(), it.tags.clone())).unzip();
        let asked = stranger.as_ref().map(|stranger| stranger.name.clone()).unwrap_or_default();
        let name = earlier.unwrap_or_else(|| self.free_name(&asked, key));
        let record = GatewayRecord {
            key,
            name: name.clone(),
            group: group.to_owned(),
            revoked: None,
            approved: wall,
            aes: stranger.is_some_and(|stranger| stranger.aes),
            machines: Vec::new(),
            pinned: Vec::new(),
            tags: tags.unwrap_or_default(),
        };
        self.records.push_back(Record::Gateway(record.clone()));
        self.names.insert(name.clone());
        self.gateways.insert(key, Gateway { settled: false, ..Gateway::new(record) });
        if let Some(group) = self.groups.get_mut(group) {
            group.members.insert(key);
            if !group.has_own_epoch() {
                group.want(Want::Routine);
            }
        }
        name
    }

    /// Throws a gateway out: its group gets a new epoch without it.
    ///
    /// # Errors
    /// There is no such gateway, or it is out already.
    pub fn revoke(&mut self, key: PublicKey, reason: &str, now: u64) -> Answer {
        let Some(gateway) = self.gateways.get_mut(&key) else {
            return not_found(format!("no gateway has the key {key}"));
        };
        if gateway.record.revoked.is_some() {
            return conflict(format!("{} is revoked already", gateway.record.name));
        }
        let reason = super::session::shown(reason);
        gateway.record.revoked = Some(reason.clone());
        gateway.session = None;
        let record = gateway.record.clone();
        self.part(&record);
        self.records.push_back(Record::Gateway(record.clone()));
        let refused = Refused { request: 0, reason, revoked: true, retry: super::REVOKED_RETRY };
        self.transmits.push_back((key, ToGateway::Refused(refused)));
        self.map_changed(&record.group, now);
        self.advance(now);
        Ok(())
    }

    /// Forgets a gateway; a member is thrown out by that.
    ///
    /// # Errors
    /// There is no such gateway.
    pub fn remove(&mut self, key: PublicKey, now: u64) -> Answer {
        if self.pending.remove(&key).is_some() {
            return Ok(());
        }
        let Some(gateway) = self.gateways.remove(&key) else {
            return not_found(format!("no gateway has the key {key}"));
        };
        self.names.remove(&gateway.record.name);
        if gateway.record.revoked.is_none() {
            self.part(&gateway.record);
        }
        self.records.push_back(Record::GatewayGone(key));
        self.map_changed(&gateway.record.group, now);
        self.advance(now);
        Ok(())
    }

    /// A member is on its way out. That its group must leave it behind is on disk first: were it
    /// only known that the gateway is out, a crash could turn this into a routine rekey.
    fn part(&mut self, leaver: &GatewayRecord) {
        let Some(group) = self.groups.get_mut(&leaver.group) else { return };
        group.members.remove(&leaver.key);
        group.flows.forget(&leaver.key);
        match group.members.is_empty() {
            true => group.forget_epochs(),
            false => {
                group.want(Want::Leaving);
                group.record_timelines();
            }
        }
        let record = group.record.clone();
        self.records.push_back(Record::Group(record));
    }

    /// Gives a gateway another name.
    ///
    /// # Errors
    /// There is no such gateway, or the name is taken or cannot be one.
    pub fn rename(&mut self, key: PublicKey, name: &str, now: u64) -> Answer {
        good_name("gateway", name)?;
        let before = self.gateways.get(&key).map(|gateway| gateway.record.name.clone());
        if before.as_deref() != Some(name) && self.names.contains(name) {
            return conflict(format!("there is a gateway {name:?} already"));
        }
        self.change(key, |record| name.clone_into(&mut record.name))?;
        if let Some(before) = before {
            self.names.remove(&before);
        }
        self.names.insert(name.to_owned());
        let group = self.gateways.get(&key).map(|gateway| gateway.record.group.clone());
        if let Some(group) = group.and_then(|name| self.groups.get_mut(&name)) {
            group.touch();
        }
        self.advance(now);
        Ok(())
    }

    /// Says which machines are behind a gateway, beyond those that it hears itself.
    ///
    /// # Errors
    /// There is no such gateway, or there are too many machines.
    pub fn pin(&mut self, key: PublicKey, machines: Vec<IpAddr>, now: u64) -> Answer {
        if machines.len() > MOST_PINNED {
            return Err(OrderError::Invalid(format!(
                "at most {MOST_PINNED} machines can be pinned"
            )));
        }
        let group = self.change(key, |record| record.pinned = machines)?;
        self.map_changed(&group, now);
        self.advance(now);
        Ok(())
    }

    /// Tells a gateway to do something. Gives the command's number.
    ///
    /// # Errors
    /// There is no such gateway, or it is not connected.
    pub fn command(&mut self, key: PublicKey, kind: CommandKind, now: u64) -> Answer<u64> {
        let Some(gateway) = self.gateways.get(&key) else {
            return not_found(format!("no gateway has the key {key}"));
        };
        if gateway.online(now).is_none() {
            return conflict(format!("{} is not connected", gateway.record.name));
        }
        let command = self.next_command;
        self.next_command += 1;
        self.transmits.push_back((key, ToGateway::Command(Command { command, kind })));
        Ok(command)
    }

    pub(super) fn change(
        &mut self,
        key: PublicKey,
        edit: impl FnOnce(&mut GatewayRecord),
    ) -> Answer<String> {
        let Some(gateway) = self.gateways.get_mut(&key) else {
            return not_found(format!("no gateway has the key {key}"));
        };
        edit(&mut gateway.record);
        let record = gateway.record.clone();
        let group = record.group.clone();
        self.records.push_back(Record::Gateway(record));
        Ok(group)
    }

    pub(super) fn group(&self, name: &str) -> Answer<&Group> {
        match self.groups.get(name) {
            Some(group) => Ok(group),
            None => not_found(format!("there is no group {:?}", super::session::shown(name))),
        }
    }

    /// The name that a gateway gave itself, if it can be one and is free.
    fn free_name(&self, asked: &str, key: PublicKey) -> String {
        let fingerprint = key.fingerprint().to_string();
        let base = if good_name("gateway", asked).is_ok() { asked } else { "gateway" };
        let taken = |name: &str| self.names.contains(name);
        if base != "gateway" && !taken(base) {
            return base.to_owned();
        }
        let short: String = base.chars().take(MOST_NAME - 40).collect();
        let mut name = format!("{short}-{}", &fingerprint[..4]);
        // Others may have asked for just these names.
        let mut number = 1_u64;
        while taken(&name) {
            number += 1;
            name = format!("{short}-{}-{number}", &fingerprint[..4]);
        }
        name
    }
}

fn policy_record(version: u64, policy: Policy, settings: &Settings) -> PolicyRecord {
    PolicyRecord {
        version,
        policy: Policy { default_action: settings.default_action, ..policy },
        mode: settings.mode,
        non_ip: settings.non_ip.clone(),
        fail: settings.fail,
        retiring: false,
    }
}
