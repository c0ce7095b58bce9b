//! The client's end: a DEALER that connects to a ROUTER.

use core::{fmt, mem};

use tsg_sodium::{BOX_OVERHEAD, SharedKey, public_key, random};
use zeroize::Zeroizing;

use crate::Keys;
use crate::curve::{
    COOKIE, ERROR, HELLO, INITIATE, KEY, READY, Session, VOUCH, WELCOME, behind, long_nonce, nonce,
    refusal, socket_type,
};
use crate::error::Error;
use crate::stream::{COMMAND, Messages, PING, Said, Stream};

/// Properties of this end: a DEALER without a name of its own.
pub(crate) const METADATA: &[u8] = b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";

/// What the server has said.
pub enum Event {
    /// It is the server, and has let this client in. Comes once, before everything else.
    Open,
    /// A message.
    Message(Zeroizing<Vec<u8>>),
    /// A message of several frames, which is left out.
    SeveralFrames,
}

/// Not what is in a message: it may be a secret.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Message(message) => write!(f, "Message of {} bytes", message.len()),
            Self::SeveralFrames => f.write_str("SeveralFrames"),
        }
    }
}

/// One connection of a client, from greeting to end. After an [`Error`] it is over.
pub struct Client {
    stream: Stream,
    phase: Phase,
    most: usize,
}

enum Phase {
    /// The server's greeting is to come.
    Greeting(Transient),
    /// HELLO is said.
    Hello(Transient),
    /// INITIATE is said.
    Initiate(Session),
    Open(Messages),
    /// After an error.
    Over,
}

impl Client {
    /// Begins a connection to the server of `keys`, which may send messages of `most` bytes.
    ///
    /// # Errors
    ///
    /// The server's key is none that anybody has the other half of.
    pub fn begin(keys: &Keys<'_>, most: usize) -> Result<Self, Error> {
        let phase = Phase::Greeting(Transient::new(keys.server)?);
        Ok(Self { stream: Stream::new(false), phase, most })
    }

    /// Takes what was read. What it means is told by [`next`](Self::next), which is to be asked until it knows
    /// nothing more.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.stream.hear(bytes);
    }

    /// The next thing that was said, if it is there as a whole. `keys` are those of the beginning.
    ///
    /// # Errors
    ///
    /// The connection cannot go on.
    pub fn next(&mut self, keys: &Keys<'_>) -> Result<Option<Event>, Error> {
        let next = self.read_next(keys);
        if next.is_err() {
            self.phase = Phase::Over;
        }
        next
    }

    fn read_next(&mut self, keys: &Keys<'_>) -> Result<Option<Event>, Error> {
        loop {
            if let Phase::Open(messages) = &mut self.phase {
                return Ok(loop {
                    match messages.next(&mut self.stream)? {
                        None => break None,
                        Some(Said::Message(message)) => break Some(Event::Message(message)),
                        Some(Said::SeveralFrames) => break Some(Event::SeveralFrames),
                        // Commands are for other types of socket.
                        Some(Said::Command(_) | Said::Idle) => {}
                    }
                });
            }
            let is_more = if matches!(self.phase, Phase::Greeting(_)) {
                self.stream.greeting()?.then_some(Zeroizing::default())
            } else if matches!(self.phase, Phase::Over) {
                None
            } else {
                self.stream.command()?
            };
            let Some(mut command) = is_more else { return Ok(None) };
            if command.starts_with(ERROR) {
                return Err(refusal(&command).map_or(Error::Malformed("ERROR"), Error::Refused));
            }
            match mem::replace(&mut self.phase, Phase::Over) {
                Phase::Greeting(transient) => {
                    self.stream.put_command(&transient.hello());
                    self.phase = Phase::Hello(transient);
                }
                Phase::Hello(transient) => {
                    let welcome = transient.welcome(&mut command)?;
                    let (session, initiate) = transient.initiate(&welcome, keys)?;
                    self.stream.put_command(&initiate);
                    self.phase = Phase::Initiate(session);
                }
                Phase::Initiate(mut session) => {
                    ready(&mut session, &mut command)?;
                    self.phase = Phase::Open(Messages::new(session, self.most));
                    return Ok(Some(Event::Open));
                }
                Phase::Open(_) | Phase::Over => return Ok(None),
            }
        }
    }

    /// [`Event::Open`] was told.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Says a message, if the connection is open.
    pub fn say(&mut self, message: &[u8]) {
        if let Phase::Open(messages) = &mut self.phase {
            messages.put(0, [message, &[]], &mut self.stream);
        }
    }

    /// Asks for a sign of life, if the connection is open.
    pub fn ping(&mut self) {
        if let Phase::Open(messages) = &mut self.phase {
            messages.put(COMMAND, [PING, &[]], &mut self.stream);
        }
    }

    /// Says a frame with these flags, as libzmq or somebody hostile would.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn put(&mut self, flags: u8, bytes: &[u8]) {
        let Phase::Open(messages) = &mut self.phase else { return };
        messages.put(flags, [bytes, &[]], &mut self.stream);
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        self.stream.output()
    }

    /// So much of it was written.
    pub fn written(&mut self, count: usize) {
        self.stream.written(count);
    }
}

