//! The packet of TSG: ESP (RFC 4303) behind the IP header that was there, sealed and opened in
//! place.
//!
//! No I/O, no clock, no randomness, no allocation, no `std`: bytes, time and ciphers come in as
//! arguments. The bytes on the wire are in docs/protocol.md.
//!
//! # Layers
//!
//! | module | what it is | source |
//! | --- | --- | --- |
//! | [`buffer`] | a packet in a caller's buffer, with room at both ends | |
//! | [`ip`] | headers, and the [`Outline`](ip::Outline) that a bounded walk finds | RFC 791, RFC 8200 |
//! | [`form`] | how a group's packets look, and how long they get | |
//! | [`spi`], [`crypto`] | sender and epoch; keys; the traits for ciphers and key derivation | |
//! | [`esp`] | the bytes of ESP, for any IV | RFC 4303, 4106, 7634 |
//! | [`seal`], [`open`] | the two directions | |
//! | [`inside`] | tunnel mode and transport mode: what lies in ESP that comes alone | RFC 4303 section 3.1 |
//! | [`replay`], [`freshness`] | was it there before, is it of now | RFC 6479, RFC 1982 |
//! | [`fragment`] | cutting what does not fit | RFC 8200 section 4.5 |
//! | [`segment`], [`join`] | cutting what was left to the network card, and the way back | |
//! | [`too_big`], [`mss`] | telling the sender instead | RFC 1191, RFC 4443, RFC 9293 |
//! | [`ecn`] | what a packet inside another goes on with | RFC 6040 |
//! | [`dummy`] | packets that bring nothing but their time | RFC 4303 section 2.6 |
//! | [`udp`], [`checksum`] | the smaller parts | RFC 3948, RFC 1624 |
//!
//! # Sealing
//!
//! 1. [`Outline::parse`](ip::Outline::parse). Malformed packets are dropped, and those with a
//!    source route.
//! 2. Ask the policy, which reads the outline; for an ICMP error, the outline of what it
//!    [quotes](ip::Outline::quoted).
//! 3. [`mss::clamp`] a TCP SYN to [`mss::max_mss`].
//! 4. If it [fits](form::Form::fits): [`Sender::seal`](seal::Sender::seal), also for a fragment. If
//!    not, either [`fragment::pieces`], and write and seal each; or [`too_big::answer`].
//!
//! # Opening
//!
//! In this order, so that cheap checks come first and nothing is kept for a packet that did not
//! authenticate:
//!
//! 1. shape: [`Outline::parse`](ip::Outline::parse), [`Header::parse`](open::Header::parse);
//! 2. epoch known: the caller looks up [`Spi::epoch_byte`](spi::Spi::epoch_byte), then the sender's
//!    window and receiver; it derives a key for an SPI that it has not heard yet;
//! 3. replay window, quick check: [`Window::check`](replay::Window::check);
//! 4. freshness: [`Freshness::check`](freshness::Freshness::check);
//! 5. authenticate and restore: [`Receiver::open`](open::Receiver::open), without holding a lock;
//! 6. [`Window::mark`](replay::Window::mark), which may still refuse: another thread may have
//!    opened a copy.
//!
//! Then the policy sees the restored packet's outline, which [`Opened`](open::Opened) has.
//!
//! # What is authenticated
//!
//! Everything behind the IP header, SPI, sequence number and IV; with
//! [`Aad::WithAddresses`](form::Aad::WithAddresses) both addresses too, and through the shape all
//! lengths and the version. Not authenticated, so to be taken for what the last one on the path
//! made of it: DSCP, ECN, TTL or hop limit, flow label, IPv4 identification, "don't fragment",
//! options and header checksum, the contents of hop-by-hop options, the UDP checksum. A restored
//! IPv4 fragment has its own identification, offset and "more fragments" from the sealed part.
//!
//! # Example
//!
//! ```
//! use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
//! use tsg_esp::form::Form;
//! use tsg_esp::freshness::Freshness;
//! use tsg_esp::ip::Outline;
//! use tsg_esp::open::{Header, Receiver};
//! use tsg_esp::replay::Window;
//! use tsg_esp::seal::Sender;
//! use tsg_esp::spi::Spi;
//! # use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
//! # use tsg_esp::crypto::{Cipher, Unauthentic};
//! # struct Chosen(ChaCha20Poly1305);
//! # impl Cipher for Chosen {
//! #     fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; 16] {
//! #         self.0.encrypt_in_place_detached(nonce.into(), aad, data).unwrap().into()
//! #     }
//! #     fn open(
//! #         &self,
//! #         nonce: &[u8; 12],
//! #         aad: &[u8],
//! #         data: &mut [u8],
//! #         icv: &[u8; 16],
//! #     ) -> Result<(), Unauthentic> {
//! #         let opened = self.0.decrypt_in_place_detached(nonce.into(), aad, data, icv.into());
//! #         opened.map_err(|_| Unauthentic)
//! #     }
//! # }
//! # let cipher = || Chosen(KeyInit::new(&[7; 32].into()));
//! # let salt = [1, 2, 3, 4];
//! // A UDP packet of 4 bytes from 192.0.2.1 to 192.0.2.2, in the middle of a buffer.
//! let plain = [
//!     0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 17, 0xb6, 0xc7, 192, 0, 2, 1, 192, 0, 2, 2,
//!     0x13, 0x88, 0x13, 0x89, 0, 12, 0, 0, b'v', b'3', b'=', b'1',
//! ];
//! let mut buffer = vec![0; HEAD_ROOM + plain.len() + TAIL_ROOM];
//! buffer[HEAD_ROOM..][..plain.len()].copy_from_slice(&plain);
//! let mut packet = Packet::new(&mut buffer, HEAD_ROOM..HEAD_ROOM + plain.len()).unwrap();
//!
//! // Gateway A: sender 17 in epoch 3, its numbers leased up to 2^20, at pseudo-time 5,000 ms.
//! let (form, spi) = (Form::TRANSPARENT, Spi::new(3, 17).unwrap());
//! let mut sender = Sender::new(spi, cipher(), salt, 1, 1 << 20);
//! let outline = Outline::parse(packet.bytes()).unwrap();
//! sender.seal(&mut packet, &outline, 5_000, &form).unwrap();
//! assert_eq!(packet.bytes()[9], 253);
//! assert_eq!(packet.len(), form.sealed_len(&outline));
//!
//! // Gateway B, 40 ms later by its clock.
//! let receiver = Receiver::new(spi, cipher(), salt);
//! let mut window = Window::new();
//! let freshness = Freshness { window_ms: 4_000, clock_error_ms: 250 };
//! let outline = Outline::parse(packet.bytes()).unwrap();
//! let header = Header::parse(packet.bytes(), &outline, &form).unwrap();
//! assert_eq!(header.spi, spi);
//! window.check(header.sequence).unwrap();
//! freshness.check(header.time, 5_040, None).unwrap();
//! let opened = receiver.open(&mut packet, &outline, &form).unwrap();
//! window.mark(opened.sequence).unwrap();
//! assert_eq!(packet.bytes(), plain);
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod buffer;
pub mod checksum;
pub mod crypto;
pub mod dummy;
pub mod ecn;
pub mod esp;
pub mod form;
pub mod fragment;
pub mod freshness;
pub mod inside;
pub mod ip;
pub mod join;
pub mod mss;
pub mod open;
pub mod replay;
pub mod seal;
pub mod segment;
pub mod spi;
pub mod too_big;
pub mod udp;

mod drop_reason;

pub use drop_reason::DropReason;
