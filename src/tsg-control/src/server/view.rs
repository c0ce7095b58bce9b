//! What operators are shown.

use super::unreadable::version_alarm;
use super::{Gateway, GatewayEvent, Server, Stranger};
use crate::group::Settings;
use crate::keys::PublicKey;
use crate::message::PortState;
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
    /// What came to drops and the like in the last [`RECENT_MINUTES`](super::RECENT_MINUTES) minutes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recent: BTreeMap<String, u64>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortState>,
    /// What became of it lately, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<GatewayEvent>,
}

/// A gateway in a line: what tells it from others, and how it is. Quicker to make than a [`GatewayView`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLine {
    /// Its name; empty for one that waits and gave none.
    pub name: String,
    /// Its public key.
    pub key: PublicKey,
    /// What to compare with `tsg fingerprint` on the box.
    pub fingerprint: String,
    /// Where it stands.
    pub state: GatewayState,
    /// What is wrong, as it says or as the server sees.
    pub alarms: Vec<String>,
    /// It was heard lately, or is heard and not understood.
    pub is_there: bool,
}

/// What a member has counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Whose it is.
    pub key: &'a PublicKey,
    /// The member's group.
    pub group: &'a str,
    /// By name, since the start of its process.
    pub counters: &'a BTreeMap<String, u64>,
    /// When it was reported, server's time in milliseconds.
    pub at: u64,
}

/// Which gateways an operator wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayFilter {
    /// In this state.
    pub state: Option<GatewayState>,
    /// Of this group.
    pub group: Option<String>,
    /// Something is wrong with it.
    pub alarmed: bool,
    /// With this tag.
    pub tag: Option<String>,
    /// In its name, its version, its tags, an address behind it, or at the beginning of its fingerprint.
    pub text: String,
    /// Not the first so many.
    pub skip: usize,
    /// And not more than so many; 0 for all.
    pub most: usize,
}

/// Some of the gateways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayPage {
    /// So many there are that fit.
    pub total: usize,
    /// Those that were asked for, those that wait first, then by name.
    pub gateways: Vec<GatewayView>,
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

impl Server {
    /// All gateways: those that wait first, then by name.
    pub fn gateways(&self, now: u64) -> Vec<GatewayView> {
        self.find(&GatewayFilter::default(), now).gateways
    }

    /// All gateways, in a line each: those that wait first, then by name.
    pub fn lines(&self, now: u64) -> Vec<GatewayLine> {
        let filter = GatewayFilter::default();
        let all = self.gateways_that(&Wanted::new(&filter), now);
        all.iter().map(|found| self.line(found, now)).collect()
    }

    /// The gateway with this key.
    pub fn gateway(&self, key: &PublicKey, now: u64) -> Option<GatewayView> {
        match (self.gateways.get(key), self.pending.get(key)) {
            (Some(gateway), _) => Some(self.gateway_view(gateway, now)),
            (None, Some(stranger)) => Some(stranger.view(key, now)),
            (None, None) => None,
        }
    }

    /// Those gateways that fit, a part of them.
    pub fn find(&self, filter: &GatewayFilter, now: u64) -> GatewayPage {
        let wanted = Wanted::new(filter);
        let all = self.gateways_that(&wanted, now);
        let most = if filter.most == 0 { usize::MAX } else { filter.most };
        let shown = all.iter().skip(filter.skip).take(most);
        GatewayPage {
            total: all.len(),
            gateways: shown.map(|found| self.shown(found, now)).collect(),
        }
    }

    fn gateways_that(&self, wanted: &Wanted<'_>, now: u64) -> Vec<Found<'_>> {
        let mut pending: Vec<_> = self
            .pending
            .iter()
            .filter(|(key, stranger)| wanted.has_stranger(key, stranger))
            .collect();
        pending.sort_by_key(|(_, stranger)| stranger.first);
        let waiting = pending.into_iter().map(|(key, stranger)| Found::Stranger(key, stranger));
        let fits = |gateway: &&Gateway| {
            wanted.has_gateway(gateway, now)
                && (!wanted.filter.alarmed || !self.alarms(gateway, now).is_empty())
        };
        let mut known: Vec<_> = self.gateways.values().filter(fits).collect();
        known.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        waiting.chain(known.into_iter().map(Found::Gateway)).collect()
    }

    /// What members have counted since their start.
    pub fn counted(&self) -> impl Iterator<Item = Counted<'_>> {
        self.gateways.iter().filter_map(|(key, gateway)| {
            let session = gateway.session.as_ref()?;
            let group = gateway.record.group.as_str();
            Some(Counted { key, group, counters: &session.counters, at: session.reported? })
        })
    }

