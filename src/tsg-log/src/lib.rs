//! Where the daemons' log messages go: to stderr on a terminal or when asked (procd, systemd and containers
//! collect it), else to syslog.
//!
//! Not here: what is logged. Messages may carry names and values from outside, so control characters are
//! shown as escapes and a message stays one line.

use std::{
    ffi::CStr,
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Result, anyhow};
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::syslog::{Facility, LogFlags, Severity, openlog, syslog};

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";

/// Longer messages are cut.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The log target of what the program says on stderr by itself: it goes to syslog, and never to stderr.
pub const SAID: &str = "tsg-said";

/// The log target of what is to stay on this machine: it has a secret in it, or goes elsewhere by another way. Whoever
/// [listens](listen) does not get it.
pub const HERE: &str = "tsg-here";

/// Takes messages besides.
type Listener = Box<dyn Fn(Level, &str) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// From now on this function gets every message, too, as the one line that it is; to be called once in a process. It must
/// neither block nor log.
///
/// # Errors
/// Somebody listens already.
pub fn listen(take: impl Fn(Level, &str) + Send + Sync + 'static) -> Result<()> {
    LISTENER.set(Box::new(take)).map_err(|_| anyhow!("two listen to the log"))
}

fn tell_listener(record: &Record<'_>, message: &str) {
    if let Some(listener) = LISTENER.get()
        && ![SAID, HERE].contains(&record.target())
    {
        listener(record.level(), message);
    }
}

/// Where messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Stderr if that is a terminal, else syslog.
    #[default]
    Auto,
    /// Stderr.
    Stderr,
    /// The system's log socket.
    Syslog,
}

impl Target {
    /// Do messages go to stderr?
    pub fn is_stderr(self) -> bool {
        match self {
            Self::Auto => io::stderr().is_terminal(),
            Self::Stderr => true,
            Self::Syslog => false,
        }
    }
}

/// Installs the logger of the program `name`; to be called once in a process.
///
/// # Errors
/// There is a logger already.
pub fn start(name: &'static CStr, target: Target, level: LevelFilter) -> Result<()> {
    let logger: &dyn Log = match target.is_stderr() {
        true => &Stderr,
        false => {
            openlog(Some(name), LogFlags::LOG_PID, Facility::LOG_DAEMON)?;
            &Syslog
        }
    };
    log::set_logger(logger).map_err(|_| anyhow!("the logger was started twice"))?;
    set_level(level);
    Ok(())
}

/// Changes how much is logged, from the next message on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) && record.target() != SAID {
            let message = one_line(record);
            to_stderr(record.level(), &message);
            tell_listener(record, &message);
        }
    }

    fn flush(&self) {}
}

/// The C library's, which connects again after logd was restarted.
struct Syslog;

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = one_line(record);
        // The C library does not tell whether somebody listens.
        let sent = Path::new(SOCKET).exists() && syslog(severity(record.level()), &message).is_ok();
        if !sent && record.target() != SAID {
            to_stderr(record.level(), &message);
        }
        tell_listener(record, &message);
    }

    fn flush(&self) {}
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

/// With nowhere left to say it, a failure to write is not reported.
fn to_stderr(level: Level, message: &str) {
    let level = level.as_str().to_ascii_lowercase();
    let _ = writeln!(io::stderr().lock(), "{level}: {message}");
}

/// Libraries speak only when something is wrong.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.level() <= log::max_level()
        && (metadata.target().starts_with("tsg") || metadata.level() <= Level::Warn)
}

fn one_line(record: &Record<'_>) -> String {
    let mut line = String::new();
    for character in record.args().to_string().chars() {
        if line.len() >= MAX_MESSAGE_BYTES {
            line.push('…');
            break;
        }
        match character.is_control() {
            true => {
                let _ = write!(line, "{}", character.escape_default());
            }
            false => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        one_line(&Record::builder().args(format_args!("{text}")).build())
    }

    #[test]
    fn a_message_stays_one_line() {
        assert_eq!(shown("plain, größer"), "plain, größer");
        assert_eq!(shown("a\nerror: forged"), "a\\nerror: forged");
        assert_eq!(shown("\u{1b}[31m"), "\\u{1b}[31m");
        assert!(shown(&"x".repeat(10_000)).len() < MAX_MESSAGE_BYTES + 8);
    }

    #[test]
    fn who_listens_does_not_hear_what_stays_here() {
        static HEARD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
        listen(|level, text| HEARD.lock().unwrap().push(format!("{level} {text}"))).unwrap();
        let say = |target: &str, text: &str| {
            let mut record = Record::builder();
            record.target(target).level(Level::Warn);
            tell_listener(&record.args(format_args!("{text}")).build(), text);
        };
        say("tsg_server::daemon", "plain");
        say(HERE, "secret");
        say(SAID, "said");
        assert_eq!(*HEARD.lock().unwrap(), ["WARN plain"]);
        assert!(listen(|_, _| {}).is_err());
    }

    #[test]
    fn the_level_can_change_while_running() {
        set_level(LevelFilter::Warn);
        let info = Metadata::builder().level(Level::Info).target("tsg_bridge::x").build();
        assert!(!is_ours(&info));
        set_level(LevelFilter::Info);
        assert!(is_ours(&info));
        let library = Metadata::builder().level(Level::Info).target("other").build();
        assert!(!is_ours(&library));
    }
}
