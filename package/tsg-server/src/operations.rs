//! Everything that an operator can ask for: the one door, whatever leads to it.
//!
//! The Unix socket's clients send an [`Operation`] and are sent an [`Answer`] or a [`Refusal`]; the
//! web's pages and its API call the same. Checks, audit and the calls into the state machine are here
//! and nowhere else; who may ask for what is [`crate::accounts::Role`]'s.

mod account;
mod alarms;
mod answer;
mod audited;
mod command;
#[cfg(fuzzing)]
pub mod fuzzing;
mod listed;
mod naming;
mod order;
mod outcomes;
mod reveal;
mod settings;
mod status;
mod traffic;
mod view;

pub use account::{ApiTokenView, CreatedApiToken, UserView, read_api_token};
pub use alarms::{AlarmView, AlarmsView};
pub use answer::{Answer, Done, Refusal, RefusalKind};
pub use audited::{changes, entries};
pub(crate) use command::command_kind;
pub use listed::{ApprovedList, read_list};
pub use naming::GatewayName;
pub use outcomes::{Outcome, Outcomes};
pub use reveal::{RevealedGroup, RevealedKey, RevealedSender};
pub use settings::{settings, settings_tag};
pub use status::{GatewayAlarm, GroupStatus, PendingGateway, Status};
pub use traffic::{Drops, Sample, Traffic, TrafficView};
pub use view::{Approval, CreatedToken, FlowsView, PolicyView, ServerKey, look_back, looks_back};

use crate::accounts::{Accounts, Change, PasswordHash, Role, UserChange};
use crate::alarms::Watch;
use crate::database::{AuditFilter, Database};
use crate::identity::Identity;
use crate::notify::Notifier;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use tsg_control::message::CommandKind;
use tsg_control::policy::{Action, Rule};
use tsg_control::server::{GatewayFilter, Server};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// The server's public key.
    Key {},
    /// How everything is.
    Status {},
    /// What was sealed, opened and dropped in the last hour.
    Traffic {},
    /// The alarms that stand, and how those who are told get on.
    AlarmList {},
    /// Sends a test alarm to everybody who is told of alarms.
    AlarmTest {},
    /// All gateways, those that wait first.
    GatewayList {},
    /// Some gateways.
    GatewayFind(GatewayFilter),
    /// One gateway.
    GatewayShow {
        /// Which.
        gateway: GatewayName,
    },
    /// Lets a gateway in.
    GatewayApprove {
        /// Which.
        gateway: GatewayName,
        /// Into which group.
        group: String,
        /// The fingerprint that the operator read on the box; must match if given.
        #[serde(default)]
        fingerprint: Option<String>,
    },
    /// Lets all gateways in that wait and are listed.
    GatewayApproveListed {
        /// Into which group.
        group: String,
        /// Their whole fingerprints.
        fingerprints: Vec<String>,
    },
    /// Throws a gateway out.
    GatewayRevoke {
        /// Which.
        gateway: GatewayName,
        /// Why; the gateway is told.
        reason: String,
    },
    /// Gives a gateway another name.
    GatewayRename {
        /// Which.
        gateway: GatewayName,
        /// The new name.
        name: String,
    },
    /// Forgets a gateway.
    GatewayRemove {
        /// Which.
        gateway: GatewayName,
    },
    /// Says which machines are behind a gateway.
    GatewayPin {
        /// Which.
        gateway: GatewayName,
        /// All of them; none takes back what was said before.
        machines: Vec<IpAddr>,
    },
    /// Puts words on a gateway to find it by.
    GatewayTag {
        /// Which.
        gateway: GatewayName,
        /// All of them; none takes those of before away.
        tags: Vec<String>,
    },
    /// Gives a gateway another name, says which machines are behind it, puts words on it: all that is given, or nothing.
    GatewayChange {
        /// Which.
        gateway: GatewayName,
        /// The new name.
        #[serde(default)]
        name: Option<String>,
        /// All machines.
        #[serde(default)]
        machines: Option<Vec<IpAddr>>,
        /// All words.
        #[serde(default)]
        tags: Option<Vec<String>>,
    },
    /// Tells a gateway to do something.
    GatewayCommand {
        /// Which.
        gateway: GatewayName,
        /// What.
        kind: CommandKind,
    },
    /// What came of a command.
    GatewayOutcome {
        /// Its number.
        command: u64,
    },
    /// All groups.
    GroupList {},
    /// One group.
    GroupShow {
        /// Which.
        group: String,
    },
    /// Who uses which service in a group.
    FlowList {
        /// Which.
        group: String,
    },
    /// A new group.
    GroupAdd {
        /// Its name.
        group: String,
    },
    /// Removes a group that nobody is in.
    GroupRemove {
        /// Which.
        group: String,
    },
    /// Changes settings of a group, all of them or none.
    GroupSet {
        /// Which.
        group: String,
        /// Names and values.
        settings: Vec<(String, String)>,
        /// The settings that the change began with, by their tag: nothing is changed if they are others by now.
        #[serde(default)]
        base: Option<String>,
    },
    /// Reveals the keys of a group, to look into packets.
    GroupKeys {
        /// Which.
        group: String,
        /// The operator knows what that means.
        reveal: bool,
        /// Only senders of these numbers, both included.
        #[serde(default)]
        senders: Option<(u32, u32)>,
    },
    /// The rules of a group.
    PolicyShow {
        /// Which.
        group: String,
    },
    /// New rules for a group.
    PolicySet {
        /// Which.
        group: String,
        /// The rules, in order.
        rules: Vec<Rule>,
        /// Must be the group's own if given: it is a setting of the group.
        #[serde(default)]
        default_action: Option<Action>,
        /// The version that the change began with: nothing is changed if there is another by now.
        #[serde(default)]
        base: Option<u64>,
    },
    /// Are these rules good?
    PolicyCheck {
        /// The rules, in order.
        rules: Vec<Rule>,
    },
    /// The policies that a group had.
    PolicyHistory {
        /// Which.
        group: String,
    },
    /// A one-time enrolment token.
    TokenCreate {
        /// The group that it lets into.
        group: String,
        /// For how many seconds it is good.
        lifetime: u32,
        /// Addresses under which the gateway reaches the server; none for the one it listens on.
        #[serde(default)]
        servers: Vec<String>,
    },
    /// All tokens.
    TokenList {},
    /// Makes a token worthless.
    TokenRevoke {
        /// Its number.
        id: u64,
    },
    /// A new epoch for a group.
    Rekey {
        /// Which.
        group: String,
    },
    /// What operators ordered, newest first.
    AuditList(AuditFilter),
    /// Is the audit trail as it was written?
    AuditVerify {},
    /// All that a new machine needs, encrypted.
    Backup {
        /// For whom: `age1…`.
        recipients: Vec<String>,
    },
    /// Who may sign in.
    UserList {},
    /// Somebody who may sign in.
    UserAdd {
        /// As what.
        name: String,
        /// What they may do.
        role: Role,
        /// Their password's hash.
        password: PasswordHash,
        /// Only if there is nobody yet.
        #[serde(default)]
        first: bool,
    },
    /// Another role, password or second factor.
    UserChange {
        /// Whose.
        name: String,
        /// What is to be another.
        change: UserChange,
    },
    /// Takes somebody away.
    UserRemove {
        /// Whom.
        name: String,
    },
    /// A token for a program that uses the API.
    ApiTokenCreate {
        /// What it is for.
        name: String,
        /// What it may do.
        role: Role,
        /// For how many seconds it is good.
        lifetime: u32,
    },
    /// All tokens for programs.
    ApiTokenList {},
    /// Makes such a token worthless.
    ApiTokenRevoke {
        /// Its number.
        id: u64,
    },
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(pub String);

