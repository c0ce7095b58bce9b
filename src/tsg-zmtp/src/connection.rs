//! One connection, from greeting to end.

use core::{fmt, mem};

use zeroize::Zeroizing;

use crate::curve::{ERROR, Keys, Session, Transient, refusal};
use crate::error::Error;
use crate::frame::{Head, write_head};

/// Both ends begin with so many bytes.
const GREETING: usize = 64;

/// What stands in it: signature, version, mechanism; then zeroes.
const SIGNATURE: [u8; 10] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
const VERSION: [u8; 2] = [3, 1];
const CURVE: [u8; 20] = *b"CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// No command of the handshake is longer, by far: what comes before the other end is known is kept short.
const LONGEST_COMMAND: usize = 1_024;

/// So much is around a message's bytes in its frame: name, number, authenticator, flags.
const AROUND: usize = 8 + 8 + 16 + 1;

/// Of the flags in a MESSAGE: more frames of the same message follow.
const MORE: u8 = 1;

/// Of the flags in a MESSAGE: it is a command.
const COMMAND: u8 = 2;

/// Says that this end lives. The two bytes would say how long without another is too long for it; nothing is.
const PING: &[u8] = b"\x04PING\0\0";

/// The answer to PING, which repeats what that had behind those two bytes: not more than this.
const PONG: &[u8] = b"\x04PONG";
const MOST_CONTEXT: usize = 16;

/// What the other end has said.
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

/// One connection of a client. After an [`Error`] it is over.
pub struct Connection {
    phase: Phase,
    /// What was heard and not understood yet: never more than one frame and what was read with its end.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    /// Longest message that is taken.
    most: usize,
    /// The rest of a message of several frames is to come.
    skipping: bool,
}

enum Phase {
    /// The other end's greeting is to come.
    Greeting(Transient),
    /// HELLO is said.
    Hello(Transient),
    /// INITIATE is said.
    Initiate(Session),
    Open(Session),
    /// After an error.
    Over,
}

impl Connection {
    /// Begins a connection to the server of `keys`, which may send messages of `most` bytes.
    ///
    /// # Errors
    ///
    /// The server's key is none that anybody has the other half of.
    pub fn begin(keys: &Keys<'_>, most: usize) -> Result<Self, Error> {
        let mut output = [&SIGNATURE[..], &VERSION, &CURVE].concat();
        output.resize(GREETING, 0);
        Ok(Self {
            phase: Phase::Greeting(Transient::new(keys.server)?),
            input: Vec::new(),
            output,
            most,
            skipping: false,
        })
    }

    /// Takes what was read. What it means is told by [`next`](Self::next), which is to be asked until it knows
    /// nothing more.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
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
            if matches!(self.phase, Phase::Over) {
                return Ok(None);
            }
            if matches!(self.phase, Phase::Greeting(_)) && !self.take_greeting()? {
                return Ok(None);
            }
            let most = if self.is_open() { self.most + AROUND } else { LONGEST_COMMAND };
            let Some(head) = Head::read(&self.input, most)? else { return Ok(None) };
            let end = head.size + head.length;
            if self.input.len() < end {
                return Ok(None);
            }
            // Its own place: what is opened in it is zeroed with it.
            let mut frame = Zeroizing::new(self.input[head.size..end].to_vec());
            self.input.drain(..end);
            if let Some(event) = self.take_frame(head, &mut frame, keys)? {
                return Ok(Some(event));
            }
        }
    }

    /// [`Event::Open`] was told.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Says a message, if the connection is open.
    pub fn say(&mut self, message: &[u8]) {
        self.put_message(0, [message, &[]]);
    }

    /// Asks for a sign of life, if the connection is open.
    pub fn ping(&mut self) {
        self.put_message(COMMAND, [PING, &[]]);
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So much of it was written.
    pub fn written(&mut self, count: usize) {
        self.output.drain(..count);
    }

    /// Whether there is a greeting, which is dealt with then.
    fn take_greeting(&mut self) -> Result<bool, Error> {
        // What does not begin like one need not be waited for.
        let begins = |at: usize, wanted: u8| self.input.get(at).is_none_or(|&byte| byte == wanted);
        if !begins(0, SIGNATURE[0]) || !begins(9, SIGNATURE[9]) {
            return Err(Error::NoZmtp);
        }
        if self.input.get(10).is_some_and(|&major| major < VERSION[0]) {
            return Err(Error::NoZmtp);
        }
        let Some(greeting) = self.input.first_chunk::<GREETING>() else { return Ok(false) };
        let mechanism = &greeting[12..32];
        if mechanism != CURVE {
            let name = mechanism.split(|&byte| byte == 0).next().unwrap_or_default();
            return Err(Error::NoCurve(String::from_utf8_lossy(name).into_owned()));
        }
        self.input.drain(..GREETING);
        if let Phase::Greeting(transient) = mem::replace(&mut self.phase, Phase::Over) {
            put_command(&mut self.output, &transient.hello());
            self.phase = Phase::Hello(transient);
        }
        Ok(true)
    }

    fn take_frame(
        &mut self,
        head: Head,
        frame: &mut [u8],
        keys: &Keys<'_>,
    ) -> Result<Option<Event>, Error> {
        if !self.is_open() && !head.is_command {
            return Err(Error::Malformed("no command of the handshake"));
        }
        if !self.is_open() && frame.starts_with(ERROR) {
            return Err(refusal(frame).map_or(Error::Malformed("ERROR"), Error::Refused));
        }
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Hello(transient) => {
                let (session, initiate) = transient.initiate(&transient.welcome(frame)?, keys)?;
                put_command(&mut self.output, &initiate);
                self.phase = Phase::Initiate(session);
                Ok(None)
            }
            Phase::Initiate(mut session) => {
                session.ready(frame)?;
                self.phase = Phase::Open(session);
                Ok(Some(Event::Open))
            }
            Phase::Open(mut session) => {
                let (flags, bytes) = session.open_message(frame)?;
                self.phase = Phase::Open(session);
                Ok(self.take_message(flags, bytes))
            }
            Phase::Greeting(_) | Phase::Over => Ok(None),
        }
    }

    fn take_message(&mut self, flags: u8, bytes: &[u8]) -> Option<Event> {
        if flags & COMMAND != 0 {
            // Commands come between the frames of a message, too. Other ones are for other socket types.
            if let Some(context) = bytes.strip_prefix(&PING[..5]).and_then(|rest| rest.get(2..)) {
                let context = &context[..context.len().min(MOST_CONTEXT)];
                self.put_message(COMMAND, [PONG, context]);
            }
            return None;
        }
        let more = flags & MORE != 0;
        let skipped = mem::replace(&mut self.skipping, more);
        match (skipped, more) {
            (true, _) => None,
            (false, true) => Some(Event::SeveralFrames),
            (false, false) => Some(Event::Message(Zeroizing::new(bytes.to_vec()))),
        }
    }

    fn put_message(&mut self, flags: u8, parts: [&[u8]; 2]) {
        let Phase::Open(session) = &mut self.phase else { return };
        let length = AROUND + parts.iter().map(|part| part.len()).sum::<usize>();
        // Grown at once: what is outgrown while it holds plaintext would stay in memory.
        self.output.reserve(length + 9);
        write_head(&mut self.output, false, length);
        session.seal_message(flags, parts, &mut self.output);
    }
}

fn put_command(output: &mut Vec<u8>, command: &[u8]) {
    write_head(output, true, command.len());
    output.extend_from_slice(command);
}
