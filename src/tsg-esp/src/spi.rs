//! The security parameters index: which epoch, which sender (docs/protocol.md; RFC 4303 section
//! 2.1).

use core::fmt;

/// SPI: the epoch's byte (1 to 255) in the top 8 bits, the sender number (1 to 2^24 − 1) in the low
/// 24.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(u32);

impl Spi {
    /// The highest sender number.
    pub const MAX_SENDER: u32 = 0x00ff_ffff;

    /// The SPI of a sender in an epoch. `None` if `epoch_id` is 0 or `sender` is not 1 to 2^24 − 1.
    pub const fn new(epoch_id: u64, sender: u32) -> Option<Self> {
        if epoch_id == 0 || sender == 0 || sender > Self::MAX_SENDER {
            return None;
        }
        Some(Self((Self::byte_of(epoch_id) as u32) << 24 | sender))
    }

    /// The SPI of a packet. `None` if its epoch byte or its sender number is 0.
    pub const fn from_wire(value: u32) -> Option<Self> {
        if value >> 24 == 0 || value & Self::MAX_SENDER == 0 {
            return None;
        }
        Some(Self(value))
    }

    /// The byte that stands for an epoch: 1 + (epoch − 1) mod 255. `epoch_id` counts from 1.
    pub const fn byte_of(epoch_id: u64) -> u8 {
        (1 + epoch_id.wrapping_sub(1) % 255) as u8
    }

    /// The epoch's byte.
    pub const fn epoch_byte(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The sender number.
    pub const fn sender(self) -> u32 {
        self.0 & Self::MAX_SENDER
    }

    /// The 32 bits as a number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The 32 bits as they are on the wire.
    pub const fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn epoch_bytes_go_round_without_zero() {
        assert_eq!([1, 2, 255, 256, 257].map(Spi::byte_of), [1, 2, 255, 1, 2]);
        assert_eq!(Spi::byte_of(u64::MAX), 255); // 2^64 − 1 is a multiple of 255
    }

    #[test]
    fn takes_apart_what_it_put_together() {
        let spi = Spi::new(3, 0x0a0b0c).unwrap();
        assert_eq!((spi.epoch_byte(), spi.sender(), spi.value()), (3, 0x0a0b0c, 0x030a_0b0c));
        assert_eq!(Spi::from_wire(spi.value()), Some(spi));
        assert_eq!(std::format!("{spi}"), "0x030a0b0c");
    }

    #[test]
    fn refuses_what_no_key_server_hands_out() {
        assert_eq!(Spi::new(0, 1), None);
        assert_eq!(Spi::new(1, 0), None);
        assert_eq!(Spi::new(1, 1 << 24), None);
        assert_eq!(Spi::from_wire(0x00ff_ffff), None);
        assert_eq!(Spi::from_wire(0xff00_0000), None);
    }
}
