//! The server and its audit trail as the API shows them. Times are seconds since 1970, durations seconds.

use crate::database::{AuditRow, AuditVerdict};
use crate::operations;
use crate::web::api::ask::hundred;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A line of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditLine {
    id: u64,
    /// When, milliseconds since 1970.
    at: u64,
    who: String,
    action: String,
    object: String,
    outcome: String,
    /// SHA-256 over it and all before it, hexadecimal; empty if an older server wrote it.
    chain: String,
}

impl From<AuditRow> for AuditLine {
    fn from(row: AuditRow) -> Self {
        let AuditRow { id, at, who, action, object, outcome, chain } = row;
        Self { id, at, who, action, object, outcome, chain }
    }
}

/// Which lines of the audit trail.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichLines {
    /// Only lines with this text in them.
    #[serde(default)]
    pub(super) text: String,
    /// Only lines before the one of this number.
    #[param(format = "uint64", minimum = 0)]
    pub(super) before: Option<u64>,
    /// Only lines from then on, milliseconds since 1970.
    #[param(format = "uint64", minimum = 0)]
    pub(super) since: Option<u64>,
    /// Only lines before then, milliseconds since 1970.
    #[param(format = "uint64", minimum = 0)]
    pub(super) until: Option<u64>,
    /// At most so many, the newest.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 10000, default = 100)]
    pub(super) limit: u32,
}

/// Whether the audit trail is as it was written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Verdict {
    lines: u64,
    /// Of these, the first so many have no hash.
    unchained: u64,
    /// The newest hash, hexadecimal.
    head: String,
    /// What is wrong, if anything is.
    broken: Option<String>,
}

impl From<AuditVerdict> for Verdict {
    fn from(verdict: AuditVerdict) -> Self {
        Self {
            lines: verdict.lines,
            unchained: verdict.unchained,
            head: verdict.head,
            broken: Some(verdict.broken).filter(|broken| !broken.is_empty()),
        }
    }
}

/// How everything is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: String,
    /// The server's CURVE public key, base64.
    public_key: String,
    /// Where gateways connect.
    listen: String,
    /// Seconds since the start.
    uptime: u64,
    pending: usize,
    online: u64,
    offline: usize,
    revoked: u64,
    alarms: Vec<Alarm>,
    connections: u64,
    /// Messages that were not taken, by reason.
    dropped: BTreeMap<String, u64>,
    database_bytes: u64,
    /// How the secrets lie on the server's disk: in clear, or sealed with what.
    secrets: String,
}

/// What a gateway says is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alarm {
    gateway: String,
    alarm: String,
}

impl From<operations::Status> for Status {
    fn from(status: operations::Status) -> Self {
        let alarm =
            |alarm: operations::GatewayAlarm| Alarm { gateway: alarm.gateway, alarm: alarm.alarm };
        Self {
            version: status.version,
            public_key: status.public_key.to_string(),
            listen: status.listen,
            uptime: status.uptime,
            pending: status.pending.len(),
            online: status.online,
            offline: status.offline.len(),
            revoked: status.revoked,
            alarms: status.alarms.into_iter().map(alarm).collect(),
            connections: status.connections,
            dropped: status.dropped,
            database_bytes: status.database_bytes,
            secrets: status.secrets,
        }
    }
}

/// Packets in one sample.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sample {
    sealed: u64,
    opened: u64,
    dropped: u64,
    bypassed: u64,
}

/// The last hour.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Traffic {
    /// Seconds that a sample is long.
    every: u64,
    /// Of each group, the oldest first.
    groups: BTreeMap<String, Vec<Sample>>,
    /// Drops of each group by their counter, such as `drop_stale`.
    drops: BTreeMap<String, BTreeMap<String, Drops>>,
}

/// Drops for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drops {
    /// In the last five minutes.
    recent: u64,
    /// Since this server process began.
    total: u64,
}

impl From<operations::TrafficView> for Traffic {
    fn from(view: operations::TrafficView) -> Self {
        let sample = |sample: operations::Sample| Sample {
            sealed: sample.sealed,
            opened: sample.opened,
            dropped: sample.dropped,
            bypassed: sample.bypassed,
        };
        let samples = |(name, all): (String, Vec<_>)| (name, all.into_iter().map(sample).collect());
        let drops = |(name, all): (String, BTreeMap<String, operations::Drops>)| {
            let one = |(why, drops): (String, operations::Drops)| {
                (why, Drops { recent: drops.recent, total: drops.total })
            };
            (name, all.into_iter().map(one).collect())
        };
        Self {
            every: view.every,
            groups: view.groups.into_iter().map(samples).collect(),
            drops: view.drops.into_iter().map(drops).collect(),
        }
    }
}

/// A backup to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBackup {
    /// Who can open it: `age1…`, as `tsg-server backup-key` prints it.
    pub(super) recipients: Vec<String>,
}
