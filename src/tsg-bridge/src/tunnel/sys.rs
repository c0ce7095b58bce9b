//! The system calls of the tunnel: a TUN device, and sockets that carry ESP.
#![allow(unsafe_code)]

use crate::interface;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use nix::sys::socket::{SockaddrLike as _, SockaddrStorage};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// What the kernel cannot deliver at once waits here, in bytes.
const RECEIVE_ROOM: i32 = 4 << 20;

/// A TUN device that lasts as long as someone holds it: packets without anything in front of them.
pub(super) fn tun(name: &str) -> io::Result<File> {
    interface::tun(name, libc::IFF_TUN | libc::IFF_NO_PI)
}

/// A socket for UDP, or for the raw protocol `protocol`, out of the interface and to the other end alone. What is
/// longer than the path takes comes back as an error instead of being cut.
pub(super) fn wire(
    udp: bool,
    protocol: u8,
    peer: SocketAddr,
    interface: &str,
) -> io::Result<OwnedFd> {
    let family = if peer.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let (kind, protocol) = match udp {
        true => (libc::SOCK_DGRAM, 0),
        false => (libc::SOCK_RAW, libc::c_int::from(protocol)),
    };
    // SAFETY: no pointers are passed.
    let fd =
        unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let name = CString::new(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    option_bytes(&fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes_with_nul())?;
    // More is only a help.
    let _ = option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_ROOM);
    match peer.ip() {
        IpAddr::V4(_) => {
            option(&fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
            option(&fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
        }
        IpAddr::V6(_) => {
            option(&fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            option(&fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)?;
        }
    }
    if udp {
        let any = match peer {
            SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), peer.port()),
            SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), peer.port()),
        };
        let any = SockaddrStorage::from(any);
        // SAFETY: the kernel reads an address of that length, which lives during the call.
        if unsafe { libc::bind(fd.as_raw_fd(), any.as_ptr(), any.len()) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    connect(&fd, peer, udp)?;
    Ok(fd)
}

fn connect(fd: &OwnedFd, peer: SocketAddr, udp: bool) -> io::Result<()> {
    // A raw socket has no ports.
    let peer = SockaddrStorage::from(SocketAddr::new(peer.ip(), if udp { peer.port() } else { 0 }));
    // SAFETY: the kernel reads an address of that length, which lives during the call.
    let done = unsafe { libc::connect(fd.as_raw_fd(), peer.as_ptr(), peer.len()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// Room for what comes beside a packet: its traffic class.
#[repr(C, align(8))]
struct Beside([u8; 64]);

/// Sends ESP with a traffic class.
pub(super) fn send(fd: &OwnedFd, v6: bool, class: u8, esp: &[u8]) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: esp.as_ptr().cast_mut().cast(), iov_len: esp.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    // SAFETY: no pointers are passed.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as _) } as _;
    // SAFETY: the control memory is long enough for one header with an int behind it, and aligned.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = if v6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
        (*header).cmsg_type = if v6 { libc::IPV6_TCLASS } else { libc::IP_TOS };
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<libc::c_int>() as _) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(header).cast(), libc::c_int::from(class));
    }
    // SAFETY: packet and control memory live during the call.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Receives one packet without waiting: its length and its traffic class.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, u8)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut beside = Beside([0; 64]);
    // SAFETY: an all-zero msghdr is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&beside) as _;
    // SAFETY: buffer and control memory live during the call, with the lengths given.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };
    let mut class = 0;
    // SAFETY: the kernel has filled `message`; these walk its control memory within its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        // SAFETY: `next` is not null, so it points at a whole header in the control memory.
        let header = unsafe { &*next };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: the kernel's data behind such a header is one byte.
                class = unsafe { *libc::CMSG_DATA(next) };
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: the kernel's data behind such a header is an int.
                let value: libc::c_int =
                    unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(next).cast()) };
                class = value as u8;
            }
            _ => {}
        }
        // SAFETY: both come from the kernel's answer.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok((len.min(buffer.len()), class))
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