impl Operator {
    /// A process on the Unix socket, as the kernel names it.
    pub fn peer(uid: u32, pid: i32) -> Self {
        Self(format!("uid {uid} (pid {pid})"))
    }

    /// Somebody who signed in, and from where.
    pub fn user(name: &str, from: std::net::IpAddr) -> Self {
        Self(format!("{name} ({from})"))
    }

    /// A program with a token, and from where.
    pub fn token(name: &str, id: u64, from: std::net::IpAddr) -> Self {
        Self(format!("API token {id} {name} ({from})"))
    }

    /// A process that sent a signal.
    pub fn signal(uid: u32, pid: u32) -> Self {
        Self(format!("signal from uid {uid} (pid {pid})"))
    }
}

/// What operations work on.
pub(crate) struct Desk<'a> {
    pub(crate) server: &'a mut Server,
    pub(crate) database: &'a Database,
    pub(crate) identity: &'a Identity,
    pub(crate) outcomes: &'a mut Outcomes,
    pub(crate) accounts: &'a mut Accounts,
    /// What changes in them.
    pub(crate) account_changes: &'a mut Vec<Change>,
    pub(crate) traffic: &'a Traffic,
    pub(crate) alarms: &'a Watch,
    pub(crate) notifier: &'a Notifier,
    pub(crate) operator: &'a Operator,
    pub(crate) running: Running<'a>,
    /// The server's time in milliseconds.
    pub(crate) now: u64,
}

