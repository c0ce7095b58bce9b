//! The way to the other end: a socket for each worker, and the address that they send to.

use super::path::{Carrier, PORT};
use super::settings::Tunnel;
use super::sys::{self, Hosts};
use anyhow::{Context as _, Result, anyhow};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

/// The way.
pub(super) struct Way {
    carrier: Carrier,
    sockets: Sockets,
    to: RwLock<Option<Hosts>>,
    /// What is longer than the path takes is cut behind ESP.
    cuts: AtomicBool,
}

struct Sockets {
    /// Of each worker.
    wires: Vec<OwnedFd>,
    /// What it takes for path MTU discovery, where [that is needed](sys::ear).
    ear: Option<OwnedFd>,
}

impl Sockets {
    fn open(tunnel: &Tunnel, workers: usize) -> Result<Self> {
        let (carrier, interface, only) = (tunnel.carrier(), &tunnel.interface, tunnel.fixed());
        let open = || -> io::Result<Self> {
            let wires = sys::wires(carrier, PORT, workers as u32, Some(interface), only)?;
            if tunnel.transport {
                wires.iter().try_for_each(|wire| sys::tell_hops(wire, carrier.v6))?;
            }
            if only.is_none() {
                // Who calls hears nothing but what comes from where he called.
                wires.iter().try_for_each(|wire| sys::tell_own(wire, carrier.v6))?;
            }
            let is_deaf = carrier.v6 && !carrier.udp;
            Ok(Self { wires, ear: is_deaf.then(|| sys::ear(interface)).transpose()? })
        };
        open().map_err(|error| {
            let what = match error.kind() == io::ErrorKind::AddrInUse {
                true => "another program has it, a tunnel or an IKE daemon",
                false => "the kernel refuses",
            };
            anyhow!(error)
                .context(format!("cannot send {} out of {interface}: {what}", carrier.name()))
        })
    }

    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.wires.iter().chain(&self.ear)
    }
}

impl Way {
    /// Out of the tunnel's interface. If the other end's address is given, nothing is heard from anywhere else.
    pub(super) fn open(tunnel: &Tunnel, workers: usize) -> Result<Self> {
        let (carrier, to) = (tunnel.carrier(), tunnel.fixed());
        let to = RwLock::new(to.map(|host| carrier.at(host).into()));
        let sockets = Sockets::open(tunnel, workers)?;
        let way = Self { carrier, sockets, to, cuts: AtomicBool::new(false) };
        way.cut(tunnel.transport)?;
        Ok(way)
    }

    pub(super) const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// How many workers have a socket.
    pub(super) const fn workers(&self) -> usize {
        self.sockets.wires.len()
    }

    /// That worker's socket. There is one for each.
    pub(super) fn socket(&self, worker: usize) -> &OwnedFd {
        &self.sockets.wires[worker]
    }

    /// Where packets go, if that is known.
    pub(super) fn to(&self) -> Option<Hosts> {
        *self.to.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they go from now on.
    pub(super) fn turn_to(&self, to: Hosts) {
        *self.to.write().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    /// The same way, out of an interface that was made anew. So are the sockets: one that is bound to another interface
    /// leaves those that it shares the port with.
    pub(super) fn leave_by_again(&self, tunnel: &Tunnel) -> Result<()> {
        let anew = Sockets::open(tunnel, self.workers())?;
        let done = self
            .sockets
            .all()
            .zip(anew.all())
            .try_for_each(|(old, new)| sys::put_in_place_of(old, new));
        done.context("cannot change sockets")?;
        self.cut(self.cuts())
    }

    /// Whether what is longer than the path takes is cut behind ESP (RFC 4303 section 3.3.4), instead of being refused.
    pub(super) fn cuts(&self) -> bool {
        self.cuts.load(Relaxed)
    }

    /// Has it cut there from now on, or refused.
    pub(super) fn cut(&self, cuts: bool) -> Result<()> {
        let each = |wire| sys::cut(wire, self.carrier.v6, cuts);
        self.sockets.wires.iter().try_for_each(each).context("cannot change sockets")?;
        self.cuts.store(cuts, Relaxed);
        Ok(())
    }
}
