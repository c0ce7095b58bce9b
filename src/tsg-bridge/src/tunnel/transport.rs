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
mod headers;
mod route;

use super::path;
use super::settings::Tunnel;
use anyhow::{Context as _, Result, ensure};
use core::net::IpAddr;
use guard::Guard;
pub(super) use guard::warn_of_former;
pub(super) use headers::Headers;
use route::Route;
use std::fs;

/// This host's side of transport mode.
pub(super) struct Transport {
    own: IpAddr,
    peer: IpAddr,
    guard: Guard,
    route: Route,
    /// The filter is not there, and that was said.
    open_to_clear: bool,
}

impl Transport {
    /// Closes the way for what is in clear.
    ///
    /// # Errors
    /// There is no way to the other end, or what it takes to keep it closed.
    pub(super) fn open(tunnel: &Tunnel) -> Result<Self> {
        let Tunnel { interface, peer, device, .. } = tunnel;
        let (own, _) = path::look(interface, *peer)
            .with_context(|| format!("cannot reach {peer} by {interface}"))?;
        ensure!(own != *peer, "--dst {peer} is this host itself");
        ensure_heard(interface, *peer)?;
        let mut guard = Guard::of(device, tunnel.carrier(), own, *peer);
        guard.set()?;
        log::info!("{device}: transport mode between {own} and {peer}; {guard} keeps out the rest");
        Ok(Self {
            own,
            peer: *peer,
            guard,
            route: Route::new(device, own, *peer),
            open_to_clear: false,
        })
    }

    /// What one worker does with packets.
    pub(super) fn headers(&self) -> Headers {
        Headers::between(self.own, self.peer)
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
