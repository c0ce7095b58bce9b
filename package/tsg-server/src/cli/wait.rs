//! Waiting until what was ordered is in force.

use super::client::Client;
use crate::operations::{Answer, Operation};
use anyhow::{Result, bail};
use std::thread;
use std::time::{Duration, Instant};
use tsg_control::timeline::Stage;

/// The server is asked this often.
const AGAIN: Duration = Duration::from_millis(100);

/// Comes back when the epoch that `answer` names seals.
pub(super) fn until_in_force(
    client: &mut Client,
    operation: &Operation,
    answer: &Answer,
    limit: Duration,
) -> Result<()> {
    let (Operation::Rekey { group }, Answer::Rekeying { epoch }) = (operation, answer) else {
        return Ok(());
    };
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let Answer::Group(view) = client.ask(&Operation::GroupShow { group: group.clone() })? else {
            bail!("the key server answers something else");
        };
        if view.epochs.iter().any(|e| e.id >= *epoch && e.stage == Stage::Active) {
            return Ok(());
        }
        thread::sleep(AGAIN);
    }
    bail!("epoch {epoch} of {group} is not in force after {} seconds", limit.as_secs())
}
