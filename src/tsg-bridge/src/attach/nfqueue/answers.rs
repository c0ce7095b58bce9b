//! Verdicts on their way to the kernel: those of a batch go in one system call.

use super::message;
use crate::netlink::{Request, Socket};

/// A datagram of verdicts is sent when it is as long as this: room for one more packet of 64 KiB stays.
const ENOUGH: usize = 32 * 1024;

/// Verdicts that wait.
#[derive(Debug)]
pub(super) struct Answers {
    queue: u16,
    bytes: Vec<u8>,
    ids: Vec<u32>,
    request: Request,
    /// Packets that the kernel did not take back, since the last time that somebody asked.
    failed: u64,
}

impl Answers {
    pub(super) fn new(queue: u16) -> Self {
        Self {
            queue,
            bytes: Vec::with_capacity(2 * ENOUGH + super::DATAGRAM),
            ids: Vec::with_capacity(super::BATCH),
            request: Request::new(0, 0, &[]),
            failed: 0,
        }
    }

    /// The packet goes on with this mark, with `new` in its place if there is such.
    pub(super) fn accept(&mut self, socket: &Socket, id: u32, mark: u32, new: Option<&[u8]>) {
        message::accept(&mut self.request, self.queue, id, mark, new.map(<[u8]>::len));
        self.add(socket, id, new.unwrap_or_default());
    }

    /// The packet goes nowhere.
    pub(super) fn drop(&mut self, socket: &Socket, id: u32) {
        message::drop(&mut self.request, self.queue, id);
        self.add(socket, id, &[]);
    }

    fn add(&mut self, socket: &Socket, id: u32, behind: &[u8]) {
        self.bytes.extend(self.request.finish(0, behind.len()));
        self.bytes.extend(behind);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.ids.push(id);
        if self.bytes.len() >= ENOUGH {
            self.send(socket);
        }
    }

    /// Sends what waits. To be called before anything goes another way, which must not overtake it, and at the end of
    /// a batch.
    pub(super) fn send(&mut self, socket: &Socket) {
        if self.ids.is_empty() {
            return;
        }
        if socket.send(&self.bytes, &[]).is_err() {
            // Too little memory for all of them at once. The queue must not keep them.
            self.failed += self.ids.len() as u64;
            for &id in &self.ids {
                message::drop(&mut self.request, self.queue, id);
                let _ = socket.send(self.request.finish(0, 0), &[]);
            }
        }
        self.bytes.clear();
        self.ids.clear();
    }

    /// How many packets the kernel did not take back, since this was asked.
    pub(super) fn failed(&mut self) -> u64 {
        core::mem::take(&mut self.failed)
    }
}
