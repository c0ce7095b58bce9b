//! Traffic control by rtnetlink: the egress hook of a port, and our filter on it.
//!
//! The kernel keeps the program as long as the filter is there, so the gate outlives the daemon.

use crate::netlink::{Attributes, Family, Request, Socket, flags};
use anyhow::{Context as _, Result};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
const GET_QDISC: u16 = 38;

const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const EGRESS: u32 = 0xffff_fff3;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const STATISTICS: u16 = 7;
const QUEUE_STATISTICS: u16 = 3;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

/// The first filter on the port: one in front of it could let pass what it would stop.
const PRIORITY: u32 = 1;
const HANDLE: u32 = 1;
const ALL_PROTOCOLS: u16 = 3;

/// `struct tcmsg`.
fn fixed(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    bytes[8..12].copy_from_slice(&handle.to_ne_bytes());
    bytes[12..16].copy_from_slice(&parent.to_ne_bytes());
    bytes[16..].copy_from_slice(&info.to_ne_bytes());
    bytes
}

fn filter(ifindex: u32) -> [u8; 20] {
    let info = PRIORITY << 16 | u32::from(ALL_PROTOCOLS.to_be());
    fixed(ifindex, HANDLE, EGRESS, info)
}

/// Puts the program on the port's egress, in one step in place of the one before. Gives the
/// number by which the kernel knows it.
pub(super) fn attach(ifindex: u32, program: &OwnedFd) -> Result<u32> {
    let mut socket = Socket::open(Family::Route)?;
    let asked = flags::REQUEST | flags::ACK | flags::CREATE;
    let qdisc = fixed(ifindex, CLSACT_HANDLE, CLSACT, 0);
    let mut request = Request::new(NEW_QDISC, asked | flags::EXCL, &qdisc);
    match socket.request(request.put_str(KIND, "clsact")) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).context("the kernel has no clsact (kmod-sched-core)");
        }
    }
    let mut request = Request::new(NEW_FILTER, asked, &filter(ifindex));
    request.put_str(KIND, "bpf").nest(OPTIONS, |options| {
        options
            .put(BPF_FD, &program.as_raw_fd().to_ne_bytes())
            .put_str(BPF_NAME, "tsg-gate")
            .put(BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    });
    socket.request(&mut request).context("the kernel takes no eBPF filter (kmod-sched-bpf)")?;
    attached(ifindex)?.context("the kernel does not show the filter that it took")
}

/// The number of the program on the port's egress, if ours is there.
pub(super) fn attached(ifindex: u32) -> Result<Option<u32>> {
    let mut socket = Socket::open(Family::Route)?;
    let mut request = Request::new(GET_FILTER, flags::REQUEST | flags::ACK, &filter(ifindex));
    request.put_str(KIND, "bpf");
    let mut id = None;
    let answer = socket.query(&mut request, |_, body| id = program_in(body));
    match answer {
        Ok(()) => Ok(id),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).context("cannot read the filters of a port"),
    }
}

/// The number of the program in this `struct tcmsg` of a filter.
pub(super) fn program_in(body: &[u8]) -> Option<u32> {
    let options = Attributes(body.get(20..)?).find(OPTIONS)?;
    let value = Attributes(options).find(BPF_ID)?;
    value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// What was dropped by the filters on each port that has our hook, ours and those of others, since the hook was made:
/// the kernel counts it at the hook. It counts in 32 bits.
pub(super) fn drops() -> Result<Vec<(u32, u32)>> {
    let mut socket = Socket::open(Family::Route)?;
    let asked = flags::REQUEST | flags::DUMP;
    let mut request = Request::new(GET_QDISC, asked, &fixed(0, 0, 0, 0));
    let mut found = Vec::new();
    let answer = socket.query(&mut request, |_, body| found.extend(drops_of(body)));
    answer.context("cannot read what the gate has dropped")?;
    Ok(found)
}

/// The port and its drops, if this `struct tcmsg` is of a clsact hook.
pub(super) fn drops_of(body: &[u8]) -> Option<(u32, u32)> {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
    };
    if (word(body, 8)?, word(body, 12)?) != (CLSACT_HANDLE, CLSACT) {
        return None;
    }
    let statistics = Attributes(body.get(20..)?).find(STATISTICS)?;
    // `struct gnet_stats_queue`: waiting, their bytes, dropped, …
    let queue = Attributes(statistics).find(QUEUE_STATISTICS)?;
    Some((word(body, 4)?, word(queue, 8)?))
}

/// Takes the filter away.
pub(super) fn detach(ifindex: u32) -> Result<()> {
    let mut socket = Socket::open(Family::Route)?;
    let mut request = Request::new(DEL_FILTER, flags::REQUEST | flags::ACK, &filter(ifindex));
    request.put_str(KIND, "bpf");
    match socket.request(&mut request) {
        Ok(()) => Ok(()),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(error).context("cannot take the gate away"),
    }
}

/// No filter, no hook or no such port.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV))
}
