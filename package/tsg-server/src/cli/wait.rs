//! Waiting until what was ordered is so.

use super::client::Client;
use crate::operations::{Answer, Operation};
use anyhow::{Result, bail};
use std::thread;
use std::time::{Duration, Instant};
use tsg_control::timeline::Stage;

/// The server is asked this often.
const AGAIN: Duration = Duration::from_millis(100);

/// Comes back when the epoch that `answer` names is in force, or the gateway has answered a
/// command. Gives what is to be shown then.
pub(super) fn until_done(
    client: &mut Client,
    operation: &Operation,
    answer: Answer,
    limit: Duration,
) -> Result<Answer> {
    let end = Instant::now() + limit;
    loop {
        let done = match (operation, &answer) {
            (Operation::Rekey { group }, Answer::Rekeying { epoch, .. }) => {
                in_force(client, group, *epoch)?
            }
            (_, Answer::Commanded { command }) => outcome(client, *command)?,
            _ => return Ok(answer),
        };
        match done {
            Some(done) => return Ok(done),
            None if Instant::now() < end => thread::sleep(AGAIN),
            None => return late(answer, limit),
        }
    }
}

fn in_force(client: &mut Client, group: &str, epoch: u64) -> Result<Option<Answer>> {
    let show = Operation::GroupShow { group: group.to_owned() };
    let Answer::Group(view) = client.ask(&show)? else {
        bail!("the key server answers something else");
    };
    let active = |e: &tsg_control::server::EpochView| e.id >= epoch && e.stage == Stage::Active;
    let there = view.epochs.iter().any(active);
    Ok(there.then_some(Answer::Rekeying { epoch, in_force: true }))
}

fn outcome(client: &mut Client, command: u64) -> Result<Option<Answer>> {
    let Answer::Outcome(outcome) = client.ask(&Operation::GatewayOutcome { command })? else {
        bail!("the key server answers something else");
    };
    Ok(outcome.answered.then_some(Answer::Outcome(outcome)))
}

/// A gateway that restarts says nothing: that is no failure.
fn late(answer: Answer, limit: Duration) -> Result<Answer> {
    if let Answer::Rekeying { epoch, .. } = answer {
        bail!("epoch {epoch} is not in force after {} seconds: see `status`", limit.as_secs());
    }
    Ok(answer)
}
