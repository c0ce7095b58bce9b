//! Both ends of a tunnel's process: packets from the TUN device go out sealed, what comes in sealed goes to the device.

mod upkeep;

use super::device::{Device, LONGEST};
use super::group::Group;
use super::hello::Suites;
use super::mode::OtherMode;
use super::opening::{Opened, Opening};
use super::other::Other;
use super::peer::Peer;
use super::run::{Tunnel, key};
use super::standing::Standing;
use super::status::{Counts, State};
use super::sys::{Arrival, Outer};
use super::transport::Transport;
use super::wire::{Sent, Wire};
use crate::attach::{sleeps_exactly, virtio};
use crate::boottime;
use crate::identity::prepare_folder;
use crate::interface;
use crate::pipeline::Reason;
use crate::run::StatusSocket;
use anyhow::{Context as _, Result, ensure};
use core::net::SocketAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use tsg_esp::buffer::{NoRoom, Packet};
use tsg_esp::checksum::complete;
use tsg_esp::ip::{Malformed, Outline, traffic_class};
use tsg_esp::segment::{Cut, Offload, Partial};
use tsg_esp::{DropReason, ecn, inside};
use upkeep::{Place, place};

/// Packets of one end before the other has its turn.
const BATCH: usize = 64;

/// Who finds so many packets at once is busy, and lets others gather for a moment: what comes together goes on together.
const BUSY: usize = 8;

/// So long it lets them gather.
const GATHER: Duration = Duration::from_micros(20);

/// So often it is looked whether something is to be said, in milliseconds.
const TICK: u16 = 250;

/// So often it is looked whether the way to the other end is still the same, in milliseconds.
const LOOK_AFTER: u64 = 1_000;

/// The traffic class of what the ends say to each other: internetwork control.
const CONTROL: u8 = 0xc0;

/// Both ends of the process: the device and the wire.
pub(super) struct Ends {
    device: Device,
    wire: Wire,
    /// Where the wire leaves.
    place: Option<Place>,
    looked: u64,
    tunnel: Tunnel,
    peer: Other,
    group: Option<Group>,
    transport: Option<Transport>,
    other_mode: Option<OtherMode>,
    said: State,
    mtu: u16,
    /// When something was sent last.
    sent: u64,
    counts: Counts,
    status: StatusSocket,
    buffer: Vec<u8>,
    say: Vec<Vec<u8>>,
}

impl Ends {
    pub(super) fn open(tunnel: &Tunnel) -> Result<Self> {
        let Tunnel { interface, peer, device: name, .. } = tunnel;
        let suites = Suites { aes: tsg_sodium::aes_available() };
        let file = match tunnel.group {
            Some(_) => None,
            None => Some(key(&tunnel.key_file)?),
        };
        ensure!(
            interface::exists(interface),
            "there is no interface {interface}: name the one that {peer} is reached by"
        );
        if let Some(folder) = tunnel.socket.parent() {
            prepare_folder(folder)?;
        }
        let wire = Wire::open(tunnel)?;
        let device = Device::open(name)?;
        let transport = tunnel.transport.then(|| Transport::open(tunnel, &wire)).transpose()?;
        let other_mode = file.as_ref().map(|file| OtherMode::of(tunnel, file));
        let key = file.map(|file| tunnel.key(file));
        // Last, as a start with static keys costs numbers.
        let other = match (key, tunnel.standing) {
            (None, _) => Other::Agreeing(Box::new(Peer::without_keys(suites))),
            (Some(key), None) => Other::Agreeing(Box::new(Peer::new(key, suites))),
            (Some(key), Some(suite)) => {
                Other::Standing(Box::new(Standing::open(tunnel, &key, suite)?))
            }
        };
        let mut ends = Self {
            device,
            wire,
            place: place(tunnel),
            looked: boottime::now(),
            tunnel: tunnel.clone(),
            peer: other,
            group: tunnel.group.clone().map(|file| Group::new(file, tunnel.transport)),
            transport,
            other_mode,
            said: State::Down,
            mtu: 0,
            sent: 0,
            counts: Counts::default(),
            status: StatusSocket::open(&tunnel.socket)?,
            buffer: vec![0; virtio::LEN + LONGEST],
            say: Vec::new(),
        };
        if tunnel.fixed().is_some() {
            ends.fit().with_context(|| format!("cannot reach {peer} by {interface}"))?;
        }
        interface::bring_up(name).with_context(|| format!("cannot set up {name}"))?;
        ends.device.stay(true)?;
        if let Some(transport) = &ends.transport {
            transport.lead()?;
        }
        Ok(ends)
    }

