//! The system calls under [`Socket`](super::Socket).
#![allow(unsafe_code)]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, NetlinkAddr, recv, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(super) fn open(protocol: i32, groups: u32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::sys::socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

pub(super) fn wait_readable(fd: BorrowedFd<'_>, patience_ms: u16) -> io::Result<()> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(patience_ms)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn send(fd: BorrowedFd<'_>, head: &[u8], behind: &[u8]) -> io::Result<()> {
    let parts = [IoSlice::new(head), IoSlice::new(behind)];
    let kernel = NetlinkAddr::new(0, 0);
    sendmsg(fd.as_raw_fd(), &parts, &[], MsgFlags::empty(), Some(&kernel))?;
    Ok(())
}

pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

pub(super) fn make_roomy(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    // Beyond the system's limit where we may; as far as it goes where not.
    if option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
        option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    }
    option(fd, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)
}

fn option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`, which lives during the call.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
