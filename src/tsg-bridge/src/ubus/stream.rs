//! Bytes to and from the broker, without waiting and in bounded memory, whatever the other end does.

use super::message::{HEAD, Head, LONGEST, Message};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use zeroize::{Zeroize as _, Zeroizing};

/// Read at once.
const CHUNK: usize = 4 * 1024;

/// A connection to the broker.
pub(super) struct Stream {
    socket: UnixStream,
    /// Never longer than its first capacity: a message that would not fit is skipped.
    input: Zeroizing<Vec<u8>>,
    /// So many bytes of a message that is too long are still to come.
    skip: usize,
    output: Vec<u8>,
    sent: usize,
    /// When the other end took something last, or there was nothing to take.
    moved: u64,
}

impl Stream {
    /// Connects, if that can be done at once.
    pub(super) fn connect(path: &Path, now: u64) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self::over(fd.into(), now))
    }

    /// Talks over a socket that does not block.
    pub(super) fn over(socket: UnixStream, now: u64) -> Self {
        Self {
            socket,
            input: Zeroizing::new(Vec::with_capacity(HEAD + LONGEST)),
            skip: 0,
            output: Vec::new(),
            sent: 0,
            moved: now,
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Something waits to be taken by the other end, since when.
    pub(super) fn is_stuck_since(&self) -> Option<u64> {
        (!self.output.is_empty()).then_some(self.moved)
    }

    /// A whole message was read, and not taken yet.
    pub(super) fn holds_message(&self) -> bool {
        self.head().is_ok_and(|head| head.is_some_and(|head| self.is_whole(&head)))
    }

    /// Bytes that are kept of what was read.
    #[cfg(test)]
    pub(super) fn holds(&self) -> usize {
        self.input.capacity()
    }

    /// Sends, as far as the other end takes it now; the rest waits.
    pub(super) fn send(&mut self, bytes: &[u8], now: u64) -> io::Result<()> {
        if self.output.is_empty() {
            self.moved = now;
        }
        self.output.extend_from_slice(bytes);
        self.flush(now)
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, now: u64) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    self.sent += length;
                    self.moved = now;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Not kept: an answer may have been long, and is rare.
        (self.output, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    /// Reads what is there, up to a bound; `false` if there was nothing. To be called when no message is held.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = Zeroizing::new([0; CHUNK]);
        let room = if self.skip > 0 { CHUNK } else { HEAD + LONGEST - self.input.len() };
        let room = room.min(CHUNK);
        let length = match self.socket.read(&mut chunk[..room]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        };
        let skipped = self.skip.min(length);
        self.skip -= skipped;
        self.input.extend_from_slice(&chunk[skipped..length]);
        Ok(true)
    }

    /// The next message, if it is there. Of one that is too long only the head is kept.
    pub(super) fn take(&mut self) -> io::Result<Option<Message>> {
        let Some(head) = self.head()? else { return Ok(None) };
        if head.length > LONGEST {
            let total = HEAD - 4 + head.length;
            let there = total.min(self.input.len());
            self.remove(there);
            self.skip = total - there;
            return Ok(Some(Message { head, body: None }));
        }
        if !self.is_whole(&head) {
            return Ok(None);
        }
        let end = HEAD - 4 + head.length;
        let body = Zeroizing::new(self.input[HEAD - 4..end].to_vec());
        self.remove(end);
        Ok(Some(Message { head, body: Some(body) }))
    }

    fn head(&self) -> io::Result<Option<Head>> {
        let Some(bytes) = self.input.first_chunk::<HEAD>() else { return Ok(None) };
        let head = Head::read(bytes);
        head.map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))
    }

    fn is_whole(&self, head: &Head) -> bool {
        head.length > LONGEST || self.input.len() >= HEAD - 4 + head.length
    }

    /// Takes so many bytes away from the front; nothing of them stays behind the end.
    fn remove(&mut self, count: usize) {
        let left = self.input.len() - count;
        self.input.copy_within(count.., 0);
        self.input[left..].zeroize();
        self.input.truncate(left);
    }
}
