//! A packet inside a caller's buffer, with room in front and behind it.
//!
//! Sealing makes a packet longer at both ends. With room reserved once, at reception, nothing is
//! copied but the IP header. Not for: owning memory, or knowing what the bytes mean.

use core::fmt;
use core::ops::Range;

/// What [`Sender::seal`](crate::seal::Sender::seal) needs in front of a packet at most: UDP 8, ESP
/// 8, IV 8, fragment header 8 bytes.
pub const HEAD_ROOM: usize = 32;

/// What [`Sender::seal`](crate::seal::Sender::seal) needs behind a packet at most: padding 3, pad
/// length and next header 2, ICV 16 bytes.
pub const TAIL_ROOM: usize = 21;

/// The buffer has not enough room at that end, or the packet is shorter than what is taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room in the packet buffer")
    }
}

impl core::error::Error for NoRoom {}

/// A packet (from its IP header on) in a caller's buffer.
///
/// The range always lies inside the buffer, so [`bytes`](Self::bytes) cannot fail.
#[derive(Debug)]
pub struct Packet<'b> {
    buffer: &'b mut [u8],
    range: Range<usize>,
}

impl<'b> Packet<'b> {
    /// The packet that lies in `range` of `buffer`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if the range is reversed or ends beyond the buffer.
    pub fn new(buffer: &'b mut [u8], range: Range<usize>) -> Result<Self, NoRoom> {
        if range.start > range.end || range.end > buffer.len() {
            return Err(NoRoom);
        }
        Ok(Self { buffer, range })
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// The packet, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.range.clone()]
    }

    /// Where the packet lies in the buffer.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Length of the packet in bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is no packet left.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Bytes free in front of the packet.
    pub fn head_room(&self) -> usize {
        self.range.start
    }

    /// Bytes free behind the packet.
    pub fn tail_room(&self) -> usize {
        self.buffer.len() - self.range.end
    }

    /// Makes the packet `n` bytes longer at its front. The new bytes are whatever the buffer held.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], and the packet is as it was.
    pub fn push_front(&mut self, n: usize) -> Result<(), NoRoom> {
        self.range.start = self.range.start.checked_sub(n).ok_or(NoRoom)?;
        Ok(())
    }

    /// Takes `n` bytes off the packet's front.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if the packet is shorter, and the packet is as it was.
    pub fn pull_front(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.len() {
            return Err(NoRoom);
        }
        self.range.start += n;
        Ok(())
    }

    /// Makes the packet `n` bytes longer at its end. The new bytes are whatever the buffer held.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], and the packet is as it was.
    pub fn push_back(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.tail_room() {
            return Err(NoRoom);
        }
        self.range.end += n;
        Ok(())
    }

    /// Cuts the packet to `len` bytes; does nothing if it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.range.end = self.range.start + len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_inside_the_buffer_only() {
        let mut buffer = [0u8; 10];
        buffer[3..7].copy_from_slice(&[1, 2, 3, 4]);
        let mut packet = Packet::new(&mut buffer, 3..7).unwrap();
        assert_eq!((packet.head_room(), packet.len(), packet.tail_room()), (3, 4, 3));
        assert_eq!(packet.push_front(4), Err(NoRoom));
        assert_eq!(packet.push_back(4), Err(NoRoom));
        assert_eq!(packet.pull_front(5), Err(NoRoom));
        assert_eq!(packet.bytes(), [1, 2, 3, 4]);
        packet.push_front(3).unwrap();
        packet.push_back(3).unwrap();
        assert_eq!(packet.range(), 0..10);
        packet.pull_front(4).unwrap();
        packet.truncate(2);
        packet.truncate(5);
        assert_eq!(packet.bytes(), [2, 3]);
    }

    #[test]
    fn refuses_a_range_that_is_not_in_the_buffer() {
        let mut buffer = [0u8; 4];
        assert!(Packet::new(&mut buffer, 2..5).is_err());
        assert!(Packet::new(&mut buffer, core::ops::Range { start: 3, end: 2 }).is_err());
        assert!(Packet::new(&mut buffer, 4..4).is_ok());
    }
}
