//! The system calls that no crate wraps.
#![allow(unsafe_code)]

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::{AsRawFd as _, RawFd};

/// Keys must not end up in a core file, or be read by another process of the same user.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn keep_secrets() -> Result<()> {
    prctl::set_dumpable(false).context("prctl(PR_SET_DUMPABLE)")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("setrlimit(RLIMIT_CORE)")
}

/// Waits until one of these can be read, or written if that is asked for, and not for more than so many milliseconds.
///
/// # Errors
/// Those of poll(2).
pub(super) fn wait(
    descriptors: impl Iterator<Item = (RawFd, bool)>,
    milliseconds: u64,
) -> Result<()> {
    let mut polled: Vec<libc::pollfd> = descriptors
        .map(|(fd, writes)| libc::pollfd {
            fd,
            events: if writes { libc::POLLOUT } else { libc::POLLIN },
            revents: 0,
        })
        .collect();
    let timeout = libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX);
    // SAFETY: the array has that many entries, which the kernel reads and writes before it returns. Descriptors that
    // are none are told of in them.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as _, timeout) };
    match Errno::result(count) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}

/// The MTU of an interface in this network namespace, if there is such an interface.
pub(super) fn mtu(interface: &str) -> Option<u16> {
    let socket =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    // SAFETY: `ifreq` is plain data, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: SIOCGIFMTU reads the name and writes the MTU of the `ifreq` that it is given.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &mut request) };
    if done != 0 {
        return None;
    }
    // SAFETY: after SIOCGIFMTU the union holds the MTU.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u16::try_from(mtu.min(i32::from(u16::MAX))).ok()
}
