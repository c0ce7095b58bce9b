//! Arguments into [`Options`]; nothing is read or done here.

mod setup;
#[cfg(feature = "tunnel")]
mod tunnel;
#[cfg(not(feature = "tunnel"))]
#[path = "args/elsewhere.rs"]
mod tunnel;

use std::{ffi::OsString, fmt, path::PathBuf};

use lexopt::{
    Parser,
    prelude::{Long, Short, Value},
};

use super::{Carry, help, setup::Setup};
use crate::{folders::Folders, ubus::Choice};
use tsg_control::group::seconds;
use tsg_log::Target;

/// A whole command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where this gateway's files are.
    pub folders: Folders,
    /// Where `run` logs to.
    pub log: Target,
    /// Which ubus `run` is on.
    pub ubus: Choice,
    /// What to do.
    pub command: Command,
}

/// What `tsg` can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the gateway, in the foreground.
    Run,
    /// Ask the running gateway how it is.
    Status {
        /// As it answered, one line.
        json: bool,
    },
    /// Let pass in clear for a while what is to be sealed.
    Bypass {
        /// For how long; 0 ends it, none only asks.
        seconds: Option<u32>,
    },
    /// Who talks in clear although a rule wants it sealed.
    Flows {
        /// As the gateway answered, one line.
        json: bool,
    },
    /// Have the running gateway connect to the key server anew.
    Reconnect,
    /// Make an identity.
    Keygen {
        /// Throw away the one that is there.
        force: bool,
    },
    /// Show the public key and its fingerprint.
    Fingerprint,
    /// Take a token of the key server.
    Enrol {
        /// Where the token is; none is stdin.
        file: Option<PathBuf>,
    },
    /// Look at the configuration and the machine.
    Check {
        /// For programs.
        json: bool,
    },
    /// Bring the ports' offloads to what the configuration wants.
    Offloads {
        /// To what they were before.
        restore: bool,
    },
    /// Make ports a gateway's.
    Setup(Setup),
    /// Collect diagnostics for support.
    Bundle {
        /// Where to; none is a file in /tmp, `-` standard output.
        file: Option<PathBuf>,
    },
    /// Hold `closed` before the daemon runs, or what else is to stand on the ports without it.
    Gate(Gate),
    /// Carry whole packets to another host, sealed.
    Tunnel(Carry),
    /// Take over the predecessor's configuration.
    Import {
        /// Its `cb.conf`.
        file: PathBuf,
        /// Throw away the identity that is there.
        force: bool,
    },
    /// Explain.
    Help {
        /// A command; none is all of them.
        topic: Option<String>,
    },
    /// Show the version.
    Version,
}

/// What `tsg gate` leaves on the ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// What the configuration and the last policy say.
    Hold,
    /// Before the policy can be read: nothing crosses.
    Isolate,
    /// Nothing of ours, whatever the configuration says.
    Clear {
        /// On these ports; none are those of the configuration.
        ports: Vec<String>,
    },
}

