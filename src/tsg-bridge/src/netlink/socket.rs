//! A netlink socket: requests that are acknowledged, and plain sending and receiving.

use super::message::{Messages, Request};
use super::sys;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which part of the kernel to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links, traffic control, bridge.
    Route,
    /// Netfilter: queues and tables.
    Netfilter,
}

/// An open netlink socket. Answers must come within three seconds.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    seq: u32,
}

/// The kernel answers at once, or something is wrong.
const PATIENCE_MS: u16 = 3_000;

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(family: Family) -> io::Result<Self> {
        Self::subscribe(family, 0)
    }

    /// Opens a socket that hears what the kernel tells these multicast groups, a bit each.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn subscribe(family: Family, groups: u32) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => libc::NETLINK_ROUTE,
            Family::Netfilter => libc::NETLINK_NETFILTER,
        };
        Ok(Self { fd: sys::open(protocol, groups)?, seq: 0 })
    }

    /// Sends a request with the flag `ACK` and waits for its acknowledgement.
    ///
    /// # Errors
    /// The error that the kernel acknowledged with, or that sending gave.
    pub fn request(&mut self, request: &mut Request) -> io::Result<()> {
        self.query(request, |_, _| ())
    }

    /// Sends a request and gives every message of the answer (its type and body) to `each`, until the
    /// acknowledgement or the end of the dump.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn query(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        self.send(request.finish(self.seq, 0), &[])?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            sys::wait_readable(self.fd.as_fd(), PATIENCE_MS)?;
            let len = self.receive(&mut buffer)?;
            for message in Messages(&buffer[..len]).filter(|message| message.seq == self.seq) {
                match message.error() {
                    Some(0) => return Ok(()),
                    Some(error) => return Err(io::Error::from_raw_os_error(error)),
                    None if message.is_done() => return Ok(()),
                    None => each(message.kind, message.body),
                }
            }
        }
    }

    /// Sends a message, of which the last part may lie elsewhere.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, head: &[u8], behind: &[u8]) -> io::Result<()> {
        sys::send(self.fd.as_fd(), head, behind)
    }

    /// Receives one datagram without waiting; `WouldBlock` where there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(self.fd.as_fd(), buffer)
    }

    /// Receives datagrams without waiting, one into each slot, and notes how long they are. Gives how many there were;
    /// `WouldBlock` where there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive_batch<const N: usize>(
        &self,
        slots: &mut [IoSliceMut<'_>; N],
        lens: &mut [usize; N],
    ) -> io::Result<usize> {
        sys::receive_batch(self.fd.as_fd(), slots, lens)
    }

    /// Makes room for `bytes` of messages, and asks not to be told of messages that had no room.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make_roomy(&self, bytes: i32) -> io::Result<()> {
        sys::make_roomy(self.fd.as_fd(), bytes)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
