//! Frames from an ingress hook: nftables forwards what is matched to a TAP for each port, the daemon sends it
//! on through a packet socket.
//!
//! Both speak virtio-net, so a frame may be a packet of 64 KiB that a network card was to cut. It is cut here, since
//! each piece is sealed by itself; and what comes out is joined again, so that the kernel has less to carry.
//!
//! The daemon takes the bridge's place for these frames: it finds the port that a frame leaves by, and
//! gives copies to several where the bridge would. A TAP lasts as long as the daemon holds it; when it is gone
//! `fwd` has no target and drops, so a dead daemon fails closed. Where `fail` is open the rules pass frames by it
//! when they have not heard from the daemon for a while.
//! Not here: the rules that forward, and how packets are cut and joined ([`tsg_esp::segment`], [`tsg_esp::join`]).

#[cfg(test)]
mod against_kernel;
mod stations;
#[cfg(test)]
mod tests;

pub(super) use stations::Stations;
#[cfg(fuzzing)]
pub(super) use stations::entry;

use super::batch::{Batch, To};
use super::ethernet::{Header, Link, version_of};
use super::lately::Lately;
use super::running::Shared;
use super::sys::Sendings;
use super::{Counters, Frame, Handler, Outbox, Ports, Side, Verdict, sys, virtio};
use crate::interface;
use anyhow::{Context as _, Result};
use core::ops::Range;
use nix::poll::PollFd;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::checksum::complete;
use tsg_esp::ip::{Outline, Version};
use tsg_esp::segment::{Cut, Kind, Offload, Partial};

/// The longest frame that a TAP gives.
const FRAME: usize = 65_536 + super::ethernet::LONGEST;

/// Frames from one TAP before the next one has its turn.
const BATCH: usize = 64;

const PATIENCE_MS: u16 = 250;

/// Who finds so many frames in the TAPs, and has emptied them, is busy, and lets others gather for a moment: what comes
/// together is joined, and goes on with one system call. Who answers polls does not wait.
const BUSY: u64 = 8;

/// So long it lets them gather; at a million frames in a second a tenth of what a TAP holds.
const GATHER: Duration = Duration::from_micros(20);

const BEAT_EVERY: Duration = Duration::from_secs(1);

/// A frame that nobody takes (its EtherType is one of those for experiments), behind an empty virtio-net header.
const HEARTBEAT: [u8; virtio::LEN + 60] = {
    let mut frame = [0; virtio::LEN + 60];
    (frame[virtio::LEN + 12], frame[virtio::LEN + 13]) = (0x88, 0xb5);
    frame
};

/// What the names of TAPs begin with.
pub(super) const TAP_NAME: &str = "tsg-tap";

/// Names for the TAPs, one for each of [`Ports::all`], that no interface has.
pub(super) fn tap_names(ports: &Ports) -> Vec<String> {
    let free = |name: &String| super::sockets::number(name) == 0;
    let names = (0..).map(|number| format!("{TAP_NAME}{number}"));
    names.filter(free).take(ports.all().count()).collect()
}

/// Sets those TAPs up that are down, with a queue for each thread and without addresses of their own: the kernel
/// shall say nothing through them.
pub(super) fn keep_up(taps: &[String], threads: u16) -> Result<()> {
    for tap in taps {
        if interface::is_up(tap).with_context(|| format!("there is no {tap} any more"))? {
            continue;
        }
        let quiet = format!("/proc/sys/net/ipv6/conf/{tap}/disable_ipv6");
        if std::path::Path::new(&quiet).exists() {
            std::fs::write(&quiet, "1").with_context(|| format!("cannot set {quiet}"))?;
        }
        set_up(tap, taps.len() * usize::from(threads))
            .with_context(|| format!("cannot set up {tap}"))?;
    }
    Ok(())
}

fn set_up(tap: &str, queues: usize) -> io::Result<()> {
    interface::set_waiting(tap, queues)?;
    interface::bring_up(tap)
}

/// Frames that did not fit into the TAPs.
pub(super) fn dropped(taps: &[String]) -> u64 {
    let statistics = |tap| format!("/sys/class/net/{tap}/statistics/tx_dropped");
    let count = |tap| std::fs::read_to_string(statistics(tap)).ok()?.trim().parse::<u64>().ok();
    taps.iter().filter_map(count).sum()
}

/// Opens a TAP and closes it again: can this kernel do it?
pub(super) fn try_tap(name: &str) -> Result<File> {
    sys::tap(name).context("cannot make a TAP: load the kernel module tun (kmod-tun)")
}

