//! What the API shows and takes. Times are seconds since 1970, durations seconds.

use crate::accounts::Role;
use crate::database::{AuditRow, AuditVerdict, PolicyRow};
use crate::operations::{self, ApiTokenView, Approval, CreatedApiToken, UserView};
use crate::web::policy::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::message::PortState;
use tsg_control::policy;
use tsg_control::server::{
    EpochView, GatewayEvent, GatewayPage, GatewayState, GatewayView, GroupView, TokenView,
};
use tsg_control::timeline::Stage;
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

impl Gateway {
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
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

pub(super) const fn hundred() -> u32 {
    100
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

/// A rule; an empty list is any.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// What people call it.
    #[serde(default)]
    name: String,
    /// What happens to a packet that it matches.
    action: Action,
    /// `tcp`, `udp`, `icmp`, or a number.
    #[serde(default)]
    proto: Vec<String>,
    /// Addresses, or blocks such as `192.0.2.0/24`.
    #[serde(default)]
    src_ip: Vec<String>,
    /// Ports, or ranges such as `44818-44820`.
    #[serde(default)]
    src_port: Vec<String>,
    #[serde(default)]
    dest_ip: Vec<String>,
    #[serde(default)]
    dest_port: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Bypass,
    Encrypt,
    Drop,
}

impl From<policy::Action> for Action {
    fn from(action: policy::Action) -> Self {
        match action {
            policy::Action::Bypass => Self::Bypass,
            policy::Action::Encrypt => Self::Encrypt,
            policy::Action::Drop => Self::Drop,
        }
    }
}

impl From<&policy::Rule> for Rule {
    fn from(rule: &policy::Rule) -> Self {
        fn words<T: ToString>(all: &[T]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        Self {
            name: rule.name.clone(),
            action: rule.action.into(),
            proto: words(&rule.proto),
            src_ip: words(&rule.src_ip),
            src_port: words(&rule.src_port),
            dest_ip: words(&rule.dest_ip),
            dest_port: words(&rule.dest_port),
        }
    }
}

impl Rule {
    /// As the policy has it, or what is wrong with it.
    pub(super) fn read(&self) -> Result<policy::Rule, String> {
        let action = match self.action {
            Action::Bypass => "bypass",
            Action::Encrypt => "encrypt",
            Action::Drop => "drop",
        };
        let row = Row {
            action: action.to_owned(),
            name: self.name.clone(),
            proto: self.proto.join(" "),
            src_ip: self.src_ip.join(" "),
            src_port: self.src_port.join(" "),
            dest_ip: self.dest_ip.join(" "),
            dest_port: self.dest_port.join(" "),
            wrong: String::new(),
        };
        row.rule()
    }
}

/// The rules of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    /// Number of the newest version.
    pub(super) version: u64,
    /// Number of the version in force.
    pub(super) in_force: u64,
    /// In order: the first that matches decides.
    pub(super) rules: Vec<Rule>,
}

/// New rules for a group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[schema(max_items = 256)]
    pub(super) rules: Vec<Rule>,
}

/// A version was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    pub(super) version: u64,
}

/// A policy that was accepted once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyVersion {
    version: u64,
    /// When, seconds since 1970.
    at: u64,
    who: String,
    rules: Vec<Rule>,
}

impl From<PolicyRow> for PolicyVersion {
    fn from(row: PolicyRow) -> Self {
        Self {
            version: row.policy.version,
            at: row.at / 1000,
            who: row.who,
            rules: row.policy.policy.rules.iter().map(Rule::from).collect(),
        }
    }
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Group {
    name: String,
    /// Its settings, as operators type them.
    settings: BTreeMap<&'static str, String>,
    members: usize,
    /// Members that were heard lately.
    online: usize,
    /// Members that are online and not in the newest state.
    late: Vec<String>,
    epochs: Vec<Epoch>,
    policy: Policy,
}

impl From<GroupView> for Group {
    fn from(view: GroupView) -> Self {
        Self {
            settings: operations::settings(&view.settings),
            members: view.members,
            online: view.online,
            late: view.late,
            epochs: view.epochs.into_iter().map(Epoch::from).collect(),
            policy: Policy {
                version: view.policy_version,
                in_force: view.policy_in_force,
                rules: view.policy.rules.iter().map(Rule::from).collect(),
            },
            name: view.name,
        }
    }
}

/// An epoch: keys that members share for a while.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Epoch {
    id: u64,
    /// `prepared`, `active` or `retiring`.
    stage: &'static str,
    /// Seconds until its lifetime ends.
    remaining: u64,
    cipher: Option<String>,
}

