//! The system calls of the tunnel: its device, the sockets that carry ESP, and many messages at once.
#![allow(unsafe_code)]

use super::filter::{self, Share};
use super::path::Carrier;
use crate::attach::{Exit, LARGEST, attach_filter, send_all};
use crate::interface;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use tsg_esp::ip::protocol;

/// What the kernel cannot deliver at once waits here, in bytes of all workers; likewise what it cannot send.
const ROOM: i32 = 4 << 20;

/// Of one worker at least.
const LEAST_ROOM: i32 = 1 << 20;

/// A TUN device, which lasts as long as someone holds it if it does not [persist]: packets behind a header of virtio-net.
/// Opened once more under the same name it gets a further queue.
pub(super) fn tun(name: &str) -> io::Result<File> {
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | libc::IFF_VNET_HDR;
    interface::tun(name, flags)
}

/// Lets a device stay when nobody holds it any more, or not.
pub(super) fn persist(device: &File, stays: bool) -> io::Result<()> {
    // SAFETY: the argument is a number.
    let done = unsafe {
        libc::ioctl(device.as_raw_fd(), libc::TUNSETPERSIST as _, libc::c_ulong::from(stays))
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket that only has the kernel heed what the path says to ESP over IPv6: of a raw socket it does so only where that
/// is connected or asks for errors. Nobody reads it, and it holds next to nothing.
pub(super) fn ear(interface: &str) -> io::Result<OwnedFd> {
    let fd = socket(true, libc::SOCK_RAW, libc::c_int::from(protocol::ESP), Some(interface))?;
    attach_filter(&fd, libc::SO_ATTACH_FILTER, &filter::NOTHING)?;
    option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 0)?;
    option(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    Ok(fd)
}

/// Puts a socket in the place of another one, under that one's number.
pub(super) fn put_in_place_of(old: &OwnedFd, new: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers are passed; both are open, and `old` goes on being so.
    let done = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sockets that carry ESP, one for each worker, out of the interface, and from `only` alone if that is given. Each gets
/// what was sealed for its worker. In UDP they share `port`, which nobody else has.
pub(super) fn wires(
    carrier: Carrier,
    port: u16,
    workers: u32,
    interface: Option<&str>,
    only: Option<IpAddr>,
) -> io::Result<Vec<OwnedFd>> {
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for number in 0..workers {
        let fd = wire(carrier, workers, interface)?;
        let share = Share { number, of: workers };
        attach_filter(&fd, libc::SO_ATTACH_FILTER, &filter::heard(carrier, only, share))?;
        if carrier.udp {
            // The first one has to be alone: it takes the port from nobody. Then it lets the others join.
            option(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(number > 0))?;
            bind(&fd, carrier.v6, port)?;
            option(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, libc::c_int::from(workers > 1))?;
        }
        sockets.push(fd);
    }
    if carrier.udp && workers > 1 {
        // Where the kernel does not take it all goes to one of them, which opens it.
        let _ =
            attach_filter(&sockets[0], libc::SO_ATTACH_REUSEPORT_CBPF, &filter::chosen(workers));
    }
    Ok(sockets)
}

fn wire(carrier: Carrier, workers: u32, interface: Option<&str>) -> io::Result<OwnedFd> {
    let fd = match carrier.udp {
        true => socket(carrier.v6, libc::SOCK_DGRAM, 0, interface)?,
        false => socket(carrier.v6, libc::SOCK_RAW, libc::c_int::from(protocol::ESP), interface)?,
    };
    // More is only a help.
    let room = (ROOM / workers as i32).max(LEAST_ROOM);
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, room);
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, room);
    let (level, class) = match carrier.v6 {
        false => (libc::IPPROTO_IP, libc::IP_RECVTOS),
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    };
    option(&fd, level, class, 1)?;
    if carrier.udp {
        // Since Linux 5.0; before, each datagram comes alone.
        let _ = option(&fd, libc::IPPROTO_UDP, libc::UDP_GRO, 1);
    }
    Ok(fd)
}

fn bind(fd: &OwnedFd, v6: bool, port: u16) -> io::Result<()> {
    let any = match v6 {
        false => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        true => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    };
    let any = SockaddrStorage::from(any);
    // SAFETY: the kernel reads an address of that length, which lives during the call.
    let done = unsafe { libc::bind(fd.as_raw_fd(), any.as_ptr(), any.len()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What comes in tells its hops.
pub(super) fn tell_hops(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    let (level, hops) = match v6 {
        false => (libc::IPPROTO_IP, libc::IP_RECVTTL),
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
    };
    option(fd, level, hops, 1)
}

/// What comes in tells at which of this host's addresses.
pub(super) fn tell_own(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    match v6 {
        false => option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        true => option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// What is longer than the path takes is cut, or comes back as an error.
pub(super) fn cut(fd: &OwnedFd, v6: bool, cuts: bool) -> io::Result<()> {
    let (level, discover, [never, when_fit]) = match v6 {
        false => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            [libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_WANT],
        ),
        true => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            [libc::IPV6_PMTUDISC_DO, libc::IPV6_PMTUDISC_WANT],
        ),
    };
    option(fd, level, discover, if cuts { when_fit } else { never })
}

fn socket(
    v6: bool,
    kind: libc::c_int,
    protocol: libc::c_int,
    interface: Option<&str>,
) -> io::Result<OwnedFd> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers are passed.
    let fd =
        unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if v6 && kind == libc::SOCK_DGRAM {
        option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    if let Some(name) = interface {
        bind_to(&fd, name)?;
    }
    Ok(fd)
}

fn bind_to(fd: &OwnedFd, interface: &str) -> io::Result<()> {
    let name = CString::new(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    option_bytes(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes_with_nul())
}

/// The longest packet that goes to the other end of a connected socket, as far as the kernel knows.
pub(super) fn path_mtu(fd: &OwnedFd, v6: bool) -> io::Result<u16> {
    let (level, name) = match v6 {
        false => (libc::IPPROTO_IP, libc::IP_MTU),
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mut mtu: libc::c_int = 0;
    let mut len = size_of_val(&mtu) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `mtu`, which lives during the call.
    let done = unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut mtu).cast(), &raw mut len)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u16::try_from(mtu).unwrap_or(u16::MAX))
}

fn option(fd: &OwnedFd, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    option_bytes(fd, level, name, &value.to_ne_bytes())
}

fn option_bytes(fd: &OwnedFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives during the call.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The two hosts of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hosts {
    pub(super) other: SocketAddr,
    /// This one's address, where the other end has chosen it; `None`: what the route says.
    pub(super) own: Option<IpAddr>,
}

impl From<SocketAddr> for Hosts {
    fn from(other: SocketAddr) -> Self {
        Self { other, own: None }
    }
}

/// Room for what goes beside a message: three headers with a number each, and one with an address.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Beside([u8; 128]);

impl Beside {
    const NONE: Self = Self([0; 128]);

    /// Writes a header at place `at` with `value` behind it, in the machine's byte order. Gives the place behind it.
    fn put(&mut self, at: usize, level: i32, kind: i32, value: &[u8]) -> usize {
        // SAFETY: no pointers are passed.
        let space = unsafe { libc::CMSG_SPACE(value.len() as _) } as usize;
        let room = &mut self.0[at..][..space];
        // SAFETY: no pointers are passed.
        let len = unsafe { libc::CMSG_LEN(value.len() as _) } as usize;
        // SAFETY: an all-zero cmsghdr is valid.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = len as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: the room begins at a multiple of the header's alignment and is longer than a header.
        unsafe { std::ptr::write_unaligned(room.as_mut_ptr().cast(), header) };
        room[len - value.len()..len].copy_from_slice(value);
        at + space
    }

    /// Has the packet leave with that address.
    fn put_own(&mut self, at: usize, own: IpAddr) -> usize {
        // The interface's number, which the socket has, is in front or behind; in IPv4 there is one more address.
        match own {
            IpAddr::V4(own) => {
                let value = [[0; 4], own.octets(), [0; 4]].concat();
                self.put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, &value)
            }
            IpAddr::V6(own) => {
                let mut value = [0; 20];
                value[..16].copy_from_slice(&own.octets());
                self.put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &value)
            }
        }
    }
}

/// What the header in front of ESP is to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outer {
    /// Traffic class.
    pub(super) class: u8,
    /// TTL or hop limit; none is the host's own.
    pub(super) hops: Option<u8>,
}

/// One message to be sent.
pub(super) struct Message<Parts> {
    pub(super) outer: Outer,
    /// It is to be cut into pieces of that length.
    pub(super) size: Option<u16>,
    pub(super) parts: Parts,
}

/// Messages for one system call, or as few as there are errors. Allocated once.
pub(super) struct Sendings {
    parts: Vec<libc::iovec>,
    /// How many parts a message has, and what goes beside it.
    beside: Vec<(usize, usize, Beside)>,
    messages: Vec<libc::mmsghdr>,
}

impl Sendings {
    pub(super) fn with_capacity(messages: usize) -> Self {
        Self {
            parts: Vec::with_capacity(messages),
            beside: Vec::with_capacity(messages),
            messages: Vec::with_capacity(messages),
        }
    }

    /// Sends messages to one place. `refused` is told which of them the kernel did not take, and why.
    pub(super) fn send<'m, Parts: Iterator<Item = &'m [u8]>>(
        &mut self,
        fd: &OwnedFd,
        hosts: Hosts,
        outgoing: impl Iterator<Item = Message<Parts>>,
        refused: impl FnMut(usize, &io::Error),
    ) {
        let Self { parts, beside, messages } = self;
        parts.clear();
        beside.clear();
        messages.clear();
        let Hosts { other, own } = hosts;
        let (level, class, hops) = match other.is_ipv6() {
            false => (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL),
            true => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_HOPLIMIT),
        };
        for message in outgoing {
            let before = parts.len();
            parts.extend(message.parts.map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            }));
            let (mut room, outer) = (Beside::NONE, message.outer);
            let number = |value: u8| libc::c_int::from(value).to_ne_bytes();
            let mut len = room.put(0, level, class, &number(outer.class));
            if let Some(left) = outer.hops {
                len = room.put(len, level, hops, &number(left));
            }
            if let Some(size) = message.size {
                len = room.put(len, libc::IPPROTO_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
            }
            if let Some(own) = own {
                len = room.put_own(len, own);
            }
            beside.push((parts.len() - before, len, room));
        }
        let mut to = SockaddrStorage::from(other);
        let mut rest = parts.as_mut_slice();
        for (count, len, room) in beside {
            let (parts, others) = rest.split_at_mut(*count);
            rest = others;
            // SAFETY: an all-zero mmsghdr is valid.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = (&raw mut to).cast();
            message.msg_hdr.msg_namelen = to.len();
            message.msg_hdr.msg_iov = parts.as_mut_ptr();
            message.msg_hdr.msg_iovlen = parts.len() as _;
            message.msg_hdr.msg_control = room.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = *len as _;
            messages.push(message);
        }
        // SAFETY: address, parts and what is beside them live during the call.
        unsafe { send_all(fd, messages, refused) };
    }
}

