//! DSCP and ECN of packets that travel inside others: RFC 6040, normal mode.
//!
//! Not for: reading and setting a traffic class, which is [`ip`](crate::ip)'s.

use core::fmt;

/// The two bits of ECN in a traffic class (RFC 3168).
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// The outer header says that the path is congested, and the inner one that its hosts would not understand: they shall
/// notice by the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congested;

impl fmt::Display for Congested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("congestion was marked on a packet whose hosts do not know of it")
    }
}

impl core::error::Error for Congested {}

/// The traffic class of the outer header: the inner one's (section 4.1; RFC 4301 section 5.1.2).
pub const fn outer(inner: u8) -> u8 {
    inner
}

/// The traffic class that the inner packet goes on with (section 4.2): its own DSCP, and what the path had to say.
///
/// # Errors
///
/// [`Congested`]: the packet is to be dropped.
pub const fn inner(inner: u8, outer: u8) -> Result<u8, Congested> {
    let ecn = match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => return Err(Congested),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        (own, _) => own,
    };
    Ok(inner & !ECN | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rfc_6040() {
        const ECT_0: u8 = 0b10;
        // Rows: what was inside; columns: Not-ECT, ECT(0), ECT(1), CE outside.
        let outside = [NOT_ECT, ECT_0, ECT_1, CE];
        let table = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inside, row) in table {
            for (outside, expected) in outside.into_iter().zip(row) {
                // The DSCP outside is the path's affair.
                let told = inner(0xb8 | inside, 0x20 | outside);
                assert_eq!(told.ok(), expected.map(|ecn| 0xb8 | ecn), "{inside:02b} {outside:02b}");
            }
        }
        assert_eq!(outer(0xb9), 0xb9);
    }
}
