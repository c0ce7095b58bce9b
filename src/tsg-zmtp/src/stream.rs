//! What both ends do alike: greeting, frames, and messages once both are known.

use core::mem;

use zeroize::Zeroizing;

use crate::curve::Session;
use crate::error::Error;
use crate::frame::{Head, write_head};

/// Both ends begin with so many bytes.
const GREETING: usize = 64;

/// What stands in it: signature, version, mechanism, which end; then zeroes.
const SIGNATURE: [u8; 10] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f];
const VERSION: [u8; 2] = [3, 1];
const CURVE: [u8; 20] = *b"CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// No command of the handshake is longer, by far: what comes before the other end is known is kept short.
const LONGEST_COMMAND: usize = 1_024;

/// So much is around a message's bytes in its frame: name, number, authenticator, flags.
const AROUND: usize = 8 + 8 + 16 + 1;

/// Of the flags in a MESSAGE: more frames of the same message follow.
pub(crate) const MORE: u8 = 1;

/// Of the flags in a MESSAGE: it is a command.
pub(crate) const COMMAND: u8 = 2;

/// Says that this end lives. The two bytes would say how long without another is too long for it; nothing is.
pub(crate) const PING: &[u8] = b"\x04PING\0\0";

/// The answer to PING, which repeats what that had behind those two bytes: not more than this.
const PONG: &[u8] = b"\x04PONG";
const MOST_CONTEXT: usize = 16;

/// Memory that was needed for something long is given back when it is not needed any more.
const KEPT: usize = 4_096;

/// Bytes of both ways.
pub(crate) struct Stream {
    /// What was heard and not understood yet: never more than one frame and what was read with its end.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
}

struct Frame {
    is_command: bool,
    bytes: Zeroizing<Vec<u8>>,
}

/// What the other end says on an open connection.
pub(crate) enum Said {
    Message(Zeroizing<Vec<u8>>),
    /// A message of several frames, which is left out.
    SeveralFrames,
    /// A command other than PING: name and body.
    Command(Zeroizing<Vec<u8>>),
    /// A PING, or a further frame of a message that is left out: nothing is to be done about it.
    Idle,
}

/// Messages of an open connection.
pub(crate) struct Messages {
    session: Session,
    /// Longest that is taken.
    pub(crate) most: usize,
    /// The rest of a message of several frames is to come.
    skipping: bool,
}

impl Stream {
    /// Begins with the greeting of the server's or of the client's end.
    pub(crate) fn new(is_server: bool) -> Self {
        let mut output = [&SIGNATURE[..], &VERSION, &CURVE].concat();
        output.push(is_server.into());
        output.resize(GREETING, 0);
        Self { input: Vec::new(), output }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(crate) fn output(&self) -> &[u8] {
        &self.output
    }

    pub(crate) fn written(&mut self, count: usize) {
        self.output.drain(..count);
        give_back(&mut self.output);
    }

    /// Whether there is a greeting, which is dealt with then.
    pub(crate) fn greeting(&mut self) -> Result<bool, Error> {
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
        Ok(true)
    }

    /// The next command of the handshake, if it is there as a whole.
    pub(crate) fn command(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        match self.frame(LONGEST_COMMAND)? {
            None => Ok(None),
            Some(frame) if frame.is_command => Ok(Some(frame.bytes)),
            Some(_) => Err(Error::Malformed("no command of the handshake")),
        }
    }

    pub(crate) fn put_command(&mut self, command: &[u8]) {
        write_head(&mut self.output, true, command.len());
        self.output.extend_from_slice(command);
    }

    fn frame(&mut self, most: usize) -> Result<Option<Frame>, Error> {
        let Some(head) = Head::read(&self.input, most)? else { return Ok(None) };
        let end = head.size + head.length;
        if self.input.len() < end {
            return Ok(None);
        }
        // Its own place: what is opened in it is zeroed with it.
        let bytes = Zeroizing::new(self.input[head.size..end].to_vec());
        self.input.drain(..end);
        give_back(&mut self.input);
        Ok(Some(Frame { is_command: head.is_command, bytes }))
    }
}

fn give_back(bytes: &mut Vec<u8>) {
    if bytes.is_empty() && bytes.capacity() > KEPT {
        *bytes = Vec::new();
    }
}

impl Messages {
    pub(crate) const fn new(session: Session, most: usize) -> Self {
        Self { session, most, skipping: false }
    }

    /// The next thing that was said, if it is there as a whole.
    pub(crate) fn next(&mut self, stream: &mut Stream) -> Result<Option<Said>, Error> {
        let Some(mut frame) = stream.frame(self.most + AROUND)? else { return Ok(None) };
        let (flags, bytes) = self.session.open_message(&mut frame.bytes)?;
        if flags & COMMAND != 0 {
            // Commands come between the frames of a message, too.
            let Some(context) = bytes.strip_prefix(&PING[..5]).and_then(|rest| rest.get(2..))
            else {
                return Ok(Some(Said::Command(Zeroizing::new(bytes.to_vec()))));
            };
            // What waits to be written is a sign of life as well: for who does not read, no PONGs pile up.
            if stream.output.is_empty() {
                let context = context[..context.len().min(MOST_CONTEXT)].to_vec();
                self.put(COMMAND, [PONG, &context], stream);
            }
            return Ok(Some(Said::Idle));
        }
        let more = flags & MORE != 0;
        Ok(Some(match (mem::replace(&mut self.skipping, more), more) {
            (true, _) => Said::Idle,
            (false, true) => Said::SeveralFrames,
            (false, false) => Said::Message(Zeroizing::new(bytes.to_vec())),
        }))
    }

    /// Says a frame that consists of two parts.
    pub(crate) fn put(&mut self, flags: u8, parts: [&[u8]; 2], stream: &mut Stream) {
        let length = AROUND + parts.iter().map(|part| part.len()).sum::<usize>();
        // Grown at once: what is outgrown while it holds plaintext would stay in memory.
        stream.output.reserve(length + 9);
        write_head(&mut stream.output, false, length);
        self.session.seal_message(flags, parts, &mut stream.output);
    }
}
