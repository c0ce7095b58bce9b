//! The gateway on OpenWrt's bus: an object whose methods others call, and its notifications.
//!
//! For: being there when ubusd is, and no trouble to anybody when it is not, hangs, restarts or talks nonsense.
//! Nothing here waits: [`Bus::turn`] does what can be done at once, [`Bus::descriptor`] and [`Bus::due`] say when it
//! is worth calling again. What is kept is bounded: one question at a time is read, the next one when its answer has
//! been taken. Not for: what the methods are and do (`run::methods`).
//!
//! Layers, bottom up: `stream` (bytes), `message` (ubus), `blob` (JSON, arguments), and here the object.
//! docs/ubus.md is what callers see.

mod blob;
mod message;
mod stream;
#[cfg(test)]
mod tests;

use crate::arguments::{Parameter, Unchecked};
use ::ubus::wire::{
    MsgType, UBUS_STATUS_INVALID_ARGUMENT, UBUS_STATUS_METHOD_NOT_FOUND, UBUS_STATUS_OK,
    UBUS_STATUS_UNKNOWN_ERROR,
};
use message::Message;
use serde_json::Value;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use stream::Stream;

/// Where ubusd listens, since OpenWrt 21.02 and before.
const SOCKETS: [&str; 2] = ["/var/run/ubus/ubus.sock", "/var/run/ubus.sock"];

/// What the object is called; those of further gateways on a machine have the name of their run folder behind it.
const NAME: &str = "tsg";

/// Its first and its longest pause before connecting again, in milliseconds. A connection that served for longer than the
/// last ends the pauses.
const PAUSE: (u64, u64) = (250, 8_000);

/// A broker that takes longer than this to let an object in, or to take an answer, is given up, in milliseconds.
const PATIENCE: u64 = 10_000;

/// More messages than this are not looked at in one turn.
const MOST_MESSAGES: usize = 32;

/// Which bus to be on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The system's, if there is one.
    #[default]
    System,
    /// The one behind this socket.
    At(PathBuf),
    /// None.
    None,
}

/// An object on the bus.
pub struct Bus {
    sockets: Vec<PathBuf>,
    name: String,
    signature: Vec<u8>,
    link: Option<Link>,
    /// Counts connections: an answer for an earlier one goes nowhere.
    connection: u32,
    pause: u64,
    retry: u64,
    /// It was said that the broker does not want the object.
    complained: bool,
}

/// A method that somebody calls.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub method: String,
    /// What it is told.
    pub arguments: Unchecked,
    /// Where the answer goes.
    pub caller: Caller,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    connection: u32,
    sequence: u16,
    peer: u32,
    wants_answer: bool,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such method.
    UnknownMethod,
    /// An argument is missing or of another type.
    WrongArgument,
    /// There is an answer, but not for a message.
    NoAnswer,
}

struct Link {
    stream: Stream,
    phase: Phase,
    since: u64,
    sequence: u16,
    /// The last notification.
    notified: Option<u16>,
}

/// How far the object has come. The broker greets, takes it, and then it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Offered { sequence: u16, object: Option<u32> },
    Serving { object: u32 },
}

impl Bus {
    /// An object with these methods; it is not there before the first [`turn`](Self::turn).
    ///
    /// `run` is the gateway's folder: the object of `/var/run/tsg` is `tsg`, that of `/var/run/press` is `tsg.press`.
    pub fn new(
        choice: &Choice,
        run: &Path,
        methods: impl Iterator<Item = (&'static str, &'static [Parameter])> + Clone,
    ) -> Self {
        let sockets = match choice {
            Choice::System => SOCKETS.map(PathBuf::from).to_vec(),
            Choice::At(path) => vec![path.clone()],
            Choice::None => Vec::new(),
        };
        Self {
            sockets,
            name: name(run),
            signature: blob::signature(methods).unwrap_or_default(),
            link: None,
            connection: 0,
            pause: PAUSE.0,
            retry: 0,
            complained: false,
        }
    }

    /// What to wait for, and whether that is room to write: otherwise it is something to read.
    pub fn descriptor(&self) -> Option<(RawFd, bool)> {
        let link = self.link.as_ref()?;
        Some((link.stream.descriptor(), link.stream.is_stuck_since().is_some()))
    }

    /// When to call [`turn`](Self::turn) even if there is nothing to read.
    pub fn due(&self) -> Option<u64> {
        match &self.link {
            None => (!self.sockets.is_empty()).then_some(self.retry),
            Some(link) => link.deadline(),
        }
    }

    /// Somebody's question was read already and waits for its turn.
    pub fn is_asked(&self) -> bool {
        let free = self.link.as_ref().filter(|link| link.stream.is_stuck_since().is_none());
        free.is_some_and(|link| link.stream.holds_message())
    }

