//! Packets that a handler sends beside the one it was asked about: further pieces, or an ICMP answer.

use super::Side;
use core::ops::Range;

/// As many packets as a packet of 64 KiB gives pieces at an MTU of 576, and some.
const MOST: usize = 160;

/// Their bytes together.
const BYTES: usize = 192 * 1024;

/// The outbox is full; the packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Packets to send once the handler has returned. Bounded, allocated once, emptied after each frame.
///
/// What goes to the other side gets the Ethernet header of the frame; what goes back to where the frame
/// came from gets it with the addresses swapped.
#[derive(Debug)]
pub struct Outbox {
    bytes: Vec<u8>,
    packets: Vec<(Side, Range<usize>)>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// Room for a packet in many pieces.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(BYTES), packets: Vec::with_capacity(MOST) }
    }

    /// One that takes nothing and has no memory.
    pub(super) const fn none() -> Self {
        Self { bytes: Vec::new(), packets: Vec::new() }
    }

    /// Takes a packet, from its IP header on, that leaves on side `to`.
    ///
    /// # Errors
    /// [`Full`]: count it and give the packet up; nothing was taken.
    pub fn push(&mut self, to: Side, packet: &[u8]) -> Result<(), Full> {
        self.push_with(to, packet.len(), |room| room.copy_from_slice(packet))
    }

    /// Takes a packet of `len` bytes that `write` puts into zeroed room of the outbox.
    ///
    /// # Errors
    /// [`Full`]; `write` was not called.
    pub fn push_with(
        &mut self,
        to: Side,
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<(), Full> {
        let start = self.bytes.len();
        if self.packets.len() == MOST || len > BYTES - start {
            return Err(Full);
        }
        self.bytes.resize(start + len, 0);
        write(&mut self.bytes[start..]);
        self.packets.push((to, start..start + len));
        Ok(())
    }

    /// Nothing to send.
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// What is to be sent, and to which side.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &[u8])> {
        self.packets.iter().map(|(to, range)| (*to, &self.bytes[range.clone()]))
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_refuses_what_does_not_fit() {
        let mut out = Outbox::new();
        out.push(Side::Wan, &[1, 2]).unwrap();
        out.push(Side::Lan, &[3]).unwrap();
        let held: Vec<_> = out.iter().map(|(to, packet)| (to, packet.to_vec())).collect();
        assert_eq!(held, [(Side::Wan, vec![1, 2]), (Side::Lan, vec![3])]);
        assert_eq!(out.push(Side::Wan, &vec![0; BYTES]), Err(Full));
        out.clear();
        assert!(out.is_empty());
        for _ in 0..MOST {
            out.push(Side::Wan, &[0]).unwrap();
        }
        assert_eq!(out.push(Side::Wan, &[0]), Err(Full));
    }
}
