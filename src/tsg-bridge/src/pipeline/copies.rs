//! What was opened a moment ago, for the other LAN ports that it is for.
//!
//! A bridge with several LAN ports floods a sealed frame: the kernel hands over one copy for each port that it
//! leaves by, and all have the same sequence number. The first is opened; what it brought goes out of the others,
//! too. Once for each port: a second copy for the same port is a replay.
//!
//! Nothing in a later copy is trusted: what goes on are the bytes that the first one was opened to, and the policy
//! is asked again. All copies of a frame come to the same worker, since netfilter spreads by addresses.

use super::Reason;
use crate::attach::Link;
use std::net::IpAddr;
use tsg_esp::DropReason;
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::ICV_LEN;
use tsg_esp::ip::Outline;
use tsg_esp::open::{Header, Opened};

/// Frames that are remembered: those that other processors queue between two copies of one.
const FRAMES: usize = 16;

/// A longer packet is not remembered: no link here carries a frame that long.
const LONGEST: usize = 9_216;

/// The kernel queues the copies one behind the other; so much later, in milliseconds, what comes is none.
const TOGETHER: u64 = 1_000;

/// Where a frame leaves.
#[derive(Clone, Copy)]
pub(super) struct Exit {
    pub(super) link: Option<Link>,
    pub(super) port: usize,
}

/// What the copies of one frame have in common, and only they.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Original {
    spi: u32,
    sequence: u32,
    icv: [u8; ICV_LEN],
    ends: (IpAddr, IpAddr),
    link: Option<Link>,
}

impl Original {
    /// Of a sealed packet, before it is opened.
    pub(super) fn of(
        packet: &[u8],
        header: &Header,
        outline: &Outline,
        link: Option<Link>,
    ) -> Option<Self> {
        Some(Self {
            spi: header.spi.value(),
            sequence: header.sequence,
            icv: *packet.get(..outline.total_len)?.last_chunk()?,
            ends: (outline.src, outline.dst),
            link,
        })
    }
}

/// A frame that was opened.
struct Kept {
    original: Original,
    opened: Opened,
    at: u64,
    /// A bit for each LAN port that it left by.
    ports: u32,
    len: usize,
}

/// The frames that were opened last.
pub(super) struct Copies {
    kept: [Option<Kept>; FRAMES],
    next: usize,
    bytes: Vec<u8>,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self { kept: [const { None }; FRAMES], next: 0, bytes: vec![0; FRAMES * LONGEST] }
    }

    /// What came of opening a packet: if it was opened before, for another LAN port, it brings the same again.
    pub(super) fn settle(
        &mut self,
        opened: Result<Opened, Reason>,
        original: Original,
        packet: &mut Packet<'_>,
        port: usize,
        now: u64,
    ) -> Result<Opened, Reason> {
        match opened {
            Ok(opened) => self.keep(original, packet.bytes(), opened, port, now),
            Err(Reason::Packet(DropReason::Replayed)) => {
                if let Some(again) = self.take(&original, packet, port, now) {
                    return Ok(again);
                }
            }
            Err(_) => {}
        }
        opened
    }

    /// Remembers what `original` was opened to for this LAN port.
    fn keep(&mut self, original: Original, packet: &[u8], opened: Opened, port: usize, now: u64) {
        let (at, len) = (self.next, packet.len());
        let Some(room) = self.bytes.chunks_exact_mut(LONGEST).nth(at) else { return };
        let Some(room) = room.get_mut(..len) else { return };
        room.copy_from_slice(packet);
        self.kept[at] = Some(Kept { original, opened, at: now, ports: bit(port), len });
        self.next = (at + 1) % FRAMES;
    }

    /// What a copy of `original` brings for another LAN port. It takes the sealed packet's place.
    fn take(
        &mut self,
        original: &Original,
        packet: &mut Packet<'_>,
        port: usize,
        now: u64,
    ) -> Option<Opened> {
        let wanted = |kept: &Kept| kept.original == *original && now < kept.at + TOGETHER;
        let at = self.kept.iter().position(|kept| kept.as_ref().is_some_and(wanted))?;
        let kept = self.kept[at].as_mut().filter(|kept| kept.ports & bit(port) == 0)?;
        let bytes = self.bytes.chunks_exact(LONGEST).nth(at)?.get(..kept.len)?;
        packet.truncate(kept.len);
        if packet.len() < kept.len {
            packet.push_back(kept.len - packet.len()).ok()?;
        }
        packet.bytes_mut().copy_from_slice(bytes);
        kept.ports |= bit(port);
        Some(kept.opened)
    }
}

/// There are no more LAN ports than bits ([`Ports::MOST_LAN`](crate::attach::Ports::MOST_LAN)).
const fn bit(port: usize) -> u32 {
    1 << (port % 32)
}
