//! `tsg check`: is the configuration right, and can this machine do what it asks for?
//!
//! Leaves everything as it was and needs no key server. Each line says what was looked at and what to do. Beside a
//! gateway that runs nothing is tried: it says itself what works, and trying takes turns with it in the kernel.

mod attaches;
mod cipher;
mod kernel;
mod modules;
mod offload;
mod offloads;
mod ports;
mod report;
mod rights;
mod room;
mod running;

use std::{io::Write, path::Path};

use anyhow::Result;
use serde_json::Value;

use super::{Verdict, ask};
use crate::{
    attach::Kind,
    config::{Attach, Config},
    enrolment,
    folders::Folders,
    identity::{IDENTITY_FILE, Identity},
    machine::Machine,
};
use report::Report;

/// Where answers come from that are not in files. A test's machine has its own.
struct Sources<'a> {
    prober: attaches::Prober<'a>,
    offloads: offloads::Reader<'a>,
    room: &'a dyn Fn(&Path) -> Option<room::Room>,
    daemon: Daemon<'a>,
}

/// The gateway of these folders.
#[derive(Clone, Copy, Debug)]
enum Daemon<'a> {
    /// None runs.
    Absent,
    /// One runs, and does not answer.
    Silent,
    /// What it says of itself.
    Says(&'a Value),
}

impl<'a> Daemon<'a> {
    const fn status(self) -> Option<&'a Value> {
        match self {
            Self::Absent | Self::Silent => None,
            Self::Says(status) => Some(status),
        }
    }
}

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<Verdict> {
    let status = ask::ask(folders, "status", Value::Null);
    let daemon = match &status {
        Ok(status) => Daemon::Says(status),
        Err(_) if ask::is_running(folders) => Daemon::Silent,
        Err(_) => Daemon::Absent,
    };
    let sources = here(daemon);
    let machine = Machine::new(Path::new("/"));
    if !json {
        let mut report = Report::new(out);
        check(folders, &machine, &sources, &mut report)?;
        return Ok(report.verdict());
    }
    let mut report = Report::silent();
    check(folders, &machine, &sources, &mut report)?;
    let verdict = report.verdict();
    writeln!(out, "{}", report.json())?;
    Ok(verdict)
}

/// What `tsg check --json` says, for the running gateway itself, whose `status` it is. Takes a few milliseconds: files
/// are read and the ports are asked for their features; nothing is tried, run or waited for.
///
/// # Errors
/// There is no way to say anything; what is wrong with the machine is no error.
pub(crate) fn preflight(folders: &Folders, status: &Value) -> Result<Value> {
    let mut report = Report::silent();
    let machine = Machine::new(Path::new("/"));
    check(folders, &machine, &here(Daemon::Says(status)), &mut report)?;
    Ok(report.json())
}

fn here(daemon: Daemon<'_>) -> Sources<'_> {
    Sources {
        prober: &attaches::try_here,
        offloads: &crate::offloads::read,
        room: &room::here,
        daemon,
    }
}

fn check(
    folders: &Folders,
    machine: &Machine,
    sources: &Sources<'_>,
    report: &mut Report<'_>,
) -> Result<()> {
    let config = configuration(folders, report)?;
    identity(folders, report)?;
    cipher::check(report)?;
    rights::check(machine, report)?;
    if let Some(config) = &config {
        ports::check(config, machine, report)?;
    }
    let attach = config.as_ref().map_or(Attach::Auto, |config| config.attach);
    kernel::check(attach, machine, report)?;
    if let Some(config) = &config {
        match sources.daemon {
            Daemon::Says(status) if has_bridges(status) => running::attach(status, report)?,
            Daemon::Silent => {}
            Daemon::Says(_) | Daemon::Absent => {
                attaches::check(config, machine, sources.prober, report)?;
            }
        }
        let kind = kind(config, sources.daemon.status());
        kernel::firewall(config, kind, machine, report)?;
        modules::check(config, kind, machine, report)?;
        offloads::check(config, kind, machine, sources.offloads, report)?;
    }
    offload::check(&folders.config, machine, report)?;
    if config.is_some() {
        running::server(sources.daemon, report)?;
    }
    room::check(folders, (sources.room)(&folders.state), machine, report)?;
    report.close()
}

fn has_bridges(status: &Value) -> bool {
    let bridges = status.get("bridges").and_then(Value::as_array);
    bridges.is_some_and(|bridges| !bridges.is_empty())
}

/// The attach that runs, or the one that is wanted if that is one.
fn kind(config: &Config, status: Option<&Value>) -> Option<Kind> {
    let bridge = status.and_then(|status| status.get("bridges")?.get(0)?.get("attach")?.as_str());
    let running = Kind::ALL.into_iter().find(|kind| bridge == Some(kind.name()));
    running.or(match config.attach {
        Attach::NfqueueNft => Some(Kind::NfqueueNft),
        Attach::NfqueueIptables => Some(Kind::NfqueueIptables),
        Attach::Ingress => Some(Kind::Ingress),
        Attach::Auto if config.bridges.iter().any(|bridge| bridge.standalone) => {
            Some(Kind::Ingress)
        }
        Attach::Auto | Attach::Nfqueue => None,
    })
}

fn configuration(folders: &Folders, report: &mut Report<'_>) -> Result<Option<Config>> {
    let path = folders.config_file();
    let (config, warnings) = match Config::load(&path) {
        Ok(loaded) => loaded,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                report.problem("configuration", line)?;
            }
            return Ok(None);
        }
    };
    for warning in &warnings {
        report.warning("configuration", &warning.to_string())?;
    }
    report.good("configuration", &format!("{} can be used", path.display()))?;
    if !config.enabled {
        report.warning("configuration", "the gateway is off (`option enabled '0'`)")?;
    } else if config.servers.is_empty() {
        let text = "no key server is set, so the gateway is idle and puts up no rules; see `tsg help enrol`";
        report.warning("configuration", text)?;
    }
    // Ports that an idle gateway does not touch are no problem.
    Ok(Some(config).filter(|config| !config.is_idle()))
}

fn identity(folders: &Folders, report: &mut Report<'_>) -> Result<()> {
    let path = folders.state.join(IDENTITY_FILE);
    if path.symlink_metadata().is_err() {
        return report
            .warning("identity", "there is none yet; the gateway makes it when it starts");
    }
    match Identity::load(&folders.state) {
        Ok(identity) => {
            report.good("identity", &format!("fingerprint {}", identity.public().fingerprint()))?;
        }
        Err(error) => report.problem("identity", &format!("{error:#}"))?,
    }
    match enrolment::pending(folders) {
        Ok(Some(_)) => report.good("enrolment", "a token waits to be sent to the key server"),
        Ok(None) => Ok(()),
        Err(error) => report.problem("enrolment", &format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests;
