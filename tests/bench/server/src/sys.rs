//! poll(2) of descriptors that somebody else owns.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

/// What to wait for on one descriptor, and what came.
pub(crate) type File = libc::pollfd;

/// Waits for input, and if `writes` for room to write.
pub(crate) const fn file(fd: RawFd, writes: bool) -> File {
    let events = libc::POLLIN | if writes { libc::POLLOUT } else { 0 };
    File { fd, events, revents: 0 }
}

/// Waits until something has happened, for so many milliseconds at most.
pub(crate) fn poll(files: &mut [File], wait: u16) -> io::Result<()> {
    // SAFETY: the pointer is valid for reads and writes of so many pollfd.
    let result =
        unsafe { libc::poll(files.as_mut_ptr(), files.len() as libc::nfds_t, wait.into()) };
    match result {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        },
    }
}
