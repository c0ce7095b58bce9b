//! The TUN device: what the host sends into the tunnel is read from it, what comes out of the tunnel is written to it.
//!
//! It speaks virtio-net: the host sends packets of up to 64 KiB that nobody has cut, and gets packets joined.

use super::sys::{self, Writings};
use crate::attach::virtio::Header;
use crate::attach::{Batch, To};
use crate::interface;
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};

/// The longest packet.
pub(super) const LONGEST: usize = 65_535;

/// Packets that wait in it before the kernel drops; each may have 64 KiB.
const WAITING: i32 = 1_024;

/// The way into the host; there is only one.
const IN: To<'_> = To { port: 1, link: None, own: false };

/// The device, and packets on their way into the host.
pub(super) struct Device {
    file: File,
    name: String,
    batch: Batch<Writings>,
}

impl Device {
    /// A new device of that name, which is not set up yet, or the one that a process left that was killed.
    ///
    /// # Errors
    /// Somebody has it, or the kernel cannot make one.
    pub(super) fn open(name: &str) -> Result<Self> {
        let file = sys::tun(name).with_context(|| {
            format!(
                "cannot make {name}: is it in use, or the kernel module tun (kmod-tun) not loaded?"
            )
        })?;
        let cuts_udp = interface::take_uncut(&file);
        let cuts_udp = cuts_udp.with_context(|| format!("cannot switch on offloads of {name}"))?;
        // Less only costs packets under load.
        let _ = interface::set_queue(name, WAITING);
        let exit = file.try_clone().with_context(|| format!("cannot write to {name}"))?;
        Ok(Self { file, name: name.to_owned(), batch: Batch::new(Writings::new(exit), cuts_udp) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is still there when this process is not: what is routed into it shall not find another way, in clear.
    ///
    /// # Errors
    /// The kernel cannot do it.
    pub(super) fn stay(&self, stays: bool) -> Result<()> {
        sys::persist(&self.file, stays).with_context(|| format!("cannot keep {}", self.name))
    }

    /// Reads one packet into `room`: what is left to be done to it, and the packet. `WouldBlock` if there is none.
    pub(super) fn read<'r>(&self, room: &'r mut [u8]) -> io::Result<(Header, &'r mut [u8])> {
        let len = (&self.file).read(room)?;
        match room[..len].split_first_chunk_mut() {
            Some((header, packet)) => Ok((Header::parse(header), packet)),
            None => Ok((Header::default(), &mut [])),
        }
    }

    /// Takes a packet for the host.
    pub(super) fn push(&mut self, packet: &[u8]) {
        self.batch.push(packet, IN);
    }

    /// Gives the host what was taken; how many it did not take: a device that is down, or full, drops.
    pub(super) fn flush(&mut self) -> u64 {
        self.batch.flush();
        self.batch.failed()
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
