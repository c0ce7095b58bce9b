//! Packets from a netfilter queue: one queue, one socket and one thread for each handler.
//!
//! The kernel keeps the packet until it has a verdict, so what the handler passes is not copied back. Merged
//! packets are cut into segments by the kernel, and checksums are complete.
//!
//! In the bridge family these segments have lost their Ethernet header: the kernel lets it begin where the IP
//! header does, and a segment that it is told to accept leaves behind 14 bytes of something else. So what
//! comes from the bridge family without a header is refused, and goes out through a packet socket with the
//! header that earlier packets between the same two addresses had: a connection begins with packets that
//! nobody merges. Learned is only from what the handler lets go on.
//!
//! What a bridge floods to several LAN ports is queued once for each of them; the handlers are told to expect that.
//!
//! Not here: the rules that queue.

mod answers;
mod bind;
mod message;

pub(super) use bind::{dropped, try_bind};

use super::ethernet::{Link, Tag, version_of};
use super::lately::Lately;
use super::neighbours::{Place, addresses};
use super::running::Shared;
use super::sockets::Wire;
use super::sys::{self, MARK, MARK_MASK};
use super::{Counters, Frame, Handler, Outbox, Side, Verdict};
use crate::netlink::{Messages, Socket};
use answers::Answers;
use anyhow::{Context as _, Result};
use core::net::IpAddr;
use core::ops::Range;
use message::Queued;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::time::Instant;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};

/// Frames at a wake-up before the handler may look after other things.
const BATCH: usize = 64;

/// Frames that are received with one system call, each into a slot of its own. What of a slot is never needed takes no
/// memory.
const SLOTS: usize = 16;
const SLOT: usize = HEAD_ROOM + DATAGRAM + TAIL_ROOM;

/// How long to wait for a frame.
const PATIENCE_MS: u16 = 250;

/// A message: a packet of 64 KiB and its attributes.
const DATAGRAM: usize = 65_536 + 1_024;

/// One queue with its handler.
pub(super) struct Worker {
    number: u16,
    socket: Socket,
    wire: Wire,
    shared: Arc<Shared>,
    handler: Box<dyn Handler>,
    outbox: Outbox,
    answers: Answers,
    /// What the others were told of: between whom a packet went, and where it came from.
    told: Lately<((IpAddr, IpAddr), Link, Side), ()>,
    /// When the batch began.
    now: Instant,
    counters: Counters,
    at: usize,
}

impl Worker {
    /// Binds a queue for each handler, with numbers that follow each other; gives the first number.
    pub(super) fn open_all(
        shared: &Arc<Shared>,
        handlers: Vec<Box<dyn Handler>>,
    ) -> Result<(u16, Vec<Self>)> {
        let (first, sockets) = bind::bind_all(handlers.len())?;
        let mut workers = Vec::new();
        for (at, (mut handler, socket)) in handlers.into_iter().zip(sockets).enumerate() {
            if shared.interfaces.lan_count() > 1 {
                handler.expect_copies();
            }
            let number = first + u16::try_from(at).context("too many queues")?;
            let wire = Wire::open().context("cannot open a packet socket")?;
            workers.push(Self {
                number,
                socket,
                wire,
                shared: Arc::clone(shared),
                handler,
                outbox: Outbox::new(),
                answers: Answers::new(number),
                told: Lately::new(),
                now: Instant::now(),
                counters: shared.counted(at),
                at,
            });
        }
        Ok((first, workers))
    }

