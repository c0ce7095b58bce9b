//! The words of the command line, and the operation that each command is.

use super::policy_file;
use crate::logging::Target;
use crate::operations::{GatewayName, Operation};
use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use log::LevelFilter;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tsg_control::group::seconds;
use tsg_control::message::{CommandKind, LogLevel};

/// The TSG key server: lets gateways in, pushes policy, rotates keys.
#[derive(Debug, Parser)]
#[command(name = "tsg-server", version, arg_required_else_help = true)]
pub(super) struct Args {
    /// The server's admin socket
    #[arg(
        long,
        global = true,
        env = "TSG_SERVER_SOCKET",
        default_value = "/run/tsg-server/admin.sock",
        value_name = "PATH"
    )]
    pub(super) socket: PathBuf,

    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server in the foreground
    Run(Run),
    /// Show the server's public key, which gateways are given
    Key,
    /// Show how everything is; what waits for you comes first
    Status,
    /// Gateways: who asks to join, who is in
    #[command(subcommand)]
    Gateway(Gateway),
    /// Groups: gateways that share keys and policy
    #[command(subcommand)]
    Group(Group),
    /// Policies: which traffic is encrypted, bypassed, dropped
    #[command(subcommand)]
    Policy(Policy),
    /// One-time enrolment tokens
    #[command(subcommand)]
    Token(Token),
    /// Give a group new keys
    Rekey {
        /// The group
        group: String,
        /// Come back when they are in force
        #[arg(long)]
        wait: bool,
    },
    /// Show what was ordered, by whom, and what came of it
    Audit {
        /// At most so many lines, the newest
        #[arg(long, default_value_t = 50, value_name = "NUMBER")]
        last: u32,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Folder of the identity and the database
    #[arg(
        long,
        env = "TSG_SERVER_DATA",
        default_value = "/var/lib/tsg-server",
        value_name = "DIR"
    )]
    pub(super) data: PathBuf,
    /// Address to listen on, `*` for all
    #[arg(long, env = "TSG_SERVER_LISTEN", default_value = "*", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Port that gateways connect to; 0 for any
    #[arg(long, env = "TSG_SERVER_PORT", default_value_t = 5555)]
    pub(super) port: u16,
    /// Port of the announcements; 0 for any
    #[arg(long, env = "TSG_SERVER_PUB_PORT", default_value_t = 5556, value_name = "PORT")]
    pub(super) pub_port: u16,
    /// How much to log
    #[arg(long, env = "TSG_SERVER_LOG_LEVEL", value_enum, default_value_t = Level::Info, value_name = "LEVEL")]
    pub(super) log_level: Level,
    /// Where to log; by default stderr if that is a terminal, else syslog
    #[arg(long, env = "TSG_SERVER_LOG", value_enum, default_value_t = LogTo::Auto, value_name = "WHERE")]
    pub(super) log: LogTo,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogTo {
    Auto,
    Stderr,
    Syslog,
}

impl From<LogTo> for Target {
    fn from(target: LogTo) -> Self {
        match target {
            LogTo::Auto => Self::Auto,
            LogTo::Stderr => Self::Stderr,
            LogTo::Syslog => Self::Syslog,
        }
    }
}

// GATEWAY below is a name, a fingerprint or its first digits, or a key.

