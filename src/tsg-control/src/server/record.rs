//! What the key server keeps on disk, as values. No TEK is among them: a server that starts makes
//! a new epoch, and those that hold the old ones go on with them until it is in force.

use crate::group::{Fail, Mode, NonIp, Settings};
use crate::keys::PublicKey;
use crate::policy::Policy;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A change to what is on disk: put this in, or take that out. Durable before anything that was
/// polled after it is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A gateway that was approved or revoked.
    Gateway(GatewayRecord),
    /// A gateway that was removed.
    GatewayGone(PublicKey),
    /// A group.
    Group(GroupRecord),
    /// A group that was removed.
    GroupGone(String),
    /// An enrolment token.
    Token(TokenRecord),
    /// A token that is over and was cleared away.
    TokenGone(u64),
}

/// Everything on disk, to start from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// All gateways that were ever approved and not removed.
    pub gateways: Vec<GatewayRecord>,
    /// All groups.
    pub groups: Vec<GroupRecord>,
    /// All tokens.
    pub tokens: Vec<TokenRecord>,
}

/// A gateway, approved or revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRecord {
    /// Its CURVE public key.
    pub key: PublicKey,
    /// Its name, unique on this server.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Why it was thrown out; `None` for a member.
    #[serde(default)]
    pub revoked: Option<String>,
    /// When it was approved, seconds since 1970.
    pub approved: u64,
    /// It said that it has AES in hardware.
    #[serde(default)]
    pub aes: bool,
    /// Machines that it last reported behind it.
    #[serde(default)]
    pub machines: Vec<IpAddr>,
    /// Machines that an operator says are behind it.
    #[serde(default)]
    pub pinned: Vec<IpAddr>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// The newest policy version that an operator gave.
    pub policy: PolicyRecord,
    /// The version before, while the change to the newest still runs.
    #[serde(default)]
    pub previous: Option<PolicyRecord>,
    /// The highest epoch number that was ever used.
    pub last_epoch: u64,
    /// Epochs in which members may seal.
    #[serde(default)]
    pub epochs: Vec<EpochRecord>,
}

/// A policy version, with the settings that change together with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Its number.
    pub version: u64,
    /// Rules and default.
    pub policy: Policy,
    /// How far the group is rolled out.
    pub mode: Mode,
    /// For frames that are not IP.
    pub non_ip: NonIp,
    /// What happens without a key.
    pub fail: Fail,
    /// A newer version is in force.
    #[serde(default, skip_serializing_if = "is_false")]
    pub retiring: bool,
}

/// An epoch in which members may seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number.
    pub id: u64,
    /// When its lifetime ends, server's time in milliseconds.
    pub ends: u64,
    /// Somebody who holds it was thrown out: a server that starts replaces it as a revocation
    /// does, not as a routine rekey.
    #[serde(default)]
    pub closing: bool,
}

/// A one-time enrolment token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its number.
    pub id: u64,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The group that it lets into.
    pub group: String,
    /// When it stops being good, seconds since 1970; 0 for one that only keeps its number.
    pub expires: u64,
    /// The gateway that used it up.
    #[serde(default)]
    pub used_by: Option<PublicKey>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}