    /// Does what there is to do, and gives the next call.
    pub fn turn(&mut self, now: u64) -> Option<Call> {
        if self.link.is_none() {
            if self.sockets.is_empty() || now < self.retry {
                return None;
            }
            self.connect(now);
        }
        match self.serve(now) {
            Ok(call) => call,
            Err(why) => {
                self.lose(&why, now);
                None
            }
        }
    }

    /// Answers a call.
    pub fn answer(&mut self, caller: Caller, answer: Result<&Value, Refusal>, now: u64) {
        let table = answer.and_then(|answer| {
            blob::table(answer).map_err(|error| {
                log::warn!("an answer on ubus: {error}");
                Refusal::NoAnswer
            })
        });
        if let Err(why) = self.reply(caller, table, now) {
            self.lose(&why, now);
        }
    }

    /// Tells whoever has subscribed. `false`: not now, since the broker is away or busy.
    pub fn notify(&mut self, what: &str, content: &Value, now: u64) -> bool {
        let Some(link) = &mut self.link else { return false };
        let Phase::Serving { object } = link.phase else { return false };
        if link.stream.is_stuck_since().is_some() {
            return false;
        }
        // What has no room in a message is told to nobody.
        let Ok(table) = blob::table(content) else { return true };
        let sequence = link.next();
        link.notified = Some(sequence);
        let told = message::notify(sequence, object, what, &table)
            .map_err(io::Error::other)
            .and_then(|bytes| link.stream.send(&bytes, now));
        match told {
            Ok(()) => true,
            Err(why) => {
                self.lose(&why, now);
                false
            }
        }
    }

    fn connect(&mut self, now: u64) {
        let Some(stream) = self.sockets.iter().find_map(|path| Stream::connect(path, now).ok())
        else {
            return self.wait(now);
        };
        let phase = Phase::Waiting;
        self.link = Some(Link { stream, phase, since: now, sequence: 0, notified: None });
        self.connection = self.connection.wrapping_add(1);
    }