#[derive(Debug, Subcommand)]
pub(super) enum Gateway {
    /// All gateways, those that wait for approval first
    List,
    /// All that is known of one
    Show { gateway: String },
    /// Let one in; compare its fingerprint with `tsg fingerprint` on the box first
    Approve {
        gateway: String,
        /// The group that it joins
        #[arg(long)]
        group: String,
        /// The whole fingerprint, as the box shows it; must match
        #[arg(long)]
        fingerprint: Option<String>,
    },
    /// Throw one out; its group is given new keys
    Revoke {
        gateway: String,
        /// Why; the gateway is told
        #[arg(long)]
        reason: String,
    },
    /// Give one another name
    Rename { gateway: String, name: String },
    /// Forget one; a member is thrown out by that
    Remove { gateway: String },
    /// Say which machines are behind one, beyond those that it hears; none takes all back
    Pin { gateway: String, machines: Vec<IpAddr> },
    /// Tell one to do something: rekey, reload, reregister, log-level=LEVEL, diagnostics, reboot
    Command {
        gateway: String,
        #[arg(value_parser = command_kind)]
        kind: CommandKind,
        /// Wait so many seconds for the outcome
        #[arg(long, default_value_t = 10, value_name = "SECONDS")]
        wait: u16,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// All groups
    List,
    /// A new group
    Add { group: String },
    /// A group's settings, members and epochs
    Show { group: String },
    /// Change settings: mode, default_action, non_ip, encap, encap_port, protocol, cipher,
    /// replay_window, activation_delay, revoke_delay, key_lifetime, island_time, fail, local_bypass
    Set {
        group: String,
        #[arg(required = true, value_parser = setting, value_name = "SETTING=VALUE")]
        settings: Vec<(String, String)>,
    },
    /// Remove a group that nobody is in
    Remove { group: String },
    /// Show a group's keys, to look into packets; this is audited
    Keys {
        group: String,
        /// Yes, show them
        #[arg(long)]
        reveal: bool,
        /// Only of these sender numbers, such as 1..100
        #[arg(long, value_parser = range, value_name = "FIRST..LAST")]
        senders: Option<(u32, u32)>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// A group's rules
    Show { group: String },
    /// Give a group new rules, from a JSON file (`-` for standard input) or from --rule
    Set {
        group: String,
        #[arg(required_unless_present = "rule", conflicts_with = "rule")]
        file: Option<PathBuf>,
        /// A rule, such as 'encrypt proto=tcp dest_port=502 name=modbus'; in order
        #[arg(long)]
        rule: Vec<String>,
    },
    /// Look whether a file holds good rules
    Check { file: PathBuf },
    /// The policies that a group had, newest first
    History { group: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// A token that lets one gateway into a group
    Create {
        #[arg(long)]
        group: String,
        /// For how long it is good: 90s, 15m, 24h, 7d
        #[arg(long, default_value = "1d", value_parser = duration, value_name = "TIME")]
        expires: u32,
        /// Address under which gateways reach this server; may be given several times
        #[arg(long, value_name = "tcp://HOST:PORT")]
        server: Vec<String>,
    },
    /// All tokens
    List,
    /// Make a token worthless
    Revoke { id: u64 },
}

fn setting(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').ok_or("a setting is given as name=value")?;
    Ok((split.0.to_owned(), split.1.to_owned()))
}

fn duration(text: &str) -> Result<u32, String> {
    seconds(text).filter(|&s| s > 0).ok_or_else(|| "a time such as 90s, 15m, 24h, 7d".to_owned())
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let (first, last) = text.split_once("..").ok_or("two numbers such as 1..100")?;
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        _ => Err("two numbers such as 1..100".to_owned()),
    }
}

fn command_kind(text: &str) -> Result<CommandKind, String> {
    Ok(match text {
        "rekey" => CommandKind::Rekey,
        "reload" => CommandKind::Reload,
        "reregister" => CommandKind::Reregister,
        "diagnostics" => CommandKind::Diagnostics,
        "reboot" => CommandKind::Reboot,
        _ => {
            let level = match text.strip_prefix("log-level=") {
                Some("error") => LogLevel::Error,
                Some("warn") => LogLevel::Warn,
                Some("info") => LogLevel::Info,
                Some("debug") => LogLevel::Debug,
                Some("trace") => LogLevel::Trace,
                Some(_) | None => {
                    return Err("one of rekey, reload, reregister, diagnostics, reboot, \
                         log-level=error|warn|info|debug|trace"
                        .to_owned());
                }
            };
            CommandKind::LogLevel(level)
        }
    })
}

impl Command {
    /// For how long to wait until what was ordered is so.
    pub(super) fn waits(&self) -> Option<Duration> {
        match self {
            // The longest activation delay, and some.
            Self::Rekey { wait, .. } => wait.then(|| Duration::from_secs(960)),
            Self::Gateway(Gateway::Command { wait, .. }) => {
                Some(Duration::from_secs((*wait).into()))
            }
            Self::Run(_)
            | Self::Key
            | Self::Status
            | Self::Gateway(_)
            | Self::Group(_)
            | Self::Policy(_)
            | Self::Token(_)
            | Self::Audit { .. } => None,
        }
    }

    /// The operation that it is.
    pub(super) fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        Ok(match self {
            Self::Run(_) => bail!("`run` starts the server"),
            Self::Key => Op::Key {},
            Self::Status => Op::Status {},
            Self::Gateway(command) => command.operation(),
            Self::Group(command) => command.operation(),
            Self::Policy(command) => command.operation()?,
            Self::Token(command) => command.operation(),
            Self::Rekey { group, .. } => Op::Rekey { group: group.clone() },
            Self::Audit { last } => Op::AuditList { most: *last },
        })
    }
}

impl Gateway {
    fn operation(&self) -> Operation {
        use Operation as Op;
        let named = |gateway: &String| GatewayName(gateway.clone());
        match self {
            Self::List => Op::GatewayList {},
            Self::Show { gateway } => Op::GatewayShow { gateway: named(gateway) },
            Self::Approve { gateway, group, fingerprint } => Op::GatewayApprove {
                gateway: named(gateway),
                group: group.clone(),
                fingerprint: fingerprint.clone(),
            },
            Self::Revoke { gateway, reason } => {
                Op::GatewayRevoke { gateway: named(gateway), reason: reason.clone() }
            }
            Self::Rename { gateway, name } => {
                Op::GatewayRename { gateway: named(gateway), name: name.clone() }
            }
            Self::Remove { gateway } => Op::GatewayRemove { gateway: named(gateway) },
            Self::Pin { gateway, machines } => {
                Op::GatewayPin { gateway: named(gateway), machines: machines.clone() }
            }
            Self::Command { gateway, kind, .. } => {
                Op::GatewayCommand { gateway: named(gateway), kind: kind.clone() }
            }
        }
    }
}

impl Group {
    fn operation(&self) -> Operation {
        use Operation as Op;
        match self {
            Self::List => Op::GroupList {},
            Self::Add { group } => Op::GroupAdd { group: group.clone() },
            Self::Show { group } => Op::GroupShow { group: group.clone() },
            Self::Set { group, settings } => {
                Op::GroupSet { group: group.clone(), settings: settings.clone() }
            }
            Self::Remove { group } => Op::GroupRemove { group: group.clone() },
            Self::Keys { group, reveal, senders } => {
                Op::GroupKeys { group: group.clone(), reveal: *reveal, senders: *senders }
            }
        }
    }
}

impl Policy {
    fn operation(&self) -> Result<Operation> {
        use Operation as Op;
        Ok(match self {
            Self::Show { group } => Op::PolicyShow { group: group.clone() },
            Self::Set { group, file: Some(file), .. } => {
                let policy = policy_file::read(file)?;
                Op::PolicySet {
                    group: group.clone(),
                    rules: policy.rules,
                    default_action: policy.default_action,
                }
            }
            Self::Set { group, file: None, rule } => Op::PolicySet {
                group: group.clone(),
                rules: policy_file::rules(rule)?,
                default_action: None,
            },
            Self::Check { file } => Op::PolicyCheck { rules: policy_file::read(file)?.rules },
            Self::History { group } => Op::PolicyHistory { group: group.clone() },
        })
    }
}

impl Token {
    fn operation(&self) -> Operation {
        use Operation as Op;
        match self {
            Self::Create { group, expires, server } => Op::TokenCreate {
                group: group.clone(),
                lifetime: *expires,
                servers: server.clone(),
            },
            Self::List => Op::TokenList {},
            Self::Revoke { id } => Op::TokenRevoke { id: *id },
        }
    }
}
