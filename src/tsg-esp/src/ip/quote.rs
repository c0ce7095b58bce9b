//! What an ICMP error quotes (RFC 792; RFC 4443 section 2.4): errors follow the packet they are
//! about.

use super::outline::Extent;
use super::{Malformed, Outline, Upper, Version, protocol};

/// Bytes in front of the quoted packet, in both versions.
const QUOTE_AT: usize = 8;

impl Outline {
    /// The outline of the packet that an ICMP error quotes; `None` if this packet is not an ICMP
    /// error. `packet` is the one that this outline was made of.
    ///
    /// The quote may have been cut off: its `total_len` says what is there, and ports may be
    /// missing.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the quote cannot be read.
    pub fn quoted(&self, packet: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some(upper) = self.upper.filter(|upper| is_error(self.version, upper)) else {
            return Ok(None);
        };
        let start = upper.offset + QUOTE_AT;
        let quote = packet.get(start..self.total_len).ok_or(Malformed)?;
        let quoted = Self::parse_extent(quote, Extent::Beginning)?;
        if quoted.version != self.version {
            return Err(Malformed);
        }
        Ok(Some(quoted))
    }

    /// Whether this packet is an ICMP or ICMPv6 error message.
    pub fn is_icmp_error(&self) -> bool {
        self.upper.is_some_and(|upper| is_error(self.version, &upper))
    }
}

fn is_error(version: Version, upper: &Upper) -> bool {
    const UNREACHABLE: u8 = 3;
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;
    const V6_FIRST_INFORMATION: u8 = 128;
    let Some(kind) = upper.icmp_type else { return false };
    match version {
        Version::V4 => {
            upper.proto == protocol::ICMP
                && matches!(
                    kind,
                    UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
                )
        }
        Version::V6 => upper.proto == protocol::ICMPV6 && kind < V6_FIRST_INFORMATION,
    }
}