    pub(super) fn serve(&mut self, signals: &impl AsFd) -> Result<()> {
        let mut ticked = None;
        let may_gather = sleeps_exactly();
        loop {
            let (quit, inward, outward) = self.wait(signals)?;
            if quit {
                if let Some(transport) = &self.transport {
                    transport.leave();
                }
                return self.device.stay(false);
            }
            let now = boottime::now();
            let mut done = 0;
            if inward {
                done += self.inward(now);
            }
            if outward {
                done += self.outward(now)?;
            }
            if ticked.is_none_or(|ticked| now >= ticked + u64::from(TICK)) {
                ticked = Some(now);
                self.tick(now);
                if now >= self.looked + LOOK_AFTER {
                    self.looked = now;
                    self.look_after()?;
                }
            }
            if may_gather && (BUSY..BATCH).contains(&done) {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Waits until there is something to do: to end, to take from the wire, to take from the device.
    fn wait(&self, signals: &impl AsFd) -> Result<(bool, bool, bool)> {
        let waiting = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut all = [signals.as_fd(), self.wire.as_fd(), self.device.as_fd()].map(waiting);
        match poll(&mut all, PollTimeout::from(TICK)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let [quit, inward, outward] = all.map(|one| one.any() == Some(true));
        Ok((quit, inward, outward))
    }

    /// From the device to the wire; how many packets.
    fn outward(&mut self, now: u64) -> Result<usize> {
        let mut buffer = core::mem::take(&mut self.buffer);
        let mut done = 0;
        let end = loop {
            if done == BATCH {
                break Ok(());
            }
            match self.device.read(&mut buffer) {
                Ok((header, packet)) => {
                    let sealed = self.seal(header, packet, now);
                    self.counts.refuse(sealed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
            done += 1;
        };
        self.buffer = buffer;
        self.send(now);
        end.with_context(|| format!("{} is gone", self.device.name()))?;
        Ok(done)
    }

    /// Seals a packet, or the pieces that it is to be cut into.
    fn seal(&mut self, header: virtio::Header, packet: &mut [u8], now: u64) -> Result<(), Reason> {
        let Offload { checksum, cut } = header.offload(0).ok_or(Reason::Malformed)?;
        let outline = Outline::parse(packet).map_err(|Malformed| Reason::Malformed)?;
        let outer = match self.transport {
            None => Outer { class: traffic_class(packet).map_or(0, ecn::outer), hops: None },
            Some(_) => Transport::outer(packet),
        };
        let Some((kind, size)) = cut else {
            if let Some(Partial { start, offset }) = checksum {
                complete(packet, start, offset).map_err(|Malformed| Reason::Malformed)?;
            }
            let gathered = match &mut self.transport {
                Some(transport) if outline.fragment.is_some() => {
                    let Some(whole) = transport.gather(packet, &outline)? else { return Ok(()) };
                    Some(whole)
                }
                Some(_) | None => None,
            };
            let packet = gathered.as_deref().unwrap_or(packet);
            return self.seal_piece(packet.len(), outer, now, |into| {
                into.push_back(packet.len())?;
                into.bytes_mut().copy_from_slice(packet);
                Ok(())
            });
        };
        let cut = Cut::plan(packet, &outline, kind, usize::from(size), checksum.is_some()).ok();
        let cut = cut.and_then(|cut| cut.no_longer_than(usize::from(self.mtu)));
        let cut = cut.ok_or(Reason::Malformed)?;
        for number in 0..cut.count() {
            let write = |into: &mut Packet<'_>| cut.write(number, into);
            self.seal_piece(cut.longest(), outer, now, write)?;
        }
        Ok(())
    }

    /// Seals what `write` makes, which is no longer than `longest`.
    fn seal_piece(
        &mut self,
        longest: usize,
        outer: Outer,
        now: u64,
        write: impl FnOnce(&mut Packet<'_>) -> Result<(), NoRoom>,
    ) -> Result<(), Reason> {
        if self.wire.is_full(longest) {
            self.send(now);
        }
        let (mut packet, at) = self.wire.room(longest).ok_or(DropReason::NoRoom)?;
        write(&mut packet).map_err(|NoRoom| DropReason::NoRoom)?;
        let outline = Outline::parse(packet.bytes()).map_err(|Malformed| Reason::Malformed)?;
        let next_header = match &self.transport {
            None => inside::whole(&mut packet, &outline).map_err(|Malformed| Reason::Malformed)?,
            Some(transport) => transport.enclose(&mut packet, &outline)?,
        };
        self.peer.seal(&mut packet, next_header, now)?;
        let range = packet.range();
        self.wire.take(at, range, outer);
        self.counts.packets.sealed += 1;
        Ok(())
    }

    /// Sends what was sealed.
    fn send(&mut self, now: u64) {
        let Sent { failed, too_long } = self.wire.flush();
        self.counts.send_failed += failed;
        self.sent = now;
        if too_long {
            self.refit();
        }
    }

    /// From the wire to the device; how many packets.
    fn inward(&mut self, now: u64) -> usize {
        let received = match self.wire.receive() {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The path or the other end said something about an earlier packet.
            Err(_) => {
                self.refit();
                0
            }
        };
        let mut done = 0;
        for number in 0..received {
            let Self { wire, peer, device, transport, other_mode, say, counts, .. } = self;
            let Some(Arrival { bytes, outer, size, from }) = wire.arrival(number) else {
                counts.refuse(Err(Reason::Malformed));
                continue;
            };
            let mut is_there = false;
            let mut opening = Opening { peer, device, transport: transport.as_mut(), say, now };
            for esp in bytes.chunks_mut(size.unwrap_or(usize::MAX)) {
                done += 1;
                match opening.open(esp, outer) {
                    Ok(Opened::Packet) => {
                        counts.packets.opened += 1;
                        is_there = true;
                    }
                    Ok(Opened::Sign) => is_there = true,
                    Ok(Opened::Nothing) => {}
                    Err(reason) => {
                        if let Some(other_mode) = other_mode
                            && reason == DropReason::UnknownSender.into()
                        {
                            other_mode.look(esp, &self.tunnel.device);
                        }
                        counts.refuse(Err(reason));
                    }
                }
            }
            self.speak(from, now);
            if is_there && self.tunnel.fixed().is_none() && self.wire.to() != Some(from) {
                log::info!("{}: the other end is at {}", self.device.name(), from.ip());
                self.wire.turn_to(from);
                self.refit();
            }
        }
        self.counts.not_taken += self.device.flush();
        done
    }

    /// Says what there is to say.
    fn speak(&mut self, to: SocketAddr, now: u64) {
        for esp in self.say.drain(..) {
            self.wire.say(&esp, to, CONTROL);
            self.sent = now;
        }
    }
}
