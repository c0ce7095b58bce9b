//! The way to the other end: a socket for each worker, and the address that they send to.

use super::path::{Carrier, PORT};
use super::settings::Tunnel;
use super::sys;
use anyhow::{Context as _, Result, anyhow};
use core::net::SocketAddr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{PoisonError, RwLock};

/// The way.
pub(super) struct Way {
    carrier: Carrier,
    sockets: Vec<OwnedFd>,
    to: RwLock<Option<SocketAddr>>,
}

impl Way {
    /// Out of the tunnel's interface. If the other end's address is given, nothing is heard from anywhere else.
    pub(super) fn open(tunnel: &Tunnel, workers: u8) -> Result<Self> {
        let (carrier, interface, only) = (tunnel.carrier(), &tunnel.interface, tunnel.fixed());
        let sockets = sys::wires(carrier, PORT, u32::from(workers), Some(interface), only);
        let sockets = sockets.map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AddrInUse;
            let what = match is_taken {
                true => "another program has it, a tunnel or an IKE daemon",
                false => "the kernel refuses",
            };
            anyhow!(error)
                .context(format!("cannot send {} out of {interface}: {what}", carrier.name()))
        })?;
        if tunnel.transport {
            for socket in &sockets {
                sys::as_transport(socket, carrier.v6).context("cannot set up the socket of ESP")?;
            }
        }
        Ok(Self { carrier, sockets, to: RwLock::new(only.map(|host| carrier.at(host))) })
    }

    pub(super) const fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// How many workers have a socket.
    pub(super) const fn workers(&self) -> usize {
        self.sockets.len()
    }

    /// That worker's socket. There is one for each.
    pub(super) fn socket(&self, worker: usize) -> &OwnedFd {
        &self.sockets[worker]
    }

    /// Where packets go, if that is known.
    pub(super) fn to(&self) -> Option<SocketAddr> {
        *self.to.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where they go from now on.
    pub(super) fn turn_to(&self, to: SocketAddr) {
        *self.to.write().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    /// The same way, out of an interface that was made anew.
    pub(super) fn leave_by(&self, interface: &str) -> io::Result<()> {
        self.sockets.iter().try_for_each(|socket| sys::bind_to(socket, interface))
    }
}
