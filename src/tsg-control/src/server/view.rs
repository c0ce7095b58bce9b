//! What operators are shown.

use super::unreadable::version_alarm;
use super::{Gateway, Server};
use crate::group::Settings;
use crate::keys::PublicKey;
use crate::policy::Policy;
use crate::timeline::Stage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tsg_esp::crypto::{Suite, Tek};

/// Where a gateway stands with this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayState {
    /// It waits for an operator.
    Pending,
    /// It is let in and was heard lately.
    Online,
    /// It is let in and was not heard lately.
    Offline,
    /// It was thrown out.
    Revoked,
}

/// A gateway, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayView {
    /// Its name; empty for one that waits and gave none.
    pub name: String,
    /// Its public key.
    pub key: PublicKey,
    /// What to compare with `tsg fingerprint` on the box.
    pub fingerprint: String,
    /// Where it stands.
    pub state: GatewayState,
    /// Its group; empty for one that waits.
    pub group: String,
    /// Why it was thrown out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Version of its software.
    pub version: String,
    /// The version of the protocol that it speaks, if that is another than this server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaks: Option<u16>,
    /// Seconds since it was heard; `None` if it never was by this server process.
    pub heard: Option<u64>,
    /// The epoch that it seals in, 0 for none.
    pub sealing: u64,
    /// It is in the newest state of its group.
    pub current: bool,
    /// It has AES in hardware.
    pub aes: bool,
    /// What is wrong, as it says or as the server sees.
    pub alarms: Vec<String>,
    /// Machines behind it, as it reports them.
    pub machines: Vec<IpAddr>,
    /// Machines behind it, as operators say.
    pub pinned: Vec<IpAddr>,
    /// What it counted since its start.
    pub counters: BTreeMap<String, u64>,
}

/// An epoch, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochView {
    /// Its number.
    pub id: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Seconds until its lifetime ends.
    pub remaining: u64,
    /// Sender numbers handed out; `None` if an earlier server process made the epoch.
    pub senders: Option<u32>,
    /// Its cipher.
    pub cipher: Option<String>,
}

/// A group, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// How many members it has.
    pub members: usize,
    /// How many of them were heard lately.
    pub online: usize,
    /// Members that are online and not in the newest state.
    pub late: Vec<String>,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochView>,
    /// The newest policy version that an operator gave.
    pub policy_version: u64,
    /// The version in force.
    pub policy_in_force: u64,
    /// The newest policy.
    pub policy: Policy,
}

/// A token, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// Its number.
    pub id: u64,
    /// The group that it lets into.
    pub group: String,
    /// When it stops being good, seconds since 1970.
    pub expires: u64,
    /// The gateway that used it.
    pub used_by: Option<PublicKey>,
}

/// An epoch's secret, for an operator who reveals it on purpose.
#[derive(Clone, Debug)]
pub struct RevealedEpoch {
    /// Number of the epoch.
    pub id: u64,
    /// Its TEK.
    pub tek: Arc<Tek>,
    /// Its cipher.
    pub suite: Suite,
    /// Sender numbers 1 to this were handed out.
    pub last_sender: u32,
}

/// `chacha20-poly1305` or `aes-256-gcm`.
pub const fn suite_name(suite: Suite) -> &'static str {
    match suite {
        Suite::ChaCha20Poly1305 => "chacha20-poly1305",
        Suite::Aes256Gcm => "aes-256-gcm",
    }
}

impl Server {
    /// All gateways: those that wait first, then by name.
    pub fn gateways(&self, now: u64) -> Vec<GatewayView> {
        let mut pending: Vec<_> = self.pending.iter().collect();
        pending.sort_by_key(|(_, stranger)| stranger.first);
        let waiting = pending.into_iter().map(|(key, stranger)| GatewayView {
            name: stranger.name.clone(),
            key: *key,
            fingerprint: key.fingerprint().to_string(),
            state: GatewayState::Pending,
            group: String::new(),
            reason: None,
            version: stranger.version.clone(),
            speaks: None,
            heard: Some(now.saturating_sub(stranger.last) / 1000),
            sealing: 0,
            current: false,
            aes: stranger.aes,
            alarms: Vec::new(),
            machines: Vec::new(),
            pinned: Vec::new(),
            counters: BTreeMap::new(),
        });
        let mut known: Vec<_> = self.gateways.values().map(|g| self.gateway_view(g, now)).collect();
        known.sort_by(|a, b| a.name.cmp(&b.name));
        waiting.chain(known).collect()
    }

