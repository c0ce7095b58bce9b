//! CURVE: what its commands have in common, and the keys that close and open their boxes.

use tsg_sodium::{BOX_OVERHEAD, SharedKey};

use crate::error::Error;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;

/// What the server gives to get back with the next command.
pub(crate) const COOKIE: usize = 96;

/// The client's proof that a connection is its own: a nonce, and a box with two keys.
pub(crate) const VOUCH: usize = 16 + BOX_OVERHEAD + 2 * KEY;

const SOCKET_TYPE: &[u8] = b"Socket-Type";

pub(crate) const HELLO: &[u8] = b"\x05HELLO";
pub(crate) const WELCOME: &[u8] = b"\x07WELCOME";
pub(crate) const INITIATE: &[u8] = b"\x08INITIATE";
pub(crate) const READY: &[u8] = b"\x05READY";
pub(crate) const ERROR: &[u8] = b"\x05ERROR";
pub(crate) const MESSAGE: &[u8] = b"\x07MESSAGE";

/// In front of the number of a MESSAGE, in its nonce: by whom it is.
const BY_CLIENT: &[u8; 16] = b"CurveZMQMESSAGEC";
const BY_SERVER: &[u8; 16] = b"CurveZMQMESSAGES";

/// Who is on this end of a connection, and which server is on one of both.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The server's public key.
    pub server: &'a [u8; KEY],
    /// This end's own, which is the same on the server's.
    pub public: &'a [u8; KEY],
    /// Its secret half.
    pub secret: &'a [u8; KEY],
}

/// What is closed and opened once both ends are known.
pub(crate) struct Session {
    key: SharedKey,
    /// In the nonces of what this end says, and of what it hears.
    prefixes: [&'static [u8; 16]; 2],
    /// That of what is said next. It never comes twice.
    next: u64,
    /// That of what was heard last.
    heard: u64,
}

impl Session {
    /// The client's, after INITIATE.
    pub(crate) const fn of_client(key: SharedKey) -> Self {
        Self { key, prefixes: [BY_CLIENT, BY_SERVER], next: 3, heard: 0 }
    }

    /// The server's, after WELCOME.
    pub(crate) const fn of_server(key: SharedKey, heard: u64) -> Self {
        Self { key, prefixes: [BY_SERVER, BY_CLIENT], next: 1, heard }
    }

    /// Appends a MESSAGE to `out`: flags and bytes.
    pub(crate) fn seal_message(&mut self, flags: u8, parts: [&[u8]; 2], out: &mut Vec<u8>) {
        out.extend(MESSAGE);
        let at = self.begin(out);
        out.push(flags);
        parts.iter().for_each(|part| out.extend(*part));
        self.close(self.prefixes[0], &mut out[at..]);
    }

    /// A command with a box for the rest.
    pub(crate) fn seal_command(&mut self, name: &[u8], prefix: &[u8; 16], plain: &[u8]) -> Vec<u8> {
        let mut command = name.to_vec();
        let at = self.begin(&mut command);
        command.extend(plain);
        self.close(prefix, &mut command[at..]);
        command
    }

    /// Puts the number there, and room for the authenticator. Gives where the box begins.
    fn begin(&self, out: &mut Vec<u8>) -> usize {
        out.extend(self.next.to_be_bytes());
        let at = out.len();
        out.extend([0; BOX_OVERHEAD]);
        at
    }

    fn close(&mut self, prefix: &[u8; 16], boxed: &mut [u8]) {
        self.key.seal(&nonce(prefix, self.next), boxed);
        self.next += 1;
    }

    /// What is in a MESSAGE, opened where it lies: flags and bytes.
    pub(crate) fn open_message<'a>(
        &mut self,
        frame: &'a mut [u8],
    ) -> Result<(u8, &'a mut [u8]), Error> {
        let boxed = behind(MESSAGE, frame, "MESSAGE")?;
        let opened = self.open(self.prefixes[1], boxed, "MESSAGE")?;
        let (flags, bytes) = opened.split_first_mut().ok_or(Error::Malformed("MESSAGE"))?;
        Ok((*flags, bytes))
    }

    pub(crate) fn open<'a>(
        &mut self,
        prefix: &[u8; 16],
        body: &'a mut [u8],
        what: &'static str,
    ) -> Result<&'a mut [u8], Error> {
        let (number, boxed) = body.split_first_chunk_mut::<8>().ok_or(Error::Malformed(what))?;
        let number = u64::from_be_bytes(*number);
        if number <= self.heard {
            return Err(Error::Repeated);
        }
        let opened =
            self.key.open(&nonce(prefix, number), boxed).map_err(|_| Error::Unauthentic(what))?;
        self.heard = number;
        Ok(opened)
    }
}

/// The reason of an ERROR, which anybody on the path may have said.
pub(crate) fn refusal(command: &[u8]) -> Option<String> {
    let (&length, reason) = command.strip_prefix(ERROR)?.split_first()?;
    let reason =
        reason.get(..usize::from(length)).filter(|_| reason.len() == usize::from(length))?;
    Some(String::from_utf8_lossy(reason).into_owned())
}

/// The value of that property, empty if there is none, if all are well-formed.
pub(crate) fn socket_type(mut metadata: &[u8]) -> Option<&[u8]> {
    let mut found: Option<&[u8]> = Some(b"");
    while let Some((&length, rest)) = metadata.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(length))?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) =
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        if name.eq_ignore_ascii_case(SOCKET_TYPE) {
            found = Some(value);
        }
        metadata = rest;
    }
    found
}

/// What stands behind the name of a command.
pub(crate) fn behind<'a>(
    name: &[u8],
    command: &'a mut [u8],
    what: &'static str,
) -> Result<&'a mut [u8], Error> {
    if command.starts_with(name) {
        Ok(&mut command[name.len()..])
    } else {
        Err(Error::Malformed(what))
    }
}

/// A nonce that counts.
pub(crate) fn nonce(prefix: &[u8; 16], number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(prefix);
    nonce[16..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// A random one.
pub(crate) fn long_nonce(prefix: &[u8; 8], id: &[u8]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(prefix);
    nonce[8..].copy_from_slice(id);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::METADATA;

    #[test]
    fn properties_are_read_or_refused() {
        assert_eq!(socket_type(METADATA), Some(&b"DEALER"[..]));
        assert_eq!(socket_type(b""), Some(&b""[..]));
        assert_eq!(socket_type(b"\x01x\0\0\0\x01y\x0bsOCKET-tYPE\0\0\0\x03PUB"), Some(&b"PUB"[..]));
        for cut in 1..METADATA.len() {
            // Between two properties it is whole.
            assert_eq!(socket_type(&METADATA[..cut]).is_some(), cut == 22, "{cut} bytes");
        }
        assert_eq!(socket_type(b"\x01x\xff\xff\xff\xffy"), None);
    }

    #[test]
    fn reasons_are_read_or_refused() {
        assert_eq!(refusal(b"\x05ERROR\x03400").as_deref(), Some("400"));
        assert_eq!(refusal(b"\x05ERROR\0").as_deref(), Some(""));
        for wrong in [&b"\x05ERROR"[..], b"\x05ERROR\x04400", b"\x05ERROR\x02400", b"\x05READY"] {
            assert_eq!(refusal(wrong), None, "{wrong:?}");
        }
    }
}
