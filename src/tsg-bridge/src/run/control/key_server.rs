//! What goes to the key server and comes from it.

use super::Control;
use crate::boottime;
use crate::server::{Link, Received};
use std::net::SocketAddr;
use tsg_control::gateway::Standing;

/// A server that does not let us in for this long is given up for the next one of the list.
const NEXT_SERVER: u64 = 20_000;

/// One connection broken off at its beginning may be a key server that just stops; more are not.
const BROKEN_OFF: u32 = 2;

impl Control {
    pub(super) fn take_messages(&mut self) {
        let Some(link) = &mut self.link else { return };
        let received = link.turn(&self.identity, boottime::now());
        // Not before they were received: an answer says what time it was before it came.
        let now = boottime::now();
        self.note_handshakes(&received);
        if received.connected {
            self.gateway.handle_connected(now);
        }
        for error in &received.unreadable {
            self.unreadable.note(error);
        }
        for heard in received.messages {
            self.unreadable.note_heard(&heard);
            self.gateway.handle_heard(heard, now);
        }
    }

    pub(super) fn note_handshakes(&mut self, received: &Received) {
        let known = self.key_trouble().is_some();
        let before = if received.connected { 0 } else { self.broken_off };
        self.broken_off = before.saturating_add(received.broken_off);
        if let (false, Some(trouble)) = (known, self.key_trouble()) {
            log::error!("{trouble}");
        }
    }

    /// Why there is no connection to the key server.
    pub(in crate::run) fn link_trouble(&self) -> Option<&str> {
        self.link.as_ref().and_then(Link::trouble)
    }

    /// The key server seems to have another key than the one that is set, or not to want this gateway's.
    pub(in crate::run) fn key_trouble(&self) -> Option<String> {
        (self.broken_off >= BROKEN_OFF).then(|| {
            format!(
                "the key server breaks off every connection: was this gateway revoked there? If not, \
                 compare option server_key of {} with what `tsg-server key` says",
                self.folders.config_file().display()
            )
        })
    }

    pub(super) fn turn_to_next_server(&mut self, now: u64) {
        let answered =
            !matches!(self.gateway.standing(), Standing::Searching | Standing::Island(_));
        if answered || now < self.turned_at + NEXT_SERVER {
            self.turned_at = if answered { now } else { self.turned_at };
            return;
        }
        self.turned_at = now;
        let Some(link) = &mut self.link else { return };
        link.servers().look_again();
        if link.next_server() {
            let server = link.server().map(ToString::to_string).unwrap_or_default();
            log::warn!("no answer; trying {server}");
        }
    }

    pub(super) fn send(&mut self) {
        while let Some(message) = self.gateway.poll_transmit() {
            if let Some(link) = &mut self.link {
                link.send(&message);
            }
        }
    }

    pub(super) fn server_addresses(&self) -> Vec<SocketAddr> {
        self.link.as_ref().map(|link| link.servers().addresses()).unwrap_or_default()
    }
}