/// One handler with its queue of each TAP.
pub(super) struct Worker {
    taps: Vec<File>,
    places: Vec<(Side, usize)>,
    shared: Arc<Shared>,
    handler: Box<dyn Handler>,
    outbox: Outbox,
    batch: Batch<Sendings>,
    counters: Counters,
    at: usize,
    /// Where frames between two stations went, by these and the TAP.
    lately: Lately<([u8; 6], [u8; 6], usize), Exits>,
    /// When the batch began.
    now: Instant,
}

/// A frame as it came out of a TAP.
struct Raw<'b> {
    header: virtio::Header,
    /// With room for sealing in front of and behind it.
    buffer: &'b mut [u8],
    place: Range<usize>,
}

impl Raw<'_> {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.place.clone()]
    }
}

/// Where a frame came in, and where it leaves.
struct Way {
    from: Side,
    in_port: usize,
    lan_port: usize,
    exits: Exits,
}

/// Where frames go: what leaves towards the WAN, and which LAN ports get a copy.
#[derive(Clone, Copy)]
struct Exits {
    wan: bool,
    lan: Lan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lan {
    None,
    One(usize),
    AllBut(Option<usize>),
}

impl Shared {
    /// The exits, and whether that is where the other station is.
    fn exits(&self, link: &Link, from: Side, in_port: usize, now: Instant) -> (Exits, bool) {
        let mut stations = self.stations();
        stations.hear(link.src, from, in_port, now);
        let own = (from == Side::Lan).then_some(in_port);
        let group = link.dst[0] & 1 == 1;
        let place = match group {
            true => None,
            false => stations.find(link.dst, &self.interfaces, now),
        };
        let exits = match (from, place) {
            (_, None) => Exits { wan: from == Side::Lan, lan: Lan::AllBut(own) },
            (Side::Lan, Some((Side::Wan, _))) => Exits { wan: true, lan: Lan::None },
            (Side::Lan, Some((Side::Lan, port))) if port == in_port => {
                Exits { wan: false, lan: Lan::None }
            }
            (_, Some((Side::Lan, port))) => Exits { wan: false, lan: Lan::One(port) },
            (Side::Wan, Some((Side::Wan, _))) => Exits { wan: false, lan: Lan::None },
        };
        (exits, group || place.is_some())
    }
}

impl Worker {
    pub(super) fn open(
        shared: Arc<Shared>,
        taps: &[String],
        at: usize,
        mut handler: Box<dyn Handler>,
    ) -> Result<Self> {
        handler.leave_sums();
        let taps: Vec<File> = taps.iter().map(|name| try_tap(name)).collect::<Result<_>>()?;
        let mut cuts_udp = true;
        for tap in &taps {
            cuts_udp &= interface::take_uncut(tap).context("cannot switch on offloads of a TAP")?;
        }
        let lan = (0..shared.interfaces.lan_count()).map(|lan_port| (Side::Lan, lan_port));
        let places = lan.chain([(Side::Wan, 0)]).collect();
        let exit = Sendings::new().context("cannot open a packet socket")?;
        let batch = Batch::new(exit, cuts_udp);
        let (outbox, counters) = (Outbox::new(), shared.counted(at));
        let (lately, now) = (Lately::new(), Instant::now());
        Ok(Self { taps, places, shared, handler, outbox, batch, counters, at, lately, now })
    }

