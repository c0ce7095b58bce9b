//! What the key server or an operator wants done: typed commands, and the configuration read again.

use super::Control;
use crate::boottime;
use crate::config::Config;
use crate::run::diagnostics;
use tsg_control::message::{Command, CommandKind, Done, LogLevel};

impl Control {
    pub(super) fn carry_out(&mut self, command: Command) {
        let answer = match command.kind {
            CommandKind::Reload => {
                self.reload();
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

    /// Takes over what may change while running; the rest is for the next start.
    pub(super) fn reload(&mut self) {
        match Config::load(&self.folders.config_file()) {
            Ok((new, warnings)) => {
                for warning in warnings {
                    log::warn!("{warning}");
                }
                tsg_log::set_level(new.log_level);
                let same = Config {
                    rules: self.config.rules.clone(),
                    ports: self.config.ports.clone(),
                    oversize: self.config.oversize,
                    path_mtu: self.config.path_mtu,
                    fail: self.config.fail,
                    log_level: self.config.log_level,
                    ..new.clone()
                } == self.config;
                if !same {
                    log::warn!("server, bridge or attach changed: restart tsg to take that over");
                }
                self.config = Config {
                    rules: new.rules,
                    ports: new.ports,
                    oversize: new.oversize,
                    path_mtu: new.path_mtu,
                    fail: new.fail,
                    log_level: new.log_level,
                    ..self.config.clone()
                };
                self.offloads.follow(&self.config);
                self.stale_view = true;
                log::info!("configuration read again");
            }
            Err(error) => log::error!("the configuration stays as it was: {error:#}"),
        }
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
