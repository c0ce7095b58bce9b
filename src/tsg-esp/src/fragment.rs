//! Cutting a packet that does not fit once sealed (docs/protocol.md: fragments; RFC 791 section
//! 3.2, RFC 8200 section 4.5).
//!
//! [`pieces`] says where to cut, [`write_piece`] writes each piece as a plain IP fragment into
//! another buffer, and [`Sender::seal`](crate::seal::Sender::seal) seals it as it seals any
//! fragment. The receiver restores the same plain fragments; the host reassembles. Not for:
//! reassembly, and not for deciding who may be cut ([`Outline::may_fragment`], and the gateway's
//! `oversize`).

use core::fmt;
use core::iter::FusedIterator;

use crate::buffer::{NoRoom, Packet};
use crate::form::Form;
use crate::ip::v6::FragmentHeader;
use crate::ip::{Malformed, Outline, Version, protocol, v4, v6};

/// The path is too narrow for even eight bytes of the packet in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathTooNarrow;

impl fmt::Display for PathTooNarrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("path_mtu leaves no room for a fragment")
    }
}

impl core::error::Error for PathTooNarrow {}

/// One piece of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where its bytes begin in the source packet.
    pub from: usize,
    /// How many bytes it takes: a multiple of 8 unless it is the last.
    pub len: usize,
    /// Its place in the original, unfragmented packet, in bytes.
    pub offset: u16,
    /// Whether the original goes on behind it.
    pub more: bool,
    /// Identification, the same in all pieces.
    pub id: u32,
}

/// The pieces of a packet, in order. Made by [`pieces`].
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    next: Option<Piece>,
    /// Where the source packet ends.
    end: usize,
    /// How many bytes a piece takes at most.
    chunk: usize,
    /// Whether the source packet is itself a fragment with others behind it.
    more: bool,
}

/// The pieces of a packet so that each fits the path once sealed.
///
/// A packet that is itself a fragment is cut into smaller ones of the same original. `spare_id` is
/// used where the packet has no identification: IPv6 without a fragment header, and IPv4 with
/// "don't fragment" and 0. It should differ from packet to packet between the same two hosts.
///
/// # Errors
///
/// [`PathTooNarrow`].
pub fn pieces(
    outline: &Outline,
    path_mtu: u16,
    form: &Form,
    spare_id: u32,
) -> Result<Pieces, PathTooNarrow> {
    let prefix = prefix_end(outline) - outline.header_len;
    let largest = form.largest_payload(outline.header_len, path_mtu).ok_or(PathTooNarrow)?;
    let chunk = largest.checked_sub(prefix + FragmentHeader::LEN).ok_or(PathTooNarrow)? & !7;
    if chunk == 0 {
        return Err(PathTooNarrow);
    }
    let from = fragmentable_at(outline);
    let len = outline.total_len.saturating_sub(from);
    let more = outline.fragment.is_some_and(|fragment| fragment.more);
    let first = Piece {
        from,
        len: len.min(chunk),
        offset: outline.fragment.map_or(0, |fragment| fragment.offset),
        more: len > chunk || more,
        id: id(outline, spare_id),
    };
    Ok(Pieces { next: Some(first), end: from + len, chunk, more })
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let piece = self.next?;
        let from = piece.from + piece.len;
        let left = self.end - from;
        self.next = (left > 0).then(|| Piece {
            from,
            len: left.min(self.chunk),
            offset: piece.offset.wrapping_add(piece.len as u16),
            more: left > self.chunk || self.more,
            id: piece.id,
        });
        Some(piece)
    }
}

impl FusedIterator for Pieces {}

