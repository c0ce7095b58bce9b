//! Rules from a file: what `policy show --json` prints, or just `{"rules": […]}`.

use super::input;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;
use tsg_control::policy::{Action, Policy, Rule};

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
    parse(&input::text(path)?).with_context(|| path.display().to_string())
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
