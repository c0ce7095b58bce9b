//! Messages and files as bytes: MessagePack in an envelope with a version, packed without leaving copies of
//! keys behind. Not here: what is in them.

use super::reader::{Error, parse};
use super::{DecodeError, VERSION};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::Write;
use zeroize::Zeroizing;

#[derive(Serialize, Deserialize)]
pub(super) struct Envelope<B> {
    v: u16,
    pub(super) body: B,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u16,
}

/// Something in an envelope, as for a file. It is zeroed when it goes: it may carry keys.
pub fn encode<B: Serialize>(body: &B) -> Zeroizing<Vec<u8>> {
    pack(&Envelope { v: VERSION, body })
}

/// How long the frame of a message is.
pub fn encoded_len<B: Serialize>(body: &B) -> usize {
    packed_len(&Envelope { v: VERSION, body })
}

/// A value as MessagePack with field names. It is zeroed when it goes.
pub(crate) fn pack<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    // Growing would leave parts of a key in freed memory.
    let mut packed = Zeroizing::new(Vec::with_capacity(packed_len(value)));
    write(value, &mut *packed);
    packed
}

fn packed_len<T: Serialize>(value: &T) -> usize {
    let mut length = Length(0);
    write(value, &mut length);
    length.0
}

fn write<T: Serialize>(value: &T, to: &mut dyn Write) {
    let mut serializer = rmp_serde::Serializer::new(to).with_struct_map();
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "nothing here holds what MessagePack cannot");
}

/// Counts what is written to it.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads a frame of at most `limit` bytes.
///
/// # Errors
/// Too long, of another version, or not a message of this kind.
pub fn decode<B: DeserializeOwned>(frame: &[u8], limit: usize) -> Result<B, DecodeError> {
    if frame.len() > limit {
        return Err(DecodeError::TooLong(frame.len()));
    }
    let malformed =
        |error: Error| DecodeError::Malformed(error.to_string().chars().take(200).collect());
    let version = parse::<VersionOnly>(frame).map_err(malformed)?.v;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    parse::<Envelope<B>>(frame).map(|envelope| envelope.body).map_err(malformed)
}
