//! The server's end: a ROUTER or a PUB that somebody has connected to.

use core::{fmt, mem};

use tsg_sodium::{BOX_OVERHEAD, SharedKey, public_key, random};
use zeroize::Zeroizing;

use crate::Keys;
use crate::curve::{
    COOKIE, HELLO, INITIATE, KEY, READY, Session, VOUCH, WELCOME, behind, long_nonce, nonce,
    socket_type,
};
use crate::error::Error;
use crate::stream::{MORE, Messages, Said, Stream};

/// What a server's socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It talks with each DEALER.
    Router,
    /// It publishes to each SUB.
    Pub,
}

/// What the client has said.
pub enum Event {
    /// It has shown that it has the secret half of this key, and asks to be let in. Comes once, before everything
    /// else; nothing more comes before [`Server::admit`].
    Asks([u8; KEY]),
    /// A message.
    Message(Zeroizing<Vec<u8>>),
    /// A message of several frames, which is left out.
    SeveralFrames,
    /// A PING, or a further frame of a message that is left out: to be counted, as it costs time, and nothing else.
    Idle,
    /// To a PUB: what is published under a name that begins like this is wanted.
    Subscribe(Vec<u8>),
    /// It is not wanted any more.
    Cancel(Vec<u8>),
}

/// Not what is in a message: it may be a secret.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asks(_) => f.write_str("Asks"),
            Self::Message(message) => write!(f, "Message of {} bytes", message.len()),
            Self::SeveralFrames => f.write_str("SeveralFrames"),
            Self::Idle => f.write_str("Idle"),
            Self::Subscribe(name) => write!(f, "Subscribe to {name:?}"),
            Self::Cancel(name) => write!(f, "Cancel {name:?}"),
        }
    }
}

/// One connection of a server, from greeting to end. After an [`Error`] it is over.
pub struct Server {
    stream: Stream,
    phase: Phase,
    socket: Socket,
    most: usize,
}

enum Phase {
    /// The client's greeting is to come.
    Greeting,
    /// HELLO is to come.
    Hello,
    /// WELCOME is said.
    Welcome(Box<Welcomed>),
    /// INITIATE was right: the client waits to be let in.
    Asked(Session),
    Open(Messages),
    /// After an error.
    Over,
}

/// What is known between WELCOME and INITIATE.
struct Welcomed {
    /// The client's key of this connection.
    client: [u8; KEY],
    /// The secret half of the server's.
    secret: Zeroizing<[u8; KEY]>,
    /// Is to come back.
    cookie: [u8; COOKIE],
    /// The number of HELLO.
    heard: u64,
}

impl Server {
    /// Begins with a connection that was accepted for this socket, whose client may send messages of `most` bytes.
    pub fn begin(socket: Socket, most: usize) -> Self {
        Self { stream: Stream::new(true), phase: Phase::Greeting, socket, most }
    }

    /// Takes what was read. What it means is told by [`next`](Self::next), which is to be asked until it knows
    /// nothing more.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.stream.hear(bytes);
    }

    /// The next thing that was said, if it is there as a whole. `keys` are the server's.
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
            match &mut self.phase {
                Phase::Greeting if self.stream.greeting()? => self.phase = Phase::Hello,
                Phase::Greeting | Phase::Asked(_) | Phase::Over => return Ok(None),
                Phase::Hello => {
                    let Some(mut command) = self.stream.command()? else { return Ok(None) };
                    let (welcomed, welcome) = hello(&mut command, keys)?;
                    self.stream.put_command(&welcome);
                    self.phase = Phase::Welcome(Box::new(welcomed));
                }
                Phase::Welcome(welcomed) => {
                    let Some(mut command) = self.stream.command()? else { return Ok(None) };
                    let (session, client) = welcomed.initiate(&mut command, keys, self.socket)?;
                    self.phase = Phase::Asked(session);
                    return Ok(Some(Event::Asks(client)));
                }
                Phase::Open(messages) => {
                    let said = messages.next(&mut self.stream)?;
                    return said.map_or(Ok(None), |said| self.understand(said).map(Some));
                }
            }
        }
    }

    fn understand(&self, said: Said) -> Result<Event, Error> {
        // Version 3.1 of the protocol has commands for it, 3.0 has messages that begin with a one or a zero.
        match (self.socket, said) {
            (Socket::Router, Said::Message(message)) => Ok(Event::Message(message)),
            (Socket::Router, Said::SeveralFrames) => Ok(Event::SeveralFrames),
            (Socket::Router | Socket::Pub, Said::Idle) => Ok(Event::Idle),
            (Socket::Pub, Said::Command(said)) => match said.as_slice() {
                [b'\x09', b'S', b'U', b'B', b'S', b'C', b'R', b'I', b'B', b'E', name @ ..] => {
                    Ok(Event::Subscribe(name.to_vec()))
                }
                [b'\x06', b'C', b'A', b'N', b'C', b'E', b'L', name @ ..] => {
                    Ok(Event::Cancel(name.to_vec()))
                }
                _ => Err(Error::Malformed("command")),
            },
            (Socket::Pub, Said::Message(said)) => match said.as_slice() {
                [1, name @ ..] => Ok(Event::Subscribe(name.to_vec())),
                [0, name @ ..] => Ok(Event::Cancel(name.to_vec())),
                _ => Err(Error::Malformed("subscription")),
            },
            (Socket::Router, Said::Command(_)) | (Socket::Pub, Said::SeveralFrames) => {
                Err(Error::Malformed("command"))
            }
        }
    }

    /// Lets the client in that has asked.
    pub fn admit(&mut self) {
        if !matches!(self.phase, Phase::Asked(_)) {
            return;
        }
        if let Phase::Asked(mut session) = mem::replace(&mut self.phase, Phase::Over) {
            let metadata = self.socket.metadata();
            let ready = session.seal_command(READY, b"CurveZMQREADY---", metadata);
            self.stream.put_command(&ready);
            self.phase = Phase::Open(Messages::new(session, self.most));
        }
    }

    /// The client was let in.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// From now on messages of `most` bytes are taken.
    pub const fn limit(&mut self, most: usize) {
        self.most = most;
        if let Phase::Open(messages) = &mut self.phase {
            messages.most = most;
        }
    }

    /// Says a message of one or more frames, if the client was let in.
    pub fn say(&mut self, frames: &[&[u8]]) {
        let Phase::Open(messages) = &mut self.phase else { return };
        for (at, frame) in frames.iter().enumerate() {
            let flags = if at + 1 < frames.len() { MORE } else { 0 };
            messages.put(flags, [frame, &[]], &mut self.stream);
        }
    }

    /// For who tests how a PUB reads what a client of a ROUTER has said.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn serve(&mut self, socket: Socket) {
        self.socket = socket;
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