    fn wait(&mut self, now: u64) {
        self.retry = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    fn lose(&mut self, why: &io::Error, now: u64) {
        let Some(link) = self.link.take() else { return };
        if let Phase::Serving { .. } = link.phase {
            log::info!("ubus is gone ({why}); object {} comes back with it", self.name);
            if now >= link.since + PAUSE.1 {
                self.pause = PAUSE.0;
            }
        } else {
            log::debug!("ubus: {why}");
        }
        self.wait(now);
    }

    fn serve(&mut self, now: u64) -> io::Result<Option<Call>> {
        let Some(link) = &mut self.link else { return Ok(None) };
        link.stream.flush(now)?;
        if link.deadline().is_some_and(|at| now >= at) {
            return Err(io::Error::other("it does not listen"));
        }
        for _ in 0..MOST_MESSAGES {
            let Some(link) = &mut self.link else { return Ok(None) };
            if link.stream.is_stuck_since().is_some() {
                return Ok(None);
            }
            match link.stream.take()? {
                Some(message) => {
                    if let Some(call) = self.handle(&message, now)? {
                        return Ok(Some(call));
                    }
                }
                None => {
                    if !link.stream.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    fn handle(&mut self, message: &Message, now: u64) -> io::Result<Option<Call>> {
        let Some(link) = &mut self.link else { return Ok(None) };
        let from_broker = message.head.peer == 0;
        match (message.head.kind, link.phase) {
            (Some(MsgType::Hello), Phase::Waiting) => {
                let sequence = link.next();
                link.phase = Phase::Offered { sequence, object: None };
                let offer = message::add_object(sequence, &self.name, &self.signature);
                link.stream.send(&offer.map_err(io::Error::other)?, now)?;
                Ok(None)
            }
            (Some(MsgType::Data), Phase::Offered { sequence, .. })
                if from_broker && message.head.sequence == sequence =>
            {
                let object = message.fields().map_err(nonsense)?.object;
                link.phase = Phase::Offered { sequence, object };
                Ok(None)
            }
            (Some(MsgType::Status), Phase::Offered { sequence, object })
                if from_broker && message.head.sequence == sequence =>
            {
                let fields = message.fields().map_err(nonsense)?;
                self.settle(fields.status, object.or(fields.object), now)?;
                Ok(None)
            }
            (Some(MsgType::Status), Phase::Serving { .. })
                if link.notified == Some(message.head.sequence) =>
            {
                // Success is not told: somebody has taken the name away.
                match message.fields().map_err(nonsense)?.status {
                    Some(UBUS_STATUS_OK) | None => Ok(None),
                    Some(status) => Err(io::Error::other(format!("status {status}"))),
                }
            }
            (Some(MsgType::Invoke), Phase::Serving { object }) => {
                self.take_call(message, object, now)
            }
            _ => Ok(None),
        }
    }

    /// The broker has taken the object, or not.
    fn settle(&mut self, status: Option<i32>, object: Option<u32>, now: u64) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match (status, object) {
            (Some(UBUS_STATUS_OK), Some(object)) => {
                (link.phase, link.since) = (Phase::Serving { object }, now);
                self.complained = false;
                log::info!("on ubus as {}", self.name);
                Ok(())
            }
            (status, _) => {
                if !core::mem::replace(&mut self.complained, true) {
                    log::warn!(
                        "ubus does not take object {} (status {}): is there another one of that name, or does \
                         /usr/share/acl.d not let this user publish it? Trying again",
                        self.name,
                        status.unwrap_or(UBUS_STATUS_UNKNOWN_ERROR)
                    );
                }
                Err(io::Error::other("the object is not taken"))
            }
        }
    }

    fn take_call(&mut self, message: &Message, object: u32, now: u64) -> io::Result<Option<Call>> {
        let fields = message.fields();
        let caller = Caller {
            connection: self.connection,
            sequence: message.head.sequence,
            peer: message.head.peer,
            wants_answer: !fields.as_ref().is_ok_and(|fields| fields.no_reply),
        };
        let call = fields.ok().and_then(|fields| {
            let arguments = blob::arguments(fields.data).ok()?;
            let method = fields.method.filter(|_| fields.object == Some(object))?.to_owned();
            Some(Call { method, arguments, caller })
        });
        if call.is_none() {
            self.reply(caller, Err(Refusal::WrongArgument), now)?;
        }
        Ok(call)
    }

    fn reply(
        &mut self,
        caller: Caller,
        answer: Result<Vec<u8>, Refusal>,
        now: u64,
    ) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let Phase::Serving { object } = link.phase else { return Ok(()) };
        if !caller.wants_answer || caller.connection != self.connection {
            return Ok(());
        }
        let (sequence, peer) = (caller.sequence, caller.peer);
        let status = match answer {
            Ok(table) => {
                let data = message::data(sequence, peer, object, &table);
                link.stream.send(&data.map_err(io::Error::other)?, now)?;
                UBUS_STATUS_OK
            }
            Err(Refusal::UnknownMethod) => UBUS_STATUS_METHOD_NOT_FOUND,
            Err(Refusal::WrongArgument) => UBUS_STATUS_INVALID_ARGUMENT,
            Err(Refusal::NoAnswer) => UBUS_STATUS_UNKNOWN_ERROR,
        };
        let status = message::status(sequence, peer, object, status);
        link.stream.send(&status.map_err(io::Error::other)?, now)
    }
}

impl Link {
    fn next(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// When patience ends.
    fn deadline(&self) -> Option<u64> {
        let greeting = (!matches!(self.phase, Phase::Serving { .. })).then_some(self.since);
        let since = [greeting, self.stream.is_stuck_since()].into_iter().flatten().min();
        since.map(|since| since + PATIENCE)
    }
}

fn nonsense(error: ::ubus::UbusError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// What the object of the gateway with this run folder is called.
fn name(run: &Path) -> String {
    let folder = run.file_name().unwrap_or_default().to_string_lossy();
    if folder == NAME {
        return NAME.to_owned();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let folder: String = folder.chars().map(|c| if plain(c) { c } else { '_' }).take(64).collect();
    format!("{NAME}.{folder}")
}

/// A door for the fuzzers (tests/fuzz): a broker that sends these bytes, with questions answered.
#[cfg(fuzzing)]
pub mod fuzzing {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    /// The object takes what a broker sends after it has let it in.
    pub fn hear(bytes: &[u8]) {
        let Ok((mut broker, ours)) = UnixStream::pair() else { return };
        if broker.set_nonblocking(true).is_err() || ours.set_nonblocking(true).is_err() {
            return;
        }
        let mut bus = Bus::new(&Choice::None, Path::new("/var/run/tsg"), std::iter::empty());
        let stream = Stream::over(ours, 0);
        let phase = match bytes.first() {
            Some(0) => Phase::Waiting,
            Some(1) => Phase::Offered { sequence: 1, object: None },
            _ => Phase::Serving { object: 7 },
        };
        bus.link = Some(Link { stream, phase, since: 0, sequence: 1, notified: Some(2) });
        for part in bytes.get(1..).unwrap_or_default().chunks(4_000) {
            let _ = broker.write(part);
            for _ in 0..16 {
                while let Some(call) = bus.turn(1) {
                    bus.answer(call.caller, Ok(&Value::Null), 1);
                }
            }
        }
    }
}
