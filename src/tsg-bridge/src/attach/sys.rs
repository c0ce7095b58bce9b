//! The system calls that reach ports: packet sockets and TAPs.
#![allow(unsafe_code)]

use super::batch::{Exit, LARGEST};
use super::ethernet::Tag;
use crate::interface;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// What this gateway sends carries this in the bits of [`MARK_MASK`]; the gate knows it by that.
pub const MARK: u32 = 0x5400_0000;
/// The bits of a packet's mark that are this gateway's; the others stay as they are.
pub const MARK_MASK: u32 = 0xff00_0000;

const ETH_P_ALL: u16 = 3;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// One instruction of a classic BPF filter.
pub(crate) type FilterStep = (u16, u8, u8, u32);

/// A socket that sends whole frames, marked as ours.
pub(super) fn sender() -> io::Result<OwnedFd> {
    let fd = packet_socket()?;
    option(&fd, libc::SOL_SOCKET, libc::SO_MARK, MARK)?;
    Ok(fd)
}

/// Sends a frame, given in parts, out of the port `ifindex`.
pub(super) fn send_frame(fd: &OwnedFd, ifindex: u32, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let mut to = link_address(ifindex, 0);
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut to).cast();
    message.msg_namelen = size_of_val(&to) as libc::socklen_t;
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    // SAFETY: address and parts live during the call; IoSlice has the layout of iovec.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket that sends whole frames behind a header of virtio-net, marked as ours.
fn offloading_sender() -> io::Result<OwnedFd> {
    const PACKET_VNET_HDR: i32 = 15;
    /// In bytes: a batch of super-packets, as the kernel counts them.
    const ROOM: i32 = 4 << 20;
    let fd = sender()?;
    option(&fd, libc::SOL_PACKET, PACKET_VNET_HDR, 1i32)?;
    // What does not fit is dropped, so more room is only a help.
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, ROOM);
    Ok(fd)
}

/// Frames for one system call, or as few as there are errors. Allocated once.
#[derive(Debug)]
pub(super) struct Sendings {
    wire: OwnedFd,
    parts: Vec<libc::iovec>,
    frames: Vec<(libc::sockaddr_ll, usize)>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in it are written and read within one call of `send`; before and after they are
// numbers that nobody follows.
unsafe impl Send for Sendings {}

impl Sendings {
    /// Through a socket that takes headers of virtio-net.
    pub(super) fn new() -> io::Result<Self> {
        let (frames, parts) = LARGEST;
        Ok(Self {
            wire: offloading_sender()?,
            parts: Vec::with_capacity(parts),
            frames: Vec::with_capacity(frames),
            messages: Vec::with_capacity(frames),
        })
    }
}

impl Exit for Sendings {
    fn send<'f, Parts: Iterator<Item = &'f [u8]>>(
        &mut self,
        outgoing: impl Iterator<Item = (u32, Parts)>,
    ) -> u64 {
        let Self { wire, parts, frames, messages } = self;
        parts.clear();
        frames.clear();
        messages.clear();
        for (ifindex, of_frame) in outgoing {
            let before = parts.len();
            parts.extend(of_frame.map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            }));
            frames.push((link_address(ifindex, 0), parts.len() - before));
        }
        let mut rest = parts.as_mut_slice();
        for (address, count) in frames {
            let (own, others) = rest.split_at_mut(*count);
            rest = others;
            // SAFETY: an all-zero mmsghdr is valid.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut *address).cast();
            message.msg_hdr.msg_namelen = size_of_val(address) as libc::socklen_t;
            message.msg_hdr.msg_iov = own.as_mut_ptr();
            message.msg_hdr.msg_iovlen = own.len() as _;
            messages.push(message);
        }
        let mut failed = 0;
        // SAFETY: addresses and parts live during the call.
        unsafe { send_all(wire, messages, |_, _| failed += 1) };
        failed
    }
}

/// Sends messages with one system call, or as few as there are errors, without waiting. `refused` is told which of them the
/// kernel did not take, and why.
///
/// # Safety
/// What the messages point at lives during the call, with the lengths given.
pub(crate) unsafe fn send_all(
    fd: &OwnedFd,
    messages: &mut [libc::mmsghdr],
    mut refused: impl FnMut(usize, &io::Error),
) {
    let mut done = 0;
    while let Some(left @ [_, ..]) = messages.get_mut(done..) {
        let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
        // SAFETY: the caller says so of what is in the messages; the kernel reads it and writes lengths into them.
        let sent = unsafe {
            libc::sendmmsg(fd.as_raw_fd(), left.as_mut_ptr(), count, libc::MSG_DONTWAIT as _)
        };
        match usize::try_from(sent) {
            Ok(sent @ 1..) => done += sent,
            Ok(0) | Err(_) => {
                refused(done, &io::Error::last_os_error());
                done += 1;
            }
        }
    }
}

