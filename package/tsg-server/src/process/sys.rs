//! Limits of the process: getrlimit(2), setrlimit(2).
#![allow(unsafe_code)]

use libc::{RLIMIT_CORE, RLIMIT_NOFILE, rlimit};
use std::io;

/// No file is written when the process crashes.
pub(super) fn no_core_file() -> io::Result<()> {
    let limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for reads of one rlimit.
    checked(unsafe { libc::setrlimit(RLIMIT_CORE, &raw const limit) })
}

/// Raises the limit on open files to the highest that is allowed, and says what that is.
pub(super) fn raise_open_files() -> io::Result<libc::rlim_t> {
    let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for writes of one rlimit.
    checked(unsafe { libc::getrlimit(RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is valid for reads of one rlimit.
    checked(unsafe { libc::setrlimit(RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
