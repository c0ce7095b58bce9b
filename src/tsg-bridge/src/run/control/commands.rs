//! What the key server or an operator wants done: typed commands, and the configuration read again.

use super::{Control, report};
use crate::boottime;
use crate::config::{Config, Problems};
use crate::enrolment;
use crate::run::cache::Cache;
use crate::run::diagnostics;
use crate::server::Link;
use anyhow::{Context as _, Result};
use tsg_control::message::{Command, CommandKind, Done, LogLevel};

impl Control {
    pub(super) fn carry_out(&mut self, command: Command) {
        let answer = match command.kind {
            CommandKind::Reload => {
                self.reload_or_say();
                Ok(String::new())
            }
            CommandKind::LogLevel(level) => {
                tsg_log::set_level(level_filter(level));
                Ok(String::new())
            }
            CommandKind::Diagnostics => Ok(diagnostics::text(self.overview(boottime::now()).json)),
            CommandKind::Reboot => {
                log::warn!("the key server wants this box to restart");
                std::process::Command::new("/sbin/reboot").spawn().map(|_| String::new())
            }
            CommandKind::Rekey | CommandKind::Reregister => Ok(String::new()),
        };
        let (ok, text) = match answer {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        };
        self.gateway.done(Done { command: command.command, ok, text });
    }

    /// Reads the configuration again. What may change while the gateway runs is taken over at once, without losing a
    /// packet or a key; for the rest it begins anew.
    ///
    /// # Errors
    /// The configuration cannot be read, or is wrong: it stays as it was.
    pub(in super::super) fn reload(&mut self) -> Result<()> {
        let (new, warnings) = Config::load(&self.folders.config_file())?;
        for warning in warnings {
            log::warn!("{warning}");
        }
        tsg_log::set_level(new.log_level);
        if !self.config.goes_over_to(&new) {
            log::info!("configuration read again: it changes so much that the gateway begins anew");
            self.again = Some(new);
            return Ok(());
        }
        let token = enrolment::pending(&self.folders)?;
        let name = self.config.name != new.name;
        if self.config.servers != new.servers {
            self.change_servers(&new)?;
        }
        self.config = new;
        self.offloads.follow(&self.config);
        if self.is_active() && (name || token.is_some()) {
            let name = self.config.gateway_name();
            self.gateway.introduce(name, token, boottime::now());
        }
        self.stale_view = true;
        log::info!("configuration read again");
        Ok(())
    }

    pub(in super::super) fn reload_or_say(&mut self) {
        if let Err(error) = self.reload() {
            for finding in Problems::each_of(&error) {
                log::error!("the configuration stays as it was: {finding}");
            }
        }
    }

    /// Makes the connection to the key server anew, and gives the server's address.
    ///
    /// # Errors
    /// There is none.
    pub(in super::super) fn reconnect(&mut self) -> Result<String> {
        let link = self.link.as_mut().context("no key server is set, or the gateway is off")?;
        link.reconnect();
        self.broken_off = 0;
        let server = link.server().map(ToString::to_string).unwrap_or_default();
        log::info!("connecting to {server} anew");
        Ok(server)
    }

    /// Other addresses of the same key server.
    fn change_servers(&mut self, new: &Config) -> Result<()> {
        let Some(key) = new.server_key.filter(|_| self.is_active()) else { return Ok(()) };
        self.link = Some(Link::open(&new.servers, key)?);
        self.broken_off = 0;
        self.turned_at = boottime::now();
        Ok(())
    }

    /// What another key server has said is nothing to go on with.
    pub(super) fn forget_other_server(&mut self, new: &Config) {
        if self.config.server_key.is_none() || new.server_key == self.config.server_key {
            return;
        }
        log::info!("another key server is set: the keys of the one before are forgotten");
        self.gateway.forget();
        self.cache = None;
        report(Cache::clear(&self.folders), "what is kept for after a power cut cannot be deleted");
    }
}

const fn level_filter(level: LogLevel) -> log::LevelFilter {
    match level {
        LogLevel::Error => log::LevelFilter::Error,
        LogLevel::Warn => log::LevelFilter::Warn,
        LogLevel::Info => log::LevelFilter::Info,
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Trace => log::LevelFilter::Trace,
    }
}
