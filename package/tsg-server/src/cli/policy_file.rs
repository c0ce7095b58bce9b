//! Rules from a file: what `policy show --json` prints, or just `{"rules": […]}`.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tsg_control::policy::{Action, Policy, Rule};

/// A longer file holds more than rules.
const MOST_BYTES: u64 = 512 * 1024;

/// What stands in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    /// The rules, in order.
    pub(super) rules: Vec<Rule>,
    /// Must be the group's own if given: it is a setting of the group.
    #[serde(default)]
    pub(super) default_action: Option<Action>,
    // `policy show --json` prints these; they say nothing about the rules.
    #[serde(default, rename = "group")]
    _group: Option<String>,
    #[serde(default, rename = "version")]
    _version: Option<u64>,
    #[serde(default, rename = "in_force")]
    _in_force: Option<u64>,
}

/// Reads a file, `-` for standard input.
pub(super) fn read(path: &Path) -> Result<PolicyFile> {
    let name = path.display().to_string();
    let mut text = String::new();
    let read = match name.as_str() {
        "-" => io::stdin().lock().take(MOST_BYTES + 1).read_to_string(&mut text),
        _ => {
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            file.take(MOST_BYTES + 1).read_to_string(&mut text)
        }
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > MOST_BYTES {
        bail!("{name} is longer than {MOST_BYTES} bytes");
    }
    parse(&text).with_context(|| name)
}

/// Reads the text of a file.
pub(super) fn parse(text: &str) -> Result<PolicyFile> {
    let policy: PolicyFile = serde_json::from_str(text).context("it holds no rules")?;
    check(&policy.rules)?;
    Ok(policy)
}

/// Rules as they are typed.
pub(super) fn rules(texts: &[String]) -> Result<Vec<Rule>> {
    texts.iter().map(|text| text.parse().with_context(|| format!("--rule {text:?}"))).collect()
}

fn check(rules: &[Rule]) -> Result<()> {
    Ok(Policy::new(rules.to_vec()).check()?)
}
