//! Packets from a netfilter queue: one queue, one socket and one thread for each handler.
//!
//! The kernel keeps the packet until it has a verdict, so what the handler passes is not copied back. Merged
//! packets are cut into segments by the kernel, and checksums are complete.
//! Not here: the rules that queue.

mod message;

use super::ethernet::{IPV4, IPV6, Link, Tag};
use super::neighbours::{Place, addresses};
use super::running::Shared;
use super::sockets::Wire;
use super::sys::{self, MARK, MARK_MASK};
use super::{Counters, Frame, Handler, Outbox, Side, Verdict};
use crate::netlink::{Family, Messages, Request, Socket};
use anyhow::{Context as _, Result, bail};
use core::ops::Range;
use message::Queued;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};

/// Number of the first queue, unlikely to be another program's. Each gateway of a machine takes the first
/// free ones from here.
const FIRST_QUEUE: u16 = 25_300;

/// How many are tried.
const QUEUES: u16 = 256;

/// Packets that wait in a queue before the kernel drops.
const WAITING: u32 = 4_096;

/// Memory for the messages of those that wait.
const SOCKET_BYTES: i32 = 8 << 20;

/// Frames at a wake-up before the handler may look after other things.
const BATCH: usize = 64;

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
    reply: Request,
    counters: Counters,
    at: usize,
}

impl Worker {
    /// Binds a queue for each handler, with numbers that follow each other; gives the first number.
    pub(super) fn open_all(
        shared: &Arc<Shared>,
        handlers: Vec<Box<dyn Handler>>,
    ) -> Result<(u16, Vec<Self>)> {
        let (first, sockets) = bind_all(handlers.len())?;
        let mut workers = Vec::new();
        for (at, (handler, socket)) in handlers.into_iter().zip(sockets).enumerate() {
            let number = first + u16::try_from(at).context("too many queues")?;
            let wire = Wire::open().context("cannot open a packet socket")?;
            workers.push(Self {
                number,
                socket,
                wire,
                shared: Arc::clone(shared),
                handler,
                outbox: Outbox::new(),
                reply: Request::new(0, 0, &[]),
                counters: Counters::default(),
                at,
            });
        }
        Ok((first, workers))
    }

