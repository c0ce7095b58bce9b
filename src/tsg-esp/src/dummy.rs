//! Dummy packets (RFC 4303 section 2.6): next header 59 and nothing behind it. Whoever opens one
//! drops it; what it brings is its pseudo-time, authenticated (docs/protocol.md 1.9).
//!
//! Not for: deciding who is sent one, and how often.

use core::net::IpAddr;

use crate::buffer::{NoRoom, Packet};
use crate::ip::{self, Malformed, Outline, protocol, v4, v6};

/// Writes a dummy packet from `src` to `dst`, to be sealed, at the front of `out`, whose length
/// becomes the packet's.
///
/// # Errors
///
/// [`Malformed`]: the addresses are not of one version, or `out` is too short.
pub fn write(src: IpAddr, dst: IpAddr, out: &mut Packet<'_>) -> Result<Outline, Malformed> {
    let len = if src.is_ipv4() { v4::HEADER_LEN } else { v6::HEADER_LEN };
    out.truncate(0);
    out.push_back(len).map_err(|NoRoom| Malformed)?;
    ip::emit(out.bytes_mut(), len, protocol::NO_NEXT_HEADER, src, dst)?;
    Outline::parse(out.bytes())
}
