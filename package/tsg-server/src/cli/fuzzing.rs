//! Doors for the fuzzers (tests/fuzz), and in no other build.

use super::args::{Args, Command, Gateway, Policy, User};
use super::{policy_file, show};
use crate::operations::{Answer, Operation};
use anyhow::{Result, bail};
use clap::Parser as _;
use tsg_control::policy::Rule;
use zeroize::Zeroizing;

/// What a command line asks of the server; nothing for one that reads a file or a password, or starts the server.
///
/// # Errors
/// It is wrong.
pub fn operation(words: &[String]) -> Result<Option<Operation>> {
    let args = Args::try_parse_from(words)?;
    match &args.command {
        Command::Run(_)
        | Command::User(User::Add { .. } | User::SetPassword { .. })
        | Command::Gateway(Gateway::ApproveList { .. })
        | Command::Policy(Policy::Set { file: Some(_), .. } | Policy::Check { .. }) => Ok(None),
        command => command.operation().map(Some),
    }
}

/// The rules in a file with this text.
///
/// # Errors
/// What is wrong with it.
pub fn rules(text: &str) -> Result<Vec<Rule>> {
    Ok(policy_file::parse(text)?.rules)
}

/// An answer as people read it.
///
/// # Errors
/// It is one that programs could not read.
pub fn shown(answer: &Answer) -> Result<Zeroizing<String>> {
    let json = serde_json::to_string(answer)?;
    if serde_json::from_str::<Answer>(&json)? != *answer {
        bail!("it does not read back as it was: {json}");
    }
    Ok(show::text(answer))
}