    /// Serves the queue until told to stop.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; HEAD_ROOM + DATAGRAM + TAIL_ROOM];
        while !self.shared.stopping() {
            if let Err(error) = sys::wait([self.socket.as_fd()].into_iter(), PATIENCE_MS, |_| ()) {
                log::error!("queue {}: {error}", self.number);
            }
            for _ in 0..BATCH {
                let room = &mut buffer[HEAD_ROOM..HEAD_ROOM + DATAGRAM];
                match self.socket.receive(room) {
                    Ok(len) => self.datagram(&mut buffer, HEAD_ROOM..HEAD_ROOM + len),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => self.counters.queue_full += 1,
                }
            }
            self.handler.idle();
            self.shared.publish(self.at, self.counters);
        }
    }

    fn datagram(&mut self, buffer: &mut [u8], range: Range<usize>) {
        let mut queued = None;
        for message in Messages(&buffer[range.clone()]) {
            match Queued::parse(&message, &buffer[range.clone()]) {
                Some(packet) => queued = Some(packet),
                None => self.counters.malformed += u64::from(message.error() != Some(0)),
            }
        }
        if let Some(mut queued) = queued {
            queued.payload = queued.payload.start + range.start..queued.payload.end + range.start;
            self.packet(buffer, queued);
        }
    }

    fn packet(&mut self, buffer: &mut [u8], mut queued: Queued) {
        self.counters.frames += 1;
        let inner = take_inner_tag(buffer, &mut queued);
        if !matches!(queued.ether_type, IPV4 | IPV6) {
            return self.not_ip(&queued);
        }
        let Some(route) = self.route(&queued) else {
            self.counters.malformed += 1;
            return self.refuse(queued.id);
        };
        if inner.is_some() && self.shared.always_passes(&buffer[queued.payload.clone()]) {
            return self.accept(&queued, None);
        }
        let addresses = addresses(&buffer[queued.payload.clone()]);
        if let (Some((src, _)), Some(mac), None) = (addresses, queued.hw_src, queued.link) {
            let place = Place { mac, vlans: None, side: route.from };
            self.shared.hear(src, place);
        }
        let Ok(packet) = Packet::new(buffer, queued.payload.clone()) else {
            return self.refuse(queued.id);
        };
        let Route { from, lan_port } = route;
        let mut frame = Frame { packet, from, link: queued.link, lan_port };
        let verdict = self.handler.handle(&mut frame, &mut self.outbox);
        let mut range = frame.packet.range();
        match verdict {
            Verdict::Pass => self.accept(&queued, None),
            Verdict::Send => {
                if let Some(tag) = inner {
                    // Room is there: the tag was taken off in front, or more than it is.
                    let start = range.start - 4;
                    buffer[start..start + 2].copy_from_slice(&tag.tci.to_be_bytes());
                    buffer[start + 2..start + 4].copy_from_slice(&queued.ether_type.to_be_bytes());
                    range.start = start;
                }
                self.accept(&queued, Some(&buffer[range]));
            }
            Verdict::Drop => {
                self.counters.dropped += 1;
                self.refuse(queued.id);
            }
        }
        if !self.outbox.is_empty() {
            let link = queued.link.or_else(|| {
                let (src, dest) = addresses?;
                self.shared.link(src, queued.hw_src?, dest)
            });
            self.send_extra(route, link);
        }
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
        let len = new.map(<[u8]>::len);
        message::accept(&mut self.reply, self.number, queued.id, mark, len);
        let head = self.reply.finish(0, len.unwrap_or(0));
        let sent = self.socket.send(head, new.unwrap_or_default());
        match (sent, new) {
            (Ok(()), Some(_)) => self.counters.sent += 1,
            (Ok(()), None) => self.counters.passed += 1,
            (Err(_), _) => {
                self.counters.send_failed += 1;
                self.refuse(queued.id);
            }
        }
    }

    fn refuse(&mut self, id: u32) {
        message::drop(&mut self.reply, self.number, id);
        if self.socket.send(self.reply.finish(0, 0), &[]).is_err() {
            self.counters.send_failed += 1;
        }
    }

    fn send_extra(&mut self, Route { from, lan_port }: Route, link: Option<Link>) {
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

/// Binds the first `count` neighbouring queues that nobody has.
fn bind_all(count: usize) -> Result<(u16, Vec<Socket>)> {
    let mut sockets = Vec::new();
    for number in FIRST_QUEUE..FIRST_QUEUE + QUEUES {
        match bind(number) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_taken(&error) => sockets.clear(),
            Err(error) => return Err(error).context("cannot bind a netfilter queue"),
        }
        if sockets.len() == count {
            return Ok((number + 1 - u16::try_from(count)?, sockets));
        }
    }
    bail!("netfilter queues from {FIRST_QUEUE} on are all taken, or CAP_NET_ADMIN is missing")
}

fn bind(number: u16) -> io::Result<Socket> {
    let mut socket = Socket::open(Family::Netfilter)?;
    socket.make_roomy(SOCKET_BYTES)?;
    socket.request(&mut message::bind(number, WAITING))?;
    Ok(socket)
}

/// The kernel says so of a queue that another process serves.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EPERM))
}

/// Is there a queue in this kernel? Tried with a number that nobody uses.
pub(super) fn try_bind() -> Result<()> {
    let tried = bind(FIRST_QUEUE + QUEUES).map(drop);
    tried.context("the kernel has no netfilter queue, or the rights do not suffice")
}

/// With two tags the kernel takes off only the outer one; the payload then begins inside the other.
fn take_inner_tag(buffer: &[u8], queued: &mut Queued) -> Option<Tag> {
    if !Tag::is_tpid(queued.ether_type) {
        return None;
    }
    let bytes = buffer.get(queued.payload.clone())?.first_chunk::<4>()?;
    let tag = Tag { tpid: queued.ether_type, tci: u16::from_be_bytes([bytes[0], bytes[1]]) };
    queued.ether_type = u16::from_be_bytes([bytes[2], bytes[3]]);
    queued.payload.start += 4;
    if let Some(link) = &mut queued.link {
        link.vlans.push(tag);
    }
    Some(tag)
}
