//! What is done now and then: the way to the other end looked after, keys, and how it is.

use super::device::Device;
use super::group::Group;
use super::other::Other;
use super::path::{V6_LEAST, look};
use super::settings::{Keys, Tunnel};
use super::shared::Shared;
use super::status::State;
use super::transport::{Headers, Transport};
use super::wire::say;
use crate::run::StatusSocket;
use crate::{boottime, interface};
use anyhow::{Context as _, Result, ensure};
use core::net::IpAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use tsg_esp::udp;

/// So often it is looked whether something is to be said, in milliseconds.
const TICK: u16 = 250;

/// So often it is looked whether the way to the other end is still the same, in milliseconds.
const LOOK_AFTER: u64 = 1_000;

/// Whose socket carries what is said now and then.
const SPEAKER: usize = 0;

/// Who was told where the other end is asks it, when nothing was sent for so long, in milliseconds: that end may have lost
/// the keys and not know where this one is, or have heard from elsewhere since.
const ASK: u64 = 10_000;

/// A NAT on the way forgets who says nothing for some time: after so long something is said, in milliseconds (RFC 3948
/// section 4).
const KEEP_ALIVE: u64 = 20_000;

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

/// Who looks after the tunnel.
pub(super) struct Upkeep {
    device: Device,
    transport: Option<Transport>,
    group: Option<Group>,
    status: StatusSocket,
    /// Where packets leave.
    place: Option<Place>,
    looked: u64,
    ticked: Option<u64>,
    said: State,
    say: Vec<Vec<u8>>,
}

impl Upkeep {
    /// Sets the device up.
    pub(super) fn begin(
        shared: &Shared,
        device: Device,
        transport: Option<Transport>,
    ) -> Result<Self> {
        let tunnel = &shared.tunnel;
        let upkeep = Self {
            device,
            transport,
            group: match &tunnel.keys {
                Keys::Group(file) => Some(Group::new(file.clone(), tunnel.transport)),
                Keys::File(_) | Keys::Static(_) => None,
            },
            status: StatusSocket::open(&tunnel.socket)?,
            place: place(tunnel),
            looked: boottime::now(),
            ticked: None,
            said: State::Down,
            say: Vec::new(),
        };
        if let Some(peer) = tunnel.fixed() {
            let fit = upkeep.fit(shared);
            fit.with_context(|| format!("cannot reach {peer} by {}", tunnel.interface))?;
        }
        let name = upkeep.device.name();
        interface::bring_up(name).with_context(|| format!("cannot set up {name}"))?;
        upkeep.device.stay(true)?;
        if let Some(transport) = &upkeep.transport {
            transport.lead()?;
        }
        Ok(upkeep)
    }

    /// What a worker does with packets in transport mode.
    pub(super) fn headers(&self) -> Option<Headers> {
        self.transport.as_ref().map(Transport::headers)
    }

    /// Until `signals` can be read, or a worker has ended.
    pub(super) fn serve(&mut self, shared: &Shared, signals: &impl AsFd) -> Result<()> {
        loop {
            let waiting = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut all =
                [signals.as_fd(), shared.end().as_fd(), shared.bell().as_fd()].map(waiting);
            match poll(&mut all, PollTimeout::from(TICK)) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
            let [quit, ended, _] = all.map(|one| one.any() == Some(true));
            if ended {
                return Ok(());
            }
            if quit {
                if let Some(transport) = &self.transport {
                    transport.leave();
                }
                return self.device.stay(false);
            }
            if shared.is_path_to_be_looked_at() {
                self.refit(shared);
            }
            let now = boottime::now();
            if self.ticked.is_none_or(|ticked| now >= ticked + u64::from(TICK)) {
                self.ticked = Some(now);
                self.tick(shared, now);
                if now >= self.looked + LOOK_AFTER {
                    self.looked = now;
                    self.look_after(shared)?;
                }
            }
        }
    }

    /// Gives the device the MTU that fits the path: the kernel tells hosts of it, or cuts.
    fn fit(&self, shared: &Shared) -> Result<()> {
        let Shared { tunnel, way, mtu, .. } = shared;
        let (Some(to), name) = (way.to(), self.device.name()) else { return Ok(()) };
        let (_, path) =
            look(&tunnel.interface, to.other.ip()).context("cannot ask for the path's MTU")?;
        let (carrier, in_transport) = (way.carrier(), tunnel.transport);
        let inside = match in_transport {
            false => carrier.longest_inside(path),
            true => carrier.longest_with_header(path),
        };
        let inside = inside.with_context(|| format!("a path of {path} bytes takes no packet"))?;
        // With less the kernel would take IPv6 off the device for good, and its packets would go another way.
        let least = if in_transport && !carrier.v6 { 0 } else { V6_LEAST };
        let cuts = in_transport || inside < least;
        let most = inside.max(least).min(tunnel.mtu.unwrap_or(u16::MAX));
        if cuts != way.cuts() {
            way.cut(cuts)?;
        }
        if most != mtu.load(Relaxed) {
            interface::set_mtu(name, most)
                .with_context(|| format!("cannot set the MTU of {name} to {most}"))?;
            log::info!("{name}: MTU {most}; the path to {} takes {path}", to.other.ip());
            if most < least {
                log::warn!("{name}: no IPv6 inside, which needs {V6_LEAST}");
            }
            mtu.store(most, Relaxed);
        }
        Ok(())
    }

