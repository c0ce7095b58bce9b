//! One TCP connection to a key server, and how long to wait for what on it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};
use tsg_control::message::MAX_FRAME;
use tsg_zmtp::Keys;
use tsg_zmtp::client::{Client, Event};

/// A connection has so long to be made, and then to show that the other end is the key server; in milliseconds.
const PATIENCE: u64 = 10_000;

/// Silence of the other end for this long: it is asked for a sign of life. And for this long: the connection is dead.
const ASK_AFTER: u64 = 5_000;
const DEAD_AFTER: u64 = 15_000;

/// Read at once.
const CHUNK: usize = 16 * 1024;

/// Not more often at one wake-up.
const READS: usize = 64;

/// Nothing more is said to somebody who does not take it.
const MOST_OUTPUT: usize = 256 * 1024;

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was not made, or there was no sign of life.
    Silent(String),
    /// The other end is there, and broke it off or said what a key server would not.
    Broken(String),
}

/// A connection, from the attempt to its end.
pub(super) struct Wire {
    stream: TcpStream,
    connection: Client,
    /// It is made, and the handshake is on.
    is_made: bool,
    began: u64,
    heard: u64,
    asked: u64,
}

impl Wire {
    /// Begins to connect.
    pub(super) fn begin(address: SocketAddr, keys: &Keys<'_>, now: u64) -> Result<Self, End> {
        let connection =
            Client::begin(keys, MAX_FRAME).map_err(|error| End::Broken(error.to_string()))?;
        let stream = begin_to_connect(address).map_err(|error| End::Silent(words(&error)))?;
        Ok(Self { stream, connection, is_made: false, began: now, heard: now, asked: now })
    }

    /// What to wait for; the second part says that something waits to be written.
    pub(super) fn descriptor(&self) -> (RawFd, bool) {
        (self.stream.as_raw_fd(), !self.is_made || !self.connection.output().is_empty())
    }

    /// When to look again, if nothing happens.
    pub(super) fn due(&self) -> u64 {
        if self.connection.is_open() {
            (self.asked.max(self.heard) + ASK_AFTER).min(self.heard + DEAD_AFTER)
        } else {
            self.began + PATIENCE
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Says a message, as soon as the other end takes it; whether there was room for it.
    pub(super) fn say(&mut self, message: &[u8]) -> bool {
        if !self.is_open() || self.connection.output().len() + message.len() > MOST_OUTPUT {
            return false;
        }
        self.connection.say(message);
        // What has gone wrong is noticed by the next turn.
        let _ = self.write();
        true
    }

    /// Reads and writes what can be done at once, and tells what was heard.
    pub(super) fn turn(
        &mut self,
        keys: &Keys<'_>,
        now: u64,
        mut tell: impl FnMut(Event),
    ) -> Result<(), End> {
        if !self.is_made && !self.has_connected()? {
            return self.is_in_time(now);
        }
        self.read(keys, now, &mut tell)?;
        if self.is_open() && now >= self.heard.max(self.asked) + ASK_AFTER {
            self.asked = now;
            self.connection.ping();
        }
        self.write()?;
        self.is_in_time(now)
    }

    /// Whether the connection is made by now.
    fn has_connected(&mut self) -> Result<bool, End> {
        let silent = |error: io::Error| End::Silent(words(&error));
        if let Some(error) = self.stream.take_error().map_err(silent)? {
            return Err(silent(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => self.is_made = true,
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => return Err(silent(error)),
        }
        Ok(self.is_made)
    }

    fn read(&mut self, keys: &Keys<'_>, now: u64, tell: &mut impl FnMut(Event)) -> Result<(), End> {
        let mut chunk = [0; CHUNK];
        for _ in 0..READS {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(End::Broken("it closes the connection".to_owned())),
                Ok(length) => {
                    self.heard = now;
                    self.connection.hear(&chunk[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Broken(words(&error))),
            }
            loop {
                match self.connection.next(keys) {
                    Ok(Some(event)) => tell(event),
                    Ok(None) => break,
                    Err(error) => return Err(End::Broken(error.to_string())),
                }
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), End> {
        while !self.connection.output().is_empty() {
            match self.stream.write(self.connection.output()) {
                Ok(length) => self.connection.written(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Broken(words(&error))),
            }
        }
        Ok(())
    }

    fn is_in_time(&self, now: u64) -> Result<(), End> {
        match (self.is_open(), self.is_made) {
            (true, _) if now >= self.heard + DEAD_AFTER => {
                Err(End::Silent("it gives no sign of life".to_owned()))
            }
            (false, _) if now < self.began + PATIENCE => Ok(()),
            (false, true) => {
                Err(End::Silent("it takes the connection and says nothing".to_owned()))
            }
            (false, false) => Err(End::Silent("it does not answer".to_owned())),
            (true, _) => Ok(()),
        }
    }
}

/// What the kernel says, without its number.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

fn begin_to_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd.into()),
        Err(error) => Err(error.into()),
    }
}
