//! How much of what was sent the other machine has not acknowledged yet: ioctl(2), tcp(7).
#![allow(unsafe_code)]

use libc::{TIOCOUTQ, c_int};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

/// Bytes that wait in this machine, or are on their way.
pub(super) fn unacknowledged(stream: &TcpStream) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is open, and the pointer valid for writes of one int, which SIOCOUTQ (the same number as
    // TIOCOUTQ) writes.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn what_the_other_end_has_is_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&here).unwrap(), 0);
        here.set_nonblocking(true).unwrap();
        // Until both buffers are full.
        let mut written = 0;
        while let Ok(count) = here.write(&[7; 65_536]) {
            written += count;
        }
        assert!(unacknowledged(&here).unwrap() > 0);
        there.read_exact(&mut vec![0; written]).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while unacknowledged(&here).unwrap() > 0 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