/// Writes `piece` of the packet `source` at the front of `out`, as a plain IP fragment, and gives
/// its outline.
///
/// `out` keeps its front; its length becomes the fragment's. Leave
/// [`HEAD_ROOM`](crate::buffer::HEAD_ROOM) in front for sealing.
///
/// # Errors
///
/// [`WriteError::NoRoom`] if the piece does not fit behind the front of `out`;
/// [`WriteError::Malformed`] if `outline` or `piece` are not of `source`.
pub fn write_piece(
    source: &[u8],
    outline: &Outline,
    piece: &Piece,
    out: &mut Packet<'_>,
) -> Result<Outline, WriteError> {
    let header = source.get(..prefix_end(outline)).ok_or(WriteError::Malformed)?;
    let data = piece.from.checked_add(piece.len).and_then(|end| source.get(piece.from..end));
    let data = data.ok_or(WriteError::Malformed)?;
    let between = match outline.version {
        Version::V4 => 0,
        Version::V6 => FragmentHeader::LEN,
    };
    let total_len = header.len() + between + data.len();
    out.truncate(0);
    out.push_back(total_len).map_err(|NoRoom| WriteError::NoRoom)?;

    let (head, tail) = out.bytes_mut().split_at_mut(header.len());
    head.copy_from_slice(header);
    tail[between..].copy_from_slice(data);
    let written = match outline.version {
        Version::V4 => write_v4(head, piece, total_len),
        Version::V6 => write_v6(head, &mut tail[..between], source, outline, piece, total_len),
    };
    let parsed = written.and_then(|()| Outline::parse(out.bytes()));
    parsed.map_err(|Malformed| WriteError::Malformed)
}

/// Why a piece could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The output buffer is too short.
    NoRoom,
    /// Outline, piece and packet do not belong together.
    Malformed,
}

fn write_v4(head: &mut [u8], piece: &Piece, total_len: usize) -> Result<(), Malformed> {
    let mut header = v4::Header::new_checked(head)?;
    header.set_total_len(u16::try_from(total_len).map_err(|_| Malformed)?);
    header.set_id(piece.id as u16);
    header.set_fragment(piece.offset, piece.more);
    if piece.offset != 0 {
        header.blank_uncopied_options();
    }
    Ok(())
}

fn write_v6(
    head: &mut [u8],
    between: &mut [u8],
    source: &[u8],
    outline: &Outline,
    piece: &Piece,
    total_len: usize,
) -> Result<(), Malformed> {
    let mut next_header = outline.next_header;
    if let Some(fragment) = outline.fragment {
        next_header = *source.get(fragment.header_at).ok_or(Malformed)?;
    }
    let Piece { offset, more, id, .. } = *piece;
    between.copy_from_slice(&FragmentHeader { next_header, offset, more, id }.emit());
    let payload_len = u16::try_from(total_len - v6::HEADER_LEN).map_err(|_| Malformed)?;
    let mut header = v6::Header::new_checked(head)?;
    header.set_payload_len(payload_len);
    match outline.fragment {
        Some(_) => Ok(()),
        None => header.set_last_next_header(protocol::FRAGMENT),
    }
}

/// Where the headers end that every piece repeats.
fn prefix_end(outline: &Outline) -> usize {
    match (outline.version, outline.fragment) {
        (Version::V6, Some(fragment)) => fragment.header_at.max(outline.header_len),
        (Version::V4, _) | (Version::V6, None) => outline.header_len,
    }
}

/// Where the part begins that is cut.
fn fragmentable_at(outline: &Outline) -> usize {
    match (outline.version, outline.fragment) {
        (Version::V6, Some(_)) => prefix_end(outline) + FragmentHeader::LEN,
        (Version::V4, _) | (Version::V6, None) => outline.header_len,
    }
}

fn id(outline: &Outline, spare_id: u32) -> u32 {
    match (outline.version, outline.fragment) {
        (_, Some(fragment)) => fragment.id,
        (Version::V4, None) if outline.dont_fragment && outline.id == 0 => spare_id & 0xffff,
        (Version::V4, None) => u32::from(outline.id),
        (Version::V6, None) => spare_id,
    }
}
