//! `tsg-server health`: does the daemon do its work? For container engines, and scripts that start it again.
//!
//! What answers is the main thread, after it has stored what it had to: one that hangs, or waits for its disk, is not well.

use super::client::Client;
use crate::operations::Operation;
use anyhow::Result;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

/// The daemon answers within milliseconds, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(socket: &Path) -> Result<()> {
    let mut client = Client::connect(socket)?;
    client.wait_at_most(PATIENCE)?;
    client.ask(&Operation::Key {})?;
    // Whoever asks may not care for the words.
    let _ = writeln!(io::stdout().lock(), "well");
    Ok(())
}
