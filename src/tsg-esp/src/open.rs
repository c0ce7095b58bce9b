//! Opening: a sealed packet becomes the original one in the buffer where it lies
//! (docs/protocol.md).
//!
//! [`Header::parse`] shows what is needed to find the key and to check window and freshness;
//! [`Receiver::open`] authenticates and restores. Not for: the order of the checks, which the
//! caller drives (see the crate's front page).

use core::fmt;

use crate::DropReason;
use crate::buffer::Packet;
use crate::crypto::Cipher;
use crate::esp::{self, AadBytes, Inside};
use crate::form::{Encap, Form};
use crate::ip::v6::FragmentHeader;
use crate::ip::{Malformed, Outline, Version, protocol, v4, v6};
use crate::seal::unrestorable;
use crate::spi::Spi;
use crate::udp;

/// What a sealed packet says in clear. Nothing of it is authentic yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sealed it, in which epoch.
    pub spi: Spi,
    /// Sequence number.
    pub sequence: u32,
    /// Pseudo-time in milliseconds.
    pub time: u32,
}

impl Header {
    /// Checks the shape of a sealed packet and reads its header.
    ///
    /// # Errors
    ///
    /// [`DropReason::SealedFragment`]; [`DropReason::Malformed`] if the packet is not sealed in
    /// this form, too short or not aligned, or numbers 0.
    pub fn parse(packet: &[u8], outline: &Outline, form: &Form) -> Result<Self, DropReason> {
        if !form.is_sealed(outline) || !outline.describes(packet) {
            return Err(DropReason::Malformed);
        }
        if outline.fragment.is_some() {
            return Err(DropReason::SealedFragment);
        }
        let carried = packet.get(outline.header_len..outline.total_len);
        let carried = carried.ok_or(DropReason::Malformed)?;
        let esp = match form.encap {
            Encap::Protocol(_) => carried,
            Encap::Udp { .. } => {
                udp::payload(carried).map_err(|Malformed| DropReason::Malformed)?
            }
        };
        Self::of_esp(esp)
    }

    /// Reads the header of ESP that comes without an IP header.
    ///
    /// # Errors
    ///
    /// [`DropReason::Malformed`] if it is too short or not aligned, or numbers 0.
    pub fn of_esp(esp: &[u8]) -> Result<Self, DropReason> {
        let header = esp::Header::parse(esp).map_err(|Malformed| DropReason::Malformed)?;
        let spi = Spi::from_wire(header.spi).ok_or(DropReason::Malformed)?;
        if header.sequence == 0 {
            return Err(DropReason::Malformed);
        }
        let [t0, t1, t2, t3, ..] = header.iv;
        Ok(Self { spi, sequence: header.sequence, time: u32::from_be_bytes([t0, t1, t2, t3]) })
    }
}

/// What was opened. All of it is authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Sequence number, for [`Window::mark`](crate::replay::Window::mark).
    pub sequence: u32,
    /// Pseudo-time in milliseconds.
    pub time: u32,
    /// What ESP carried; 44 for a fragment.
    pub next_header: u8,
    /// The outline of the restored packet, for the policy.
    pub outline: Outline,
}

/// What was opened of ESP alone. All of it is authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedPayload {
    /// Sequence number, for [`Window::mark`](crate::replay::Window::mark).
    pub sequence: u32,
    /// Pseudo-time in milliseconds.
    pub time: u32,
    /// What the payload is; `None` for a dummy packet, which has none.
    pub next_header: Option<u8>,
}

/// One sender's security association, for opening. Immutable: threads share it.
pub struct Receiver<C> {
    spi: Spi,
    cipher: C,
    salt: [u8; 4],
}

impl<C: Cipher> Receiver<C> {
    /// A receiver for the packets of `spi`; `cipher` and `salt` come from its
    /// [`SenderKey`](crate::crypto::SenderKey).
    pub fn new(spi: Spi, cipher: C, salt: [u8; 4]) -> Self {
        Self { spi, cipher, salt }
    }

    /// The SPI of its packets.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// Its cipher and salt, to be given their key where they stay: what moves leaves copies.
    pub fn key_mut(&mut self) -> (&mut C, &mut [u8; 4]) {
        (&mut self.cipher, &mut self.salt)
    }

