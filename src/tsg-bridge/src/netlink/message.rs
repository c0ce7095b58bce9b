//! One message: a header, a fixed part that depends on its type, and attributes.

const HEADER: usize = 16;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Says of an attribute that it holds attributes. Readers ignore it.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// A request under construction. Lengths are filled in by [`finish`](Self::finish).
#[derive(Debug)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of type `kind` whose fixed part is `fixed`.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut request = Self { bytes: Vec::with_capacity(256) };
        request.restart(kind, flags, fixed);
        request
    }

    /// Begins anew in the same memory.
    pub fn restart(&mut self, kind: u16, flags: u16, fixed: &[u8]) {
        self.bytes.clear();
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(fixed);
        self.align();
    }

    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.header(kind, value.len());
        self.bytes.extend(value);
        self.align();
        self
    }

    /// Adds an attribute that holds a string with its final zero.
    pub fn put_str(&mut self, kind: u16, value: &str) -> &mut Self {
        self.header(kind, value.len() + 1);
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.align();
        self
    }

    /// Adds an attribute that holds what `inner` adds.
    pub fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.header(kind | NESTED, 0);
        inner(self);
        let len = self.bytes.len() - start;
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self
    }

    /// Adds the header of an attribute whose `len` bytes are sent behind this message.
    pub fn put_header(&mut self, kind: u16, len: usize) -> &mut Self {
        self.header(kind, len);
        self
    }

    /// The message with sequence number `seq`; `behind` more bytes are sent after it as part of it.
    pub fn finish(&mut self, seq: u32, behind: usize) -> &[u8] {
        let len = u32::try_from(self.bytes.len() + behind).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&seq.to_ne_bytes());
        &self.bytes
    }

    fn header(&mut self, kind: u16, len: usize) {
        let len = u16::try_from(len + 4).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message as it came.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Sequence number of the request that it answers.
    pub seq: u32,
    /// Everything behind the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The error number of an error message, 0 for an acknowledgement; `None` for any other message.
    pub fn error(&self) -> Option<i32> {
        let code = self.body.first_chunk::<4>().and_then(|c| i32::from_ne_bytes(*c).checked_neg());
        (self.kind == NLMSG_ERROR).then(|| code.unwrap_or(libc::EBADMSG))
    }

    /// The last message of a dump.
    pub const fn is_done(&self) -> bool {
        self.kind == NLMSG_DONE
    }

    /// The attributes behind a fixed part of `fixed` bytes.
    pub fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(self.body.get(fixed.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// The messages in one datagram.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let len = usize::try_from(len).ok().filter(|len| (HEADER..=self.0.len()).contains(len))?;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            seq: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            body: &self.0[HEADER..len],
        };
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes as pairs of type and value; ends at the first that makes no sense.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = self.0.get(4..len)?;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The first attribute of type `kind`.
    pub fn find(mut self, kind: u16) -> Option<&'a [u8]> {
        self.by_ref().find(|&(seen, _)| seen == kind).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back() {
        let mut request = Request::new(77, 5, &[9, 8, 7]);
        request.put(1, &[1, 2, 3]).nest(2, |inner| {
            inner.put_str(3, "clsact");
        });
        let bytes = request.finish(42, 0).to_vec();
        let message = Messages(&bytes).next().unwrap();
        assert_eq!((message.kind, message.seq, message.error()), (77, 42, None));
        assert_eq!(&message.body[..3], [9, 8, 7]);
        let attributes: Vec<_> = message.attributes(3).collect();
        assert_eq!(attributes[0], (1, &[1, 2, 3][..]));
        assert_eq!(Attributes(attributes[1].1).find(3), Some(&b"clsact\0"[..]));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        for len in [0u32, 15, 17, u32::MAX] {
            let mut bytes = [0u8; 16];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(Messages(&bytes).next().is_none());
        }
        for len in [0u16, 3, 9, u16::MAX] {
            let mut bytes = [0u8; 8];
            bytes[..2].copy_from_slice(&len.to_ne_bytes());
            assert!(Attributes(&bytes).next().is_none());
        }
    }
}
