//! Frames on their way out: kept for the length of a batch, joined where that is possible, and sent with one
//! system call.

use super::ethernet::{IPV6, LONGEST, Link, ether_type_of};
use super::virtio;
use core::ops::Range;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::join::{Added, Joined, Shape, same_ends};
use tsg_esp::segment::{Kind, Offload};

/// Memory for packets that wait: a packet of 64 KiB in pieces, twice.
const BYTES: usize = 192 * 1024;

/// Frames that wait.
const MOST: usize = 256;

/// Packets that wait, joined or not. The kernel takes a message in up to 1,024 parts, with those of the headers.
const PARTS: usize = 1_000;

/// As many frames, and as many parts in them, a batch sends at most with one call.
pub(crate) const LARGEST: (usize, usize) = (MOST, 2 * MOST + PARTS);

/// Where the frames of a batch leave.
pub(crate) trait Exit {
    /// Sends frames, each behind a header of virtio-net and given in parts, out of the port of that number. Says how
    /// many were not taken.
    fn send<'f, Parts: Iterator<Item = &'f [u8]>>(
        &mut self,
        frames: impl Iterator<Item = (u32, Parts)>,
    ) -> u64;
}

/// So many of the last frames are looked at for one of the same flow.
const OPEN: usize = 8;

/// The end of a frame's list of parts.
const END: usize = usize::MAX;

/// Where a packet goes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'l> {
    /// The port: never 0.
    pub(crate) port: u32,
    /// What is to stand in front of it; `None` for ports that take packets alone.
    pub(crate) link: Option<&'l Link>,
    /// It is one that this gateway has sealed.
    pub(crate) own: bool,
}

/// A frame: header of virtio-net, link header, the first packet, and payload of others behind it.
#[derive(Debug)]
struct Outgoing {
    port: u32,
    /// It goes as it came, its link header in it.
    whole: bool,
    link: Option<Link>,
    first: Range<usize>,
    joined: Option<Joined>,
    /// The first and the last of its further parts.
    rest: (usize, usize),
    head: [u8; virtio::LEN + LONGEST],
    head_len: usize,
}

/// The batch.
#[derive(Debug)]
pub(crate) struct Batch<E> {
    bytes: Vec<u8>,
    used: usize,
    frames: Vec<Outgoing>,
    /// Payload, and the number of the part that follows.
    parts: Vec<(Range<usize>, usize)>,
    exit: E,
    /// The kernel cuts datagrams.
    cuts_udp: bool,
    /// Frames that the kernel did not take, since the last time that somebody asked.
    failed: u64,
}

impl<E: Exit> Batch<E> {
    pub(crate) fn new(exit: E, cuts_udp: bool) -> Self {
        Self {
            bytes: vec![0; BYTES],
            used: 0,
            frames: Vec::with_capacity(MOST),
            parts: Vec::with_capacity(PARTS),
            exit,
            cuts_udp,
            failed: 0,
        }
    }

    /// Room for a packet of that length, with what sealing needs around it; to be filled, and then
    /// [taken](Self::take) or forgotten.
    pub(crate) fn room(&mut self, len: usize) -> Option<(Packet<'_>, usize)> {
        let whole = HEAD_ROOM + len + TAIL_ROOM;
        if self.bytes.len() - self.used < whole {
            self.flush();
        }
        let at = self.used;
        let room = self.bytes.get_mut(at..at + whole)?;
        Packet::new(room, HEAD_ROOM..HEAD_ROOM).ok().map(|packet| (packet, at))
    }

    /// Takes the packet that lies in `range` of the room at `at`.
    pub(crate) fn take(&mut self, at: usize, range: Range<usize>, to: To<'_>) {
        let range = at + range.start..at + range.end;
        self.used = self.used.max(range.end);
        self.put(range, to);
    }

    /// Takes a copy of a packet.
    pub(crate) fn push(&mut self, packet: &[u8], to: To<'_>) {
        if let Some(range) = self.copy(packet) {
            self.put(range, to);
        } else {
            self.failed += 1;
        }
    }

    /// Takes a copy of a whole frame, with what is left to be done to it.
    pub(crate) fn push_frame(&mut self, frame: &[u8], header: virtio::Header, port: u32) {
        let Some(first) = self.copy(frame) else {
            self.failed += 1;
            return;
        };
        let mut outgoing = Outgoing::new(port, first);
        outgoing.whole = true;
        outgoing.add_head(&header.emit());
        self.frames.push(outgoing);
    }

    fn copy(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        if self.bytes.len() - self.used < bytes.len() || self.is_full() {
            self.flush();
        }
        let range = self.used..self.used + bytes.len();
        self.bytes.get_mut(range.clone())?.copy_from_slice(bytes);
        self.used = range.end;
        Some(range)
    }

