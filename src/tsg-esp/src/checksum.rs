//! The internet checksum: RFC 1071 in full, RFC 1624 for a field that changes.
//!
//! Not for: knowing which header the bytes are. A checksum that was wrong before an update is wrong
//! after it, by the same amount: damage done before the gateway stays visible to the host.

use core::net::IpAddr;

use crate::ip::Malformed;

/// A running one's complement sum.
///
/// Only the last piece that is added may have an odd length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// An empty sum.
    pub const fn new() -> Self {
        Self(0)
    }

    /// The pseudo-header of RFC 9293 section 3.1 (IPv4) or RFC 8200 section 8.1 (IPv6), for an
    /// upper-layer packet of `len` bytes.
    pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Self::new();
        for address in [src, dst] {
            match address {
                IpAddr::V4(v4) => sum.add(&v4.octets()),
                IpAddr::V6(v6) => sum.add(&v6.octets()),
            }
        }
        sum.0 += u64::from(protocol) + len as u64;
        sum
    }

    /// Adds bytes, as big-endian 16-bit words; an odd last byte counts as the high half of a word.
    pub fn add(&mut self, bytes: &[u8]) {
        // The byte order does not matter until the end (RFC 1071 section 2), and this way it goes
        // through vector registers.
        let (words, tail) = bytes.as_chunks::<4>();
        let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
        let mut rest = [0u8; 4];
        rest[..tail.len()].copy_from_slice(tail);
        sum += u64::from(u32::from_ne_bytes(rest));
        self.0 += u64::from(u16::from_be(fold(sum)));
    }

    /// The folded sum, not complemented.
    pub fn folded(self) -> u16 {
        fold(self.0)
    }

    /// What goes into the checksum field.
    pub fn finish(self) -> u16 {
        !self.folded()
    }
}

const fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of `bytes`, in which the checksum field itself must be zero. For a header with its
/// checksum in place, the result is 0 if the checksum is right.
pub fn of(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.finish()
}

/// The checksum after a 16-bit word went from `old` to `new`: equation 3 of RFC 1624.
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

/// Like [`update`], for a 16-bit field that begins `at` bytes into the checksummed data, which may
/// be odd.
pub fn update_at(checksum: u16, at: usize, old: u16, new: u16) -> u16 {
    if at.is_multiple_of(2) {
        update(checksum, old, new)
    } else {
        update(checksum, old.swap_bytes(), new.swap_bytes())
    }
}

/// Fills in a checksum that was left to the network card: `packet[start..]` is covered, and the
/// field at `start + offset` holds the sum of the pseudo-header so far.
///
/// # Errors
///
/// [`Malformed`] if the field is not inside the packet.
pub fn complete(packet: &mut [u8], start: usize, offset: usize) -> Result<(), Malformed> {
    let covered = packet.get_mut(start..).ok_or(Malformed)?;
    let checksum = match of(covered) {
        // For UDP, zero means that there is none (RFC 768); for the others both zeros are right.
        0 => 0xffff,
        checksum => checksum,
    };
    let field = offset.checked_add(2).and_then(|end| covered.get_mut(offset..end));
    field.ok_or(Malformed)?.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let mut sum = Sum::new();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn completes_what_was_left_to_the_card() {
        let (src, dst) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut packet = [0xaa, 0xbb, 0, 7, 0, 7, 0, 9, 0, 0, 0x55];
        let pseudo = Sum::pseudo_header(src, dst, 17, 9);
        packet[8..10].copy_from_slice(&pseudo.folded().to_be_bytes());
        complete(&mut packet, 2, 6).unwrap();
        let mut sum = pseudo;
        sum.add(&packet[2..]);
        assert_eq!(sum.finish(), 0);
        for (start, offset) in [(12, 0), (2, 8), (0, usize::MAX), (usize::MAX, 0)] {
            assert_eq!(complete(&mut packet, start, offset), Err(Malformed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn an_update_is_a_full_computation(
            mut bytes in proptest::collection::vec(any::<u8>(), 4..80),
            place in any::<prop::sample::Index>(),
            new in any::<u16>(),
        ) {
            bytes[0] |= 1; // a sum of nothing but zeros has two representations
            let before = of(&bytes);
            let at = 2 + place.index(bytes.len() - 3);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update_at(before, at, old, new), of(&bytes));
        }

        #[test]
        fn pieces_sum_up_as_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            cut in 0usize..20,
        ) {
            let cut = (cut * 2).min(bytes.len() & !1);
            let mut sum = Sum::new();
            sum.add(&bytes[..cut]);
            sum.add(&bytes[cut..]);
            prop_assert_eq!(sum.finish(), of(&bytes));
        }
    }
}
