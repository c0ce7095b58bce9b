//! The process of a tunnel.

use super::ends::Ends;
use super::settings::Tunnel;
use crate::run::quitting;
use anyhow::{Context as _, Result};

/// Runs the tunnel until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the key, the interface, the device, the way to the other end.
pub fn run(tunnel: &Tunnel) -> Result<()> {
    let signals = quitting()?;
    tsg_sodium::init()?;
    tsg_sodium::self_test()
        .context("the cipher does not compute what it should, so nothing would be safe")?;
    let ends = Ends::open(tunnel)?;
    let peer = tunnel.fixed().map_or_else(|| "whoever has the key".into(), |to| to.to_string());
    log::info!("{}: to {peer} over {}", tunnel.device, tunnel.carrier().name());
    ends.serve(&signals)
}
