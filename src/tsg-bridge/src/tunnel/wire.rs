//! The socket that carries ESP: what comes in by it, and what waits to go out.
//!
//! Packets wait for the length of a batch. In UDP those of one length, which a packet of 64 KiB from a host gives, go to
//! the kernel as one that it cuts; it hands over what came in as such, too. IP protocol 50 has no such thing.

use super::path::Carrier;
use super::sys::{Arrival, Arrivals, Hosts, Message, Outer, Sendings};
use core::ops::Range;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::ip::v4;

/// Memory for packets that wait: a packet of 64 KiB in pieces, twice.
const BYTES: usize = 192 * 1024;

/// Packets that wait.
const MOST: usize = 256;

/// As many pieces the kernel makes of one datagram, and as many bytes it takes for them.
const MOST_PIECES: usize = 64;
const LONGEST_DATAGRAM: usize = 65_000;

/// The traffic class of what the ends say to each other: internetwork control.
const CONTROL: u8 = 0xc0;

/// A packet that waits.
#[derive(Clone, Debug)]
struct Waiting {
    place: Range<usize>,
    outer: Outer,
}

/// What became of packets that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// So many the kernel did not take.
    pub(super) failed: u64,
    /// One of them is longer than the path takes.
    pub(super) too_long: bool,
}

impl Sent {
    fn refused(&mut self, error: &io::Error) {
        self.failed += 1;
        self.too_long |= error.raw_os_error() == Some(libc::EMSGSIZE);
    }
}

/// One worker's socket.
pub(super) struct Wire<'w> {
    socket: &'w OwnedFd,
    carrier: Carrier,
    bytes: Vec<u8>,
    used: usize,
    waiting: Vec<Waiting>,
    sendings: Sendings,
    arrivals: Arrivals,
    /// The kernel cuts datagrams.
    cuts: bool,
    /// What goes together, and what has to go alone after all: kept for their memory.
    groups: Vec<Range<usize>>,
    refused: Vec<usize>,
}

impl<'w> Wire<'w> {
    pub(super) fn over(socket: &'w OwnedFd, carrier: Carrier) -> Self {
        Self {
            socket,
            carrier,
            bytes: vec![0; BYTES],
            used: 0,
            waiting: Vec::with_capacity(MOST),
            sendings: Sendings::with_capacity(MOST),
            arrivals: Arrivals::new(carrier.udp),
            cuts: carrier.udp,
            groups: Vec::with_capacity(MOST),
            refused: Vec::with_capacity(MOST),
        }
    }

    /// Whether there is no room for a packet of that length before what waits is [sent](Self::flush).
    pub(super) fn is_full(&self, len: usize) -> bool {
        self.bytes.len() - self.used < HEAD_ROOM + len + TAIL_ROOM || self.waiting.len() == MOST
    }

    /// Room for a packet of that length, with what sealing needs around it; to be filled, and then
    /// [taken](Self::take) or forgotten. `None` if there is none.
    pub(super) fn room(&mut self, len: usize) -> Option<(Packet<'_>, usize)> {
        let whole = HEAD_ROOM + len + TAIL_ROOM;
        let at = self.used;
        let room = self.bytes.get_mut(at..at + whole)?;
        Packet::new(room, HEAD_ROOM..HEAD_ROOM).ok().map(|packet| (packet, at))
    }

    /// Takes the ESP that lies in `range` of the room at `at`, to be sent behind a header that says so much.
    pub(super) fn take(&mut self, at: usize, range: Range<usize>, outer: Outer) {
        let place = at + range.start..at + range.end;
        self.used = place.end;
        self.waiting.push(Waiting { place, outer });
    }

    /// Sends all that waits; without a place to go to it goes on waiting.
    pub(super) fn flush(&mut self, to: Option<Hosts>) -> Sent {
        let Self { socket, bytes, waiting, groups, refused, sendings, cuts, .. } = self;
        let mut sent = Sent::default();
        let Some(to) = to else { return sent };
        let message = |group: &Range<usize>| {
            let group = &waiting[group.clone()];
            Message {
                outer: group[0].outer,
                size: (group.len() > 1).then_some(group[0].place.len() as u16),
                parts: group.iter().map(|one| &bytes[one.place.clone()]),
            }
        };
        groups.clear();
        groups.extend(Groups { waiting, at: 0, several: *cuts });
        refused.clear();
        sendings.send(socket, to, groups.iter().map(message), |at, error| {
            // A network card without checksums of its own: before Linux 6.11 nothing is cut for it.
            *cuts &= error.raw_os_error() != Some(libc::EIO);
            match groups[at].len() {
                1 => sent.refused(error),
                _ => refused.extend(groups[at].clone()),
            }
        });
        let alone = refused.iter().map(|&at| message(&(at..at + 1)));
        sendings.send(socket, to, alone, |_, error| sent.refused(error));
        waiting.clear();
        self.used = 0;
        sent
    }

