//! What gateway and key server say to each other, inside a CURVE connection.
//!
//! Every message is one ZeroMQ frame: MessagePack, maps with field names, in an envelope with a
//! version. Fields that are not known are ignored, fields that are missing have a default where
//! one makes sense, and a frame that is too long is not parsed at all. docs/protocol.md has the
//! table.
//!
//! The key server does not send changes, it sends the whole [`State`] that a gateway shall be in,
//! with a revision; the gateway says which revision it is in. Whatever is lost, late or doubled,
//! the next state puts right.

mod later;
mod packing;
mod reader;

pub use later::{Heard, from_gateway, from_server};
pub(crate) use packing::pack;
pub use packing::{decode, encode, encoded_len};
pub(crate) use reader::parse;

use crate::group::{Carriage, Fail, Mode, NonIp, Settings};
use crate::keys::make_tek;
use crate::policy::Policy;
use crate::timeline::Stage;
use crate::token::TokenSecret;
use core::fmt;
use core::net::IpAddr;
use packing::Envelope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tsg_esp::crypto::{Suite, Tek};
use zeroize::Zeroizing;

/// The version that this crate speaks.
pub const VERSION: u16 = 1;

/// A longer frame is refused unread.
pub const MAX_FRAME: usize = 256 * 1024;

/// A gateway's frame may not be longer than this: nothing that it says needs more.
pub const MAX_FRAME_TO_SERVER: usize = 64 * 1024;

/// A policy may take this many bytes in a message: a state holds up to three of them.
pub const MAX_POLICY: usize = 64 * 1024;

/// What a gateway says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToServer {
    /// Who I am; let me in. The first message of a connection.
    Register(Register),
    /// I am here, in this state; what time is it?
    Heartbeat(Heartbeat),
    /// Machines on my LAN side, and what I counted.
    Report(Report),
    /// What came of a command.
    Done(Done),
}

/// What the key server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToGateway {
    /// An operator has to let you in first.
    Pending(Pending),
    /// You are not let in.
    Refused(Refused),
    /// I do not know you (any more): register.
    Unknown(Unknown),
    /// The answer to a heartbeat.
    Pulse(Pulse),
    /// The state to be in.
    State(Box<State>),
    /// Who is behind which gateway.
    Map(Map),
    /// Do this.
    Command(Command),
}

/// A gateway that wants in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Number of this request; its answers carry it.
    pub request: u64,
    /// Chosen at random when the daemon started: sender numbers belong to one process.
    pub process: u64,
    /// What it is called in its own configuration.
    #[serde(default)]
    pub name: String,
    /// Version of its software.
    #[serde(default)]
    pub version: String,
    /// The secret of a one-time token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSecret>,
    /// AES in hardware.
    #[serde(default)]
    pub aes: bool,
    /// How many sender numbers it wants in each epoch: one for each sealing thread, and spares.
    #[serde(default)]
    pub senders: u8,
    /// Epochs that it holds, from before a restart of either side.
    #[serde(default)]
    pub holds: Vec<Held>,
}

/// An epoch that a gateway holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number.
    pub epoch: u64,
    /// [`crate::keys::tek_check`] of its TEK.
    pub check: [u8; 8],
    /// Sender numbers that are left to this gateway in it, without those that are almost used up.
    pub senders: u8,
}

/// The regular sign of life, also sent at once when a state was taken over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of this request: the challenge that the answer must carry.
    pub request: u64,
    /// The process of [`Register`].
    pub process: u64,
    /// The server process whose state this is, 0 for none.
    #[serde(default)]
    pub instance: u64,
    /// The revision of the state that the gateway is in.
    #[serde(default)]
    pub revision: u64,
    /// The revision of the map that it has.
    #[serde(default)]
    pub map: u64,
    /// The epoch that it seals in, 0 for none.
    #[serde(default)]
    pub sealing: u64,
    /// The highest sender number that it was given in that epoch, 0 for none.
    #[serde(default)]
    pub sender: u32,
    /// Epochs that it holds and can use: it knows the time by their clock.
    #[serde(default)]
    pub holds: Vec<Held>,
    /// It heard an epoch that it does not know: if this is not the newest state, please send that.
    #[serde(default)]
    pub ask: bool,
    /// What is wrong, in words; empty when nothing is.
    #[serde(default)]
    pub alarms: Vec<String>,
}

