//! The words of the command line.

mod keeping;
mod notify;
mod operation;
mod value;

use crate::accounts::Role;
use crate::operations::command_kind;
use clap::{Parser, Subcommand, ValueEnum};
pub(super) use keeping::{Backup, Reseal, Restore, Seal};
use log::LevelFilter;
use std::net::IpAddr;
use std::path::PathBuf;
use tsg_control::message::CommandKind;
use tsg_log::Target;
use value::{duration, range, setting};

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
    Run(Box<Run>),
    /// Show the server's public key, which gateways are given
    Key,
    /// Show how everything is; what waits for you comes first
    Status,
    /// Look whether the server does its work, for container engines and scripts: exit code 0 if it does
    Health,
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
        /// Only lines with this text in them
        #[arg(long, default_value = "")]
        text: String,
        /// Look whether the whole trail is as it was written, and show its newest hash
        #[arg(long, conflicts_with_all = ["last", "text"])]
        verify: bool,
    },
    /// Show what was sealed, opened and dropped in the last hour
    Traffic,
    /// Show the alarms that stand, and how syslog, webhook and mail get on
    Alarms {
        /// Send a test alarm by all of them, and say whether it arrived
        #[arg(long)]
        test: bool,
    },
    /// People who may sign in to the pages
    #[command(subcommand)]
    User(User),
    /// Tokens of programs that use the API
    #[command(subcommand)]
    ApiToken(ApiToken),
    /// Make a backup: all that a new machine needs, in one file that only its recipients open
    Backup(Backup),
    /// Make an identity that opens backups, and show its recipient, to whom they are made out
    BackupKey {
        /// The identity's file; keep it away from the server
        file: PathBuf,
    },
    /// Put a backup into an empty folder, on which a server can be started then
    Restore(Restore),
    /// Make a key that seals the server's secrets on its disk, for `run --seal-key`
    SealKey {
        /// The key's file
        file: PathBuf,
    },
    /// Seal the secrets with another key or passphrase, while no server runs
    Reseal(Reseal),
    /// Collect diagnostics for support in one file, without secrets, from a server that may be dead
    Bundle(Bundle),
}

#[derive(Debug, clap::Args)]
pub(super) struct Data {
    /// Folder of the identity and the database
    #[arg(
        long,
        env = "TSG_SERVER_DATA",
        default_value = "/var/lib/tsg-server",
        value_name = "DIR"
    )]
    pub(super) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct Bundle {
    #[command(flatten)]
    pub(super) data: Data,
    /// Where to: a file, a folder, `-` for standard output; by default a file in /tmp
    pub(super) file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) data: Data,
    #[command(flatten)]
    pub(super) seal: Seal,
    /// Address to listen on, `*` for all
    #[arg(long, env = "TSG_SERVER_LISTEN", default_value = "*", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Port that gateways connect to; 0 for any
    #[arg(long, env = "TSG_SERVER_PORT", default_value_t = 5555)]
    pub(super) port: u16,
    /// Address of the pages and the API, `*` for all; without a password nobody gets further than the sign-in page
    #[arg(long, env = "TSG_SERVER_WEB", default_value = "*", value_name = "ADDRESS")]
    pub(super) web: String,
    /// Port of the pages and the API; 0 for none
    #[arg(long, env = "TSG_SERVER_WEB_PORT", default_value_t = 8888, value_name = "PORT")]
    pub(super) web_port: u16,
    /// Certificate chain of the pages, in PEM; without it the server makes one for itself
    #[arg(long, env = "TSG_SERVER_WEB_CERT", requires = "web_key", value_name = "FILE")]
    pub(super) web_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, env = "TSG_SERVER_WEB_KEY", requires = "web_cert", value_name = "FILE")]
    pub(super) web_key: Option<PathBuf>,
    /// No TLS, behind a proxy on this machine: only with a loopback address
    #[arg(long, env = "TSG_SERVER_WEB_PLAIN", conflicts_with_all = ["web_cert", "web_key"])]
    pub(super) web_plain: bool,
    /// Port of the announcements; 0 for any
    #[arg(long, env = "TSG_SERVER_PUB_PORT", default_value_t = 5556, value_name = "PORT")]
    pub(super) pub_port: u16,
    #[command(flatten)]
    pub(super) notify: notify::Notify,
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

#[derive(Debug, Subcommand)]
pub(super) enum Gateway {
    /// All gateways, those that wait for approval first
    List,
    /// All that is known of one
    Show {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
    },
    /// Let one in; compare its fingerprint with `tsg fingerprint` on the box first
    Approve {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// The group that it joins
        #[arg(long)]
        group: String,
        /// The whole fingerprint, as the box shows it; must match
        #[arg(long)]
        fingerprint: Option<String>,
    },
    /// Let all in that wait and whose whole fingerprint is in a list, such as one of commissioning
    ApproveList {
        /// A file (`-` for standard input) with a fingerprint on each line; what stands behind it does not count, nor do
        /// empty lines and those that begin with `#`
        file: PathBuf,
        /// The group that they join
        #[arg(long)]
        group: String,
    },
    /// Throw one out; its group is given new keys
    Revoke {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// Why; the gateway is told
        #[arg(long)]
        reason: String,
    },
    /// Give one another name
    Rename {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// The new name
        name: String,
    },
    /// Forget one; a member is thrown out by that
    Remove {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
    },
    /// Say which machines are behind one, beyond those that it hears; none takes all back
    Pin {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// Addresses of the machines, all of them
        machines: Vec<IpAddr>,
    },
    /// Put words on one to find it by, in place of those that it has; none takes all away
    Tag {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// Up to 8 words of a-z, 0-9, `-`, `.` and `_`
        tags: Vec<String>,
    },
    /// Tell one to do something: rekey, reload, reregister, log-level=LEVEL, diagnostics, reboot
    Command {
        /// Its name, its fingerprint or the first digits of that, or its key
        gateway: String,
        /// What to do
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
    /// replay_window, activation_delay, revoke_delay, key_lifetime, island_time, fail, local_bypass,
    /// timed_bypass
    Set {
        group: String,
        #[arg(required = true, value_parser = setting, value_name = "SETTING=VALUE")]
        settings: Vec<(String, String)>,
    },
    /// Remove a group that nobody is in
    Remove { group: String },
    /// Who uses which service, as the gateways of a group in `learn` or `migrate` report, and what the rules do with it
    Flows { group: String },
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

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Everybody
    List,
    /// Somebody new; the password is asked for, or read from standard input
    Add {
        name: String,
        /// viewer, operator, security-officer or admin
        #[arg(long)]
        role: Role,
    },
    /// Give somebody another role; whoever is signed in has to do so again
    SetRole {
        name: String,
        /// viewer, operator, security-officer or admin
        role: Role,
    },
    /// Give somebody another password; it is asked for, or read from standard input
    SetPassword { name: String },
    /// Let somebody sign in with the password alone, who has lost the app that makes their codes
    NoSecondFactor { name: String },
    /// Take somebody away
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum ApiToken {
    /// All tokens
    List,
    /// A new one, which is shown only this once
    Create {
        /// What it is for
        name: String,
        /// viewer, operator, security-officer or admin
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// For how long it is good: 15m, 24h, 90d
        #[arg(long, default_value = "365d", value_parser = duration, value_name = "TIME")]
        expires: u32,
    },
    /// Make one worthless
    Revoke { id: u64 },
}
