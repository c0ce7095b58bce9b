//! As many datagrams as go through.

use anyhow::Result;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use serde_json::{Value, json};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

/// Datagrams in one system call.
const BATCH: usize = 64;

/// IPv4 and UDP header.
const HEADERS: usize = 28;

/// So long without a datagram, and the flood is over.
const SILENCE: Duration = Duration::from_secs(1);

/// Sends packets of `size` bytes for `time`.
///
/// # Errors
/// The address cannot be used.
pub(crate) fn send(to: SocketAddr, size: usize, time: Duration) -> Result<Value> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    let payload = vec![0x5a; size - HEADERS];
    let slices: Vec<[IoSlice<'_>; 1]> = (0..BATCH).map(|_| [IoSlice::new(&payload)]).collect();
    let nowhere: Vec<Option<SockaddrStorage>> = vec![None; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < time {
        let flags = MsgFlags::empty();
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, &nowhere, [], flags) {
            Ok(results) => sent += results.count(),
            // The other end may not listen yet, and full buffers are what a flood is for.
            Err(nix::Error::ECONNREFUSED | nix::Error::ENOBUFS | nix::Error::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(json!({ "sent": sent, "seconds": start.elapsed().as_secs_f64() }))
}

/// Counts datagrams from the first to the last one, and says when it listens.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn count(bind: SocketAddr) -> Result<Value> {
    let socket = UdpSocket::bind(bind)?;
    crate::say(&json!({ "listening": bind }));
    let mut room = vec![[0; 2_048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let (mut received, mut first, mut last) = (0, None, Instant::now());
    loop {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            room.iter_mut().map(|one| [IoSliceMut::new(one)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            Ok(datagrams) => {
                received += datagrams.count();
                last = Instant::now();
                if first.is_none() {
                    first = Some(last);
                    socket.set_read_timeout(Some(SILENCE))?;
                }
            }
            Err(nix::Error::EAGAIN) => break,
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let seconds = last.duration_since(first.unwrap_or(last)).as_secs_f64();
    Ok(json!({ "received": received, "seconds": seconds }))
}