    /// Looks whether packets still leave where they did.
    fn look_after(&mut self, shared: &Shared) -> Result<()> {
        let Shared { tunnel, way, .. } = shared;
        let (found, before) = (place(tunnel), self.place);
        let own = |place: Option<Place>| place.and_then(|(_, own)| own);
        let is_bound = matches!(tunnel.keys, Keys::Static(_)) || tunnel.transport;
        ensure!(
            !is_bound || found.is_none() || own(found) == own(before),
            "this host has another address for {} now: static keys are made of it, and transport mode is for it alone, so \
             start again, with the other end told of it",
            tunnel.peer
        );
        if found.is_some() && found != before {
            let (name, interface) = (self.device.name(), &tunnel.interface);
            let number = |place: Option<Place>| place.map(|(number, _)| number);
            // Which address packets leave with is looked up for each of them.
            let done = match number(found) == number(before) {
                true => Ok(()),
                false => way.leave_by_again(tunnel),
            };
            match done {
                Ok(()) => {
                    log::info!("{name}: goes on by {interface}");
                    self.place = found;
                    // Nothing from there, so that the other end is asked at once, and hears where this one is.
                    shared.sent.end();
                }
                Err(error) => log::debug!("{name}: {error:#}"),
            }
        }
        if let Some(transport) = &mut self.transport {
            transport.keep();
        }
        // Not only when a packet was too long: a path may take more again, and in transport mode such packets are cut.
        self.refit(shared);
        Ok(())
    }

    /// The same while it runs. Without a way to the other end there is no MTU, until there is one again.
    fn refit(&self, shared: &Shared) {
        if let Err(error) = self.fit(shared) {
            log::debug!("{}: {error:#}", self.device.name());
        }
    }

    fn tick(&mut self, shared: &Shared, now: u64) {
        let Shared { tunnel, peer, way, sent, .. } = shared;
        if let (Some(group), Other::Agreeing(peer)) = (&mut self.group, peer) {
            tsg_sodium::on_a_clean_stack(|| group.look(peer, now));
        }
        peer.tick(now, &mut self.say);
        if let Some(to) = way.to() {
            let is_due = |after| sent.get().is_none_or(|sent| now >= sent + after);
            if tunnel.fixed().is_some() {
                let is_asked = is_due(ASK) && peer.ask(now, &mut self.say);
                if !is_asked && is_due(KEEP_ALIVE) && way.carrier().udp {
                    self.say.push(udp::KEEP_ALIVE.to_vec());
                }
            }
            for words in &self.say {
                say(way.socket(SPEAKER), words, to);
                sent.set(now);
            }
        }
        self.say.clear();
        self.tell(shared, now);
        self.answer(shared, now);
    }

    /// Says how it is, when that has changed.
    fn tell(&mut self, shared: &Shared, now: u64) {
        let (name, Some(to)) = (self.device.name(), shared.way.to()) else { return };
        let (state, to) = (State::of(&shared.peer, now), to.other.ip());
        match (self.said, state) {
            (State::Silent, State::Up) => log::info!("{name}: {to} is heard again"),
            (State::Down, State::Up) => log::info!("{name}: {} {to}", shared.peer.up()),
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
    fn answer(&mut self, shared: &Shared, now: u64) {
        for (client, asked) in self.status.questions(now) {
            let answer = match asked {
                Ok((method, _)) if method == "status" => self.status(shared, now),
                Ok((method, _)) => json!({ "error": format!("a tunnel has no method {method:?}") }),
                Err(fault) => fault.answer(),
            };
            self.status.answer(client, &answer);
        }
    }

    fn status(&self, shared: &Shared, now: u64) -> Value {
        let Shared { tunnel, peer, way, .. } = shared;
        let (keys, mtu) = (peer.keys(), shared.mtu.load(Relaxed));
        json!({
            "tunnel": self.device.name(),
            "mode": tunnel.mode(),
            "state": State::of(peer, now).name(),
            "peer": way.to().map(|to| to.other.ip().to_string()),
            "carrier": way.carrier().name(),
            "cipher": keys.map(|(suite, _)| suite.as_str()),
            "keys_for_s": keys.and_then(|(_, agreed)| Some(now.saturating_sub(agreed?) / 1_000)),
            "mtu": Some(mtu).filter(|mtu| *mtu > 0),
            "counters": shared.counts().by_name(),
        })
    }
}
