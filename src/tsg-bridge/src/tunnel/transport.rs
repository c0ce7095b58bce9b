//! Transport mode (RFC 4303 section 3.1.1): what this host and the other one say to each other under their own addresses
//! is sealed behind the header that was there, and that header goes on being the packet's.
//!
//! A [route](route) to the other end leads into the device, and the carrier's socket is bound to the interface, so that
//! its packets take the way that was there before. It writes the header that shows: addresses are its own, traffic class
//! and hops are the packet's. What comes in gets that header back and goes to the host by the device. A
//! [filter](guard) drops what would come or go in clear.
//!
//! ESP is around whole packets alone: what the kernel has cut on its way into the device is [gathered](gather) first, and
//! what is too long behind ESP is cut by the kernel.

mod gather;
mod guard;
mod route;

use super::path::{self, Carrier, V6_LEAST};
use super::run::Tunnel;
use super::sys::Outer;
use super::wire::Wire;
use crate::pipeline::Reason;
use anyhow::{Context as _, Result, ensure};
use core::net::IpAddr;
use gather::Gather;
use guard::Guard;
use route::Route;
use std::fs;
use tsg_esp::buffer::Packet;
use tsg_esp::inside::{self, Visible};
use tsg_esp::ip::{Malformed, Outline, hop_limit, traffic_class};

/// The hops of what came in, if the kernel does not say.
const HOPS: u8 = 64;

/// Flows that are told apart, by their ports.
const FLOWS: usize = 256;

/// This host's side of transport mode.
pub(super) struct Transport {
    own: IpAddr,
    peer: IpAddr,
    guard: Guard,
    route: Route,
    gather: Gather,
    /// A packet for the host.
    room: Vec<u8>,
    /// By flow, those of IPv4 that came last: what counts up can be joined.
    ids: [u16; FLOWS],
    /// The filter is not there, and that was said.
    open_to_clear: bool,
}

impl Transport {
    /// Closes the way for what is in clear.
    ///
    /// # Errors
    /// There is no way to the other end, or what it takes to keep it closed.
    pub(super) fn open(tunnel: &Tunnel, wire: &Wire) -> Result<Self> {
        let Tunnel { interface, peer, device, .. } = tunnel;
        let (own, _) = path::look(interface, *peer)
            .with_context(|| format!("cannot reach {peer} by {interface}"))?;
        ensure!(own != *peer, "--dst {peer} is this host itself");
        ensure_heard(interface, *peer)?;
        let guard = Guard::of(device, wire.carrier(), own, *peer);
        guard.set()?;
        log::info!("{device}: transport mode between {own} and {peer}; {guard} keeps out the rest");
        Ok(Self {
            own,
            peer: *peer,
            guard,
            route: Route::new(device, own, *peer),
            gather: Gather::default(),
            room: Vec::new(),
            ids: [0; FLOWS],
            open_to_clear: false,
        })
    }

    /// Leads what goes to the other end into the device, which is set up now.
    ///
    /// # Errors
    /// There is another route to that host alone, or the kernel does not take it.
    pub(super) fn lead(&self) -> Result<()> {
        self.route.renew()
    }

    /// Puts back what somebody has taken away.
    pub(super) fn keep(&mut self) {
        let kept = self.guard.keep();
        if let (Err(error), false) = (&kept, self.open_to_clear) {
            log::error!("what comes in clear from {} is not kept out: {error:#}", self.peer);
        }
        self.open_to_clear = kept.is_err();
        self.route.keep();
    }

    /// The longest packet that the device is to take, on a path of that MTU.
    pub(super) fn longest(carrier: Carrier, path_mtu: u16) -> Option<u16> {
        let longest = carrier.longest_with_header(path_mtu)?;
        // What does not fit any more is cut behind ESP.
        Some(if carrier.v6 { longest.max(V6_LEAST) } else { longest })
    }

    /// What the header in front of the sealed packet says.
    pub(super) fn outer(packet: &[u8]) -> Outer {
        Outer {
            class: traffic_class(packet).unwrap_or(0),
            hops: hop_limit(packet).ok().filter(|hops| *hops > 0),
        }
    }

    /// Takes a fragment; gives the packet once it was the last of it.
    pub(super) fn gather(
        &mut self,
        fragment: &[u8],
        outline: &Outline,
    ) -> Result<Option<Vec<u8>>, Reason> {
        self.gather.take(fragment, outline)
    }

    /// Leaves of a packet what is to be sealed; gives its next header.
    pub(super) fn enclose(&self, packet: &mut Packet<'_>, outline: &Outline) -> Result<u8, Reason> {
        if (outline.src, outline.dst) != (self.own, self.peer) {
            return Err(Reason::Policy);
        }
        inside::behind_header(packet, outline).map_err(|Malformed| Reason::Policy)
    }

    /// The packet with that payload, as it was sent.
    pub(super) fn restore(
        &mut self,
        payload: &[u8],
        next_header: u8,
        outer: Outer,
    ) -> Result<&[u8], Reason> {
        let Outer { class, hops } = outer;
        let ports =
            payload.iter().take(4).fold(next_header, |flow, byte| flow.rotate_left(3) ^ byte);
        let id = &mut self.ids[usize::from(ports)];
        *id = id.wrapping_add(1);
        let (src, dst, hops) = (self.peer, self.own, hops.unwrap_or(HOPS));
        let visible = Visible { src, dst, class, hops, id: *id };
        self.room.clear();
        self.room.resize(visible.header_len(), 0);
        self.room.extend_from_slice(payload);
        visible.emit(&mut self.room, next_header)?;
        Ok(&self.room)
    }

    /// What holds when the program is at its end.
    pub(super) fn leave(&self) {
        log::info!("{} stays: nothing goes in clear; `{}` ends that", self.guard, self.guard.end());
    }
}

/// Where the kernel takes from an interface only what it would answer by it, ESP of a host that is routed into the device
/// does not come in.
fn ensure_heard(interface: &str, peer: IpAddr) -> Result<()> {
    const STRICT: u8 = 1;
    if peer.is_ipv6() {
        return Ok(());
    }
    let filter = |of: &str| {
        let file = format!("/proc/sys/net/ipv4/conf/{of}/rp_filter");
        fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u8>().ok()).unwrap_or(0)
    };
    ensure!(
        filter("all").max(filter(interface)) != STRICT,
        "the kernel would drop ESP of {peer} (rp_filter): `sysctl -w net.ipv4.conf.{interface}.rp_filter=2`"
    );
    Ok(())
}
