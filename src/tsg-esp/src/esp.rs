//! The bytes of ESP (RFC 4303 section 2) with a combined-mode cipher (RFC 4106, RFC 7634).
//!
//! This is the layer of the published test vectors: the IV is whatever the caller says. What TSG
//! puts into it is decided in [`seal`](crate::seal).

use core::net::IpAddr;

use crate::DropReason;
use crate::crypto::{Cipher, Unauthentic};
use crate::form::Aad;
use crate::ip::{Malformed, read_u32};

pub use crate::crypto::ICV_LEN;

/// SPI, sequence number and IV.
pub const HEADER_LEN: usize = 16;

/// Pad length and next header.
pub const TRAILER_LEN: usize = 2;

/// Sealed bytes end on a multiple of this.
const ALIGNMENT: usize = 4;

/// The shortest ESP packet: no payload, padded.
pub const MIN_LEN: usize = HEADER_LEN + ALIGNMENT + ICV_LEN;

/// What stands in clear in front of the sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Security parameters index.
    pub spi: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Initialisation vector: the last eight bytes of the nonce.
    pub iv: [u8; 8],
}

impl Header {
    /// Reads the header at the front of an ESP packet.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the packet is too short to be ESP, or not padded to 4 bytes.
    pub fn parse(esp: &[u8]) -> Result<Self, Malformed> {
        if esp.len() < MIN_LEN || !esp.len().is_multiple_of(ALIGNMENT) {
            return Err(Malformed);
        }
        let mut iv = [0; 8];
        iv.copy_from_slice(&esp[8..HEADER_LEN]);
        Ok(Self {
            spi: read_u32(esp, 0).ok_or(Malformed)?,
            sequence: read_u32(esp, 4).ok_or(Malformed)?,
            iv,
        })
    }

    /// The header's bytes.
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.spi.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.iv);
        bytes
    }

    /// Salt ‖ IV.
    pub fn nonce(&self, salt: [u8; 4]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&salt);
        nonce[4..].copy_from_slice(&self.iv);
        nonce
    }
}

/// How many bytes of padding a payload gets: 0 to 3.
pub const fn pad_len(payload: usize) -> usize {
    (ALIGNMENT - (payload + TRAILER_LEN) % ALIGNMENT) % ALIGNMENT
}

/// Length of a payload with padding, trailer and ICV.
pub const fn sealed_len(payload: usize) -> usize {
    payload + pad_len(payload) + TRAILER_LEN + ICV_LEN
}

/// Seals `payload_len` bytes at the front of `body`, which has exactly [`sealed_len`] bytes.
///
/// # Panics
///
/// If `body` is shorter.
pub fn seal<C: Cipher>(
    cipher: &C,
    nonce: &[u8; 12],
    aad: &AadBytes,
    body: &mut [u8],
    payload_len: usize,
    next_header: u8,
) {
    let (data, icv) = body.split_at_mut(body.len() - ICV_LEN);
    let trailer = &mut data[payload_len..];
    let pad = trailer.len() - TRAILER_LEN;
    for (byte, number) in trailer.iter_mut().zip(1u8..).take(pad) {
        *byte = number;
    }
    trailer[pad] = pad as u8;
    trailer[pad + 1] = next_header;
    icv.copy_from_slice(&cipher.seal(nonce, aad.as_slice(), data));
}

/// What is inside an ESP packet that authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Length of the payload in bytes.
    pub payload_len: usize,
    /// Protocol of the payload.
    pub next_header: u8,
}

/// Opens `body`: sealed bytes and ICV. The payload lies at its front then.
///
/// # Errors
///
/// [`DropReason::Unauthentic`], and `body` holds no plaintext; [`DropReason::WrongPadding`].
pub fn open<C: Cipher>(
    cipher: &C,
    nonce: &[u8; 12],
    aad: &AadBytes,
    body: &mut [u8],
) -> Result<Inside, DropReason> {
    let (data, icv) = body.split_last_chunk_mut::<ICV_LEN>().ok_or(DropReason::Malformed)?;
    let opened = cipher.open(nonce, aad.as_slice(), data, icv);
    opened.map_err(|Unauthentic| DropReason::Unauthentic)?;
    inside(data).ok_or(DropReason::WrongPadding)
}

fn inside(data: &[u8]) -> Option<Inside> {
    let (padded, &[pad, next_header]) = data.split_last_chunk()?;
    let payload_len = padded.len().checked_sub(usize::from(pad))?;
    let counts = padded[payload_len..].iter().copied().eq(1..=pad);
    counts.then_some(Inside { payload_len, next_header })
}

/// The additional authenticated data of one packet.
#[derive(Clone, Copy, Debug)]
pub struct AadBytes {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl AadBytes {
    const MAX: usize = 8 + 16 + 16;

    /// The AAD of a packet in the group's form.
    pub fn new(form: Aad, header: &Header, src: IpAddr, dst: IpAddr) -> Self {
        let mut aad = Self::without_addresses(header);
        match form {
            Aad::WithAddresses => {
                aad.push_address(src);
                aad.push_address(dst);
            }
            Aad::Rfc4303 => {}
        }
        aad
    }

    /// The AAD of RFC 4303: SPI ‖ sequence number.
    pub fn without_addresses(header: &Header) -> Self {
        let mut aad = Self { bytes: [0; Self::MAX], len: 0 };
        aad.push(&header.spi.to_be_bytes());
        aad.push(&header.sequence.to_be_bytes());
        aad
    }

    fn push_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.push(&v4.octets()),
            IpAddr::V6(v6) => self.push(&v6.octets()),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