    /// Takes what has come in, as much as there is room for; how many datagrams. `WouldBlock` if there is nothing.
    pub(super) fn receive(&mut self) -> io::Result<usize> {
        self.arrivals.receive(self.socket)
    }

    /// ESP that has come in, or several pieces of it. `None` if it cannot be read.
    pub(super) fn arrival(&mut self, number: usize) -> Option<Arrival<'_>> {
        let arrival = self.arrivals.get(number)?;
        if self.carrier.udp || self.carrier.v6 {
            return Some(arrival);
        }
        // A raw socket of IPv4 shows the header.
        let Arrival { bytes, outer, size, hosts } = arrival;
        let len = v4::Header::new_checked(&mut *bytes).ok()?.header_len();
        Some(Arrival { bytes: bytes.get_mut(len..)?, outer, size, hosts })
    }
}

/// Says something to the other end at once, past what waits. What is lost is said again.
pub(super) fn say(socket: &OwnedFd, esp: &[u8], to: Hosts) {
    let outer = Outer { class: CONTROL, hops: None };
    let message = Message { outer, size: None, parts: core::iter::once(esp) };
    Sendings::with_capacity(1).send(socket, to, core::iter::once(message), |_, _| {});
}

/// Packets that can go as one datagram, again and again: they are of one length and header, and only the last is shorter.
struct Groups<'w> {
    waiting: &'w [Waiting],
    at: usize,
    several: bool,
}

impl Iterator for Groups<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = &self.waiting[self.at..];
        let first = rest.first()?;
        let (size, most) = (first.place.len(), if self.several { MOST_PIECES } else { 1 });
        let mut count = 1;
        while let Some(next) = rest.get(count)
            && count < most
            && next.outer == first.outer
            && next.place.len() <= size
            && rest[count - 1].place.len() == size
            && (count + 1) * size <= LONGEST_DATAGRAM
        {
            count += 1;
        }
        let group = self.at..self.at + count;
        self.at = group.end;
        Some(group)
    }
}

impl AsFd for Wire<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::sys;

    fn groups(lens: &[(usize, u8)], several: bool) -> Vec<Range<usize>> {
        let waiting = |&(len, class): &(usize, u8)| Waiting {
            place: 0..len,
            outer: Outer { class, hops: None },
        };
        let waiting: Vec<_> = lens.iter().map(waiting).collect();
        Groups { waiting: &waiting, at: 0, several }.collect()
    }

    #[test]
    fn what_is_of_one_length_goes_together() {
        let mixed = [(9, 0), (9, 0), (5, 0), (5, 0), (9, 0), (9, 1), (4, 1), (3, 1)];
        assert_eq!(groups(&mixed, true), [0..3, 3..4, 4..5, 5..7, 7..8]);
        assert_eq!(groups(&mixed, false).len(), mixed.len());
        assert_eq!(groups(&[(9, 0); 130], true), [0..64, 64..128, 128..130]);
        // No longer than a datagram can be.
        assert_eq!(groups(&[(32_500, 0); 3], true), [0..2, 2..3]);
        assert_eq!(groups(&[], true), []);
    }

    #[test]
    fn comes_out_as_it_went_in() {
        let carrier = Carrier { udp: true, v6: false };
        let sockets = sys::wires(carrier, 0, 1, None, None).unwrap();
        let mut wire = Wire::over(&sockets[0], carrier);
        let heard = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        heard.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        for len in [1_000, 1_000, 400] {
            let (mut packet, at) = wire.room(len).unwrap();
            packet.push_back(len).unwrap();
            let range = packet.range();
            wire.take(at, range, Outer::default());
        }
        assert_eq!(wire.flush(heard.local_addr().ok().map(Hosts::from)), Sent::default());
        let mut buffer = [0; 2_000];
        for len in [1_000, 1_000, 400] {
            assert_eq!(heard.recv(&mut buffer).unwrap(), len);
        }
    }
}