    /// Drops of the last minutes, by group and reason.
    pub fn recent_drops(&self, now: u64) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut groups: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for gateway in self.gateways.values() {
            let recent = gateway.session.as_ref().map(|session| session.recent(now));
            for (name, count) in recent.unwrap_or_default() {
                if name.starts_with("drop_") {
                    let group = groups.entry(gateway.record.group.clone()).or_default();
                    let sum = group.entry(name).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
        groups
    }

    fn line(&self, found: &Found<'_>, now: u64) -> GatewayLine {
        let (name, key, state, alarms, is_there) = match found {
            Found::Stranger(key, stranger) => {
                (&stranger.name, **key, GatewayState::Pending, Vec::new(), false)
            }
            Found::Gateway(gateway) => {
                let state = gateway.state(now);
                let is_there =
                    state == GatewayState::Online || gateway.other_version(now).is_some();
                let record = &gateway.record;
                (&record.name, record.key, state, self.alarms(gateway, now), is_there)
            }
        };
        let (name, fingerprint) = (name.clone(), key.fingerprint().to_string());
        GatewayLine { name, key, fingerprint, state, alarms, is_there }
    }

    fn shown(&self, found: &Found<'_>, now: u64) -> GatewayView {
        match found {
            Found::Stranger(key, stranger) => stranger.view(key, now),
            Found::Gateway(gateway) => self.gateway_view(gateway, now),
        }
    }

    pub(super) fn alarms(&self, gateway: &Gateway, now: u64) -> Vec<String> {
        let mut alarms = gateway.session.as_ref().map(|s| s.alarms.clone()).unwrap_or_default();
        alarms.extend(gateway.other_version(now).map(version_alarm));
        if gateway.is_greedy() {
            alarms.push("it started so often that it gets no more sender numbers".to_owned());
        }
        alarms
    }

    fn gateway_view(&self, gateway: &Gateway, now: u64) -> GatewayView {
        let record = &gateway.record;
        let session = gateway.session.as_ref();
        let revision = self.groups.get(&record.group).map_or(0, |group| group.revision);
        GatewayView {
            name: record.name.clone(),
            key: record.key,
            fingerprint: record.key.fingerprint().to_string(),
            state: gateway.state(now),
            group: record.group.clone(),
            reason: record.revoked.clone(),
            version: session.map(|s| s.version.clone()).unwrap_or_default(),
            speaks: gateway.other_version(now),
            heard: session.map(|s| now.saturating_sub(s.heard) / 1000),
            sealing: session.map_or(0, |s| s.sealing),
            current: session.is_some_and(|s| s.acked == revision),
            aes: record.aes,
            alarms: self.alarms(gateway, now),
            machines: record.machines.clone(),
            pinned: record.pinned.clone(),
            counters: session.map(|s| s.counters.clone()).unwrap_or_default(),
            recent: session.map(|s| s.recent(now)).unwrap_or_default(),
            tags: record.tags.clone(),
            ports: session.map(|s| s.ports.clone()).unwrap_or_default(),
            events: gateway.past.view(session, record.approved, now),
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
                cipher: made.map(|made| made.suite.as_str().to_owned()),
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

/// A gateway, before it is shown.
enum Found<'a> {
    Stranger(&'a PublicKey, &'a Stranger),
    Gateway(&'a Gateway),
}

/// A filter, ready to be compared with.
struct Wanted<'a> {
    filter: &'a GatewayFilter,
    text: String,
    /// The text, if it can be the beginning of a fingerprint.
    digits: Option<String>,
}

impl<'a> Wanted<'a> {
    fn new(filter: &'a GatewayFilter) -> Self {
        let text = filter.text.trim().to_lowercase();
        let digits = text.replace('-', "");
        let is_hex = digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        Self { filter, digits: is_hex.then_some(digits), text }
    }

    fn has_stranger(&self, key: &PublicKey, stranger: &Stranger) -> bool {
        self.filter.state.is_none_or(|state| state == GatewayState::Pending)
            && self.filter.group.is_none()
            && self.filter.tag.is_none()
            && !self.filter.alarmed
            && (self.is_in(&stranger.name) || self.is_in(&stranger.version) || self.begins(key))
    }

    fn has_gateway(&self, gateway: &Gateway, now: u64) -> bool {
        let record = &gateway.record;
        let version =
            || gateway.session.as_ref().is_some_and(|session| self.is_in(&session.version));
        let machine =
            || record.machines.iter().chain(&record.pinned).any(|at| self.is_in(&at.to_string()));
        let tag = || record.tags.iter().any(|tag| self.is_in(tag));
        self.filter.state.is_none_or(|state| state == gateway.state(now))
            && self.filter.group.as_ref().is_none_or(|group| *group == record.group)
            && self.filter.tag.as_ref().is_none_or(|tag| record.tags.contains(tag))
            && (self.is_in(&record.name)
                || version()
                || self.begins(&record.key)
                || machine()
                || tag())
    }

    fn is_in(&self, text: &str) -> bool {
        self.text.is_empty() || text.to_lowercase().contains(&self.text)
    }

    fn begins(&self, key: &PublicKey) -> bool {
        let whole = || key.fingerprint().to_string().replace('-', "");
        self.digits.as_ref().is_some_and(|digits| whole().starts_with(digits))
    }
}

impl Stranger {
    fn view(&self, key: &PublicKey, now: u64) -> GatewayView {
        GatewayView {
            name: self.name.clone(),
            key: *key,
            fingerprint: key.fingerprint().to_string(),
            state: GatewayState::Pending,
            group: String::new(),
            reason: None,
            version: self.version.clone(),
            speaks: None,
            heard: Some(now.saturating_sub(self.last) / 1000),
            sealing: 0,
            current: false,
            aes: self.aes,
            alarms: Vec::new(),
            machines: Vec::new(),
            pinned: Vec::new(),
            counters: BTreeMap::new(),
            recent: BTreeMap::new(),
            tags: Vec::new(),
            ports: Vec::new(),
            events: Vec::new(),
        }
    }
}

impl Gateway {
    fn state(&self, now: u64) -> GatewayState {
        match (&self.record.revoked, self.online(now)) {
            (Some(_), _) => GatewayState::Revoked,
            (None, Some(_)) => GatewayState::Online,
            (None, None) => GatewayState::Offline,
        }
    }
}
