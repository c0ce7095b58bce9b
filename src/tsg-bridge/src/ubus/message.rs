//! ubus messages: eight bytes of header, and one attribute with what belongs to it.
//!
//! What is here is bounded by what was read; a message that is longer than [`LONGEST`] is known by its head alone.

use ::ubus::bounded::EnvSliceBuilder;
use ::ubus::envelope::{UbusAttr, iter_attrs, unwrap};
use ::ubus::wire::{HEADER_SIZE, Header, MAX_MSG_LEN, MsgType, PROTO_VERSION};
use ::ubus::{BufferError, UbusError};
use zeroize::Zeroizing;

/// What is read before the length of a message is known.
pub(super) const HEAD: usize = HEADER_SIZE + 4;

/// A longer message holds nothing for this object: the longest is a token to enrol with, or the names of some ports.
pub(super) const LONGEST: usize = 16 * 1024;

/// What is around the data of an answer or a notification.
const AROUND: usize = 128;

/// The first bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its type; `None` for one that is not known.
    pub(super) kind: Option<MsgType>,
    /// Echoed by whoever answers.
    pub(super) sequence: u16,
    /// Who asks, or who is answered; 0 is the broker itself.
    pub(super) peer: u32,
    /// Bytes of the attribute, its own head included.
    pub(super) length: usize,
}

/// A message as it came.
pub(super) struct Message {
    pub(super) head: Head,
    /// The attribute; `None` if it is too long.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
}

/// The attributes that are of use here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub(super) status: Option<i32>,
    pub(super) object: Option<u32>,
    pub(super) method: Option<&'a str>,
    pub(super) data: &'a [u8],
    pub(super) no_reply: bool,
}

impl Head {
    /// Reads the beginning of a message.
    ///
    /// # Errors
    /// This is not ubus.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Result<Self, UbusError> {
        let [version, kind, s0, s1, p0, p1, p2, p3, l0, l1, l2, l3] = *bytes;
        let length = (u32::from_be_bytes([l0, l1, l2, l3]) & 0x00ff_ffff) as usize;
        if version != PROTO_VERSION {
            return Err(UbusError::Malformed("another version of the protocol"));
        }
        if !(4..=MAX_MSG_LEN).contains(&length) {
            return Err(UbusError::Malformed("length of a message"));
        }
        Ok(Self {
            kind: MsgType::from_u8(kind).ok(),
            sequence: u16::from_be_bytes([s0, s1]),
            peer: u32::from_be_bytes([p0, p1, p2, p3]),
            length,
        })
    }
}

impl Message {
    /// What is in it.
    ///
    /// # Errors
    /// It is too long, or makes no sense.
    pub(super) fn fields(&self) -> Result<Fields<'_>, UbusError> {
        let Some(body) = &self.body else { return Err(UbusError::Malformed("too long")) };
        let mut fields = Fields::default();
        let mut attributes = iter_attrs(unwrap(body)?);
        while let Some(attribute) = attributes.try_next()? {
            match UbusAttr::from_u8(attribute.id) {
                Some(UbusAttr::Status) => fields.status = attribute.as_u32().map(|it| it as i32),
                Some(UbusAttr::ObjId) => fields.object = attribute.as_u32(),
                Some(UbusAttr::Method) => fields.method = attribute.as_str(),
                Some(UbusAttr::Data) => fields.data = attribute.payload,
                Some(UbusAttr::NoReply) => fields.no_reply = attribute.as_bool_int8(),
                Some(_) | None => {}
            }
        }
        Ok(fields)
    }
}

/// Asks the broker to take an object.
pub(super) fn add_object(
    sequence: u16,
    name: &str,
    signature: &[u8],
) -> Result<Vec<u8>, BufferError> {
    frame(MsgType::AddObject, sequence, 0, name.len() + signature.len(), |it| {
        it.push_str(UbusAttr::ObjPath, name)?;
        it.push_bytes_id(UbusAttr::Signature as u8, signature)
    })
}

/// The content of an answer, which [`status`] then ends.
pub(super) fn data(
    sequence: u16,
    peer: u32,
    object: u32,
    table: &[u8],
) -> Result<Vec<u8>, BufferError> {
    frame(MsgType::Data, sequence, peer, table.len(), |it| {
        it.push_u32(UbusAttr::ObjId, object)?;
        it.push_data(table)
    })
}

/// How a call ended.
pub(super) fn status(
    sequence: u16,
    peer: u32,
    object: u32,
    status: i32,
) -> Result<Vec<u8>, BufferError> {
    frame(MsgType::Status, sequence, peer, 0, |it| {
        it.push_u32(UbusAttr::ObjId, object)?;
        it.push_i32(UbusAttr::Status, status)
    })
}

/// What subscribers are told; no answer is wanted.
pub(super) fn notify(
    sequence: u16,
    object: u32,
    what: &str,
    table: &[u8],
) -> Result<Vec<u8>, BufferError> {
    frame(MsgType::Notify, sequence, object, what.len() + table.len(), |it| {
        it.push_u32(UbusAttr::ObjId, object)?;
        it.push_str(UbusAttr::Method, what)?;
        it.push_u8(UbusAttr::NoReply, 1)?;
        it.push_data(table)
    })
}

fn frame(
    kind: MsgType,
    sequence: u16,
    peer: u32,
    content: usize,
    write: impl FnOnce(&mut EnvSliceBuilder<'_>) -> Result<(), BufferError>,
) -> Result<Vec<u8>, BufferError> {
    let header = Header { version: PROTO_VERSION, ty: kind, seq: sequence, peer };
    let mut bytes = vec![0; HEADER_SIZE + content + AROUND];
    let (head, body) = bytes.split_at_mut(HEADER_SIZE);
    head.copy_from_slice(&header.encode());
    let mut builder = EnvSliceBuilder::new(body)?;
    write(&mut builder)?;
    let length = builder.finish().len();
    bytes.truncate(HEADER_SIZE + length);
    Ok(bytes)
}