    /// Authenticates `packet` and restores the original packet, which may be a fragment. `outline`
    /// is the sealed packet's own; the restored one's is in [`Opened`].
    ///
    /// # Errors
    ///
    /// Those of [`Header::parse`]; [`DropReason::UnknownSender`] if the SPI is not this receiver's;
    /// [`DropReason::Unauthentic`]; [`DropReason::WrongPadding`]; [`DropReason::BadInner`]. The
    /// packet must be dropped: its content is lost.
    pub fn open(
        &self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        form: &Form,
    ) -> Result<Opened, DropReason> {
        let Header { spi, sequence, time } = Header::parse(packet.bytes(), outline, form)?;
        if spi != self.spi {
            return Err(DropReason::UnknownSender);
        }
        packet.truncate(outline.total_len);
        let esp_at = outline.header_len + form.front_len() - esp::HEADER_LEN;
        let inside = self.authenticate(&mut packet.bytes_mut()[esp_at..], outline, form)?;
        let restored = restore(packet, outline, form, inside);
        let outline = restored.map_err(|Malformed| DropReason::BadInner)?;
        Ok(Opened { sequence, time, next_header: inside.next_header, outline })
    }

    fn authenticate(
        &self,
        esp: &mut [u8],
        outline: &Outline,
        form: &Form,
    ) -> Result<Inside, DropReason> {
        let header = esp::Header::parse(esp).map_err(|Malformed| DropReason::Malformed)?;
        let aad = AadBytes::new(form.aad, &header, outline.src, outline.dst);
        let nonce = header.nonce(self.salt);
        esp::open(&self.cipher, &nonce, &aad, &mut esp[esp::HEADER_LEN..])
    }
}

impl<C: Cipher> Receiver<C> {
    /// Authenticates `packet`, which is ESP alone, and leaves its payload, of which [`inside`](crate::inside) makes a
    /// packet.
    ///
    /// # Errors
    ///
    /// [`DropReason::Malformed`]; [`DropReason::UnknownSender`] if the SPI is not this receiver's;
    /// [`DropReason::Unauthentic`]; [`DropReason::WrongPadding`]. The packet must be dropped: its content is lost.
    pub fn open_payload(&self, packet: &mut Packet<'_>) -> Result<OpenedPayload, DropReason> {
        let Header { spi, sequence, time } = Header::of_esp(packet.bytes())?;
        if spi != self.spi {
            return Err(DropReason::UnknownSender);
        }
        let header =
            esp::Header::parse(packet.bytes()).map_err(|Malformed| DropReason::Malformed)?;
        let aad = AadBytes::without_addresses(&header);
        let body = &mut packet.bytes_mut()[esp::HEADER_LEN..];
        let inside = esp::open(&self.cipher, &header.nonce(self.salt), &aad, body)?;
        packet.pull_front(esp::HEADER_LEN).map_err(|_| DropReason::Malformed)?;
        packet.truncate(inside.payload_len);
        let next_header = Some(inside.next_header).filter(|&it| it != protocol::NO_NEXT_HEADER);
        Ok(OpenedPayload { sequence, time, next_header })
    }
}

impl<C> fmt::Debug for Receiver<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("spi", &self.spi).finish_non_exhaustive()
    }
}

/// Takes off what sealing put on, and gives the IP header its fields back.
fn restore(
    packet: &mut Packet<'_>,
    outline: &Outline,
    form: &Form,
    inside: Inside,
) -> Result<Outline, Malformed> {
    let header_len = outline.header_len;
    let mut front = form.front_len();
    let payload_at = header_len + front;
    let mut next_header = inside.next_header;
    let mut fragment = None;
    if outline.version == Version::V4 && next_header == protocol::FRAGMENT {
        let payload = &packet.bytes()[payload_at..payload_at + inside.payload_len];
        let header = FragmentHeader::parse(payload)?;
        next_header = header.next_header;
        front += FragmentHeader::LEN;
        fragment = Some(header);
    }
    let total_len = payload_at + inside.payload_len - front;
    let bytes = packet.bytes_mut();
    bytes.copy_within(..header_len, front);
    packet.pull_front(front).map_err(|_| Malformed)?;
    packet.truncate(total_len);
    let wire_len = u16::try_from(total_len).map_err(|_| Malformed)?;
    let bytes = &mut packet.bytes_mut()[..header_len];
    match outline.version {
        Version::V4 => {
            let mut header = v4::Header::new_checked(bytes)?;
            header.set_total_len(wire_len);
            header.set_protocol(next_header);
            if let Some(fragment) = fragment {
                header.set_id(fragment.id as u16);
                header.set_fragment(fragment.offset, fragment.more);
            }
        }
        Version::V6 => {
            let mut header = v6::Header::new_checked(bytes)?;
            header.set_payload_len(wire_len - v6::HEADER_LEN as u16);
            header.set_last_next_header(next_header)?;
        }
    }
    check_inner(packet, outline)
}

/// What was restored must be a packet that [`Sender::seal`](crate::seal::Sender::seal) takes, with
/// the same header.
fn check_inner(packet: &Packet<'_>, sealed: &Outline) -> Result<Outline, Malformed> {
    let restored = Outline::parse(packet.bytes())?;
    let is_whole = restored.total_len == packet.len();
    if !is_whole || restored.header_len != sealed.header_len || unrestorable(&restored) {
        return Err(Malformed);
    }
    Ok(restored)
}