    /// Serves the queue until told to stop.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; SLOTS * SLOT];
        while !self.shared.stopping() {
            if let Err(error) = sys::wait(&mut [sys::readable(&self.socket)], PATIENCE_MS) {
                log::error!("queue {}: {error}", self.number);
            }
            self.handler.begin();
            self.now = Instant::now();
            for _ in 0..BATCH / SLOTS {
                if self.receive(&mut buffer) < SLOTS {
                    break;
                }
            }
            self.answers.send(&self.socket);
            self.counters.send_failed += self.answers.failed();
            self.handler.idle();
            self.shared.publish(self.at, self.counters);
        }
    }

    /// Takes as many packets as there are slots, and gives how many there were.
    fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let mut slots = buffer.chunks_exact_mut(SLOT);
        let mut slots = core::array::from_fn::<_, SLOTS, _>(|_| {
            let slot = slots.next().unwrap_or_default();
            IoSliceMut::new(slot.get_mut(HEAD_ROOM..HEAD_ROOM + DATAGRAM).unwrap_or_default())
        });
        let mut lens = [0; SLOTS];
        let got = match self.socket.receive_batch(&mut slots, &mut lens) {
            Ok(got) => got,
            Err(error) => {
                self.counters.malformed += u64::from(error.kind() != io::ErrorKind::WouldBlock);
                return 0;
            }
        };
        for (slot, len) in buffer.chunks_exact_mut(SLOT).zip(&lens[..got]) {
            self.datagram(slot, HEAD_ROOM..HEAD_ROOM + len);
        }
        got
    }

    fn datagram(&mut self, buffer: &mut [u8], range: Range<usize>) {
        let (queued, malformed) = queued(buffer, range);
        self.counters.malformed += malformed;
        if let Some(queued) = queued {
            self.packet(buffer, queued);
        }
    }

    fn packet(&mut self, buffer: &mut [u8], mut queued: Queued) {
        self.counters.frames += 1;
        let inner = take_inner_tag(buffer, &mut queued);
        let Some(version) = version_of(queued.ether_type) else {
            return self.not_ip(&queued);
        };
        let Some(route) = self.route(&queued) else {
            self.counters.malformed += 1;
            return self.refuse(queued.id);
        };
        let addresses = addresses(&buffer[queued.payload.clone()]);
        if queued.headless {
            queued.link = addresses.and_then(|ends| self.known_link(&queued, route, ends));
        }
        if inner.is_some() && self.shared.always_passes(version, &buffer[queued.payload.clone()]) {
            return self.pass(buffer, &queued, route);
        }
        if let (Some((src, _)), Some(mac), None) = (addresses, queued.hw_src, queued.link) {
            let place = Place { mac, vlans: None, side: route.from };
            self.shared.hear(src, place);
        }
        let Ok(packet) = Packet::new(buffer, queued.payload.clone()) else {
            return self.refuse(queued.id);
        };
        let Route { from, lan_port } = route;
        let mut frame = Frame { packet, version, from, link: queued.link, lan_port };
        let verdict = self.handler.handle(&mut frame, &mut self.outbox);
        let range = frame.packet.range();
        match verdict {
            Verdict::Pass => self.pass(buffer, &queued, route),
            Verdict::Send => self.replace(buffer, range, &queued, inner, route),
            Verdict::Drop => {
                self.counters.dropped += 1;
                self.refuse(queued.id);
            }
        }
        if let (Some(ends), Some(link), false) = (addresses, queued.link, queued.headless)
            && verdict != Verdict::Drop
        {
            self.tell(ends, link, from);
        }
        if !self.outbox.is_empty() {
            let link = queued.link.or_else(|| {
                let ((src, dest), mac) = (addresses?, queued.hw_src?);
                self.shared.link(|known| known.link(src, mac, dest))
            });
            self.send_extra(route, link);
        }
    }

    /// A packet between these two goes on.
    fn tell(&mut self, ends: (IpAddr, IpAddr), link: Link, from: Side) {
        let last = |end| match end {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        let (place, heard) = (last(ends.0) ^ last(ends.1), (ends, link, from));
        if self.told.get(place, &heard, self.now).is_none() {
            self.shared.hear_both(ends, &link, from);
            self.told.put(place, heard, (), self.now);
        }
    }

    /// The Ethernet header of a packet that has lost its own.
    fn known_link(&self, queued: &Queued, route: Route, ends: (IpAddr, IpAddr)) -> Option<Link> {
        self.shared.link(|known| known.link_across(ends, route.from, queued.vlans))
    }

    /// The packet goes on as it came.
    fn pass(&mut self, buffer: &[u8], queued: &Queued, route: Route) {
        if queued.headless {
            self.counters.passed +=
                u64::from(self.send_instead(queued, route, &buffer[queued.payload.clone()]));
        } else {
            self.accept(queued, None);
        }
    }

    /// What is in `range` goes on in its place.
    fn replace(
        &mut self,
        buffer: &mut [u8],
        mut range: Range<usize>,
        queued: &Queued,
        inner: Option<Tag>,
        route: Route,
    ) {
        if queued.headless {
            self.counters.sent += u64::from(self.send_instead(queued, route, &buffer[range]));
            return;
        }
        if let Some(tag) = inner {
            // Room is there: the tag was taken off in front, or more than it is.
            let start = range.start - 4;
            buffer[start..start + 2].copy_from_slice(&tag.tci.to_be_bytes());
            buffer[start + 2..start + 4].copy_from_slice(&queued.ether_type.to_be_bytes());
            range.start = start;
        }
        self.accept(queued, Some(&buffer[range]));
    }

    /// Sends `packet` past the bridge and takes the queued one away; `false` if it did not go out.
    fn send_instead(&mut self, queued: &Queued, route: Route, packet: &[u8]) -> bool {
        self.answers.send(&self.socket);
        let port = self.shared.interfaces.towards(route.from.other(), route.lan_port);
        let sent = queued.link.map(|link| self.wire.send(port, &link, packet));
        self.refuse(queued.id);
        match sent {
            Some(Ok(())) => return true,
            Some(Err(_)) => self.counters.send_failed += 1,
            None => self.counters.no_link_address += 1,
        }
        false
    }

    /// Something below a second tag, where the rules do not look.
    fn not_ip(&mut self, queued: &Queued) {
        let passes = |link| self.shared.passes_not_ip(queued.ether_type, link);
        if queued.link.as_ref().is_some_and(passes) {
            self.accept(queued, None);
        } else {
            self.counters.dropped += 1;
            self.refuse(queued.id);
        }
    }

    fn route(&self, queued: &Queued) -> Option<Route> {
        let interfaces = &self.shared.interfaces;
        let (from, in_port) = interfaces.side_of(queued.from)?;
        let lan_port = match from {
            Side::Lan => in_port,
            Side::Wan => interfaces.side_of(queued.to).map_or(0, |(_, out_port)| out_port),
        };
        Some(Route { from, lan_port })
    }

    fn accept(&mut self, queued: &Queued, new: Option<&[u8]>) {
        let mark = queued.mark & !MARK_MASK | MARK;
        self.answers.accept(&self.socket, queued.id, mark, new);
        match new {
            Some(_) => self.counters.sent += 1,
            None => self.counters.passed += 1,
        }
    }

    fn refuse(&mut self, id: u32) {
        self.answers.drop(&self.socket, id);
    }

    fn send_extra(&mut self, Route { from, lan_port }: Route, link: Option<Link>) {
        self.answers.send(&self.socket);
        for (to, packet) in self.outbox.iter() {
            let link = link.and_then(|link| if to == from { link.swapped() } else { Some(link) });
            let Some(link) = link else {
                self.counters.no_link_address += 1;
                continue;
            };
            let port = self.shared.interfaces.towards(to, lan_port);
            match self.wire.send(port, &link, packet) {
                Ok(()) => self.counters.extra += 1,
                Err(_) => self.counters.send_failed += 1,
            }
        }
        self.outbox.clear();
    }
}