/// Gives a socket a program, for the purpose that is an option of it.
pub(crate) fn attach_filter(fd: &OwnedFd, purpose: i32, filter: &[FilterStep]) -> io::Result<()> {
    let steps: Vec<libc::sock_filter> =
        filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(steps.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: steps.as_ptr().cast_mut() };
    option(fd, libc::SOL_SOCKET, purpose, program)
}

/// A socket that hears what comes in at a port, as far as `filter` lets it through.
pub(super) fn listener(ifindex: u32, filter: &[FilterStep]) -> io::Result<OwnedFd> {
    let fd = packet_socket()?;
    attach_filter(&fd, libc::SO_ATTACH_FILTER, filter)?;
    option(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1i32)?;
    // Since Linux 4.20; before, frames that leave are heard too, and the reader looks at their kind.
    let _ = option(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1i32);
    let address = link_address(ifindex, ETH_P_ALL);
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `address`.
    if unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// A frame that a listener heard.
pub(super) struct Heard {
    /// How many bytes of it are in the buffer.
    pub(super) len: usize,
    /// The outer tag, which the kernel has taken off.
    pub(super) tag: Option<Tag>,
    /// It left through the port instead of coming in.
    pub(super) outgoing: bool,
}

/// Receives one frame without waiting.
pub(super) fn hear(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Heard> {
    let mut from = link_address(0, 0);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = [0u64; 16];
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: address, buffer and control memory live during the call, with the lengths given.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };
    let mut tag = None;
    // SAFETY: the kernel has filled `message`; these walk its control memory within its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        // SAFETY: `next` is not null, so it points at a whole header in `control`.
        let header = unsafe { &*next };
        if header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: the kernel's data behind such a header is a tpacket_auxdata.
            let aux: libc::tpacket_auxdata =
                unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(next).cast()) };
            tag = vlan_of(&aux);
        }
        // SAFETY: both come from the kernel's answer.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    let outgoing = from.sll_pkttype == libc::PACKET_OUTGOING;
    Ok(Heard { len: len.min(buffer.len()), tag, outgoing })
}

fn vlan_of(aux: &libc::tpacket_auxdata) -> Option<Tag> {
    let has = |flag| aux.tp_status & flag != 0;
    let tpid = if has(libc::TP_STATUS_VLAN_TPID_VALID) { aux.tp_vlan_tpid } else { 0x8100 };
    has(libc::TP_STATUS_VLAN_VALID).then_some(Tag { tpid, tci: aux.tp_vlan_tci })
}

/// A TAP that lasts as long as someone holds it, with headers of virtio-net. Opened once more under the same name
/// it gets a further queue.
pub(super) fn tap(name: &str) -> io::Result<File> {
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR;
    interface::tun(name, flags)
}

/// To be waited for until it can be read.
pub(super) fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

/// Waits until one of them has something, which [`PollFd::any`] tells then, or `patience_ms` have passed.
pub(super) fn wait(fds: &mut [PollFd<'_>], patience_ms: u16) -> io::Result<()> {
    match poll(fds, PollTimeout::from(patience_ms)) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether this thread wakes up from a sleep of some microseconds when it should, which it is prepared for here: without
/// high-resolution timers it would be milliseconds.
pub(crate) fn sleeps_exactly() -> bool {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC);
    let fine = resolution.is_ok_and(|time| time.tv_sec() == 0 && time.tv_nsec() < 1_000);
    fine && nix::sys::prctl::set_timerslack(1).is_ok()
}

fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn link_address(ifindex: u32, protocol: u16) -> libc::sockaddr_ll {
    // SAFETY: an all-zero sockaddr_ll is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex.cast_signed();
    address
}

fn option<T>(fd: &OwnedFd, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives during the call.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Number of entries and size in bytes of a table of the older iptables; `None` if it is not there.
pub(super) fn table_size(v6: bool, table: &str) -> Option<(u32, u32)> {
    /// `struct ipt_getinfo`, which `struct ip6t_getinfo` equals.
    #[repr(C)]
    struct Info {
        name: [u8; 32],
        hooks: u32,
        entries_and_underflows: [u32; 10],
        count: u32,
        size: u32,
    }
    const GET_INFO: i32 = 64;
    let (family, level) = match v6 {
        false => (libc::AF_INET, libc::IPPROTO_IP),
        true => (libc::AF_INET6, libc::IPPROTO_IPV6),
    };
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(family, kind, libc::IPPROTO_RAW) };
    if fd < 0 {
        return None;
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info =
        Info { name: [0; 32], hooks: 0, entries_and_underflows: [0; 10], count: 0, size: 0 };
    info.name.get_mut(..table.len())?.copy_from_slice(table.as_bytes());
    let mut len = size_of::<Info>() as libc::socklen_t;
    // SAFETY: the kernel reads and writes at most `len` bytes of `info`, which lives during the call.
    let done = unsafe {
        let info = (&raw mut info).cast();
        libc::getsockopt(fd.as_raw_fd(), level, GET_INFO, info, &raw mut len)
    };
    (done == 0).then_some((info.count, info.size))
}