/// What a gateway saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The process of [`Register`].
    pub process: u64,
    /// Machines on the LAN side: all of them, each time.
    #[serde(default)]
    pub machines: Vec<IpAddr>,
    /// Counters by name since the start of the process.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Who uses which service, in a group that learns or migrates: the next part of all, in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<SeenFlow>,
    /// The gateway's ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortState>,
}

/// A machine uses a service of another. All of its connections are one: the client's port does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFlow {
    /// Who uses it. Where nothing shows which of the two it is, the lower address.
    pub client: IpAddr,
    /// Whose service it is; may be a multicast group.
    pub server: IpAddr,
    /// The protocol, if it shows.
    #[serde(default)]
    pub proto: Option<u8>,
    /// The service's port, if the protocol has ports.
    #[serde(default)]
    pub port: Option<u16>,
    /// Packets in both directions, since the start of the process.
    pub packets: u64,
    /// Bytes of them, from the IP header on; 0 where they are not counted.
    #[serde(default)]
    pub bytes: u64,
    /// Seconds since the last of them.
    #[serde(default)]
    pub age: u32,
    /// It came in clear from the plant network although a rule wants it sealed: `enforce` drops it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub in_clear: bool,
    /// A rule wants it sealed, and it goes to a machine that is behind no known gateway.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreached: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// How a port of a gateway is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// Its name on the box.
    pub name: String,
    /// It leads to the plant network.
    #[serde(default)]
    pub wan: bool,
    /// It has a link.
    #[serde(default)]
    pub up: bool,
    /// Its speed in Mbit/s, if it is known.
    #[serde(default)]
    pub mbits: Option<u32>,
    /// Offloads that are on, by their names in UCI.
    #[serde(default)]
    pub offloads: Vec<String>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Number of the command.
    pub command: u64,
    /// It was carried out.
    pub ok: bool,
    /// What there is to say about it, or what was collected.
    #[serde(default)]
    pub text: String,
}

/// An operator has to approve the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The request that this answers.
    pub request: u64,
    /// Seconds after which to ask again.
    pub retry: u32,
}

/// The gateway is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The request that this answers; 0 when it was thrown out without having asked.
    pub request: u64,
    /// Why, in words.
    pub reason: String,
    /// It is thrown out: everything it holds must be forgotten.
    pub revoked: bool,
    /// Seconds after which it may ask again.
    pub retry: u32,
}

/// The key server has no session of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The request that this answers.
    pub request: u64,
}

/// A reading of the key server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which clock: another number after every restart or jump of the server's clock.
    pub clock: u64,
    /// Milliseconds.
    pub now: u64,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// The request that this answers.
    pub request: u64,
    /// The server's time.
    pub time: Reading,
}

/// The state that a gateway shall be in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The registration that this answers; 0 when it was sent unasked, which only counts from the
    /// `instance` and `group` that an answer came from before.
    #[serde(default)]
    pub request: u64,
    /// The server process: revisions count within one.
    pub instance: u64,
    /// Higher is newer.
    pub revision: u64,
    /// The server's time.
    pub time: Reading,
    /// The group's name.
    pub group: String,
    /// What the server calls this gateway.
    pub name: String,
    /// The epochs that live. One that is not listed is retired: forget it, unless it is in force and
    /// newer than all that are listed (then the server came back from an old backup).
    pub epochs: Vec<Epoch>,
    /// The policy versions that live.
    pub policies: Vec<PolicyVersion>,
    /// The settings that apply at once.
    pub settings: GroupSettings,
}

/// The settings of a group that concern a gateway and take effect at once. Seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// How old a sealed packet may be.
    pub replay_window: u32,
    /// How long to go on without the key server after an epoch's lifetime.
    pub island_time: u32,
    /// Local bypass rules are allowed.
    #[serde(default)]
    pub local_bypass: bool,
    /// A timed bypass is allowed. Servers that do not know it allow it.
    #[serde(default = "yes")]
    pub timed_bypass: bool,
}

const fn yes() -> bool {
    true
}

impl From<&Settings> for GroupSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            replay_window: settings.replay_window,
            island_time: settings.island_time,
            local_bypass: settings.local_bypass,
            timed_bypass: settings.timed_bypass,
        }
    }
}

/// One epoch of the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number; its SPI byte follows from it.
    pub id: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Members that are cut off shall be left behind: when it comes into force, the epochs before
    /// it are closed for opening one second later.
    #[serde(default)]
    pub revokes: bool,
    /// Its key and what belongs to it. `None`: the server that made it is gone; who holds the
    /// epoch goes on with it until it is not listed any more, who does not cannot have it.
    #[serde(default)]
    pub keys: Option<EpochKeys>,
}

