//! The IP header of a packet that a gateway makes itself.

use super::{Malformed, v4, v6};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HOP_LIMIT: u8 = 64;

/// Writes the header of a packet of `total_len` bytes into `header`, which is as long as a header
/// without options.
///
/// # Errors
///
/// The addresses are not of one version.
pub(crate) fn emit(
    header: &mut [u8],
    total_len: usize,
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
) -> Result<(), Malformed> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => emit_v4(header, total_len, protocol, src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => emit_v6(header, total_len, protocol, src, dst),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(Malformed),
    }
    Ok(())
}

fn emit_v4(header: &mut [u8], total_len: usize, protocol: u8, src: Ipv4Addr, dst: Ipv4Addr) {
    /// Precedence 6, internetwork control: RFC 1812 section 4.3.2.5.
    const TYPE_OF_SERVICE: u8 = 0xc0;
    let [len_hi, len_lo] = (total_len as u16).to_be_bytes();
    header.fill(0);
    header[..4].copy_from_slice(&[0x45, TYPE_OF_SERVICE, len_hi, len_lo]);
    header[8] = HOP_LIMIT;
    header[9] = protocol;
    header[12..16].copy_from_slice(&src.octets());
    header[16..20].copy_from_slice(&dst.octets());
    if let Ok(mut header) = v4::Header::new_checked(header) {
        header.fill_checksum();
    }
}

fn emit_v6(header: &mut [u8], total_len: usize, protocol: u8, src: Ipv6Addr, dst: Ipv6Addr) {
    let [len_hi, len_lo] = ((total_len - v6::HEADER_LEN) as u16).to_be_bytes();
    header[..8].copy_from_slice(&[0x60, 0, 0, 0, len_hi, len_lo, protocol, HOP_LIMIT]);
    header[8..24].copy_from_slice(&src.octets());
    header[24..40].copy_from_slice(&dst.octets());
}
