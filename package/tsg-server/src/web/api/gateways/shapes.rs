//! Gateways as the API shows and takes them. Times are seconds since 1970, durations seconds.

use crate::operations::{self, Approval};
use crate::web::api::ask::hundred;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::message::PortState;
use tsg_control::server::{GatewayEvent, GatewayPage, GatewayState, GatewayView};
use utoipa::{IntoParams, ToSchema};

/// Where a gateway stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It waits for an operator.
    Pending,
    /// It is let in and was heard lately.
    Online,
    /// It is let in and was not heard lately.
    Offline,
    /// It was thrown out.
    Revoked,
}

impl From<GatewayState> for State {
    fn from(state: GatewayState) -> Self {
        match state {
            GatewayState::Pending => Self::Pending,
            GatewayState::Online => Self::Online,
            GatewayState::Offline => Self::Offline,
            GatewayState::Revoked => Self::Revoked,
        }
    }
}

impl From<State> for GatewayState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Online => Self::Online,
            State::Offline => Self::Offline,
            State::Revoked => Self::Revoked,
        }
    }
}

/// A gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Gateway {
    /// Its name; what it calls itself, while it waits.
    name: String,
    /// Its CURVE public key, base64.
    key: String,
    /// To compare with what the box shows; names the gateway in paths.
    fingerprint: String,
    state: State,
    /// Its group, unless it waits.
    group: Option<String>,
    /// Why it was thrown out.
    reason: Option<String>,
    /// Version of its software.
    version: String,
    /// Seconds since it was heard; null if this server process has not heard it.
    heard: Option<u64>,
    /// The epoch that it seals in, 0 for none.
    epoch: u64,
    /// It has the newest state of its group.
    current: bool,
    /// It has AES in hardware.
    aes: bool,
    /// What is wrong.
    alarms: Vec<String>,
    /// Addresses behind it, as it reports them.
    machines: Vec<String>,
    /// Addresses behind it, as operators say.
    pinned: Vec<String>,
    /// Words to find it by.
    tags: Vec<String>,
    /// Its ports.
    ports: Vec<Port>,
    /// What became of it lately, as far as this server process knows, the newest first.
    events: Vec<Happened>,
    /// What it counted since its start.
    counters: BTreeMap<String, u64>,
    /// What came to drops and the like in the last five minutes.
    recent: BTreeMap<String, u64>,
}

/// A port of a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Port {
    name: String,
    /// It leads to the plant network.
    wan: bool,
    /// It has a link.
    up: bool,
    /// Its speed in Mbit/s, if it is known.
    mbits: Option<u32>,
    /// Offloads that are on.
    offloads: Vec<String>,
}

/// Something that became of a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Happened {
    /// When, milliseconds since 1970.
    at: u64,
    text: String,
}

impl From<GatewayView> for Gateway {
    fn from(view: GatewayView) -> Self {
        Self {
            name: view.name,
            key: view.key.to_string(),
            fingerprint: view.fingerprint,
            state: view.state.into(),
            group: Some(view.group).filter(|group| !group.is_empty()),
            reason: view.reason,
            version: view.version,
            heard: view.heard,
            epoch: view.sealing,
            current: view.current,
            aes: view.aes,
            alarms: view.alarms,
            machines: view.machines.iter().map(ToString::to_string).collect(),
            pinned: view.pinned.iter().map(ToString::to_string).collect(),
            tags: view.tags,
            ports: view.ports.into_iter().map(Port::from).collect(),
            events: view.events.into_iter().map(Happened::from).collect(),
            counters: view.counters,
            recent: view.recent,
        }
    }
}

impl From<PortState> for Port {
    fn from(port: PortState) -> Self {
        let PortState { name, wan, up, mbits, offloads } = port;
        Self { name, wan, up, mbits, offloads }
    }
}

impl From<GatewayEvent> for Happened {
    fn from(GatewayEvent { at, text }: GatewayEvent) -> Self {
        Self { at, text }
    }
}

/// Some gateways.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Gateways {
    /// So many fit.
    total: usize,
    /// Those that were asked for: those that wait first, then by name.
    gateways: Vec<Gateway>,
}

impl From<GatewayPage> for Gateways {
    fn from(page: GatewayPage) -> Self {
        Self { total: page.total, gateways: page.gateways.into_iter().map(Gateway::from).collect() }
    }
}

/// Which gateways.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// In this state.
    pub(super) state: Option<State>,
    /// Of this group.
    pub(super) group: Option<String>,
    /// Only those with alarms.
    #[serde(default)]
    pub(super) alarmed: bool,
    /// Only those with this tag.
    pub(super) tag: Option<String>,
    /// In its name, its version, its tags, an address behind it, or at the beginning of its fingerprint.
    #[serde(default)]
    pub(super) text: String,
    /// Not the first so many.
    #[serde(default)]
    #[param(maximum = 1_000_000)]
    pub(super) skip: u32,
    /// At most so many.
    #[serde(default = "hundred")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u32,
}

/// Lets a gateway in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Approve {
    /// Into which group.
    pub(super) group: String,
    /// The whole fingerprint, as the box shows it: it must match.
    pub(super) fingerprint: Option<String>,
}

/// It is in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Approved {
    name: String,
    fingerprint: String,
    group: String,
}

impl From<Approval> for Approved {
    fn from(Approval { name, fingerprint, group }: Approval) -> Self {
        Self { name, fingerprint, group }
    }
}

/// Lets many gateways in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveListed {
    /// Into which group.
    pub(super) group: String,
    /// Their whole fingerprints, as the boxes show them.
    #[schema(min_items = 1, max_items = 1000, example = json!(["6668-7aad-f862-bd77-6c8f-c18b-8e9f-8e20"]))]
    pub(super) fingerprints: Vec<String>,
}

/// What a list of fingerprints came to; in its order, each of them once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApprovedList {
    /// They waited, and are in now.
    approved: Vec<Approved>,
    /// They were in before, in this group or another.
    members: Vec<Approved>,
    /// They were thrown out once, and stay so: they can be approved one by one.
    revoked: Vec<Approved>,
    /// Nobody with these fingerprints has asked to join.
    absent: Vec<String>,
}

impl From<operations::ApprovedList> for ApprovedList {
    fn from(list: operations::ApprovedList) -> Self {
        let shown = |all: Vec<Approval>| all.into_iter().map(Approved::from).collect();
        Self {
            approved: shown(list.approved),
            members: shown(list.members),
            revoked: shown(list.revoked),
            absent: list.absent,
        }
    }
}

/// Throws a gateway out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    /// Why; the gateway is told.
    pub(super) reason: String,
}

/// Changes a gateway.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeGateway {
    /// Another name.
    pub(super) name: Option<String>,
    /// All addresses behind it that operators say; none takes back those of before.
    pub(super) pinned: Option<Vec<String>>,
    /// All words to find it by; none takes those of before away.
    #[schema(max_items = 8)]
    pub(super) tags: Option<Vec<String>>,
}

/// A command to a gateway.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// `rekey`, `reload`, `reregister`, `diagnostics`, `reboot`, or `log-level=debug` and the like.
    #[schema(example = "diagnostics")]
    pub(super) command: String,
}

/// It was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sent {
    /// Its number.
    pub(super) command: u64,
}

/// What came of a command.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CommandOutcome {
    /// The gateway has answered.
    pub(super) answered: bool,
    /// It was carried out.
    pub(super) ok: bool,
    /// What the gateway says about it, or what it collected.
    pub(super) text: String,
}