impl From<EpochView> for Epoch {
    fn from(view: EpochView) -> Self {
        let stage = match view.stage {
            Stage::Prepared => "prepared",
            Stage::Active => "active",
            Stage::Retiring => "retiring",
        };
        Self { id: view.id, stage, remaining: view.remaining, cipher: view.cipher }
    }
}

/// A new group.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    pub(super) name: String,
}

/// New keys were ordered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rekeying {
    /// Number of the new epoch.
    pub(super) epoch: u64,
}

/// A one-time enrolment token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Token {
    id: u64,
    group: String,
    /// When it stops being good, seconds since 1970.
    expires: u64,
    /// Fingerprint of the gateway that used it.
    used_by: Option<String>,
}

impl From<TokenView> for Token {
    fn from(view: TokenView) -> Self {
        Self {
            id: view.id,
            group: view.group,
            expires: view.expires,
            used_by: view.used_by.map(|key| key.fingerprint().to_string()),
        }
    }
}

/// A new enrolment token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// The group that it lets into.
    pub(super) group: String,
    /// For how many seconds it is good.
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub(super) lifetime: u32,
    /// Addresses under which the gateway reaches the server, such as `tcp://192.0.2.10:5555`.
    #[serde(default)]
    pub(super) servers: Vec<String>,
}

/// An enrolment token, with its secret: shown only this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeToken {
    pub(super) id: u64,
    pub(super) token: String,
    pub(super) expires: u64,
}

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

/// What somebody may do; each may what those before it may.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RoleName {
    Viewer,
    Operator,
    SecurityOfficer,
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::SecurityOfficer => Self::SecurityOfficer,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::SecurityOfficer => Self::SecurityOfficer,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// Somebody who may sign in to the pages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    name: String,
    role: RoleName,
    since: u64,
    /// They type a code besides their password.
    second_factor: bool,
}

impl From<UserView> for User {
    fn from(view: UserView) -> Self {
        let UserView { name, role, since, second_factor } = view;
        Self { name, role: role.into(), since, second_factor }
    }
}

/// Somebody new.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    pub(super) name: String,
    pub(super) role: RoleName,
    /// At least 12 characters.
    #[schema(value_type = String, min_length = 12, max_length = 1024)]
    pub(super) password: zeroize::Zeroizing<String>,
}

/// Changes somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeUser {
    pub(super) role: Option<RoleName>,
    /// At least 12 characters.
    #[schema(value_type = Option<String>, min_length = 12, max_length = 1024)]
    pub(super) password: Option<zeroize::Zeroizing<String>>,
    /// `false` lets somebody sign in without the app that they have lost; only they themselves can turn it on.
    pub(super) second_factor: Option<bool>,
}

/// A token of a program, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiToken {
    id: u64,
    name: String,
    role: RoleName,
    made_by: String,
    since: u64,
    expires: u64,
}

impl From<ApiTokenView> for ApiToken {
    fn from(view: ApiTokenView) -> Self {
        let ApiTokenView { id, name, role, made_by, since, expires } = view;
        Self { id, name, role: role.into(), made_by, since, expires }
    }
}

/// A backup to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBackup {
    /// Who can open it: `age1…`, as `tsg-server backup-key` prints it.
    pub(super) recipients: Vec<String>,
}

/// A new token for a program.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiToken {
    /// What it is for.
    pub(super) name: String,
    pub(super) role: RoleName,
    /// For how many seconds it is good.
    #[schema(minimum = 60, maximum = 63_244_800)]
    pub(super) lifetime: u32,
}

/// A token of a program, with its secret: shown only this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MadeApiToken {
    id: u64,
    token: String,
    expires: u64,
}

impl From<CreatedApiToken> for MadeApiToken {
    fn from(made: CreatedApiToken) -> Self {
        Self { id: made.id, token: made.token.to_string(), expires: made.expires }
    }
}
