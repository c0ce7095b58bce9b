//! What an ICMP error quotes (RFC 792; RFC 4443 section 2.4): errors follow the packet they are
//! about. A redirect does so too, IPv6's in an option (RFC 4861 sections 4.5 and 4.6.3).

use super::outline::Extent;
use super::{Malformed, Outline, Upper, Version, protocol};

/// Bytes in front of the quoted packet, in both versions.
const QUOTE_AT: usize = 8;

/// ICMPv6 type of a redirect.
const V6_REDIRECT: u8 = 137;

/// Where its options begin, and how many are looked at: a router sends up to two.
const OPTIONS_AT: usize = 40;
const MOST_OPTIONS: usize = 4;

/// The option that holds the packet, behind eight bytes.
const REDIRECTED_HEADER: u8 = 4;

impl Outline {
    /// The outline of the packet that an ICMP error quotes; `None` if this packet is not an ICMP
    /// error, and for a redirect of IPv6 that quotes none. `packet` is the one that this outline was made
    /// of.
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
        let quote = match self.version {
            Version::V6 if upper.icmp_type == Some(V6_REDIRECT) => {
                let Some(quote) = self.redirected(packet, upper.offset)? else { return Ok(None) };
                quote
            }
            Version::V4 | Version::V6 => {
                packet.get(upper.offset + QUOTE_AT..self.total_len).ok_or(Malformed)?
            }
        };
        let quoted = Self::parse_extent(quote, Extent::Beginning)?;
        if quoted.version != self.version {
            return Err(Malformed);
        }
        Ok(Some(quoted))
    }

    /// What the option of a redirect holds. One that is a fragment may have it elsewhere, and no host heeds that
    /// (RFC 6980).
    fn redirected<'p>(&self, packet: &'p [u8], at: usize) -> Result<Option<&'p [u8]>, Malformed> {
        if self.fragment.is_some() {
            return Err(Malformed);
        }
        let mut rest = packet.get(at + OPTIONS_AT..self.total_len).ok_or(Malformed)?;
        for _ in 0..MOST_OPTIONS {
            let &[kind, units, ..] = rest else { break };
            let (option, others) =
                rest.split_at_checked(usize::from(units) * 8).ok_or(Malformed)?;
            if kind == REDIRECTED_HEADER {
                return option.get(QUOTE_AT..).map(Some).ok_or(Malformed);
            }
            if units == 0 {
                return Err(Malformed);
            }
            rest = others;
        }
        if rest.is_empty() { Ok(None) } else { Err(Malformed) }
    }

    /// Whether this packet is an ICMP or ICMPv6 error message, or a redirect.
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
        Version::V6 => {
            upper.proto == protocol::ICMPV6 && (kind < V6_FIRST_INFORMATION || kind == V6_REDIRECT)
        }
    }
}
