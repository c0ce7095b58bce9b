//! `crowd FIRST`: as many gateways as there are enrolment tokens on standard input, one on each line. They are what `tsg run` is
//! to a key server: the same identity, link and state machine, and behind each one machine. What is missing is the data path.
//!
//! Whenever something has changed it prints, as one line of JSON, how far they all are. It ends with its standard input.

mod gateway;
mod sys;

use anyhow::{Context as _, Result};
use gateway::Gateway;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{self, BufRead as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use tsg_bridge::boottime;
use tsg_control::token::Token;

/// A line at most this often, in milliseconds.
const SAY_AGAIN: u64 = 20;

/// How far all of them are.
#[derive(Clone, Copy, Default, PartialEq)]
struct Progress {
    /// Those whose connection is there.
    connected: usize,
    /// Those that the server has let in, and answers.
    members: usize,
    /// The newest epoch that all of them have the key of.
    has: u64,
    /// The newest epoch that all of them seal in.
    seals: u64,
}

fn main() -> Result<()> {
    let first: u32 = std::env::args().nth(1).context("crowd FIRST")?.parse().context("FIRST")?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut lines = io::stdin().lock().lines();
    let mut gateways = Vec::new();
    for number in first.. {
        // An empty line ends the list.
        let line = lines.next().context("the tokens end with an empty line")??;
        if line.is_empty() {
            break;
        }
        let token = Token::decode(&line)?;
        gateways.push(Gateway::new(number, token)?);
    }
    run(&mut gateways)
}

fn run(gateways: &mut [Gateway]) -> Result<()> {
    let (mut said, mut said_at) = (Progress::default(), 0);
    let input = io::stdin();
    loop {
        let now = boottime::now();
        let to_do = |gateway: &&mut Gateway| gateway.is_ready || gateway.due <= now;
        gateways.iter_mut().filter(to_do).for_each(Gateway::turn);
        let now = boottime::now();
        let progress = progress(gateways);
        if progress != said && now >= said_at + SAY_AGAIN {
            (said, said_at) = (progress, now);
            say(&progress, now)?;
        }
        let mut due = gateways.iter().map(|gateway| gateway.due).min().unwrap_or(now);
        if progress != said {
            due = due.min(said_at + SAY_AGAIN);
        }
        let wait = u16::try_from(due.saturating_sub(now)).unwrap_or(u16::MAX);
        if wait_for(gateways, input.as_raw_fd(), wait)? {
            return Ok(());
        }
    }
}

/// Gives whether standard input has ended, and notes which gateways have something to do.
fn wait_for(gateways: &mut [Gateway], input: RawFd, wait: u16) -> Result<bool> {
    let mut files = vec![sys::file(input, false)];
    let mut of = Vec::with_capacity(gateways.len());
    for gateway in gateways {
        if let Some((file, writes)) = gateway.descriptor() {
            files.push(sys::file(file, writes));
            of.push(gateway);
        }
    }
    sys::poll(&mut files, wait).context("cannot wait")?;
    for (gateway, file) in of.into_iter().zip(&files[1..]) {
        gateway.is_ready = file.revents != 0;
    }
    Ok(files[0].revents != 0)
}

fn progress(gateways: &[Gateway]) -> Progress {
    let count = |is: fn(&&Gateway) -> bool| gateways.iter().filter(is).count();
    Progress {
        connected: count(|gateway| gateway.is_connected),
        members: count(|gateway| gateway.is_member),
        has: gateways.iter().map(|gateway| gateway.has).min().unwrap_or(0),
        seals: gateways.iter().map(|gateway| gateway.seals).min().unwrap_or(0),
    }
}

fn say(progress: &Progress, now: u64) -> Result<()> {
    let Progress { connected, members, has, seals } = *progress;
    let line = serde_json::json!({
        "at": now, "connected": connected, "members": members, "has": has, "seals": seals,
    });
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
