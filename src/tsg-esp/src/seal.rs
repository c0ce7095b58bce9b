//! Sealing: a plain IP packet becomes a sealed one in the buffer where it lies (docs/protocol.md).
//!
//! The payload stays in its place; the IP header moves forward into the head-room. Not for:
//! deciding whether to seal ([`Outline`] goes to the policy for that), or cutting what does not fit
//! ([`fragment`](crate::fragment)).

use core::fmt;

use crate::DropReason;
use crate::buffer::{NoRoom, Packet};
use crate::crypto::Cipher;
use crate::esp::{self, AadBytes};
use crate::form::{Encap, Form, fragment_len};
use crate::ip::v6::FragmentHeader;
use crate::ip::{Malformed, Outline, Version, protocol, v4, v6};
use crate::spi::Spi;
use crate::udp;

/// One more than the last sequence number.
pub const SEQUENCE_END: u64 = 1 << 32;

/// From this sequence number on a gateway should change to a spare sender number: three quarters of
/// the space.
pub const SPARE_FROM: u64 = 3 << 30;

/// Why a packet could not be sealed. It is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// No sequence numbers left below the sender's limit.
    Exhausted,
    /// The buffer has not the head-room or tail-room.
    NoRoom,
    /// More than 65,535 bytes once sealed.
    TooLong,
    /// The outline does not fit the packet, or the packet carries what cannot be restored: IPv4
    /// with protocol 44, IPv6 with hop-by-hop options in the wrong place.
    Malformed,
}

impl SealError {
    /// The counter for it.
    pub const fn reason(self) -> DropReason {
        match self {
            Self::Exhausted => DropReason::Exhausted,
            Self::NoRoom => DropReason::NoRoom,
            Self::TooLong => DropReason::TooLong,
            Self::Malformed => DropReason::Malformed,
        }
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().as_str())
    }
}

impl core::error::Error for SealError {}

/// One sender's security association, for sealing. Belongs to one thread.
pub struct Sender<C> {
    spi: Spi,
    cipher: C,
    salt: [u8; 4],
    next: u64,
    limit: u64,
    leaves_sums: bool,
}

impl<C: Cipher> Sender<C> {
    /// A sender whose next packet gets `first_sequence` (from 1) and which stops before `limit`.
    ///
    /// `cipher` and `salt` come from the [`SenderKey`](crate::crypto::SenderKey) of `spi`. Two
    /// senders with the same key must never share a sequence number: the nonce is made of it.
    pub fn new(spi: Spi, cipher: C, salt: [u8; 4], first_sequence: u64, limit: u64) -> Self {
        let (next, limit) = (first_sequence.max(1), limit.min(SEQUENCE_END));
        Self { spi, cipher, salt, next, limit, leaves_sums: false }
    }

    /// From now on a sealed datagram right behind an IPv6 header has a UDP checksum of zero, as all have over IPv4:
    /// whoever sends it on fills it in ([`Joined::finish`](crate::join::Joined::finish)).
    pub const fn leave_sums(&mut self) {
        self.leaves_sums = true;
    }

    /// The SPI of its packets.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// Its cipher.
    pub fn cipher(&self) -> &C {
        &self.cipher
    }

    /// Its cipher and salt, to be given their key where they stay: what moves leaves copies.
    pub fn key_mut(&mut self) -> (&mut C, &mut [u8; 4]) {
        (&mut self.cipher, &mut self.salt)
    }

    /// The sequence number of the next packet.
    pub fn sequence(&self) -> u64 {
        self.next
    }

