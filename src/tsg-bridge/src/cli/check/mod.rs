//! `tsg check`: is the configuration right, and can this machine do what it asks for?
//!
//! Leaves everything as it was and needs no key server. Each line says what was looked at and what to do.

mod attaches;
mod cipher;
mod kernel;
mod machine;
mod offload;
mod ports;
mod report;

use std::{io::Write, path::Path};

use anyhow::Result;

use super::Verdict;
use crate::{
    config::{Attach, Config},
    enrolment,
    folders::Folders,
    identity::{IDENTITY_FILE, Identity},
};
use machine::Machine;
use report::Report;

pub(super) fn run(folders: &Folders, out: &mut dyn Write) -> Result<Verdict> {
    let machine = Machine::new(Path::new("/"));
    check(folders, &machine, &attaches::try_here, &mut Report::new(out))
}

fn check(
    folders: &Folders,
    machine: &Machine,
    prober: attaches::Prober<'_>,
    report: &mut Report<'_>,
) -> Result<Verdict> {
    let config = configuration(folders, report)?;
    identity(folders, report)?;
    cipher::check(report)?;
    if let Some(config) = &config {
        ports::check(config, machine, report)?;
    }
    let attach = config.as_ref().map_or(Attach::Auto, |config| config.attach);
    kernel::check(attach, machine, report)?;
    if let Some(config) = &config {
        attaches::check(config, machine, prober, report)?;
    }
    offload::check(&folders.config, machine, report)?;
    report.verdict()
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
