//! `tsg-server restore`: from a backup to an empty data folder. No server is asked: there is none.

use super::args::Restore;
use crate::age::Identity;
use crate::backup::{self, Report};
use crate::operations::Operator;
use crate::{files, seal};
use anyhow::{Context, Result};
use nix::unistd::{geteuid, getpid};
use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};

pub(super) fn run(wanted: &Restore, in_json: bool) -> Result<()> {
    tsg_sodium::init()?;
    let shown = wanted.identity.display();
    let text = files::read_named(&wanted.identity, "--identity")?;
    let identities =
        Identity::read_all(&text).with_context(|| format!("{shown} holds no identity"))?;
    let called = wanted.backup.display().to_string();
    let from: Box<dyn Read> = match called.as_str() {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(&wanted.backup).with_context(|| format!("cannot read {called}"))?),
    };
    // A passphrase from the terminal is a new one: there is nothing here yet.
    let secret = wanted.seal.asked().read(true)?;
    let operator = Operator::peer(geteuid().as_raw(), getpid().as_raw());
    let report = backup::restore(
        BufReader::new(from),
        &called,
        &identities,
        &wanted.data.data,
        secret,
        &operator,
    )?;
    let text = if in_json { json(&report)? } else { words(&report) };
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn json(report: &Report) -> Result<String> {
    let value = serde_json::json!({
        "manifest": report.manifest,
        "secrets": report.state.to_string(),
        "groups": report.groups,
        "gateways": report.gateways,
        "users": report.users,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn words(report: &Report) -> String {
    let Report { manifest, state, groups, gateways, users } = report;
    let clear = match state {
        seal::State::Clear => " (give --seal-key to seal them)",
        seal::State::Key(_) | seal::State::Passphrase => "",
    };
    format!(
        "restored     the key server {}\nas it was    {} UTC, by tsg-server {}\n\
         in it        {groups} groups, {gateways} gateways, {users} users\nsecrets      {state}{clear}\n\n\
         Start it, and order again what was ordered since, above all revocations.\n",
        manifest.server,
        tsg_bundle::utc(manifest.made),
        manifest.version,
    )
}