    /// How many packets it can seal before its limit.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.next)
    }

    /// Moves the limit, once the new ceiling is stored. A limit is the first number that may not be
    /// used; it is never moved back, and never beyond 2^32.
    pub fn extend(&mut self, limit: u64) {
        self.limit = self.limit.max(limit.min(SEQUENCE_END));
    }

    /// Seals `packet`. `outline` is the packet's own, `time` the pseudo-time in milliseconds.
    ///
    /// Bytes beyond the outline's `total_len` are trimmed. An IPv4 fragment gets a fragment header
    /// inside.
    ///
    /// # Errors
    ///
    /// See [`SealError`]. No sequence number is used up then.
    pub fn seal(
        &mut self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        time: u32,
        form: &Form,
    ) -> Result<(), SealError> {
        let layout = Layout::plan(packet, outline, form)?;
        let sequence = self.next_sequence()?;
        layout.make_room(packet, outline).map_err(|NoRoom| SealError::NoRoom)?;
        layout.write_ip_header(packet, outline, form).map_err(|Malformed| SealError::Malformed)?;
        self.next += 1;

        let header = esp::Header { spi: self.spi.value(), sequence, iv: iv(time, sequence) };
        let datagram = &mut packet.bytes_mut()[outline.header_len..];
        let esp_at = form.front_len() - esp::HEADER_LEN;
        let (head, body) = datagram[esp_at..].split_at_mut(esp::HEADER_LEN);
        head.copy_from_slice(&header.emit());
        if let Some(fragment) = layout.fragment_header {
            body[..FragmentHeader::LEN].copy_from_slice(&fragment.emit());
        }
        let aad = AadBytes::new(form.aad, &header, outline.src, outline.dst);
        let nonce = header.nonce(self.salt);
        esp::seal(&self.cipher, &nonce, &aad, body, layout.payload_len, layout.next_header);
        match form.encap {
            Encap::Udp { port } => {
                let summed = !self.leaves_sums || outline.header_len > v6::HEADER_LEN;
                udp::emit(datagram, port, outline.src, outline.dst, summed);
            }
            Encap::Protocol(_) => {}
        }
        Ok(())
    }
}

impl<C: Cipher> Sender<C> {
    /// Seals all of `packet`, which [`inside`](crate::inside) has made a payload of that next header: what is left is ESP
    /// alone, for whatever carries it. `time` is the pseudo-time in milliseconds.
    ///
    /// # Errors
    ///
    /// See [`SealError`]. No sequence number is used up then, and the packet is as it was.
    pub fn seal_payload(
        &mut self,
        packet: &mut Packet<'_>,
        next_header: u8,
        time: u32,
    ) -> Result<(), SealError> {
        self.seal_alone(packet, packet.len(), next_header, time)
    }

    /// Makes `packet` a dummy packet (RFC 4303 section 2.6), whatever it was: it carries nothing, and shows whoever opens
    /// it that its sender has the key.
    ///
    /// # Errors
    ///
    /// As [`Self::seal_payload`].
    pub fn seal_dummy(&mut self, packet: &mut Packet<'_>, time: u32) -> Result<(), SealError> {
        self.seal_alone(packet, 0, protocol::NO_NEXT_HEADER, time)
    }

    /// Seals the first `len` bytes of `packet`, and leaves ESP alone.
    fn seal_alone(
        &mut self,
        packet: &mut Packet<'_>,
        len: usize,
        next_header: u8,
        time: u32,
    ) -> Result<(), SealError> {
        let sealed = esp::sealed_len(len);
        let room = packet.tail_room() + packet.len() - len;
        if sealed - len > room || esp::HEADER_LEN > packet.head_room() {
            return Err(SealError::NoRoom);
        }
        let sequence = self.next_sequence()?;
        packet.truncate(len);
        let grown =
            packet.push_back(sealed - len).and_then(|()| packet.push_front(esp::HEADER_LEN));
        grown.map_err(|NoRoom| SealError::NoRoom)?;
        self.next += 1;

        let header = esp::Header { spi: self.spi.value(), sequence, iv: iv(time, sequence) };
        let (head, body) = packet.bytes_mut().split_at_mut(esp::HEADER_LEN);
        head.copy_from_slice(&header.emit());
        let aad = AadBytes::without_addresses(&header);
        esp::seal(&self.cipher, &header.nonce(self.salt), &aad, body, len, next_header);
        Ok(())
    }

