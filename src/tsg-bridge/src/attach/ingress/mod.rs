//! Frames from an ingress hook: nftables forwards what is matched to a TAP for each port, the daemon sends it
//! on through a packet socket.
//!
//! The daemon takes the bridge's place for these frames: it finds the port that a frame leaves by, and
//! gives copies to several where the bridge would. A TAP lasts as long as the daemon holds it; when it is gone
//! `fwd` has no target and drops, so a dead daemon fails closed.
//! Not here: the rules that forward, and offloads.

mod stations;

pub(super) use stations::Stations;
#[cfg(fuzzing)]
pub(super) use stations::entry;

use super::ethernet::{Header, Link, version_of};
use super::running::Shared;
use super::sockets::Wire;
use super::{Counters, Frame, Handler, Outbox, Ports, Side, Verdict, sys};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};

/// The longest frame that a TAP gives.
const FRAME: usize = 65_536 + super::ethernet::LONGEST;

/// Frames from one TAP before the next one has its turn.
const BATCH: usize = 64;

const PATIENCE_MS: u16 = 250;

/// Frames that wait in a TAP before the kernel drops.
const WAITING: i32 = 4_096;

/// Names for the TAPs, one for each of [`Ports::all`], that no interface has.
pub(super) fn tap_names(ports: &Ports) -> Vec<String> {
    let free = |name: &String| super::sockets::number(name) == 0;
    let names = (0..).map(|number| format!("tsg-tap{number}"));
    names.filter(free).take(ports.all().count()).collect()
}

/// Sets those TAPs up that are down, without addresses of their own: the kernel shall say nothing through them.
pub(super) fn keep_up(taps: &[String]) -> Result<()> {
    for tap in taps {
        if sys::is_up(tap).with_context(|| format!("there is no {tap} any more"))? {
            continue;
        }
        let quiet = format!("/proc/sys/net/ipv6/conf/{tap}/disable_ipv6");
        if std::path::Path::new(&quiet).exists() {
            std::fs::write(&quiet, "1").with_context(|| format!("cannot set {quiet}"))?;
        }
        sys::bring_up(tap, WAITING).with_context(|| format!("cannot set up {tap}"))?;
    }
    Ok(())
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
    wire: Wire,
    shared: Arc<Shared>,
    handler: Box<dyn Handler>,
    outbox: Outbox,
    counters: Counters,
    at: usize,
}

/// Where frames go: what leaves towards the WAN, and which LAN ports get a copy.
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

impl Worker {
    pub(super) fn open(
        shared: Arc<Shared>,
        taps: &[String],
        at: usize,
        handler: Box<dyn Handler>,
    ) -> Result<Self> {
        let taps = taps.iter().map(|name| try_tap(name)).collect::<Result<_>>()?;
        let lan = (0..shared.interfaces.lan_count()).map(|lan_port| (Side::Lan, lan_port));
        let places = lan.chain([(Side::Wan, 0)]).collect();
        let wire = Wire::open().context("cannot open a packet socket")?;
        let (outbox, counters) = (Outbox::new(), Counters::default());
        Ok(Self { taps, places, wire, shared, handler, outbox, counters, at })
    }

    /// Serves the TAPs until told to stop.
    pub(super) fn run(mut self) {
        const START: usize = HEAD_ROOM;
        let mut buffer = vec![0; START + FRAME + TAIL_ROOM];
        while !self.shared.stopping() {
            let mut ready = 0u64;
            let waited = sys::wait(self.taps.iter().map(|tap| tap.as_fd()), PATIENCE_MS, |at| {
                ready |= 1 << at;
            });
            if let Err(error) = waited {
                log::error!("cannot wait for frames: {error}");
            }
            for at in (0..self.taps.len()).filter(|at| ready & 1 << at != 0) {
                for _ in 0..BATCH {
                    match self.taps[at].read(&mut buffer[START..START + FRAME]) {
                        Ok(len) => self.frame(&mut buffer, START, len, at),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => {
                            // Somebody has deleted it. The attach starts anew.
                            return log::error!("cannot read a TAP: {error}");
                        }
                    }
                }
            }
            self.handler.idle();
            self.shared.publish(self.at, self.counters);
        }
    }

