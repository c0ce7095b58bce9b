//! Hears when ports come and go, so that the gate stands on a new one at once.
//!
//! Only that something has moved is taken in: what there is now is looked at by those who need it. Where
//! the kernel does not tell, the look of every second has to do.

use crate::netlink::{Family, Socket};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

/// `RTNLGRP_LINK` as a bit: links made, changed and gone.
const LINK_GROUP: u32 = 1;

/// More messages than this are not read at one wake-up.
const BATCH: usize = 64;

pub(super) struct Links {
    socket: Option<Socket>,
    moved: bool,
}

impl Links {
    pub(super) fn watch() -> Self {
        let socket = Socket::subscribe(Family::Route, LINK_GROUP);
        let socket = socket.inspect_err(|error| log::debug!("no word of ports: {error}")).ok();
        Self { socket, moved: false }
    }

    /// What to wait for; nothing more once it is known that something has moved.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        let socket = self.socket.as_ref().filter(|_| !self.moved);
        socket.map(|socket| socket.as_fd().as_raw_fd())
    }

    /// Reads what there is. A message that had no room is one, too.
    pub(super) fn take(&mut self) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; 256];
        for _ in 0..BATCH {
            match socket.receive(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.moved = true,
            }
        }
    }

    /// Something has moved since the last [`settle`](Self::settle).
    pub(super) const fn moved(&self) -> bool {
        self.moved
    }

    /// What has moved is about to be looked at. Says whether something had.
    pub(super) const fn settle(&mut self) -> bool {
        core::mem::replace(&mut self.moved, false)
    }
}
