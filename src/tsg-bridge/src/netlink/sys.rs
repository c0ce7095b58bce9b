//! The system calls under [`Socket`](super::Socket).
#![allow(unsafe_code)]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, NetlinkAddr, recv, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
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

pub(super) fn receive_batch<const N: usize>(
    fd: BorrowedFd<'_>,
    slots: &mut [IoSliceMut<'_>; N],
    lens: &mut [usize; N],
) -> io::Result<usize> {
    // SAFETY: an all-zero mmsghdr is valid.
    let mut messages: [libc::mmsghdr; N] = unsafe { std::mem::zeroed() };
    for (message, slot) in messages.iter_mut().zip(slots) {
        // An IoSliceMut is laid out as an iovec.
        message.msg_hdr.msg_iov = std::ptr::from_mut(slot).cast();
        message.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT as _;
    // SAFETY: the kernel writes N headers and into the slots, with the lengths given; all of them live during the
    // call, and it keeps none.
    let got = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            messages.as_mut_ptr(),
            N as libc::c_uint,
            flags,
            std::ptr::null_mut(),
        )
    };
    let Ok(got) = usize::try_from(got) else { return Err(io::Error::last_os_error()) };
    for (len, message) in lens.iter_mut().zip(&messages) {
        *len = message.msg_len as usize;
    }
    Ok(got)
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