/// What the daemon knows of itself.
#[derive(Clone, Copy)]
pub(crate) struct Running<'a> {
    /// Addresses of the two sockets.
    pub(crate) listen: &'a str,
    pub(crate) publish: &'a str,
    pub(crate) uptime: u64,
    pub(crate) clock_jumps: u64,
    pub(crate) connections: u64,
    pub(crate) dropped: &'a std::collections::BTreeMap<&'static str, u64>,
    /// How the secrets lie on the disk.
    pub(crate) secrets: &'a crate::seal::State,
}

/// Carries out an operation. What it answers may be told once the records that it caused are
/// durable.
pub(crate) fn perform(desk: &mut Desk<'_>, operation: &Operation) -> Result<Answer, Refusal> {
    use Operation as Op;
    match operation {
        Op::Key {} => Ok(Answer::Key(ServerKey::of(desk.identity))),
        Op::Status {} => Ok(Answer::Status(Box::new(status::status(desk)))),
        Op::Traffic {} => {
            Ok(Answer::Traffic(desk.traffic.view(desk.server.recent_drops(desk.now))))
        }
        Op::AlarmList {} => Ok(alarms::list(desk)),
        // Its answer comes from another thread: the daemon takes it out before.
        Op::AlarmTest {} => Err(Refusal::new(RefusalKind::Unavailable, "there is no daemon")),
        Op::GatewayFind(filter) => Ok(Answer::Found(desk.server.find(filter, desk.now))),
        Op::GatewayList {} => Ok(Answer::Gateways(desk.server.gateways(desk.now))),
        Op::GatewayShow { gateway } => view::gateway(desk, gateway),
        Op::GatewayApprove { gateway, group, fingerprint } => {
            order::approve(desk, gateway, group, fingerprint.as_deref())
        }
        Op::GatewayApproveListed { group, fingerprints } => {
            listed::approve(desk, group, fingerprints)
        }
        Op::GatewayRevoke { gateway, reason } => order::revoke(desk, gateway, reason),
        Op::GatewayRename { gateway, name } => order::rename(desk, gateway, name),
        Op::GatewayRemove { gateway } => order::remove(desk, gateway),
        Op::GatewayPin { gateway, machines } => order::pin(desk, gateway, machines),
        Op::GatewayTag { gateway, tags } => order::tag(desk, gateway, tags),
        Op::GatewayChange { gateway, name, machines, tags } => {
            order::change(desk, gateway, name.as_deref(), machines.as_deref(), tags.as_deref())
        }
        Op::GatewayCommand { gateway, kind } => order::command(desk, gateway, kind),
        Op::GatewayOutcome { command } => desk.outcomes.answer(*command),
        Op::GroupList {} => Ok(Answer::Groups(desk.server.groups(desk.now))),
        Op::GroupShow { group } => Ok(Answer::Group(Box::new(view::group(desk, group)?))),
        Op::FlowList { group } => view::flows(desk, group),
        Op::GroupAdd { group } => order::add_group(desk, group),
        Op::GroupRemove { group } => order::remove_group(desk, group),
        Op::GroupSet { group, settings, base } => {
            order::set_group(desk, group, settings, base.as_deref())
        }
        Op::GroupKeys { group, reveal, senders } => reveal::reveal(desk, group, *reveal, *senders),
        Op::PolicyShow { group } => view::policy(desk, group),
        Op::PolicySet { group, rules, default_action, base } => {
            order::set_policy(desk, group, rules, *default_action, *base)
        }
        Op::PolicyCheck { rules } => order::check_policy(rules),
        Op::TokenCreate { group, lifetime, servers } => {
            order::create_token(desk, group, *lifetime, servers)
        }
        Op::TokenList {} => Ok(Answer::Tokens(desk.server.tokens())),
        Op::TokenRevoke { id } => order::revoke_token(desk, *id),
        Op::Rekey { group } => order::rekey(desk, group),
        Op::AuditList(_) | Op::AuditVerify {} | Op::PolicyHistory { .. } => {
            look_back(desk.database.reader(), operation)
        }
        Op::Backup { recipients } => view::backup(desk, recipients),
        Op::UserList {} => Ok(account::users(desk)),
        Op::UserAdd { name, role, password, first } => {
            account::add_user(desk, name, *role, password, *first)
        }
        Op::UserChange { name, change } => account::change_user(desk, name, change),
        Op::UserRemove { name } => account::remove_user(desk, name),
        Op::ApiTokenCreate { name, role, lifetime } => {
            account::create_token(desk, name, *role, *lifetime)
        }
        Op::ApiTokenList {} => Ok(account::tokens(desk)),
        Op::ApiTokenRevoke { id } => account::revoke_token(desk, *id),
    }
}