    /// Serves the TAPs until told to stop.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; HEAD_ROOM + FRAME + TAIL_ROOM];
        let mut beaten = Instant::now() - BEAT_EVERY;
        let taps = core::mem::take(&mut self.taps);
        let mut waiting: Vec<PollFd<'_>> = taps.iter().map(sys::readable).collect();
        let may_gather = sys::sleeps_exactly();
        while !self.shared.stopping() {
            if let Err(error) = sys::wait(&mut waiting, PATIENCE_MS) {
                log::error!("cannot wait for frames: {error}");
            }
            let (before, mut emptied) = (self.counters.frames, true);
            for (at, tap) in taps.iter().enumerate() {
                if waiting[at].any() != Some(true) {
                    continue;
                }
                match self.drain(tap, at, &mut buffer) {
                    Ok(nothing_left) => emptied &= nothing_left,
                    // Somebody has deleted it. The attach starts anew.
                    Err(error) => return log::error!("cannot read a TAP: {error}"),
                }
                self.beat(&taps[0], &mut beaten);
            }
            self.handler.idle();
            self.beat(&taps[0], &mut beaten);
            self.shared.publish(self.at, self.counters);
            if may_gather && emptied && self.counters.frames - before >= BUSY {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Lets the rules know that the daemon is there.
    fn beat(&self, mut tap: &File, beaten: &mut Instant) {
        if self.at == 0 && beaten.elapsed() >= BEAT_EVERY {
            *beaten = Instant::now();
            // What cannot be written now is written the next time.
            let _ = tap.write(&HEARTBEAT);
        }
    }

    /// Takes what waits in a TAP, up to a batch of it, and sends on what comes of it. Says whether that was all.
    fn drain(&mut self, mut tap: &File, at: usize, buffer: &mut [u8]) -> io::Result<bool> {
        self.now = Instant::now();
        self.handler.begin();
        let mut emptied = false;
        for _ in 0..BATCH {
            // The header is where sealing will need room.
            let (front, place) = (HEAD_ROOM - virtio::LEN, HEAD_ROOM);
            match tap.read(&mut buffer[front..place + FRAME]) {
                Ok(len) => {
                    let header = buffer[front..place].first_chunk().copied().unwrap_or_default();
                    let header = virtio::Header::parse(&header);
                    let place = place..place + len.saturating_sub(virtio::LEN);
                    self.frame(&mut Raw { header, buffer, place }, at);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    emptied = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.batch.flush();
        self.counters.send_failed += self.batch.failed();
        Ok(emptied)
    }

    fn frame(&mut self, raw: &mut Raw<'_>, at: usize) {
        let (from, in_port) = self.places[at];
        let Some(header) = Header::parse(raw.bytes()) else {
            self.counters.malformed += 1;
            return;
        };
        let exits = self.exits(&header.link, at);
        if !exits.wan && exits.lan == Lan::None {
            self.counters.same_side += 1;
            return;
        }
        if from == Side::Lan {
            self.counters.lan_to_lan += u64::from(exits.lan != Lan::None);
            self.lan_ports(exits.lan, |batch, port| {
                batch.push_frame(raw.bytes(), raw.header, port)
            });
            if !exits.wan {
                return;
            }
        }
        let lan_port = match (from, exits.lan) {
            (Side::Lan, _) => in_port,
            (Side::Wan, Lan::One(port)) => port,
            (Side::Wan, Lan::None | Lan::AllBut(_)) => 0,
        };
        let way = Way { from, in_port, lan_port, exits };
        let Some(version) = version_of(header.ether_type) else {
            self.counters.frames += 1;
            return match self.shared.passes_not_ip(header.ether_type, &header.link) {
                true => self.pass(raw, &way),
                false => self.counters.dropped += 1,
            };
        };
        let packet = &raw.bytes()[header.len..];
        if header.link.vlans.tags().len() > 1 && self.shared.always_passes(version, packet) {
            self.counters.frames += 1;
            return self.pass(raw, &way);
        }
        match raw.header.offload(header.len) {
            Some(Offload { cut: Some((kind, size)), checksum }) => {
                let summed = checksum.is_some();
                self.cut(raw, &header, version, (kind, size, summed), &way);
            }
            Some(Offload { cut: None, checksum }) => {
                self.whole(raw, &header, version, checksum, &way);
            }
            None => self.counters.malformed += 1,
        }
    }

    /// A packet that is one.
    fn whole(
        &mut self,
        raw: &mut Raw<'_>,
        header: &Header,
        version: Version,
        checksum: Option<Partial>,
        way: &Way,
    ) {
        self.counters.frames += 1;
        let place = raw.place.start + header.len..raw.place.end;
        let Way { from, lan_port, .. } = *way;
        // From the WAN it is sealed, and nobody looks at the sum, or it goes on as it came.
        if let Some(Partial { start, offset }) = checksum.filter(|_| from == Side::Lan) {
            if complete(&mut raw.buffer[place.clone()], start, offset).is_err() {
                self.counters.malformed += 1;
                return;
            }
            raw.header = virtio::Header::default();
        }
        let Ok(packet) = Packet::new(raw.buffer, place) else { return };
        let mut frame = Frame { packet, version, from, link: Some(header.link), lan_port };
        match self.handler.handle(&mut frame, &mut self.outbox) {
            Verdict::Pass => self.pass(raw, way),
            Verdict::Send => {
                self.counters.sent += 1;
                let packet = frame.packet.bytes();
                let link = Some(&header.link);
                let own = from == Side::Lan;
                self.onward(way, |batch, port| batch.push(packet, To { port, link, own }));
            }
            Verdict::Drop => self.counters.dropped += 1,
        }
        self.extra(way, &header.link);
    }

    /// A packet that is several, which somebody else was to cut. They are of one flow, so what is not to be sealed
    /// or opened passes as it is; where something goes beside the first, the handler is asked about the others, too.
    fn cut(
        &mut self,
        raw: &mut Raw<'_>,
        header: &Header,
        version: Version,
        (kind, size, summed): (Kind, u16, bool),
        way: &Way,
    ) {
        let source = &raw.bytes()[header.len..];
        let Ok(outline) = Outline::parse(source) else {
            self.counters.malformed += 1;
            return;
        };
        let largest = self.handler.largest(way.from, &outline);
        let cut = Cut::plan(source, &outline, kind, usize::from(size), summed).ok();
        let Some(mut cut) = cut.and_then(|cut| cut.no_longer_than(largest)) else {
            self.counters.malformed += 1;
            return;
        };
        if kind == Kind::Udp && way.from == Side::Wan {
            // Each is opened, or all go on as they came: nobody sees the sum of a piece.
            cut = cut.unsummed();
        }
        let Way { from, lan_port, .. } = *way;
        let mut passed = false;
        for number in 0..cut.count() {
            self.counters.frames += 1;
            let Some((mut packet, at)) = self.batch.room(cut.longest()) else {
                self.counters.send_failed += 1;
                continue;
            };
            if cut.write(number, &mut packet).is_err() {
                self.counters.malformed += 1;
                continue;
            }
            let link = header.link;
            let mut frame = Frame { packet, version, from, link: Some(link), lan_port };
            let verdict = self.handler.handle(&mut frame, &mut self.outbox);
            let place = frame.packet.range();
            match verdict {
                Verdict::Pass if self.outbox.is_empty() && !passed => {
                    return self.pass(raw, way);
                }
                Verdict::Pass => {
                    if !passed {
                        self.pass(raw, way);
                    }
                    passed = true;
                }
                Verdict::Send => {
                    self.counters.sent += 1;
                    let own = from == Side::Lan;
                    let to = |port| To { port, link: Some(&link), own };
                    self.onward(way, |batch, port| batch.take(at, place.clone(), to(port)));
                }
                Verdict::Drop => self.counters.dropped += 1,
            }
            self.extra(way, &link);
        }
    }

    /// The frame goes on as it came.
    fn pass(&mut self, raw: &Raw<'_>, way: &Way) {
        self.counters.passed += 1;
        self.onward(way, |batch, port| batch.push_frame(raw.bytes(), raw.header, port));
    }

    /// Where the bridge would send a frame that came in there.
    fn exits(&mut self, link: &Link, at: usize) -> Exits {
        let (place, key) = (link.src[5] ^ link.dst[5], (link.src, link.dst, at));
        if let Some(exits) = self.lately.get(place, &key, self.now) {
            return exits;
        }
        let (from, in_port) = self.places[at];
        let (exits, certain) = self.shared.exits(link, from, in_port, self.now);
        if certain {
            self.lately.put(place, key, exits, self.now);
        }
        exits
    }

    fn onward(&mut self, way: &Way, send: impl Fn(&mut Batch<Sendings>, u32)) {
        match way.from {
            Side::Lan => send(&mut self.batch, self.shared.interfaces.wan()),
            Side::Wan => self.lan_ports(way.exits.lan, send),
        }
    }

    fn lan_ports(&mut self, lan: Lan, send: impl Fn(&mut Batch<Sendings>, u32)) {
        for port in 0..self.shared.interfaces.lan_count() {
            let wanted = match lan {
                Lan::None => false,
                Lan::One(one) => one == port,
                Lan::AllBut(own) => own != Some(port),
            };
            if wanted {
                send(&mut self.batch, self.shared.interfaces.lan(port));
            }
        }
    }

    fn extra(&mut self, way: &Way, link: &Link) {
        if self.outbox.is_empty() {
            return;
        }
        let outbox = core::mem::replace(&mut self.outbox, Outbox::none());
        for (to, packet) in outbox.iter() {
            let link = if to == way.from { link.swapped() } else { Some(*link) };
            let Some(link) = link else {
                self.counters.no_link_address += 1;
                continue;
            };
            self.counters.extra += 1;
            let own = to == Side::Wan;
            let send = |batch: &mut Batch<Sendings>, port| {
                batch.push(packet, To { port, link: Some(&link), own })
            };
            match (to, to == way.from) {
                (Side::Wan, _) => send(&mut self.batch, self.shared.interfaces.wan()),
                (Side::Lan, true) => self.lan_ports(Lan::One(way.in_port), send),
                (Side::Lan, false) => self.lan_ports(way.exits.lan, send),
            }
        }
        self.outbox = outbox;
        self.outbox.clear();
    }
}
