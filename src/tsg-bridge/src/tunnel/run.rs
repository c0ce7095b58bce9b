//! The process of a tunnel: packets from the TUN device go out sealed, what comes in sealed goes to the device.

use super::Key;
use super::device::{Device, LONGEST};
use super::group::Group;
use super::hello::Suites;
use super::mode::OtherMode;
use super::opening::{Opened, Opening};
use super::other::Other;
use super::path::{Carrier, look};
use super::peer::Peer;
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
use crate::run::{StatusSocket, quitting};
use anyhow::{Context as _, Result, ensure};
use core::net::{IpAddr, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use tsg_esp::buffer::{NoRoom, Packet};
use tsg_esp::checksum::complete;
use tsg_esp::crypto::Suite;
use tsg_esp::ip::{Malformed, Outline, traffic_class};
use tsg_esp::segment::{Cut, Offload, Partial};
use tsg_esp::{DropReason, ecn, inside, udp};

/// The least MTU that IPv6 works with (RFC 8200 section 5).
const V6_LEAST: u16 = 1_280;

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

/// A NAT on the way forgets who says nothing for some time: after so long something is said, in milliseconds (RFC 3948
/// section 4).
const KEEP_ALIVE: u64 = 20_000;

/// The traffic class of what the ends say to each other: internetwork control.
const CONTROL: u8 = 0xc0;

/// What is told to the two ends with the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The interface that ESP goes out of.
    pub interface: String,
    /// The other end. The address that stands for none (0.0.0.0 or ::): whoever has the key, from wherever.
    pub peer: IpAddr,
    /// The name of the TUN device.
    pub device: String,
    /// The file of the key; made if there is none.
    pub key_file: PathBuf,
    /// Where it says how it is.
    pub socket: PathBuf,
    /// Transport mode: what the two hosts have for each other, under their own addresses.
    pub transport: bool,
    /// In UDP on port 4500 instead of IP protocol 50: for paths that do not take that.
    pub udp: bool,
    /// The most that the device takes, in bytes, where the path's own MTU is more than gets through.
    pub mtu: Option<u16>,
    /// Keys of the group of this host's gateway, which leaves them there, instead of those of a file.
    pub group: Option<PathBuf>,
    /// Static keys for this cipher, instead of those that the ends agree on.
    pub standing: Option<Suite>,
    /// Where sequence numbers of static keys are leased: no backup copies it.
    pub cache: PathBuf,
}

impl Tunnel {
    /// The address of the other end, if it was given.
    fn fixed(&self) -> Option<IpAddr> {
        Some(self.peer).filter(|peer| !peer.is_unspecified())
    }

    pub(super) const fn carrier(&self) -> Carrier {
        Carrier { udp: self.udp, v6: self.peer.is_ipv6() }
    }
}

/// Runs the tunnel until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the key, the interface, the device, the way to the other end.
pub fn run(tunnel: &Tunnel) -> Result<()> {
    let signals = quitting()?;
    tsg_sodium::init()?;
    tsg_sodium::self_test()
        .context("the cipher does not compute what it should, so nothing would be safe")?;
    let mut ends = Ends::open(tunnel)?;
    let peer = tunnel.fixed().map_or_else(|| "whoever has the key".into(), |to| to.to_string());
    log::info!("{}: to {peer} over {}", tunnel.device, tunnel.carrier().name());
    ends.serve(&signals)
}

/// The key of the file, or a new one where there is none.
fn key(file: &std::path::Path) -> Result<Key> {
    if file.exists() {
        return Key::load(file);
    }
    let key = Key::generate();
    key.save(file)?;
    log::warn!("made {}: copy it to the other end, by a way that nobody reads", file.display());
    Ok(key)
}

/// An interface by its number, and the address that packets to the other end have, if that one's is known from the start.
type Place = (u32, Option<IpAddr>);

/// `None` if there is no way to the other end.
fn place(tunnel: &Tunnel) -> Option<Place> {
    let index = interface::index(&tunnel.interface)?;
    match tunnel.fixed() {
        None => Some((index, None)),
        Some(peer) => look(&tunnel.interface, peer).ok().map(|(own, _)| (index, Some(own))),
    }
}

