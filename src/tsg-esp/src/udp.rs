//! ESP in UDP: the framing of RFC 3948.
//!
//! **Checksum.** Zero over IPv4, as RFC 3948 section 2.1 says. Over IPv6 it is computed: RFC 6935
//! lets a tunnel send zero, but hosts, firewalls and network cards on the way discard it unless
//! they are told not to. A sender may [leave it](crate::seal::Sender::leave_sums) to the network card.
//! Nobody here checks it on reception: the ICV is the better check.
//!
//! Not for: IKE and keep-alives, which share the port in the routed modes; [`Kind::of`] tells them
//! apart.

use core::net::IpAddr;

use crate::checksum::Sum;
use crate::ip::{Malformed, protocol, read_u16, read_u32};

/// Length of a UDP header.
pub const HEADER_LEN: usize = 8;

/// What keeps a NAT's mapping alive (RFC 3948 section 2.3).
pub const KEEP_ALIVE: [u8; 1] = [0xff];

/// What the payload of a UDP packet on the ESP port is (RFC 3948 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ESP packet.
    Esp,
    /// Four zero bytes, then IKE.
    Ike,
    /// A single byte 0xFF, which keeps a NAT's mapping alive.
    KeepAlive,
    /// None of these.
    Unknown,
}

impl Kind {
    /// The kind of a UDP payload.
    pub fn of(payload: &[u8]) -> Self {
        match (payload, read_u32(payload, 0)) {
            (payload, _) if payload == KEEP_ALIVE => Self::KeepAlive,
            (_, Some(0)) => Self::Ike,
            (_, Some(_)) => Self::Esp,
            (_, None) => Self::Unknown,
        }
    }
}

/// What a UDP datagram carries.
///
/// # Errors
///
/// [`Malformed`] if it is shorter than a header, or not as long as it says.
pub(crate) fn payload(datagram: &[u8]) -> Result<&[u8], Malformed> {
    match read_u16(datagram, 4) {
        Some(len) if usize::from(len) == datagram.len() => {
            datagram.get(HEADER_LEN..).ok_or(Malformed)
        }
        Some(_) | None => Err(Malformed),
    }
}

/// Writes the UDP header into the first 8 bytes of `datagram`, which holds the payload behind them. `summed`: with
/// the checksum that IPv6 wants; otherwise it is zero.
pub(crate) fn emit(datagram: &mut [u8], port: u16, src: IpAddr, dst: IpAddr, summed: bool) {
    let len = datagram.len();
    let [port_hi, port_lo] = port.to_be_bytes();
    let [len_hi, len_lo] = (len as u16).to_be_bytes();
    let header = [port_hi, port_lo, port_hi, port_lo, len_hi, len_lo, 0, 0];
    datagram[..HEADER_LEN].copy_from_slice(&header);
    if summed && src.is_ipv6() {
        let mut sum = Sum::pseudo_header(src, dst, protocol::UDP, len);
        sum.add(datagram);
        // A computed zero is sent as all ones (RFC 768): zero means that there is none.
        let checksum = match sum.finish() {
            0 => 0xffff,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let (src, dst) = (IpAddr::from([1u16; 8]), IpAddr::from([2u16; 8]));
        let mut datagram = [0; HEADER_LEN + 2];
        emit(&mut datagram, 4253, src, dst, true);
        let [.., hi, lo, _, _] = datagram;
        datagram[HEADER_LEN..].copy_from_slice(&[hi, lo]);
        emit(&mut datagram, 4253, src, dst, true);
        assert_eq!(datagram[6..8], [0xff, 0xff]);
    }

    #[test]
    fn tells_what_shares_the_port() {
        assert_eq!(Kind::of(&[0xff]), Kind::KeepAlive);
        assert_eq!(Kind::of(&[0, 0, 0, 0, 1]), Kind::Ike);
        assert_eq!(Kind::of(&[1, 0, 0, 1, 0]), Kind::Esp);
        assert_eq!(Kind::of(&[1, 0, 0]), Kind::Unknown);
        assert_eq!(Kind::of(&[]), Kind::Unknown);
    }
}
