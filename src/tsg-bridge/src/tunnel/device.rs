//! The TUN device: what the host sends into the tunnel is read from it, what comes out of the tunnel is written to it. Each
//! worker has a queue of its own, and the kernel keeps a flow in the queue that its packets came out of.
//!
//! It speaks virtio-net: the host sends packets of up to 64 KiB that nobody has cut, and gets packets joined.

use super::sys::{self, Writings};
use crate::attach::virtio::Header;
use crate::attach::{Batch, To, links};
use crate::interface;
use crate::netlink::Attributes;
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The longest packet.
pub(super) const LONGEST: usize = 65_535;

/// The way into the host; there is only one.
const IN: To<'_> = To { port: 1, link: None, own: false };

/// The device.
pub(super) struct Device {
    file: Arc<File>,
    name: String,
}

/// One worker's part of the device.
pub(super) struct Queue {
    file: Arc<File>,
    /// The kernel cuts datagrams.
    cuts_udp: bool,
}

/// Packets on their way into the host.
pub(super) struct Entry(Batch<Writings>);

impl Device {
    /// A new device of that name with so many queues, which is not set up yet, or the one that a process left that was
    /// killed.
    ///
    /// # Errors
    /// Somebody has it, or the kernel cannot make one.
    pub(super) fn open(name: &str, queues: u8) -> Result<(Self, Vec<Queue>)> {
        let open = || {
            let file = sys::tun(name).with_context(|| {
                format!(
                    "cannot make {name}: is the kernel module tun (kmod-tun) not loaded, or did somebody make it without multi_queue \
                     (`ip link del {name}`)?"
                )
            })?;
            let cuts_udp = interface::take_uncut(&file);
            let cuts_udp =
                cuts_udp.with_context(|| format!("cannot switch on offloads of {name}"))?;
            Ok(Queue { file: Arc::new(file), cuts_udp })
        };
        // The kernel gives a queue to whoever asks for one, also of a device that somebody has.
        let ensure_none_but = |ours: usize| {
            ensure!(
                number_of_queues(name).is_none_or(|all| all == ours),
                "{name} is in use by another process: end that one, or take another name"
            );
            Ok(())
        };
        ensure_none_but(0)?;
        let queues = (0..queues).map(|_| open()).collect::<Result<Vec<_>>>()?;
        ensure_none_but(queues.len())?;
        // Less only costs packets under load.
        let _ = interface::set_waiting(name, queues.len());
        let file = Arc::clone(&queues[0].file);
        Ok((Self { file, name: name.to_owned() }, queues))
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
}

/// The queues of a device, of all processes. `None` if there is none, or the kernel does not say, before Linux 4.18.
fn number_of_queues(name: &str) -> Option<usize> {
    const LINK_INFO: u16 = 18;
    const INFO_DATA: u16 = 2;
    const QUEUES: u16 = 8;
    let mut queues = None;
    links::ask(interface::index(name)?, |body| {
        let about = links::attributes(body).find(LINK_INFO);
        let about = about.and_then(|info| Attributes(info).find(INFO_DATA));
        let number = about.and_then(|about| Attributes(about).find(QUEUES)?.first_chunk::<4>());
        queues = number.map(|number| u32::from_ne_bytes(*number) as usize);
    })?;
    queues
}

impl Queue {
    pub(super) fn entry(&self) -> Entry {
        Entry(Batch::new(Writings::new(Arc::clone(&self.file)), self.cuts_udp))
    }

    /// Reads one packet into `room`: what is left to be done to it, and the packet. `WouldBlock` if there is none.
    pub(super) fn read<'r>(&self, room: &'r mut [u8]) -> io::Result<(Header, &'r mut [u8])> {
        let len = (&*self.file).read(room)?;
        match room[..len].split_first_chunk_mut() {
            Some((header, packet)) => Ok((Header::parse(header), packet)),
            None => Ok((Header::default(), &mut [])),
        }
    }
}

impl Entry {
    /// Takes a packet for the host.
    pub(super) fn push(&mut self, packet: &[u8]) {
        self.0.push(packet, IN);
    }

    /// Gives the host what was taken; how many it did not take: a device that is down, or full, drops.
    pub(super) fn flush(&mut self) -> u64 {
        self.0.flush();
        self.0.failed()
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