    fn gateway_view(&self, gateway: &Gateway, now: u64) -> GatewayView {
        let record = &gateway.record;
        let session = gateway.session.as_ref();
        let state = match (&record.revoked, gateway.online(now)) {
            (Some(_), _) => GatewayState::Revoked,
            (None, Some(_)) => GatewayState::Online,
            (None, None) => GatewayState::Offline,
        };
        let revision = self.groups.get(&record.group).map_or(0, |group| group.revision);
        let mut alarms = session.map(|s| s.alarms.clone()).unwrap_or_default();
        let speaks = gateway.other_version(now);
        alarms.extend(speaks.map(version_alarm));
        if gateway.is_greedy() {
            alarms.push("it started so often that it gets no more sender numbers".to_owned());
        }
        GatewayView {
            name: record.name.clone(),
            key: record.key,
            fingerprint: record.key.fingerprint().to_string(),
            state,
            group: record.group.clone(),
            reason: record.revoked.clone(),
            version: session.map(|s| s.version.clone()).unwrap_or_default(),
            speaks,
            heard: session.map(|s| now.saturating_sub(s.heard) / 1000),
            sealing: session.map_or(0, |s| s.sealing),
            current: session.is_some_and(|s| s.acked == revision),
            aes: record.aes,
            alarms,
            machines: record.machines.clone(),
            pinned: record.pinned.clone(),
            counters: session.map(|s| s.counters.clone()).unwrap_or_default(),
        }
    }

    /// All groups, by name.
    pub fn groups(&self, now: u64) -> Vec<GroupView> {
        self.groups.values().map(|group| self.group_view(group, now)).collect()
    }

    fn group_view(&self, group: &super::group::Group, now: u64) -> GroupView {
        let members: Vec<_> = self.members(&group.record.name).collect();
        let online = members.iter().filter_map(|g| g.online(now).map(|s| (*g, s)));
        let late = online.clone().filter(|(_, s)| s.acked < group.revision);
        let epochs = group.epochs.live().iter().map(|entry| {
            let made = entry.item.made.as_ref();
            EpochView {
                id: entry.item.id,
                stage: entry.stage,
                remaining: entry.item.ends.saturating_sub(now) / 1000,
                senders: made.map(|made| made.next_sender - 1),
                cipher: made.map(|made| suite_name(made.suite).to_owned()),
            }
        });
        GroupView {
            name: group.record.name.clone(),
            settings: group.record.settings.clone(),
            members: members.len(),
            online: online.clone().count(),
            late: late.map(|(g, _)| g.record.name.clone()).collect(),
            epochs: epochs.collect(),
            policy_version: group.record.policy.version,
            policy_in_force: group.policies.active().map_or(0, |entry| entry.item.version),
            policy: group.record.policy.policy.clone(),
        }
    }

    /// All tokens, by number.
    pub fn tokens(&self) -> Vec<TokenView> {
        let view = |token: &super::TokenRecord| TokenView {
            id: token.id,
            group: token.group.clone(),
            expires: token.expires,
            used_by: token.used_by,
        };
        self.tokens.shown().map(view).collect()
    }

    /// The secrets of a group's live epochs that this process made: for an operator who wants to
    /// look into packets, and only for that.
    ///
    /// # Errors
    /// There is no such group.
    pub fn reveal(&self, name: &str) -> Result<Vec<RevealedEpoch>, super::OrderError> {
        let live = self.group(name)?.epochs.live().iter();
        let revealed = live.filter_map(|entry| {
            let made = entry.item.made.as_ref()?;
            Some(RevealedEpoch {
                id: entry.item.id,
                tek: Arc::clone(&made.tek),
                suite: made.suite,
                last_sender: made.next_sender - 1,
            })
        });
        Ok(revealed.collect())
    }
}
