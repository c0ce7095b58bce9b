//! Where the daemons' log messages go: to stderr on a terminal or when asked (procd, systemd and containers
//! collect it), else to syslog.
//!
//! Not here: what is logged. Messages may carry names and values from outside, so control characters are
//! shown as escapes and a message stays one line.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
    process,
    sync::Mutex,
};

use anyhow::{Result, anyhow};
use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

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
pub fn start(name: &'static str, target: Target, level: LevelFilter) -> Result<()> {
    let logger: Box<dyn Log> = match target.is_stderr() {
        true => Box::new(Stderr),
        false => Box::new(Syslog { name, connection: Mutex::default() }),
    };
    log::set_boxed_logger(logger).map_err(|_| anyhow!("the logger was started twice"))?;
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

/// The connection is made with the first message and again after logd was restarted.
struct Syslog {
    name: &'static str,
    connection: Mutex<Option<Logger<LoggerBackend, Formatter3164>>>,
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = one_line(record);
        let Ok(mut connection) = self.connection.lock() else { return };
        let sent = send(self.name, &mut connection, record.level(), &message)
            || send(self.name, &mut connection, record.level(), &message);
        if !sent && record.target() != SAID {
            to_stderr(record.level(), &message);
        }
    }

    fn flush(&self) {}
}

fn send(
    name: &str,
    connection: &mut Option<Logger<LoggerBackend, Formatter3164>>,
    level: Level,
    message: &str,
) -> bool {
    let logger = match connection {
        Some(logger) => logger,
        None => {
            let formatter = Formatter3164 {
                facility: Facility::LOG_DAEMON,
                hostname: None,
                process: name.to_owned(),
                pid: process::id(),
            };
            match syslog::unix(formatter) {
                Ok(logger) => connection.insert(logger),
                Err(_) => return false,
            }
        }
    };
    let sent = match level {
        Level::Error => logger.err(message),
        Level::Warn => logger.warning(message),
        Level::Info => logger.info(message),
        Level::Debug | Level::Trace => logger.debug(message),
    };
    if sent.is_err() {
        *connection = None;
    }
    sent.is_ok()
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
