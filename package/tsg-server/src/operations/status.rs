//! How everything is, on one page: what waits for an operator comes first.

use super::Desk;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::keys::PublicKey;
use tsg_control::server::{GatewayState, GroupView};
use tsg_control::timeline::Stage;

/// The state of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the software.
    pub version: String,
    /// The server's public key.
    pub public_key: PublicKey,
    /// Where gateways connect.
    pub listen: String,
    /// Where announcements are published.
    pub publish: String,
    /// Seconds since the server started.
    pub uptime: u64,
    /// The server's clock, milliseconds since 1970.
    pub now: u64,
    /// How often the wall clock jumped since the start.
    pub clock_jumps: u64,
    /// Gateways that wait for approval.
    pub pending: Vec<PendingGateway>,
    /// Gateways that are let in and were heard lately.
    pub online: u64,
    /// Gateways that are let in and were not heard lately.
    pub offline: Vec<String>,
    /// Gateways that were thrown out.
    pub revoked: u64,
    /// What gateways say is wrong.
    pub alarms: Vec<GatewayAlarm>,
    /// The groups, in short.
    pub groups: Vec<GroupStatus>,
    /// Peers whose messages can be answered.
    pub connections: u64,
    /// Messages that were not taken, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// The database's file.
    pub database: String,
    /// Its size in bytes.
    pub database_bytes: u64,
    /// How the secrets beside it lie there: in clear, or sealed with what.
    #[serde(default)]
    pub secrets: String,
}

/// A gateway that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingGateway {
    /// What it calls itself.
    pub name: String,
    /// To compare with the box.
    pub fingerprint: String,
}

/// What a gateway says is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAlarm {
    /// Which gateway.
    pub gateway: String,
    /// What is wrong.
    pub alarm: String,
}

/// A group in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Members.
    pub members: usize,
    /// Members that were heard lately.
    pub online: usize,
    /// Members that are online and have not taken over the newest state.
    pub late: Vec<String>,
    /// The epoch in force, 0 for none.
    pub epoch: u64,
    /// Its cipher.
    pub cipher: Option<String>,
    /// An epoch that is about to come into force.
    pub preparing: Option<u64>,
    /// Seconds until the epoch in force ends; it is replaced a little before.
    pub remaining: Option<u64>,
    /// The policy in force.
    pub policy: u64,
    /// A policy that is about to come into force.
    pub policy_preparing: Option<u64>,
}

pub(super) fn status(desk: &Desk<'_>) -> Status {
    let gateways = desk.server.lines(desk.now);
    let of = |state: GatewayState| gateways.iter().filter(move |g| g.state == state);
    let pending = of(GatewayState::Pending).map(|gateway| PendingGateway {
        name: gateway.name.clone(),
        fingerprint: gateway.fingerprint.clone(),
    });
    let alarms = gateways.iter().filter(|gateway| gateway.is_there).flat_map(|gateway| {
        let alarm =
            |text: &String| GatewayAlarm { gateway: gateway.name.clone(), alarm: text.clone() };
        gateway.alarms.iter().map(alarm)
    });
    let running = desk.running;
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        public_key: desk.identity.public(),
        listen: running.listen.to_owned(),
        publish: running.publish.to_owned(),
        uptime: running.uptime,
        now: desk.now,
        clock_jumps: running.clock_jumps,
        pending: pending.collect(),
        online: of(GatewayState::Online).count() as u64,
        offline: of(GatewayState::Offline).map(|gateway| gateway.name.clone()).collect(),
        revoked: of(GatewayState::Revoked).count() as u64,
        alarms: alarms.collect(),
        groups: desk.server.groups(desk.now).into_iter().map(short).collect(),
        connections: running.connections,
        dropped: running.dropped.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect(),
        database: desk.database.path().display().to_string(),
        database_bytes: desk.database.size(),
        secrets: running.secrets.to_string(),
    }
}

fn short(group: GroupView) -> GroupStatus {
    let at = |stage: Stage| group.epochs.iter().rev().find(move |epoch| epoch.stage == stage);
    let active = at(Stage::Active);
    GroupStatus {
        members: group.members,
        online: group.online,
        epoch: active.map_or(0, |epoch| epoch.id),
        cipher: active.and_then(|epoch| epoch.cipher.clone()),
        preparing: at(Stage::Prepared).map(|epoch| epoch.id),
        remaining: active.map(|epoch| epoch.remaining),
        policy: group.policy_in_force,
        policy_preparing: Some(group.policy_version).filter(|&v| v != group.policy_in_force),
        late: group.late,
        name: group.name,
    }
}