    fn is_full(&self) -> bool {
        self.frames.len() == MOST || self.parts.len() == PARTS
    }

    fn put(&mut self, range: Range<usize>, to: To<'_>) {
        // The kernel cuts nothing below a tag that it has not put there itself.
        let is_tagged = to.link.is_some_and(|link| !link.vlans.tags().is_empty());
        let shape = Shape::of(&self.bytes[range.clone()], to.own);
        let joins = |shape: &Shape| !is_tagged && (self.cuts_udp || shape.kind() == Kind::Tcp);
        let joins = shape.as_ref().is_some_and(joins);
        if !shape.as_ref().is_some_and(|shape| joins && self.join(&range, shape, &to)) {
            let mut outgoing = Outgoing::new(to.port, range);
            outgoing.link = to.link.copied();
            outgoing.joined = shape.map(if joins { Joined::new } else { Joined::alone });
            self.frames.push(outgoing);
        }
        if self.is_full() {
            self.flush();
        }
    }

    /// Puts the packet behind the last one of its flow, if it belongs there. It overtakes none between the same
    /// two machines that goes by itself: that may be of the flow, too.
    fn join(&mut self, range: &Range<usize>, shape: &Shape, to: &To<'_>) -> bool {
        let next = &self.bytes[range.clone()];
        for frame in self.frames.iter_mut().rev().take(OPEN) {
            let first = &self.bytes[frame.first.clone()];
            let Some(joined) = &mut frame.joined else {
                if frame.whole || same_ends(first, next) {
                    return false;
                }
                continue;
            };
            let same_way = frame.port == to.port && frame.link.as_ref() == to.link;
            if !same_way {
                continue;
            }
            match joined.add(first, next, shape) {
                Added::Behind => {}
                Added::Apart => return false,
                Added::OtherFlow => continue,
            }
            let part = self.parts.len();
            self.parts.push((range.start + shape.head()..range.end, END));
            match frame.rest {
                (END, _) => frame.rest = (part, part),
                (first, last) => {
                    self.parts[last].1 = part;
                    frame.rest = (first, part);
                }
            }
            return true;
        }
        false
    }

    /// Sends all of it.
    pub(crate) fn flush(&mut self) {
        let Self { bytes, frames, parts, .. } = self;
        for frame in frames.iter_mut() {
            frame.finish(bytes);
        }
        let whole = |frame: &&Outgoing| frame.head_len > 0 && frame.port != 0;
        self.failed += (frames.len() - frames.iter().filter(whole).count()) as u64;
        let outgoing = frames.iter().filter(whole).map(|frame| {
            let rest =
                core::iter::successors(parts.get(frame.rest.0), |(_, next)| parts.get(*next));
            let front = [&frame.head[..frame.head_len], &bytes[frame.first.clone()]];
            let rest = rest.map(|(range, _)| &bytes[range.clone()]);
            (frame.port, front.into_iter().chain(rest))
        });
        self.failed += self.exit.send(outgoing);
        self.frames.clear();
        self.parts.clear();
        self.used = 0;
    }

    /// How many frames the kernel has not taken, since this was asked.
    pub(crate) fn failed(&mut self) -> u64 {
        core::mem::take(&mut self.failed)
    }
}

impl Outgoing {
    const fn new(port: u32, first: Range<usize>) -> Self {
        let head = [0; virtio::LEN + LONGEST];
        Self {
            port,
            whole: false,
            link: None,
            first,
            joined: None,
            rest: (END, END),
            head,
            head_len: 0,
        }
    }

    fn add_head(&mut self, bytes: &[u8]) {
        self.head[self.head_len..self.head_len + bytes.len()].copy_from_slice(bytes);
        self.head_len += bytes.len();
    }

    /// Writes the headers, now that it is known how long the packet is; none in front of what is no packet.
    fn finish(&mut self, bytes: &mut [u8]) {
        if self.whole {
            return;
        }
        let first = &mut bytes[self.first.clone()];
        let Some(ether_type) = ether_type_of(first) else { return };
        let (offload, head) = match &self.joined {
            None => (Offload::default(), 0),
            Some(joined) => match joined.finish(first) {
                Ok(offload) => (offload, joined.head()),
                Err(tsg_esp::ip::Malformed) => return,
            },
        };
        let mut room = [0; LONGEST];
        let link_len = self.link.map_or(0, |link| link.emit(ether_type, &mut room));
        let header = virtio::Header::of(offload, link_len, head, ether_type == IPV6);
        self.add_head(&header.emit());
        self.add_head(&room[..link_len]);
    }
}
