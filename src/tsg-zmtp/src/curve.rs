//! CURVE: what each of its commands holds, and the keys that close and open its boxes.

use tsg_sodium::{BOX_OVERHEAD, SharedKey, public_key, random};
use zeroize::Zeroizing;

use crate::error::Error;

/// Bytes of a key.
const KEY: usize = 32;

/// What the server gives to get back with the next command.
const COOKIE: usize = 96;

/// Properties of this end: a DEALER without a name of its own.
const METADATA: &[u8] = b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";

const SOCKET_TYPE: &[u8] = b"Socket-Type";

pub(crate) const WELCOME: &[u8] = b"\x07WELCOME";
pub(crate) const READY: &[u8] = b"\x05READY";
pub(crate) const ERROR: &[u8] = b"\x05ERROR";
pub(crate) const MESSAGE: &[u8] = b"\x07MESSAGE";

/// Who connects, and to whom.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// The server's public key.
    pub server: &'a [u8; KEY],
    /// This client's own.
    pub public: &'a [u8; KEY],
    /// Its secret half.
    pub secret: &'a [u8; KEY],
}

/// The key pair of one connection.
pub(crate) struct Transient {
    public: [u8; KEY],
    secret: Box<Zeroizing<[u8; KEY]>>,
    with_server: SharedKey,
}

/// What is closed and opened once both ends are known.
pub(crate) struct Session {
    key: SharedKey,
    /// That of what is said next. It never comes twice.
    next: u64,
    /// That of what was heard last.
    heard: u64,
}

/// What the server says to HELLO.
pub(crate) struct Welcome {
    server: [u8; KEY],
    cookie: [u8; COOKIE],
}

impl Transient {
    /// A new pair, for a connection to the server with this key.
    pub(crate) fn new(server: &[u8; KEY]) -> Result<Self, Error> {
        let mut secret = Box::new(Zeroizing::new([0; KEY]));
        random(secret.as_mut_slice());
        let with_server = SharedKey::agree(server, &secret)
            .map_err(|_| Error::Unauthentic("a key that nobody has the other half of"))?;
        Ok(Self { public: public_key(&secret), secret, with_server })
    }

    /// The first command: who has the server's secret key can tell that it is for him.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut hello = b"\x05HELLO\x01\0".to_vec();
        hello.resize(hello.len() + 72, 0);
        hello.extend(self.public);
        hello.extend(1_u64.to_be_bytes());
        let at = hello.len();
        hello.resize(at + BOX_OVERHEAD + 64, 0);
        self.with_server.seal(&nonce(b"CurveZMQHELLO---", 1), &mut hello[at..]);
        hello
    }

    pub(crate) fn welcome(&self, command: &mut [u8]) -> Result<Welcome, Error> {
        let body = behind(WELCOME, command, "WELCOME")?;
        let whole = body.len() == 16 + BOX_OVERHEAD + KEY + COOKIE;
        let (id, boxed) = body
            .split_first_chunk_mut::<16>()
            .filter(|_| whole)
            .ok_or(Error::Malformed("WELCOME"))?;
        let opened = self
            .with_server
            .open(&long_nonce(b"WELCOME-", id), boxed)
            .map_err(|_| Error::Unauthentic("WELCOME"))?;
        match (opened.first_chunk(), opened.last_chunk()) {
            (Some(server), Some(cookie)) => Ok(Welcome { server: *server, cookie: *cookie }),
            (_, None) | (None, _) => Err(Error::Malformed("WELCOME")),
        }
    }

    /// The second command: the client's own key, and a proof that this connection is of him who has its other half.
    pub(crate) fn initiate(
        &self,
        welcome: &Welcome,
        keys: &Keys<'_>,
    ) -> Result<(Session, Vec<u8>), Error> {
        let weak = |_| Error::Unauthentic("a key that nobody has the other half of");
        let mut vouch = [0; 16 + BOX_OVERHEAD + 2 * KEY];
        let (id, boxed) = vouch.split_at_mut(16);
        random(id);
        boxed[BOX_OVERHEAD..][..KEY].copy_from_slice(&self.public);
        boxed[BOX_OVERHEAD + KEY..].copy_from_slice(keys.server);
        SharedKey::agree(&welcome.server, keys.secret)
            .map_err(weak)?
            .seal(&long_nonce(b"VOUCH---", id), boxed);

        let key = SharedKey::agree(&welcome.server, &self.secret).map_err(weak)?;
        let mut initiate = b"\x08INITIATE".to_vec();
        initiate.extend(welcome.cookie);
        initiate.extend(2_u64.to_be_bytes());
        let at = initiate.len();
        initiate.extend([0; BOX_OVERHEAD]);
        initiate.extend(keys.public);
        initiate.extend(vouch);
        initiate.extend(METADATA);
        key.seal(&nonce(b"CurveZMQINITIATE", 2), &mut initiate[at..]);
        Ok((Session { key, next: 3, heard: 0 }, initiate))
    }
}

impl Session {
    /// The server's last word before messages: it has let this client in.
    pub(crate) fn ready(&mut self, command: &mut [u8]) -> Result<(), Error> {
        let boxed = behind(READY, command, "READY")?;
        let metadata = self.open(b"CurveZMQREADY---", boxed, "READY")?;
        match socket_type(metadata) {
            None => Err(Error::Malformed("READY's properties")),
            Some(b"ROUTER") => Ok(()),
            Some(other) => Err(Error::NoRouter(String::from_utf8_lossy(other).into_owned())),
        }
    }

    /// Appends a MESSAGE to `out`: flags and bytes.
    pub(crate) fn seal_message(&mut self, flags: u8, parts: [&[u8]; 2], out: &mut Vec<u8>) {
        out.extend(MESSAGE);
        out.extend(self.next.to_be_bytes());
        let at = out.len();
        out.extend([0; BOX_OVERHEAD]);
        out.push(flags);
        parts.iter().for_each(|part| out.extend(*part));
        self.key.seal(&nonce(b"CurveZMQMESSAGEC", self.next), &mut out[at..]);
        self.next += 1;
    }

    /// What is in a MESSAGE, opened where it lies: flags and bytes.
    pub(crate) fn open_message<'a>(
        &mut self,
        frame: &'a mut [u8],
    ) -> Result<(u8, &'a mut [u8]), Error> {
        let boxed = behind(MESSAGE, frame, "MESSAGE")?;
        let opened = self.open(b"CurveZMQMESSAGES", boxed, "MESSAGE")?;
        let (flags, bytes) = opened.split_first_mut().ok_or(Error::Malformed("MESSAGE"))?;
        Ok((*flags, bytes))
    }

    fn open<'a>(
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

/// The value of that property, if all are well-formed.
fn socket_type(mut metadata: &[u8]) -> Option<&[u8]> {
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
fn behind<'a>(
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