    fn next_sequence(&self) -> Result<u32, SealError> {
        match u32::try_from(self.next) {
            Ok(sequence) if self.next < self.limit => Ok(sequence),
            Ok(_) | Err(_) => Err(SealError::Exhausted),
        }
    }
}

impl<C> fmt::Debug for Sender<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sender = f.debug_struct("Sender");
        sender.field("spi", &self.spi).field("next", &self.next).field("limit", &self.limit);
        sender.finish_non_exhaustive()
    }
}

/// Pseudo-time ‖ sequence number.
fn iv(time: u32, sequence: u32) -> [u8; 8] {
    (u64::from(time) << 32 | u64::from(sequence)).to_be_bytes()
}

/// Where everything will lie: decided before the packet is touched.
struct Layout {
    /// What is sealed begins with this: IPv4 fragments only.
    fragment_header: Option<FragmentHeader>,
    next_header: u8,
    /// Length of what is sealed, without padding.
    payload_len: usize,
    /// What the packet grows by at its front.
    front: usize,
    /// Length of the sealed packet.
    total_len: u16,
}

impl Layout {
    fn plan(packet: &Packet<'_>, outline: &Outline, form: &Form) -> Result<Self, SealError> {
        let plain_len = outline.total_len.checked_sub(outline.header_len);
        let plain_len = plain_len.ok_or(SealError::Malformed)?;
        if !outline.describes(packet.bytes()) || unrestorable(outline) {
            return Err(SealError::Malformed);
        }
        let total_len = form.sealed_len(outline);
        let payload_len = plain_len + fragment_len(outline);
        let front = form.front_len() + fragment_len(outline);
        let back = total_len - front - outline.total_len;
        let spare = packet.len() - outline.total_len;
        if front > packet.head_room() || back > packet.tail_room() + spare {
            return Err(SealError::NoRoom);
        }
        let fragment = outline.fragment.filter(|_| outline.version == Version::V4);
        let fragment_header = fragment.map(|fragment| FragmentHeader {
            next_header: outline.next_header,
            offset: fragment.offset,
            more: fragment.more,
            id: fragment.id,
        });
        Ok(Self {
            fragment_header,
            next_header: fragment_header.map_or(outline.next_header, |_| protocol::FRAGMENT),
            payload_len,
            front,
            total_len: u16::try_from(total_len).map_err(|_| SealError::TooLong)?,
        })
    }

    /// Trims Ethernet padding, grows the packet at both ends and moves the IP header to the new
    /// front.
    fn make_room(&self, packet: &mut Packet<'_>, outline: &Outline) -> Result<(), NoRoom> {
        packet.truncate(outline.total_len);
        let back = usize::from(self.total_len) - self.front - outline.total_len;
        packet.push_back(back)?;
        packet.push_front(self.front)?;
        packet.bytes_mut().copy_within(self.front..self.front + outline.header_len, 0);
        Ok(())
    }

    fn write_ip_header(
        &self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        form: &Form,
    ) -> Result<(), Malformed> {
        let carrier = match form.encap {
            Encap::Protocol(number) => number,
            Encap::Udp { .. } => protocol::UDP,
        };
        let bytes = &mut packet.bytes_mut()[..outline.header_len];
        match outline.version {
            Version::V4 => {
                let mut header = v4::Header::new_checked(bytes)?;
                header.set_total_len(self.total_len);
                header.set_protocol(carrier);
                header.set_fragment(0, false);
                Ok(())
            }
            Version::V6 => {
                let mut header = v6::Header::new_checked(bytes)?;
                header.set_payload_len(self.total_len - v6::HEADER_LEN as u16);
                header.set_last_next_header(carrier)
            }
        }
    }
}

/// Inside ESP, next header 44 under IPv4 stands for a fragment, and hop-by-hop options never stand
/// there.
pub(crate) const fn unrestorable(outline: &Outline) -> bool {
    match outline.version {
        Version::V4 => outline.next_header == protocol::FRAGMENT,
        Version::V6 => outline.next_header == protocol::HOP_BY_HOP,
    }
}