/// Both ends of the process: the device and the wire.
struct Ends {
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
    fn open(tunnel: &Tunnel) -> Result<Self> {
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
        let wire = Wire::open(tunnel.carrier(), interface, tunnel.fixed())?;
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

    /// Gives the device the MTU that fits the path: the kernel tells hosts of it, or cuts.
    fn fit(&mut self) -> Result<()> {
        let (Some(to), name) = (self.wire.to(), self.device.name()) else { return Ok(()) };
        let (_, path) =
            look(&self.tunnel.interface, to.ip()).context("cannot ask for the path's MTU")?;
        let most = match self.transport {
            None => self.wire.carrier().longest_inside(path),
            Some(_) => Transport::longest(self.wire.carrier(), path),
        };
        let most = most.with_context(|| format!("a path of {path} bytes takes no packet"))?;
        let most = most.min(self.tunnel.mtu.unwrap_or(u16::MAX));
        if most != self.mtu {
            interface::set_mtu(name, most)
                .with_context(|| format!("cannot set the MTU of {name} to {most}"))?;
            log::info!("{name}: MTU {most}; the path to {} takes {path}", to.ip());
            if most < V6_LEAST && self.transport.is_none() {
                log::warn!("{name}: no IPv6 inside, which needs {V6_LEAST}");
            }
            self.mtu = most;
        }
        Ok(())
    }

    /// Looks whether packets still leave where they did.
    fn look_after(&mut self) -> Result<()> {
        let (found, before) = (place(&self.tunnel), self.place);
        let own = |place: Option<Place>| place.and_then(|(_, own)| own);
        let is_bound = self.tunnel.standing.is_some() || self.tunnel.transport;
        ensure!(
            !is_bound || found.is_none() || own(found) == own(before),
            "this host has another address for {} now: static keys are made of it, and transport mode is for it alone, so \
             start again, with the other end told of it",
            self.tunnel.peer
        );
        if found.is_some() && found != before {
            let (name, interface) = (self.device.name(), &self.tunnel.interface);
            match self.wire.leave_by(interface, self.tunnel.fixed()) {
                Ok(()) => {
                    log::info!("{name}: goes on by {interface}");
                    self.place = found;
                }
                Err(error) => log::debug!("{name}: {error:#}"),
            }
        }
        self.refit();
        Ok(())
    }

    /// The same while it runs. Without a way to the other end there is no MTU, until there is one again.
    fn refit(&mut self) {
        if let Err(error) = self.fit() {
            log::debug!("{}: {error:#}", self.device.name());
        }
    }

    fn serve(&mut self, signals: &impl AsFd) -> Result<()> {
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

    fn tick(&mut self, now: u64) {
        if let (Some(group), Other::Agreeing(peer)) = (&mut self.group, &mut self.peer) {
            tsg_sodium::on_a_clean_stack(|| group.look(peer, now));
        }
        self.peer.tick(now, &mut self.say);
        if let Some(to) = self.wire.to() {
            self.speak(to, now);
            if self.tunnel.fixed().is_some()
                && self.wire.carrier().udp
                && now >= self.sent + KEEP_ALIVE
            {
                self.wire.say(&udp::KEEP_ALIVE, to, CONTROL);
                self.sent = now;
            }
        }
        self.say.clear();
        if self.transport.as_mut().is_some_and(|transport| transport.keep(now)) {
            // Packets that are too long are cut, and so do not tell.
            self.refit();
        }
        self.tell(now);
        self.answer(now);
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

    /// Says how it is, when that has changed.
    fn tell(&mut self, now: u64) {
        let (name, Some(to)) = (self.device.name(), self.wire.to()) else { return };
        let (state, to) = (State::of(&self.peer, now), to.ip());
        match (self.said, state) {
            (State::Silent, State::Up) => log::info!("{name}: {to} is heard again"),
            (State::Down, State::Up) => log::info!("{name}: {} {to}", self.peer.up()),
            (State::Down | State::Up, State::Silent) => {
                log::warn!("{name}: nothing comes from {to}");
            }
            (State::Down | State::Silent, State::Down)
            | (State::Up, State::Up | State::Down)
            | (State::Silent, State::Silent) => {}
        }
        self.said = state;
    }

    /// Answers who asks how it is.
    fn answer(&mut self, now: u64) {
        for (client, asked) in self.status.questions(now) {
            let answer = match asked {
                Ok((method, _)) if method == "status" => self.status(now),
                Ok((method, _)) => json!({ "error": format!("a tunnel has no method {method:?}") }),
                Err(fault) => fault.answer(),
            };
            self.status.answer(client, &answer);
        }
    }

    fn status(&self, now: u64) -> Value {
        let keys = self.peer.keys();
        json!({
            "tunnel": self.device.name(),
            "mode": self.tunnel.mode(),
            "state": State::of(&self.peer, now).name(),
            "peer": self.wire.to().map(|to| to.ip().to_string()),
            "carrier": self.wire.carrier().name(),
            "cipher": keys.map(|(suite, _)| suite.as_str()),
            "keys_for_s": keys.and_then(|(_, agreed)| Some(now.saturating_sub(agreed?) / 1_000)),
            "mtu": Some(self.mtu).filter(|mtu| *mtu > 0),
            "counters": self.counts.by_name(),
        })
    }
}
