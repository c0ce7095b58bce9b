//! Which queue: the numbers of those that nobody has, bound. Not here: what comes out of them.

use super::message;
use crate::netlink::{Family, Socket};
use crate::rules::Queues;
use anyhow::{Context as _, Result, bail};
use std::io;

/// Number of the first queue, unlikely to be another program's. Each gateway of a machine takes the first
/// free ones from here.
const FIRST_QUEUE: u16 = 25_300;

/// How many are tried.
const QUEUES: u16 = 256;

/// Packets that wait in a queue before the kernel drops: what a slow router handles in 20 ms. Who sends more than
/// can be handled shall notice early, and the others not wait behind him.
const WAITING: u32 = 1_024;

/// Memory for the messages of those that wait.
const SOCKET_BYTES: i32 = 8 << 20;

/// Binds the first `count` neighbouring queues that nobody has.
pub(super) fn bind_all(count: usize) -> Result<(u16, Vec<Socket>)> {
    let mut sockets = Vec::new();
    for number in FIRST_QUEUE..FIRST_QUEUE + QUEUES {
        match bind(number) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_taken(&error) => sockets.clear(),
            Err(error) => return Err(error).context("cannot bind a netfilter queue"),
        }
        if sockets.len() == count {
            return Ok((number + 1 - u16::try_from(count)?, sockets));
        }
    }
    bail!("netfilter queues from {FIRST_QUEUE} on are all taken, or CAP_NET_ADMIN is missing")
}

fn bind(number: u16) -> io::Result<Socket> {
    let mut socket = Socket::open(Family::Netfilter)?;
    socket.make_roomy(SOCKET_BYTES)?;
    socket.request(&mut message::bind(number, WAITING))?;
    Ok(socket)
}

/// The kernel says so of a queue that another process serves.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EPERM))
}

/// Packets that did not fit into these queues, or into the sockets behind them.
pub(in crate::attach) fn dropped(queues: Queues) -> u64 {
    let table = std::fs::read_to_string("/proc/net/netfilter/nfnetlink_queue");
    dropped_in(&table.unwrap_or_default(), queues)
}

/// The kernel's columns: number, port, waiting, copy mode, copy range, dropped, dropped at the socket, …
fn dropped_in(table: &str, queues: Queues) -> u64 {
    let dropped = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let number: u16 = columns.first()?.parse().ok()?;
        let ours = (queues.first..=queues.last()).contains(&number);
        let count = |at: usize| columns.get(at)?.parse::<u64>().ok();
        ours.then_some(count(5)? + count(6)?)
    };
    table.lines().filter_map(dropped).sum()
}

/// Is there a queue in this kernel? Tried with a number that nobody uses.
pub(in crate::attach) fn try_bind() -> Result<()> {
    let tried = bind(FIRST_QUEUE + QUEUES).map(drop);
    tried.context("the kernel has no netfilter queue, or the rights do not suffice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_queues_dropped_is_not_ours() {
        let table = "25299   4711     0 2 65531     9     9        0  1\n\
                     25300   4711     3 2 65531     5     2     4099  1\n\
                     25301  -4711     0 2 65531     0     1        7  1\n\
                     25302   4712     0 2 65531     9     9        0  1\nnonsense\n";
        assert_eq!(dropped_in(table, Queues { first: 25_300, count: 2 }), 8);
        assert_eq!(dropped_in("", Queues { first: 25_300, count: 2 }), 0);
    }
}
