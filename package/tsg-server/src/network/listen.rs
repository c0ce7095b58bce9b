//! The two ports, and what every connection that comes to one gets from the kernel.

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use std::io::{self, ErrorKind};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _,
};

/// A peer that is gone without a word is noticed: after so many seconds of silence it is asked, so often, and so many times.
const ASK_AFTER: u32 = 20;
const ASK_AGAIN: u32 = 10;
const ASK_TIMES: u32 = 4;

/// Or when it has not acknowledged what was sent for so many milliseconds.
const UNACKNOWLEDGED: u32 = 60_000;

/// Opens a port at `address`, of this machine, or `*` for all. Port 0 is any that is free.
pub(super) fn open(address: &str, port: u16) -> Result<TcpListener> {
    let listener = bind(address, port).with_context(|| {
        format!("cannot listen on {address}, port {port}: is another server running, or the address wrong?")
    })?;
    listener.set_nonblocking(true).context("cannot listen without waiting")?;
    // After a restart all gateways come at once: as many may wait to be accepted as the kernel allows.
    listen(&listener, Backlog::MAXALLOWABLE).context("cannot let many connections wait")?;
    Ok(listener)
}

fn bind(address: &str, port: u16) -> Result<TcpListener> {
    if address != "*" {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = (bare, port).to_socket_addrs()?.collect();
        return Ok(TcpListener::bind(&found[..])?);
    }
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        // Not every machine has IPv6.
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?)
        }
        bound => Ok(bound?),
    }
}

/// As others write it, `tcp://192.0.2.10:5555`.
pub(super) fn endpoint(listener: &TcpListener) -> Result<String> {
    Ok(format!("tcp://{}", listener.local_addr()?))
}

/// What accepting came to.
pub(super) enum Accepted {
    /// A connection, from there.
    One(TcpStream, IpAddr),
    /// Nobody waits.
    Nobody,
    /// This process has as many files open as it may.
    NoRoom,
}

/// The next connection that waits.
pub(super) fn accept(listener: &TcpListener) -> Result<Accepted> {
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                if set_up(&stream).is_ok() {
                    return Ok(Accepted::One(stream, from.ip().to_canonical()));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Accepted::Nobody),
            // accept(2): what has gone wrong on the way of one connection is none of the others' business.
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    return Ok(Accepted::NoRoom);
                }
                Some(Errno::EBADF | Errno::EFAULT | Errno::EINVAL | Errno::ENOTSOCK) | None => {
                    bail!("cannot accept connections of gateways: {error}")
                }
                Some(_) => {}
            },
        }
    }
}

fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &ASK_AFTER)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &ASK_AGAIN)?;
    setsockopt(stream, sockopt::TcpKeepCount, &ASK_TIMES)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &UNACKNOWLEDGED)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_versions_and_all_of_them() {
        for (address, begins) in
            [("127.0.0.1", "tcp://127.0.0.1:"), ("localhost", "tcp://"), ("*", "tcp://")]
        {
            let listener = open(address, 0).unwrap();
            let endpoint = endpoint(&listener).unwrap();
            assert!(endpoint.starts_with(begins) && !endpoint.ends_with(":0"), "{endpoint}");
        }
        if TcpListener::bind("[::1]:0").is_ok() {
            for address in ["::1", "[::1]"] {
                let endpoint = endpoint(&open(address, 0).unwrap()).unwrap();
                assert!(endpoint.starts_with("tcp://[::1]:"), "{endpoint}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let complaint = format!("{:#}", open("127.0.0.1", port).unwrap_err());
        assert!(
            complaint.contains(&port.to_string()) && complaint.contains("another"),
            "{complaint}"
        );
        assert!(open("192.0.2.1", 0).is_err());
    }
}