    fn frame(&mut self, buffer: &mut [u8], start: usize, len: usize, tap: usize) {
        let (from, in_port) = self.places[tap];
        let end = start + len;
        let Some(header) = Header::parse(&buffer[start..end]) else {
            self.counters.malformed += 1;
            return;
        };
        let exits = self.exits(&header.link, from, in_port);
        let whole = &buffer[start..end];
        if !exits.wan && exits.lan == Lan::None {
            self.counters.same_side += 1;
            return;
        }
        if from == Side::Lan {
            self.counters.lan_to_lan += u64::from(exits.lan != Lan::None);
            self.send_lan(exits.lan, |wire, port| wire.send_frame(port, whole));
            if !exits.wan {
                return;
            }
        }
        self.counters.frames += 1;
        let lan_port = match (from, exits.lan) {
            (Side::Lan, _) => in_port,
            (Side::Wan, Lan::One(port)) => port,
            (Side::Wan, Lan::None | Lan::AllBut(_)) => 0,
        };
        let Some(version) = version_of(header.ether_type) else {
            return self.not_ip(&header, whole, from, &exits);
        };
        if header.link.vlans.tags().len() > 1
            && self.shared.always_passes(version, &buffer[start + header.len..end])
        {
            self.counters.passed += 1;
            let whole = &buffer[start..end];
            return self.onward(from, &exits, |wire, port| wire.send_frame(port, whole));
        }
        let Ok(packet) = Packet::new(buffer, start + header.len..end) else {
            self.counters.malformed += 1;
            return;
        };
        let mut frame = Frame { packet, version, from, link: Some(header.link), lan_port };
        let verdict = self.handler.handle(&mut frame, &mut self.outbox);
        let sent = frame.packet.range();
        match verdict {
            Verdict::Pass => {
                self.counters.passed += 1;
                let whole = &buffer[start..end];
                self.onward(from, &exits, |wire, port| wire.send_frame(port, whole));
            }
            Verdict::Send => {
                self.counters.sent += 1;
                let packet = &buffer[sent];
                self.onward(from, &exits, |wire, port| wire.send(port, &header.link, packet));
            }
            Verdict::Drop => self.counters.dropped += 1,
        }
        self.extra(from, in_port, &exits, &header.link);
    }

    /// Where the bridge would send a frame that came in there.
    fn exits(&self, link: &Link, from: Side, in_port: usize) -> Exits {
        let now = Instant::now();
        let mut stations = self.shared.stations();
        stations.hear(link.src, from, in_port, now);
        let own = (from == Side::Lan).then_some(in_port);
        let group = link.dst[0] & 1 == 1;
        let place = match group {
            true => None,
            false => stations.find(link.dst, &self.shared.interfaces, now),
        };
        match (from, place) {
            (_, None) => Exits { wan: from == Side::Lan, lan: Lan::AllBut(own) },
            (Side::Lan, Some((Side::Wan, _))) => Exits { wan: true, lan: Lan::None },
            (Side::Lan, Some((Side::Lan, port))) if port == in_port => {
                Exits { wan: false, lan: Lan::None }
            }
            (_, Some((Side::Lan, port))) => Exits { wan: false, lan: Lan::One(port) },
            (Side::Wan, Some((Side::Wan, _))) => Exits { wan: false, lan: Lan::None },
        }
    }

    fn not_ip(&mut self, header: &Header, whole: &[u8], from: Side, exits: &Exits) {
        let passes = self.shared.passes_not_ip(header.ether_type, &header.link);
        if passes {
            self.counters.passed += 1;
            self.onward(from, exits, |wire, port| wire.send_frame(port, whole));
        } else {
            self.counters.dropped += 1;
        }
    }

    fn onward(&mut self, from: Side, exits: &Exits, send: impl Fn(&Wire, u32) -> io::Result<()>) {
        match from {
            Side::Lan => self.send_wan(send),
            Side::Wan => self.send_lan(exits.lan, send),
        }
    }

    fn send_wan(&mut self, send: impl Fn(&Wire, u32) -> io::Result<()>) {
        if send(&self.wire, self.shared.interfaces.wan()).is_err() {
            self.counters.send_failed += 1;
        }
    }

    fn send_lan(&mut self, lan: Lan, send: impl Fn(&Wire, u32) -> io::Result<()>) {
        for port in 0..self.shared.interfaces.lan_count() {
            let wanted = match lan {
                Lan::None => false,
                Lan::One(one) => one == port,
                Lan::AllBut(own) => own != Some(port),
            };
            if wanted && send(&self.wire, self.shared.interfaces.lan(port)).is_err() {
                self.counters.send_failed += 1;
            }
        }
    }

    fn extra(&mut self, from: Side, in_port: usize, exits: &Exits, link: &Link) {
        let outbox = core::mem::replace(&mut self.outbox, Outbox::none());
        for (to, packet) in outbox.iter() {
            let link = if to == from { link.swapped() } else { Some(*link) };
            let Some(link) = link else {
                self.counters.no_link_address += 1;
                continue;
            };
            self.counters.extra += 1;
            let send = |wire: &Wire, port| wire.send(port, &link, packet);
            match (to, to == from) {
                (Side::Wan, _) => self.send_wan(send),
                (Side::Lan, true) => self.send_lan(Lan::One(in_port), send),
                (Side::Lan, false) => self.send_lan(exits.lan, send),
            }
        }
        self.outbox = outbox;
        self.outbox.clear();
    }
}