#[derive(Clone, Copy)]
struct Route {
    from: Side,
    lan_port: usize,
}

/// The packet in the datagram that lies at `range`, and how many of its messages make no sense.
pub(super) fn queued(buffer: &[u8], range: Range<usize>) -> (Option<Queued>, u64) {
    let datagram = &buffer[range.clone()];
    let (mut queued, mut malformed) = (None, 0);
    for message in Messages(datagram) {
        match Queued::parse(&message, datagram) {
            Some(packet) => queued = Some(packet),
            None => malformed += u64::from(message.error() != Some(0)),
        }
    }
    if let Some(queued) = &mut queued {
        queued.payload = queued.payload.start + range.start..queued.payload.end + range.start;
    }
    (queued, malformed)
}

/// With two tags the kernel takes off only the outer one; the payload then begins inside the other.
pub(super) fn take_inner_tag(buffer: &[u8], queued: &mut Queued) -> Option<Tag> {
    if !Tag::is_tpid(queued.ether_type) {
        return None;
    }
    let bytes = buffer.get(queued.payload.clone())?.first_chunk::<4>()?;
    let tag = Tag { tpid: queued.ether_type, tci: u16::from_be_bytes([bytes[0], bytes[1]]) };
    queued.ether_type = u16::from_be_bytes([bytes[2], bytes[3]]);
    queued.payload.start += 4;
    queued.vlans.push(tag);
    if let Some(link) = &mut queued.link {
        link.vlans.push(tag);
    }
    Some(tag)
}