impl Socket {
    const fn metadata(self) -> &'static [u8] {
        match self {
            Self::Router => b"\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0",
            Self::Pub => b"\x0bSocket-Type\0\0\0\x03PUB",
        }
    }

    const fn partner(self) -> &'static str {
        match self {
            Self::Router => "DEALER",
            Self::Pub => "SUB",
        }
    }
}

/// The client's first command: what is known then, and the answer.
fn hello(command: &mut [u8], keys: &Keys<'_>) -> Result<(Welcomed, Vec<u8>), Error> {
    let malformed = || Error::Malformed("HELLO");
    let body = behind(HELLO, command, "HELLO")?;
    let (version, rest) = body.split_first_chunk_mut::<2>().ok_or_else(malformed)?;
    let (_, rest) = rest.split_at_mut_checked(72).ok_or_else(malformed)?;
    let (&mut client, rest) = rest.split_first_chunk_mut::<KEY>().ok_or_else(malformed)?;
    let (number, boxed) = rest.split_first_chunk_mut::<8>().ok_or_else(malformed)?;
    if version[0] != 1 || boxed.len() != BOX_OVERHEAD + 64 {
        return Err(malformed());
    }
    let heard = u64::from_be_bytes(*number);
    let with_client = SharedKey::agree(&client, keys.secret)?;
    with_client
        .open(&nonce(b"CurveZMQHELLO---", heard), boxed)
        .map_err(|_| Error::Unauthentic("HELLO"))?;

    let mut welcomed =
        Welcomed { client, secret: Zeroizing::default(), cookie: [0; COOKIE], heard };
    random(welcomed.secret.as_mut_slice());
    random(&mut welcomed.cookie);
    let mut id = [0; 16];
    random(&mut id);
    let mut welcome = [WELCOME, &id, &[0; BOX_OVERHEAD]].concat();
    welcome.extend(public_key(&welcomed.secret));
    welcome.extend(welcomed.cookie);
    let at = WELCOME.len() + id.len();
    with_client.seal(&long_nonce(b"WELCOME-", &id), &mut welcome[at..]);
    Ok((welcomed, welcome))
}

impl Welcomed {
    /// The second command: who it is. Gives its key.
    fn initiate(
        &self,
        command: &mut [u8],
        keys: &Keys<'_>,
        socket: Socket,
    ) -> Result<(Session, [u8; KEY]), Error> {
        let malformed = || Error::Malformed("INITIATE");
        let body = behind(INITIATE, command, "INITIATE")?;
        let (cookie, rest) = body.split_first_chunk_mut::<COOKIE>().ok_or_else(malformed)?;
        if *cookie != self.cookie {
            return Err(Error::Unauthentic("INITIATE"));
        }
        let key = SharedKey::agree(&self.client, &self.secret)?;
        let mut session = Session::of_server(key, self.heard);
        let opened = session.open(b"CurveZMQINITIATE", rest, "INITIATE")?;
        let (&mut client, rest) = opened.split_first_chunk_mut::<KEY>().ok_or_else(malformed)?;
        let (vouch, metadata) = rest.split_first_chunk_mut::<VOUCH>().ok_or_else(malformed)?;
        let (id, boxed) = vouch.split_at_mut(16);
        let vouched = SharedKey::agree(&client, &self.secret)?;
        let vouched = vouched
            .open(&long_nonce(b"VOUCH---", id), boxed)
            .map_err(|_| Error::Unauthentic("INITIATE"))?;
        // Of this connection, and for this server.
        if vouched[..KEY] != self.client || vouched[KEY..] != *keys.server {
            return Err(Error::Unauthentic("INITIATE"));
        }
        let is = socket_type(metadata).ok_or_else(malformed)?;
        if is != socket.partner().as_bytes() {
            let is = String::from_utf8_lossy(is).into_owned();
            return Err(Error::OtherSocket { is, wanted: socket.partner() });
        }
        Ok((session, client))
    }
}