/// The key pair of one connection.
struct Transient {
    public: [u8; KEY],
    secret: Box<Zeroizing<[u8; KEY]>>,
    with_server: SharedKey,
}

/// What the server says to HELLO.
struct Welcome {
    server: [u8; KEY],
    cookie: [u8; COOKIE],
}

impl Transient {
    /// A new pair, for a connection to the server with this key.
    fn new(server: &[u8; KEY]) -> Result<Self, Error> {
        let mut secret = Box::new(Zeroizing::new([0; KEY]));
        random(secret.as_mut_slice());
        let with_server = SharedKey::agree(server, &secret)?;
        Ok(Self { public: public_key(&secret), secret, with_server })
    }

    /// The first command: who has the server's secret key can tell that it is for him.
    fn hello(&self) -> Vec<u8> {
        let mut hello = [HELLO, b"\x01\0"].concat();
        hello.resize(hello.len() + 72, 0);
        hello.extend(self.public);
        hello.extend(1_u64.to_be_bytes());
        let at = hello.len();
        hello.resize(at + BOX_OVERHEAD + 64, 0);
        self.with_server.seal(&nonce(b"CurveZMQHELLO---", 1), &mut hello[at..]);
        hello
    }

    fn welcome(&self, command: &mut [u8]) -> Result<Welcome, Error> {
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
    fn initiate(&self, welcome: &Welcome, keys: &Keys<'_>) -> Result<(Session, Vec<u8>), Error> {
        let mut vouch = [0; VOUCH];
        let (id, boxed) = vouch.split_at_mut(16);
        random(id);
        boxed[BOX_OVERHEAD..][..KEY].copy_from_slice(&self.public);
        boxed[BOX_OVERHEAD + KEY..].copy_from_slice(keys.server);
        SharedKey::agree(&welcome.server, keys.secret)?.seal(&long_nonce(b"VOUCH---", id), boxed);

        let key = SharedKey::agree(&welcome.server, &self.secret)?;
        let mut initiate = INITIATE.to_vec();
        initiate.extend(welcome.cookie);
        initiate.extend(2_u64.to_be_bytes());
        let at = initiate.len();
        initiate.extend([0; BOX_OVERHEAD]);
        initiate.extend(keys.public);
        initiate.extend(vouch);
        initiate.extend(METADATA);
        key.seal(&nonce(b"CurveZMQINITIATE", 2), &mut initiate[at..]);
        Ok((Session::of_client(key), initiate))
    }
}

/// The server's last word before messages: it has let this client in.
fn ready(session: &mut Session, command: &mut [u8]) -> Result<(), Error> {
    let boxed = behind(READY, command, "READY")?;
    let metadata = session.open(b"CurveZMQREADY---", boxed, "READY")?;
    match socket_type(metadata).ok_or(Error::Malformed("READY's properties"))? {
        b"ROUTER" => Ok(()),
        other => Err(Error::OtherSocket {
            is: String::from_utf8_lossy(other).into_owned(),
            wanted: "ROUTER",
        }),
    }
}
