//! `tsg check`: is the configuration right, and can this machine do what it asks for?
//!
//! Changes nothing and needs no key server. Each line says what was looked at and what to do.

mod report;

use std::io::Write;

use anyhow::Result;

use super::Verdict;
use crate::{config::Config, folders::Folders, identity::Identity};
use report::Report;

pub(super) fn run(folders: &Folders, out: &mut dyn Write) -> Result<Verdict> {
    let mut report = Report::new(out);
    let _config = configuration(folders, &mut report)?;
    identity(folders, &mut report)?;
    report.verdict()
}

fn configuration(folders: &Folders, report: &mut Report<'_>) -> Result<Option<Config>> {
    let path = folders.config_file();
    match Config::load(&path) {
        Ok((config, warnings)) => {
            for warning in &warnings {
                report.warning("configuration", &warning.to_string())?;
            }
            report.good("configuration", &path.display().to_string())?;
            Ok(Some(config))
        }
        Err(error) => {
            for line in format!("{error:#}").lines() {
                report.problem("configuration", line)?;
            }
            Ok(None)
        }
    }
}

fn identity(folders: &Folders, report: &mut Report<'_>) -> Result<()> {
    match Identity::load(&folders.state) {
        Ok(identity) => report.good("identity", &identity.public().fingerprint().to_string()),
        Err(error) => report.problem("identity", &format!("{error:#}")),
    }
}
