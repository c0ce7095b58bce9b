//! What is done now and then: the way to the other end looked after, keys, and how it is.

use super::{CONTROL, Ends, Other, State};
use crate::interface;
use crate::tunnel::path::{V6_LEAST, look};
use crate::tunnel::run::Tunnel;
use crate::tunnel::transport::Transport;
use anyhow::{Context as _, Result, ensure};
use core::net::IpAddr;
use serde_json::{Value, json};
use tsg_esp::udp;

/// A NAT on the way forgets who says nothing for some time: after so long something is said, in milliseconds (RFC 3948
/// section 4).
const KEEP_ALIVE: u64 = 20_000;

/// An interface by its number, and the address that packets to the other end have, if that one's is known from the start.
pub(super) type Place = (u32, Option<IpAddr>);

/// `None` if there is no way to the other end.
pub(super) fn place(tunnel: &Tunnel) -> Option<Place> {
    let index = interface::index(&tunnel.interface)?;
    match tunnel.fixed() {
        None => Some((index, None)),
        Some(peer) => look(&tunnel.interface, peer).ok().map(|(own, _)| (index, Some(own))),
    }
}

impl Ends {
    /// Gives the device the MTU that fits the path: the kernel tells hosts of it, or cuts.
    pub(super) fn fit(&mut self) -> Result<()> {
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
    pub(super) fn look_after(&mut self) -> Result<()> {
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
            match self.wire.leave_by(&self.tunnel) {
                Ok(()) => {
                    log::info!("{name}: goes on by {interface}");
                    self.place = found;
                }
                Err(error) => log::debug!("{name}: {error:#}"),
            }
        }
        if let Some(transport) = &mut self.transport {
            transport.keep();
        }
        // Not only when a packet was too long: a path may take more again, and in transport mode such packets are cut.
        self.refit();
        Ok(())
    }

    /// The same while it runs. Without a way to the other end there is no MTU, until there is one again.
    pub(super) fn refit(&mut self) {
        if let Err(error) = self.fit() {
            log::debug!("{}: {error:#}", self.device.name());
        }
    }

    pub(super) fn tick(&mut self, now: u64) {
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
        self.tell(now);
        self.answer(now);
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
