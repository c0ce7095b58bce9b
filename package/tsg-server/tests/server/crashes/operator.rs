//! An operator with a seed: orders without end, and a model of what the server has acknowledged.
//!
//! Each operator orders about things of its own, so that what the server shows of them must be
//! exactly the model, or the model after the one order that was not answered.

use super::super::daemon::AdminClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use tsg_control::keys::PublicKey;

/// The group of the real gateways. Operator 0 has its gateways and tokens, operator 1 the rest.
pub(super) const PLANT: &str = "plant";

/// An operator has at most this many gateways, groups and tokens of its own: the server's work
/// must not grow with the rounds.
const MOST: usize = 4;

/// Numbers from a seed (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let count = u64::try_from(from.len()).unwrap();
        (count > 0).then(|| from[usize::try_from(self.below(count)).unwrap()].clone())
    }
}

/// What the server has of one operator's things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) gateways: BTreeMap<PublicKey, Gateway>,
    pub(super) tokens: BTreeMap<u64, Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    lifetime: u64,
    mode: String,
    version: u64,
    rules: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gateway {
    pub(super) group: String,
    name: String,
    pinned: Vec<String>,
    pub(super) revoked: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) group: String,
    pub(super) used_by: Option<PublicKey>,
}

impl Told {
    /// What the server shows of the things of operator `id`.
    pub(super) fn seen(client: &mut AdminClient, id: u64) -> Self {
        let mut rows = |operation: Value| {
            let answer = client.ask(&operation).unwrap();
            answer["ok"]["value"].as_array().unwrap().clone()
        };
        let own = |group: &str| group.starts_with(&format!("o{id}-"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let groups = rows(json!({"group_list": {}})).into_iter().map(|row| {
            let group = Group {
                lifetime: row["settings"]["key_lifetime"].as_u64().unwrap(),
                mode: text(&row["settings"]["mode"]),
                version: row["policy_version"].as_u64().unwrap(),
                rules: row["policy"]["rules"].clone(),
            };
            (text(&row["name"]), group)
        });
        let groups = groups.filter(|(name, _)| own(name) || id == 1 && name == PLANT).collect();
        let in_plant = |group: &str| own(group) || id == 0 && group == PLANT;
        let gateways = rows(json!({"gateway_list": {}})).into_iter().map(|row| {
            let gateway = Gateway {
                group: text(&row["group"]),
                name: text(&row["name"]),
                pinned: row["pinned"].as_array().unwrap().iter().map(text).collect(),
                revoked: (row["state"] == "revoked").then(|| text(&row["reason"])),
            };
            (row["key"].as_str().unwrap().parse().unwrap(), gateway)
        });
        let gateways = gateways.filter(|(_, gateway)| in_plant(&gateway.group)).collect();
        let tokens = rows(json!({"token_list": {}})).into_iter().map(|row| {
            let used_by = row["used_by"].as_str().map(|key| key.parse().unwrap());
            (row["id"].as_u64().unwrap(), Token { group: text(&row["group"]), used_by })
        });
        let tokens = tokens.filter(|(_, token)| in_plant(&token.group)).collect();
        Self { groups, gateways, tokens }
    }

    pub(super) fn member(&self, key: &PublicKey) -> bool {
        self.gateways.get(key).is_some_and(|gateway| gateway.revoked.is_none())
    }

    fn is_empty(&self, group: &str) -> bool {
        self.gateways.values().all(|gateway| gateway.group != group)
            && self.tokens.values().all(|token| token.group != group)
    }
}

/// What changes something.
#[derive(Clone, Debug)]
enum Order {
    AddGroup(String),
    RemoveGroup(String),
    Lifetime(String, u64),
    Mode(String, &'static str),
    Policy(String, u64),
    Approve(PublicKey, String),
    Revoke(PublicKey, String),
    Rename(PublicKey, String),
    Pin(PublicKey, String),
    Remove(PublicKey),
    CreateToken(String),
    RevokeToken(u64),
    Rekey,
}

impl Order {
    fn operation(&self) -> Value {
        match self {
            Self::AddGroup(group) => json!({"group_add": {"group": group}}),
            Self::RemoveGroup(group) => json!({"group_remove": {"group": group}}),
            Self::Lifetime(group, seconds) => {
                let settings = [["key_lifetime".to_owned(), seconds.to_string()]];
                json!({"group_set": {"group": group, "settings": settings}})
            }
            Self::Mode(group, mode) => {
                json!({"group_set": {"group": group, "settings": [["mode", mode]]}})
            }
            Self::Policy(group, port) => {
                json!({"policy_set": {"group": group, "rules": rules(*port)}})
            }
            Self::Approve(key, group) => {
                json!({"gateway_approve": {"gateway": key, "group": group}})
            }
            Self::Revoke(key, reason) => {
                json!({"gateway_revoke": {"gateway": key, "reason": reason}})
            }
            Self::Rename(key, name) => json!({"gateway_rename": {"gateway": key, "name": name}}),
            Self::Pin(key, machine) => {
                json!({"gateway_pin": {"gateway": key, "machines": [machine]}})
            }
            Self::Remove(key) => json!({"gateway_remove": {"gateway": key}}),
            Self::CreateToken(group) => {
                json!({"token_create": {"group": group, "lifetime": 86_400}})
            }
            Self::RevokeToken(id) => json!({"token_revoke": {"id": id}}),
            Self::Rekey => json!({"rekey": {"group": PLANT}}),
        }
    }

    /// The gateway that it lets in.
    const fn gateway(&self) -> Option<&PublicKey> {
        if let Self::Approve(key, _) = self { Some(key) } else { None }
    }

    /// The order is carried out; the server chooses names and tokens' numbers.
    fn apply(&self, told: &mut Told, name: Option<String>, token: Option<u64>) {
        let group = |told: &Told, name: &String| told.groups[name].clone();
        match self {
            Self::AddGroup(name) => {
                let (mode, rules) = ("enforce".to_owned(), json!([]));
                let new = Group { lifetime: 86_400, mode, version: 1, rules };
                told.groups.insert(name.clone(), new);
            }
            Self::RemoveGroup(name) => drop(told.groups.remove(name)),
            Self::Lifetime(name, lifetime) => {
                let new = Group { lifetime: *lifetime, ..group(told, name) };
                told.groups.insert(name.clone(), new);
            }
            Self::Mode(name, mode) => {
                let old = group(told, name);
                let version = old.version + u64::from(old.mode != *mode);
                let new = Group { mode: (*mode).to_owned(), version, ..old };
                told.groups.insert(name.clone(), new);
            }
            Self::Policy(name, port) => {
                let old = group(told, name);
                let new = Group { version: old.version + 1, rules: rules(*port), ..old };
                told.groups.insert(name.clone(), new);
            }
            Self::Approve(key, group) => {
                let name = name.unwrap_or_default();
                let (group, pinned) = (group.clone(), Vec::new());
                told.gateways.insert(*key, Gateway { group, name, pinned, revoked: None });
            }
            Self::Remove(key) => drop(told.gateways.remove(key)),
            Self::Revoke(key, reason) => {
                told.gateways.get_mut(key).unwrap().revoked = Some(reason.clone());
            }
            Self::Rename(key, name) => {
                told.gateways.get_mut(key).unwrap().name.clone_from(name);
            }
            Self::Pin(key, machine) => {
                told.gateways.get_mut(key).unwrap().pinned = vec![machine.clone()];
            }
            Self::CreateToken(group) => {
                let new = Token { group: group.clone(), used_by: None };
                told.tokens.extend(token.map(|id| (id, new)));
            }
            Self::RevokeToken(id) => drop(told.tokens.remove(id)),
            Self::Rekey => {}
        }
    }
}

fn rules(port: u64) -> Value {
    json!([{"action": "encrypt", "proto": ["tcp"], "dest_port": [port.to_string()]}])
}

/// When the server is to be killed, and by whom.
#[derive(Clone)]
pub(super) struct Fate {
    pub(super) pid: i32,
    /// Orders that were acknowledged.
    pub(super) count: Arc<AtomicU64>,
    /// With this one it ends.
    pub(super) last: u64,
    /// A real gateway was thrown out.
    pub(super) revoked: Arc<AtomicBool>,
}

/// An operator.
pub(super) struct Operator {
    pub(super) id: u64,
    chance: Chance,
    pub(super) told: Told,
    /// Texts of the tokens that it was given.
    pub(super) secrets: BTreeMap<u64, String>,
    /// The newest epoch that it was told of.
    pub(super) epoch: u64,
    /// Sent, and not answered.
    sent: Option<Order>,
    /// The one real gateway that it may let in and throw out, with how it stands.
    pub(super) door: Option<PublicKey>,
    count: u64,
}

impl Operator {
    pub(super) fn new(id: u64, seed: u64, client: &mut AdminClient) -> Self {
        Self {
            id,
            chance: Chance::new(seed ^ id << 32),
            told: Told::seen(client, id),
            secrets: BTreeMap::new(),
            epoch: 0,
            sent: None,
            door: None,
            count: 0,
        }
    }

    /// Orders until the server is gone.
    pub(super) fn run(mut self, socket: PathBuf, fate: Fate) -> JoinHandle<Self> {
        thread::spawn(move || {
            let Ok(mut client) = AdminClient::connect(&socket) else { return self };
            loop {
                let order = self.choose();
                if matches!(&order, Order::Revoke(key, _) | Order::Remove(key) if self.door == Some(*key))
                {
                    fate.revoked.store(true, Ordering::Relaxed);
                }
                self.sent = Some(order.clone());
                let Some(answer) = client.ask(&order.operation()) else { return self };
                let value = &answer["ok"]["value"];
                assert!(value.is_object(), "{order:?}: {answer}");
                self.acknowledged(&order, value);
                if fate.count.fetch_add(1, Ordering::Relaxed) + 1 == fate.last {
                    kill(Pid::from_raw(fate.pid), Signal::SIGKILL).unwrap();
                }
            }
        })
    }

    fn acknowledged(&mut self, order: &Order, value: &Value) {
        let (name, token) = (value["name"].as_str().map(str::to_owned), value["id"].as_u64());
        order.apply(&mut self.told, name, token);
        self.sent = None;
        if let Order::Policy(group, _) = order {
            assert_eq!(value["version"], self.told.groups[group].version);
        }
        if let (Some(id), Some(text)) = (token, value["token"].as_str()) {
            self.secrets.insert(id, text.to_owned());
        }
        self.epoch = self.epoch.max(value["epoch"].as_u64().unwrap_or(0));
    }

    /// The server is back: it has all that was acknowledged, and perhaps what was not.
    pub(super) fn compare(&mut self, client: &mut AdminClient) {
        let seen = Told::seen(client, self.id);
        let mut after = self.told.clone();
        let sent = self.sent.take();
        if let Some(order) = &sent {
            let name = order.gateway().and_then(|key| seen.gateways.get(key));
            let name = name.map(|gateway| gateway.name.clone());
            let token = seen.tokens.keys().find(|id| !self.told.tokens.contains_key(id));
            order.apply(&mut after, name, token.copied());
        }
        assert!(
            seen == self.told || seen == after,
            "operator {} was told\n{:#?}\nand asked {sent:?}; there is\n{seen:#?}",
            self.id,
            self.told
        );
        self.told = seen;
    }

    fn choose(&mut self) -> Order {
        loop {
            if let Some(order) = self.consider() {
                self.count += 1;
                return order;
            }
        }
    }

    /// An order of a random kind, if there is something that it could be about.
    fn consider(&mut self) -> Option<Order> {
        let groups: Vec<_> = self.told.groups.keys().cloned().collect();
        let own: Vec<_> = groups.iter().filter(|name| *name != PLANT).cloned().collect();
        let group = self.chance.pick(&groups);
        let gateways: Vec<_> = self.told.gateways.keys().copied().collect();
        let gateway = self.chance.pick(&gateways);
        let number = self.chance.below(60_000);
        let fresh = format!("o{}-{}", self.id, self.count);
        match self.chance.below(13) {
            0 => (own.len() < MOST).then_some(Order::AddGroup(fresh)),
            1 => {
                let group = self.chance.pick(&own)?;
                self.told.is_empty(&group).then_some(Order::RemoveGroup(group))
            }
            2 => Some(Order::Lifetime(group?, 3_600 + number)),
            3 => Some(Order::Mode(group?, self.chance.pick(&["enforce", "migrate"])?)),
            4 => Some(Order::Policy(group?, 1 + number)),
            5 | 6 => self.let_in(&own),
            7 => {
                let key = gateway.filter(|key| self.may_move(key) && self.told.member(key))?;
                Some(Order::Revoke(key, format!("lost {number}")))
            }
            8 => Some(Order::Rename(gateway?, fresh)),
            9 => Some(Order::Pin(gateway?, format!("192.0.2.{}", number % 250))),
            10 => gateway.filter(|key| self.may_move(key)).map(Order::Remove),
            11 => self.token(&own),
            _ => Some(Order::Rekey),
        }
    }

    /// The real gateways but one stay as they are.
    fn may_move(&self, key: &PublicKey) -> bool {
        self.told.gateways[key].group != PLANT || self.door == Some(*key)
    }

    fn let_in(&mut self, own: &[String]) -> Option<Order> {
        if let Some(key) = self.door.filter(|key| !self.told.member(key)) {
            return Some(Order::Approve(key, PLANT.to_owned()));
        }
        let group = self.chance.pick(own)?;
        let revoked = self.told.gateways.iter().filter(|(_, g)| g.revoked.is_some());
        let revoked: Vec<_> = revoked.map(|(key, _)| *key).collect();
        if let Some(key) = self.chance.pick(&revoked).filter(|key| self.may_move(key)) {
            return Some(Order::Approve(key, group));
        }
        let mut key = [0; 32];
        key.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.chance.next().to_be_bytes()));
        (self.told.gateways.len() < 2 * MOST).then_some(Order::Approve(PublicKey(key), group))
    }

    fn token(&mut self, own: &[String]) -> Option<Order> {
        let tokens: Vec<_> = self.told.tokens.keys().copied().collect();
        if tokens.len() >= MOST {
            return self.chance.pick(&tokens).map(Order::RevokeToken);
        }
        let group = if self.id == 0 { Some(PLANT.to_owned()) } else { self.chance.pick(own) };
        Some(Order::CreateToken(group?))
    }
}
