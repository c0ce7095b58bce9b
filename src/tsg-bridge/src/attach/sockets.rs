//! The ports as numbers, and frames sent out of them.

use super::ethernet::{LONGEST, Link, ether_type_of};
use super::{Ports, Side, sys};
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Interface numbers of the ports, 0 for one that is gone. The keeper renews them: a port that was
/// taken away and comes back has another number.
#[derive(Debug)]
pub(super) struct Interfaces {
    wan: AtomicU32,
    lan: Vec<AtomicU32>,
}

impl Interfaces {
    pub(super) fn new(ports: &Ports) -> Self {
        let interfaces = Self {
            wan: AtomicU32::new(0),
            lan: ports.lan.iter().map(|_| AtomicU32::new(0)).collect(),
        };
        interfaces.refresh(ports);
        interfaces
    }

    /// Looks the numbers up; `true` if one has changed.
    pub(super) fn refresh(&self, ports: &Ports) -> bool {
        let renew = |slot: &AtomicU32, name: &str| {
            let now = number(name);
            slot.swap(now, Relaxed) != now
        };
        let mut changed = renew(&self.wan, &ports.wan);
        for (slot, name) in self.lan.iter().zip(&ports.lan) {
            changed |= renew(slot, name);
        }
        changed
    }

    /// All ports are there.
    pub(super) fn complete(&self) -> bool {
        self.wan() != 0 && self.lan.iter().all(|lan| lan.load(Relaxed) != 0)
    }

    pub(super) fn wan(&self) -> u32 {
        self.wan.load(Relaxed)
    }

    /// The number of LAN port `at`.
    pub(super) fn lan(&self, at: usize) -> u32 {
        self.lan.get(at).map_or(0, |lan| lan.load(Relaxed))
    }

    pub(super) const fn lan_count(&self) -> usize {
        self.lan.len()
    }

    /// Which port has this number: its side, and which of the LAN ports it is.
    pub(super) fn side_of(&self, ifindex: u32) -> Option<(Side, usize)> {
        if ifindex == 0 {
            return None;
        }
        if ifindex == self.wan() {
            return Some((Side::Wan, 0));
        }
        let at = self.lan.iter().position(|lan| lan.load(Relaxed) == ifindex)?;
        Some((Side::Lan, at))
    }

    /// The number of the port that leads to `side`.
    pub(super) fn towards(&self, side: Side, lan_port: usize) -> u32 {
        match side {
            Side::Wan => self.wan(),
            Side::Lan => self.lan(lan_port),
        }
    }
}

/// The number of an interface, 0 if there is none of that name.
pub(super) fn number(name: &str) -> u32 {
    crate::interface::index(name).unwrap_or(0)
}

/// Sends frames out of ports. The gate sees them: they do not go past traffic control.
#[derive(Debug)]
pub(super) struct Wire(OwnedFd);

impl Wire {
    pub(super) fn open() -> io::Result<Self> {
        sys::sender().map(Self)
    }

    /// Sends an IP packet with this Ethernet header.
    pub(super) fn send(&self, ifindex: u32, link: &Link, packet: &[u8]) -> io::Result<()> {
        let ether_type = ether_type_of(packet).ok_or(io::ErrorKind::InvalidData)?;
        let mut room = [0; LONGEST];
        let len = link.emit(ether_type, &mut room);
        if ifindex == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        sys::send_frame(&self.0, ifindex, &[IoSlice::new(&room[..len]), IoSlice::new(packet)])
    }
}
