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
            to_stderr(record.level(), &one_line(record));
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
