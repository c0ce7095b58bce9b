//! Version 0.1.0's two halves of the control link, as small as they can be: what it read and wrote is frozen here.
//!
//! Unlike today's code it refuses a whole message for one word that it does not know.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The name of this version.
pub const VERSION: &str = "0.1.0";

#[derive(Serialize, Deserialize)]
struct Envelope<B> {
    v: u16,
    body: B,
}

/// What a gateway said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum ToServer {
    Register {
        request: u64,
        process: u64,
        name: String,
        version: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<[u8; 16]>,
        aes: bool,
        senders: u8,
        holds: Vec<Held>,
    },
    Heartbeat {
        request: u64,
        process: u64,
        instance: u64,
        revision: u64,
        map: u64,
        sealing: u64,
        sender: u32,
        holds: Vec<Held>,
        ask: bool,
        alarms: Vec<String>,
    },
    Report {
        process: u64,
        machines: Vec<IpAddr>,
        counters: BTreeMap<String, u64>,
    },
    Done {
        command: u64,
        ok: bool,
        text: String,
    },
}

/// An epoch that a gateway held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Held {
    pub epoch: u64,
    pub check: [u8; 8],
    pub senders: u8,
}

/// What the key server said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum ToGateway {
    Pending { request: u64, retry: u32 },
    Refused { request: u64, reason: String, revoked: bool, retry: u32 },
    Unknown { request: u64 },
    Pulse { request: u64, time: Reading },
    State(Box<State>),
    Map { instance: u64, revision: u64, mine: Vec<IpAddr>, others: Vec<IpAddr> },
    Command { command: u64, kind: CommandKind },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Reading {
    pub clock: u64,
    pub now: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct State {
    #[serde(default)]
    pub request: u64,
    pub instance: u64,
    pub revision: u64,
    pub time: Reading,
    pub group: String,
    pub name: String,
    pub epochs: Vec<Epoch>,
    pub policies: Vec<PolicyVersion>,
    pub settings: GroupSettings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct GroupSettings {
    pub replay_window: u32,
    pub island_time: u32,
    #[serde(default)]
    pub local_bypass: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Epoch {
    pub id: u64,
    pub stage: Stage,
    #[serde(default)]
    pub revokes: bool,
    #[serde(default)]
    pub keys: Option<EpochKeys>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum Stage {
    Prepared,
    Active,
    Retiring,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct EpochKeys {
    pub tek: ByteBuf,
    pub suite: Suite,
    pub carriage: Carriage,
    pub clock: u64,
    pub origin: u64,
    pub ends: u64,
    pub senders: Vec<u32>,
    pub highest_sender: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum Suite {
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum Carriage {
    Protocol(u8),
    Udp(u16),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct PolicyVersion {
    pub version: u64,
    pub stage: Stage,
    pub policy: Policy,
    pub mode: String,
    pub non_ip: String,
    pub fail: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Policy {
    pub rules: Vec<Rule>,
    pub default_action: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Rule {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub action: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proto: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub src_ip: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dest_ip: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub src_port: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dest_port: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub enum CommandKind {
    Rekey,
    Reload,
    Reregister,
    LogLevel(String),
    Diagnostics,
    Reboot,
}

/// As that version wrote it.
///
/// # Panics
/// It cannot be written.
pub fn write<B: Serialize>(body: &B) -> Vec<u8> {
    let frame = rmp_serde::to_vec_named(&Envelope { v: 1, body });
    frame.unwrap_or_else(|error| panic!("{error}"))
}

/// As that version read it.
///
/// # Errors
/// It could not.
pub fn read<'a, B: Deserialize<'a>>(frame: &'a [u8]) -> Result<B, String> {
    match rmp_serde::from_slice::<Envelope<B>>(frame) {
        Ok(Envelope { v: 1, body }) => Ok(body),
        Ok(Envelope { v, .. }) => Err(format!("version {v}")),
        Err(error) => Err(error.to_string()),
    }
}

/// `check` of a TEK.
pub fn check(tek: &[u8]) -> [u8; 8] {
    let digest = Sha256::new().chain_update(b"TSG epoch check\0").chain_update(tek).finalize();
    std::array::from_fn(|at| digest[at])
}

/// A one-time token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/protocol.md of that version has them")]
pub struct Token {
    pub servers: Vec<String>,
    pub server_key: String,
    pub secret: [u8; 16],
    pub expires: u64,
    pub group: String,
}

/// As that version read a token.
pub fn token(text: &str) -> Option<Token> {
    let packed = URL_SAFE_NO_PAD.decode(text.strip_prefix("tsg1-")?).ok()?;
    rmp_serde::from_slice(&packed).ok()
}

/// A gateway of that version: frames in, frames out.
#[derive(Debug, Default)]
pub struct Gateway {
    /// Random number of its process.
    pub process: u64,
    /// A one-time token's secret.
    pub token: Option<[u8; 16]>,
    request: u64,
    map: (u64, u64),
    times: BTreeSet<u64>,
    /// The state that it is in.
    pub state: Option<State>,
    /// All that it heard, in order.
    pub heard: Vec<ToGateway>,
}

impl Gateway {
    /// Lets itself be let in.
    pub fn register(&mut self) -> Vec<u8> {
        self.request += 1;
        write(&ToServer::Register {
            request: self.request,
            process: self.process,
            name: "old".to_owned(),
            version: VERSION.to_owned(),
            token: self.token,
            aes: false,
            senders: 2,
            holds: self.holds(),
        })
    }

    /// Its sign of life.
    pub fn heartbeat(&mut self) -> Vec<u8> {
        self.request += 1;
        let (instance, revision) = self.state.as_ref().map_or((0, 0), |s| (s.instance, s.revision));
        let sealing = self.sealing();
        write(&ToServer::Heartbeat {
            request: self.request,
            process: self.process,
            instance,
            revision,
            map: if self.map.0 == instance { self.map.1 } else { 0 },
            sealing: sealing.map_or(0, |(epoch, _)| epoch),
            sender: sealing.map_or(0, |(_, sender)| sender),
            holds: self.holds(),
            ask: false,
            alarms: Vec::new(),
        })
    }

    /// What it counts.
    pub fn report(&self) -> Vec<u8> {
        write(&ToServer::Report {
            process: self.process,
            machines: vec![IpAddr::from([192, 0, 2, 7])],
            counters: BTreeMap::from([("sealed".to_owned(), 1_234)]),
        })
    }

    /// Takes in a frame; gives what it says at once.
    ///
    /// # Panics
    /// That version could not read it.
    pub fn hear(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let message: ToGateway = read(frame).unwrap_or_else(|error| panic!("0.1.0: {error}"));
        self.heard.push(message.clone());
        match message {
            ToGateway::State(state) => {
                self.times.insert(state.time.clock);
                self.state = Some(*state);
                vec![self.heartbeat()]
            }
            ToGateway::Pulse { time, .. } => {
                self.times.insert(time.clock);
                Vec::new()
            }
            ToGateway::Map { instance, revision, .. } => {
                self.map = (instance, revision);
                Vec::new()
            }
            ToGateway::Unknown { .. } => vec![self.register()],
            ToGateway::Command { command, .. } => {
                vec![write(&ToServer::Done { command, ok: true, text: "as 0.1.0 does".to_owned() })]
            }
            ToGateway::Refused { revoked, .. } => {
                self.state = self.state.take().filter(|_| !revoked);
                Vec::new()
            }
            ToGateway::Pending { .. } => Vec::new(),
        }
    }

    /// The newest epoch in force in which it has a sender number, and the highest of these.
    pub fn sealing(&self) -> Option<(u64, u32)> {
        let epochs = self.state.iter().flat_map(|state| &state.epochs);
        let active = epochs.filter(|epoch| epoch.stage != Stage::Prepared);
        let usable = active.filter_map(|epoch| {
            Some((epoch.id, epoch.keys.as_ref()?.senders.iter().copied().max()?))
        });
        usable.max()
    }

    /// The newest policy in force.
    pub fn policy(&self) -> Option<&PolicyVersion> {
        let policies = self.state.iter().flat_map(|state| &state.policies);
        policies.filter(|version| version.stage == Stage::Active).max_by_key(|v| v.version)
    }

    fn holds(&self) -> Vec<Held> {
        let epochs = self.state.iter().flat_map(|state| &state.epochs);
        let held = epochs.filter_map(|epoch| {
            let keys = epoch.keys.as_ref().filter(|keys| self.times.contains(&keys.clock))?;
            let senders = u8::try_from(keys.senders.len()).unwrap_or(u8::MAX);
            Some(Held { epoch: epoch.id, check: check(&keys.tek), senders })
        });
        held.collect()
    }
}

/// A key server of that version with one member: frames in, frames out.
#[derive(Debug)]
pub struct Server {
    /// The state that the member shall be in.
    pub state: State,
    /// All that it heard, in order.
    pub heard: Vec<ToServer>,
}

impl Default for Server {
    fn default() -> Self {
        let time = Reading { clock: 77, now: 1_700_000_000_000 };
        let settings = GroupSettings { replay_window: 4, island_time: 86_400, local_bypass: false };
        let mut state = State {
            request: 0,
            instance: 9,
            revision: 0,
            time,
            group: "plant".to_owned(),
            name: "press".to_owned(),
            epochs: Vec::new(),
            policies: Vec::new(),
            settings,
        };
        state.policies.push(policy(1, "encrypt", "enforce"));
        let mut server = Self { state, heard: Vec::new() };
        server.rekey();
        server
    }
}

/// A policy version of one rule, in force.
pub fn policy(version: u64, action: &str, mode: &str) -> PolicyVersion {
    let rule = Rule { action: action.to_owned(), name: "all".to_owned(), ..Rule::default() };
    PolicyVersion {
        version,
        stage: Stage::Active,
        policy: Policy { rules: vec![rule], default_action: "bypass".to_owned() },
        mode: mode.to_owned(),
        non_ip: "pass".to_owned(),
        fail: "closed".to_owned(),
    }
}

impl Server {
    /// A new epoch, in force at once.
    pub fn rekey(&mut self) {
        let id = self.state.epochs.last().map_or(0, |epoch| epoch.id) + 1;
        for epoch in &mut self.state.epochs {
            epoch.stage = Stage::Retiring;
        }
        let keys = EpochKeys {
            tek: ByteBuf::from(vec![id as u8; 32]),
            suite: Suite::ChaCha20Poly1305,
            carriage: Carriage::Protocol(253),
            clock: self.state.time.clock,
            origin: self.state.time.now - 3_600_000,
            ends: self.state.time.now + 86_400_000,
            senders: (1..=16).collect(),
            highest_sender: 256,
        };
        self.state.epochs.push(Epoch {
            id,
            stage: Stage::Active,
            revokes: false,
            keys: Some(keys),
        });
        let over = self.state.epochs.len().saturating_sub(3);
        self.state.epochs.drain(..over);
        self.state.revision += 1;
    }

    /// The state, unasked, as a frame.
    pub fn push(&self) -> Vec<u8> {
        write(&ToGateway::State(Box::new(self.state.clone())))
    }

    /// Takes in a frame; gives what it answers.
    ///
    /// # Panics
    /// That version could not read it.
    pub fn hear(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let message: ToServer = read(frame).unwrap_or_else(|error| panic!("0.1.0: {error}"));
        self.heard.push(message.clone());
        self.state.time.now += 1;
        match message {
            ToServer::Register { request, .. } => {
                let state = State { request, ..self.state.clone() };
                vec![write(&ToGateway::State(Box::new(state)))]
            }
            ToServer::Heartbeat { request, instance, revision, .. } => {
                let mut answers =
                    vec![write(&ToGateway::Pulse { request, time: self.state.time.clone() })];
                if (instance, revision) != (self.state.instance, self.state.revision) {
                    answers.push(self.push());
                }
                answers
            }
            ToServer::Report { .. } | ToServer::Done { .. } => Vec::new(),
        }
    }
}