/// What is wrong with the arguments, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// Of a program that has tunnels alone.
    pub(super) fn gateway() -> Self {
        Self("that is the gateway's, and this program has tunnels alone: install the package tsg-bridge".to_owned())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

impl Options {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self, UsageError> {
        let mut found = Found::default();
        let mut parser = Parser::from_args(arguments.into_iter().map(tunnel::modern));
        while let Some(argument) = parser.next()? {
            match argument {
                Short('c') | Long("config") => found.folders.config = folder(&mut parser)?,
                Long("state") => found.folders.state = folder(&mut parser)?,
                Long("run") => found.folders.run = folder(&mut parser)?,
                Long("log") => found.log = target(&parser.value()?)?,
                Long("ubus") => found.ubus = bus(&mut parser)?,
                Long("json") => found.flag("json"),
                Long("force") => found.flag("force"),
                Long("isolate") => found.flag("isolate"),
                Long("apply") => found.flag("apply"),
                Long("undo") => found.flag("undo"),
                Long("confirm") => found.flag("confirm"),
                Long("expire") => found.flag("expire"),
                Long("watch") => found.flag("watch"),
                Long("standalone") => found.flag("standalone"),
                Long("udp") => found.flag("udp"),
                Long("group") => found.flag("group"),
                Long("transport") => found.flag("transport"),
                Long("static") => found.flag("static"),
                Long("xfrm") => found.flag("xfrm"),
                Long(
                    name @ ("lan" | "wan" | "address" | "vlan" | "rollback" | "dst" | "tun" | "key"
                    | "key-file" | "mtu" | "cipher"),
                ) => {
                    let name = name.to_owned();
                    found.values.push((name, text(parser.value()?)?));
                }
                Long("clear") => found.flag("clear"),
                Long("file") => found.file = Some(parser.value()?.into()),
                Short('h') | Long("help") => found.help = true,
                Short('V') | Long("version") => found.words.insert(0, "version".into()),
                Value(word) => {
                    found.words.push(word);
                    if tunnel::is_elsewhere(&found.words) {
                        break;
                    }
                }
                other @ (Short(_) | Long(_)) => return Err(other.unexpected().into()),
            }
        }
        found.options()
    }
}

#[derive(Default)]
struct Found {
    folders: Folders,
    log: Target,
    ubus: Choice,
    flags: Vec<&'static str>,
    file: Option<PathBuf>,
    /// Options of `setup` and `tunnel`, which take a value.
    values: Vec<(String, String)>,
    help: bool,
    words: Vec<OsString>,
}

impl Found {
    fn flag(&mut self, name: &'static str) {
        self.flags.push(name);
    }

    fn options(mut self) -> Result<Options, UsageError> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let command = match words.next() {
            None if self.help => Command::Help { topic: None },
            None => return Err(UsageError("say what to do, such as `tsg status`".to_owned())),
            Some(word) => self.command(&word.to_string_lossy(), &mut words)?,
        };
        self.nothing_left(words.next())?;
        Ok(Options { folders: self.folders, log: self.log, ubus: self.ubus, command })
    }

    fn command(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Command, UsageError> {
        if self.help && help::is_topic(word) {
            words.for_each(drop);
            return Ok(Command::Help { topic: Some(word.to_owned()) });
        }
        Ok(match word {
            "run" => Command::Run,
            "status" => Command::Status { json: self.take("json") },
            "bypass" => {
                Command::Bypass { seconds: words.next().as_ref().map(duration).transpose()? }
            }
            "flows" => Command::Flows { json: self.take("json") },
            "reconnect" => Command::Reconnect,
            "keygen" => Command::Keygen { force: self.take("force") },
            "fingerprint" => Command::Fingerprint,
            "enrol" | "enroll" => self.enrol(words)?,
            "check" => Command::Check { json: self.take("json") },
            "offloads" => Command::Offloads { restore: restore(words.next())? },
            "setup" => Command::Setup(self.setup()?),
            "bundle" => Command::Bundle { file: words.next().map(PathBuf::from) },
            "gate" => Command::Gate(self.gate(words)),
            "tunnel" => self.tunnel_command(words)?,
            "import" => Command::Import {
                file: words.next().map(PathBuf::from).ok_or_else(|| {
                    UsageError("`tsg import` needs the file, such as /etc/cb.conf".to_owned())
                })?,
                force: self.take("force"),
            },
            "help" => help(words.next())?,
            "version" => Command::Version,
            other => return Err(UsageError(format!("{other:?} is not a command"))),
        })
    }

    /// A token among the arguments would be seen by everybody: refuse it and do not repeat it.
    fn enrol(&mut self, words: &mut impl Iterator<Item = OsString>) -> Result<Command, UsageError> {
        if words.next().is_some() {
            return Err(UsageError(
                "a token must not be an argument, since others can see it there; ask for a new one \
                 and pipe it into `tsg enrol`, or use `tsg enrol --file FILE`"
                    .to_owned(),
            ));
        }
        Ok(Command::Enrol { file: self.file.take() })
    }

    fn gate(&mut self, words: &mut impl Iterator<Item = OsString>) -> Gate {
        if self.take("isolate") {
            return Gate::Isolate;
        }
        if !self.take("clear") {
            return Gate::Hold;
        }
        Gate::Clear { ports: words.map(|word| word.to_string_lossy().into_owned()).collect() }
    }

    fn take(&mut self, flag: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|found| *found != flag);
        self.flags.len() != before
    }

    fn nothing_left(&self, word: Option<OsString>) -> Result<(), UsageError> {
        let value = self.values.first().map(|(name, _)| name.as_str());
        let left = match (word, self.flags.first().copied().or(value), &self.file) {
            (Some(word), _, _) => word.to_string_lossy().into_owned(),
            (None, Some(flag), _) => format!("--{flag}"),
            (None, None, Some(_)) => "--file".to_owned(),
            (None, None, None) => return Ok(()),
        };
        Err(UsageError(format!("{left:?} does not go with this command")))
    }
}

fn help(topic: Option<OsString>) -> Result<Command, UsageError> {
    let Some(topic) = topic else { return Ok(Command::Help { topic: None }) };
    let topic = topic.to_string_lossy().into_owned();
    if help::is_topic(&topic) {
        return Ok(Command::Help { topic: Some(topic) });
    }
    Err(UsageError(format!("there is no help on {topic:?}")))
}

fn restore(word: Option<OsString>) -> Result<bool, UsageError> {
    match word {
        None => Ok(false),
        Some(word) if word == "restore" => Ok(true),
        Some(word) => {
            Err(UsageError(format!("`tsg offloads` or `tsg offloads restore`, not {word:?}")))
        }
    }
}

fn text(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError(format!("{word:?} is not text")))
}

fn duration(word: &OsString) -> Result<u32, UsageError> {
    let seconds = match word.to_str() {
        Some("off") => Some(0),
        Some(text) => seconds(text).filter(|&seconds| seconds > 0),
        None => None,
    };
    seconds.ok_or_else(|| {
        UsageError(format!("a bypass lasts 90s, 15m or 2h, or is off, not {word:?}"))
    })
}

fn folder(parser: &mut Parser) -> Result<PathBuf, UsageError> {
    let path = PathBuf::from(parser.value()?);
    if path.as_os_str().is_empty() {
        return Err(UsageError("the name of a folder is empty".to_owned()));
    }
    Ok(path)
}

fn bus(parser: &mut Parser) -> Result<Choice, UsageError> {
    let word = parser.value()?;
    match word.to_str() {
        Some("") => Err(UsageError("--ubus is a socket, or none".to_owned())),
        Some("none") => Ok(Choice::None),
        _ => Ok(Choice::At(word.into())),
    }
}

fn target(word: &OsString) -> Result<Target, UsageError> {
    match word.to_str() {
        Some("auto") => Ok(Target::Auto),
        Some("stderr") => Ok(Target::Stderr),
        Some("syslog") => Ok(Target::Syslog),
        _ => Err(UsageError(format!("--log is auto, stderr or syslog, not {word:?}"))),
    }
}