/// What makes an epoch usable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochKeys {
    /// The TEK.
    pub tek: TekField,
    /// Cipher.
    #[serde(with = "suite")]
    pub suite: Suite,
    /// How packets are carried.
    pub carriage: Carriage,
    /// The clock that `origin` and `ends` belong to.
    pub clock: u64,
    /// The origin of pseudo-time: the server's time, in milliseconds, less one hour, when the
    /// epoch was made.
    pub origin: u64,
    /// When its lifetime ends, server's time in milliseconds.
    pub ends: u64,
    /// The sender numbers of this gateway.
    pub senders: Vec<u32>,
    /// No sender has a number above this one.
    pub highest_sender: u32,
}

/// A TEK in a message: its bytes stay where they are when the message moves. It is zeroed when it
/// goes, and does not print.
#[derive(Clone, Debug, PartialEq)]
pub struct TekField(pub Arc<Tek>);

impl Serialize for TekField {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for TekField {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> serde::de::Visitor<'de> for Bytes {
            type Value = TekField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a TEK of 32 bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<TekField, E> {
                if bytes.len() != 32 {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(TekField(make_tek(|tek| tek.copy_from_slice(bytes))))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// One version of the policy, with the settings that change together with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Higher is newer.
    pub version: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Rules and default.
    pub policy: Policy,
    /// How far the group is rolled out.
    pub mode: Mode,
    /// For frames that are not IP.
    pub non_ip: NonIp,
    /// What happens without a key.
    pub fail: Fail,
}

/// The machines behind each gateway of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// The server process: revisions count within one.
    pub instance: u64,
    /// Higher is newer.
    pub revision: u64,
    /// Machines behind the gateway that this is sent to.
    pub mine: Vec<IpAddr>,
    /// Machines behind the others.
    pub others: Vec<IpAddr>,
}

/// A typed command: there is no way to send text to a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its number, for [`Done`].
    pub command: u64,
    /// What to do.
    pub kind: CommandKind,
}

/// What a gateway can be told to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Take on fresh sender numbers.
    Rekey,
    /// Read the configuration again.
    Reload,
    /// Register anew.
    Reregister,
    /// Log from this level on: error, warn, info, debug, trace.
    LogLevel(LogLevel),
    /// Collect what helps to find a fault, without secrets.
    Diagnostics,
    /// Restart the box.
    Reboot,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs somebody's attention.
    Error,
    /// What may need it.
    Warn,
    /// What changed.
    Info,
    /// What was said to the key server and back.
    Debug,
    /// Every packet.
    Trace,
}

/// What the key server publishes to monitors: no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The group's name.
    pub group: String,
    /// The newest epoch in force, 0 for none.
    pub epoch: u64,
    /// The newest policy version in force.
    pub policy: u64,
}

/// Why a frame is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than allowed, in bytes.
    TooLong(usize),
    /// Not MessagePack of the right form.
    Malformed(String),
    /// Of a version that this program does not speak.
    Version(u16),
    /// Of a kind that this version does not know: its name.
    Kind(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Malformed(why) => write!(f, "malformed: {why}"),
            Self::Kind(name) => {
                write!(f, "a message {name:?}, which this version does not know: ignored")
            }
            Self::Version(version) => {
                write!(
                    f,
                    "protocol version {version}, this program speaks {VERSION}: upgrade the older side"
                )
            }
        }
    }
}

impl core::error::Error for DecodeError {}

impl ToServer {
    /// The message as one frame.
    pub fn frame(&self) -> Zeroizing<Vec<u8>> {
        encode(self)
    }
}

impl ToGateway {
    /// The message as one frame.
    pub fn frame(&self) -> Zeroizing<Vec<u8>> {
        encode(self)
    }
}

mod suite {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use tsg_esp::crypto::Suite;

    pub(super) fn serialize<S: Serializer>(
        suite: &Suite,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(suite.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Suite, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "chacha20-poly1305" => Ok(Suite::ChaCha20Poly1305),
            "aes-256-gcm" => Ok(Suite::Aes256Gcm),
            other => Err(de::Error::unknown_variant(
                &other.chars().take(40).collect::<String>(),
                &["chacha20-poly1305", "aes-256-gcm"],
            )),
        }
    }
}