/// A datagram that came in.
pub(super) struct Arrival<'a> {
    pub(super) bytes: &'a mut [u8],
    /// What the header in front of it says; its hops where they are [asked for](tell_hops).
    pub(super) outer: Outer,
    /// So long is each piece, if it is several that the kernel has put together.
    pub(super) size: Option<usize>,
    /// Between whom it travelled: this host's address where it is [asked for](tell_own).
    pub(super) hosts: Hosts,
}

/// Room for datagrams of one system call. Memory that none has filled yet is not in use.
pub(super) struct Arrivals {
    room: Vec<u8>,
    count: usize,
    from: Vec<SockaddrStorage>,
    beside: Vec<Beside>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Arrivals {
    /// The longest datagram.
    const LONGEST: usize = 65_536;

    /// With `joined` each may have all that it can hold.
    pub(super) fn new(joined: bool) -> Self {
        let count = if joined { 16 } else { 64 };
        Self {
            room: vec![0; count * Self::LONGEST],
            count,
            from: Vec::with_capacity(count),
            beside: Vec::with_capacity(count),
            parts: Vec::with_capacity(count),
            messages: Vec::with_capacity(count),
        }
    }

    /// Receives what is there, without waiting; how many datagrams that is.
    pub(super) fn receive(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        let Self { room, count, from, beside, parts, messages } = self;
        from.clear();
        beside.clear();
        parts.clear();
        messages.clear();
        let anybody = SockaddrStorage::from(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
        from.resize(*count, anybody);
        beside.resize(*count, Beside::NONE);
        parts.extend(
            room.chunks_exact_mut(Self::LONGEST).map(|room| libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: room.len(),
            }),
        );
        for ((from, beside), part) in from.iter_mut().zip(beside).zip(parts) {
            // SAFETY: an all-zero mmsghdr is valid.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = std::ptr::from_mut(from).cast();
            message.msg_hdr.msg_namelen = size_of_val(from) as libc::socklen_t;
            message.msg_hdr.msg_iov = std::ptr::from_mut(part);
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = beside.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = size_of_val(beside) as _;
            messages.push(message);
        }
        let (first, count) = (messages.as_mut_ptr(), *count as u32);
        // SAFETY: addresses, rooms and what is beside them live during the call, with the lengths given.
        let received = unsafe {
            let at_once = libc::MSG_DONTWAIT as _;
            libc::recvmmsg(fd.as_raw_fd(), first, count, at_once, std::ptr::null_mut())
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// One of those that were received last. `None` for what cannot be read.
    pub(super) fn get(&mut self, number: usize) -> Option<Arrival<'_>> {
        let message = self.messages.get(number)?;
        let other = address(self.from.get(number)?)?;
        let (outer, size, own) = beside_of(&message.msg_hdr);
        let at = number * Self::LONGEST;
        let place: Range<usize> = at..at + (message.msg_len as usize).min(Self::LONGEST);
        Some(Arrival { bytes: self.room.get_mut(place)?, outer, size, hosts: Hosts { other, own } })
    }
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    match (from.as_sockaddr_in(), from.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::new(v4.ip().into(), v4.port())),
        (_, Some(v6)) => Some(SocketAddr::new(v6.ip().into(), v6.port())),
        (None, None) => None,
    }
}

/// What the header says, length of the pieces if the datagram is several, and this host's address.
fn beside_of(message: &libc::msghdr) -> (Outer, Option<usize>, Option<IpAddr>) {
    let (mut outer, mut size, mut own) = (Outer::default(), None, None);
    // SAFETY: the kernel has filled `message`; these walk its control memory within its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: `next` is not null, so it points at a whole header in the control memory.
        let header = unsafe { &*next };
        // SAFETY: behind each header that is asked for here the kernel has put an int, or one byte.
        let number =
            || unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(next).cast::<libc::c_int>()) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: the kernel's data behind such a header is one byte.
                outer.class = unsafe { *libc::CMSG_DATA(next) };
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => outer.class = number() as u8,
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                outer.hops = u8::try_from(number()).ok();
            }
            (libc::IPPROTO_UDP, libc::UDP_GRO) => size = usize::try_from(number()).ok(),
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel's data behind such a header is a number and two addresses, of which the first is the host's.
                let at = unsafe { libc::CMSG_DATA(next).add(4).cast::<[u8; 4]>().read_unaligned() };
                own = Some(IpAddr::from(at));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel's data behind such a header begins with an address.
                let at = unsafe { libc::CMSG_DATA(next).cast::<[u8; 16]>().read_unaligned() };
                own = Some(IpAddr::from(at));
            }
            _ => {}
        }
        // SAFETY: both come from the kernel's answer.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    (outer, size.filter(|size| *size > 0), own)
}

/// Frames on their way into a device. Allocated once.
pub(super) struct Writings {
    device: Arc<File>,
    parts: Vec<libc::iovec>,
}

impl Writings {
    pub(super) fn new(device: Arc<File>) -> Self {
        Self { device, parts: Vec::with_capacity(LARGEST.1) }
    }
}

impl Exit for Writings {
    fn send<'f, Parts: Iterator<Item = &'f [u8]>>(
        &mut self,
        frames: impl Iterator<Item = (u32, Parts)>,
    ) -> u64 {
        let mut failed = 0;
        for (_, parts) in frames {
            self.parts.clear();
            self.parts.extend(parts.map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            }));
            let count = self.parts.len() as libc::c_int;
            // SAFETY: the kernel reads the parts, which live during the call.
            let written =
                unsafe { libc::writev(self.device.as_raw_fd(), self.parts.as_ptr(), count) };
            failed += u64::from(written < 0);
        }
        failed
    }
}
