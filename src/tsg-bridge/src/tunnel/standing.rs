//! The other end with static keys: nothing is agreed on, so that it may be the kernel's XFRM (docs/protocol.md
//! section 4.3, docs/decisions/0021).
//!
//! A key that is there for ever must not seal twice with one nonce. Its sequence numbers are [leased](numbers) on the
//! disk ahead of use, and where the disk is an old copy, the half of the IV that each start draws anew still differs.

mod numbers;
mod runs;

use super::Key;
use super::agreement::Session;
use super::associations::{receiver, sender};
use super::path;
use super::settings::{Static, Tunnel};
use anyhow::{Context as _, Result};
use core::net::IpAddr;
use numbers::Numbers;
use runs::Runs;
use tsg_esp::DropReason;
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::Suite;
use tsg_esp::open::{Header, Receiver};
use tsg_esp::seal::{SealError, Sender};
use tsg_sodium::AnyCipher;

/// The other end of a tunnel with static keys.
pub(super) struct Standing {
    sender: Box<Sender<AnyCipher>>,
    numbers: Numbers,
    /// The upper half of the IVs of this run.
    run: u32,
    receiver: Box<Receiver<AnyCipher>>,
    runs: Runs,
    is_up: bool,
}

impl Standing {
    /// Takes numbers for a start.
    ///
    /// # Errors
    /// There is no way to the other end, no AES in hardware, or no number that is surely new.
    pub(super) fn open(tunnel: &Tunnel, how: &Static, key: &Key) -> Result<Self> {
        let Tunnel { interface, peer, device, .. } = tunnel;
        let (own, _) = path::look(interface, *peer)
            .with_context(|| format!("cannot reach {peer} by {interface}"))?;
        log::info!("{device}: static keys of {own} and {peer}, {}", how.suite.as_str());
        Self::between(device, how, key, [own, *peer])
    }

    fn between(device: &str, how: &Static, key: &Key, [own, peer]: [IpAddr; 2]) -> Result<Self> {
        let suite = how.suite;
        let no_aes =
            || format!("no {} in hardware here: leave out --cipher on both hosts", suite.as_str());
        // Before a lease, which costs numbers.
        AnyCipher::blank(suite).with_context(no_aes)?;
        let session = session(key, suite, own, peer);
        let (numbers, lease) = Numbers::open(device, &how.cache, &session.out)?;
        let ((out, tek_out), (inward, tek_inward)) = (&session.out, &session.inward);
        let sender = sender(suite, *out, tek_out, lease.first..lease.limit)?;
        let receiver = receiver(suite, *inward, tek_inward)?;
        let mut random = [0; 4];
        tsg_sodium::random(&mut random);
        let run = u32::from_ne_bytes(random);
        Ok(Self { sender, numbers, run, receiver, runs: Runs::default(), is_up: false })
    }

    /// Whether something came from the other end.
    pub(super) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// The cipher of both directions.
    pub(super) fn suite(&self) -> Suite {
        self.sender.cipher().suite()
    }

    /// Seals a payload of that next header: what is left is ESP.
    pub(super) fn seal(
        &mut self,
        packet: &mut Packet<'_>,
        next_header: u8,
        now: u64,
    ) -> Result<(), SealError> {
        if self.sender.remaining() == 0
            && let Some(limit) = self.numbers.more(now)
        {
            self.sender.extend(limit);
        }
        self.sender.seal_payload(packet, next_header, self.run)
    }

    /// Takes ESP that came in, and leaves its payload; `None` if it has none.
    pub(super) fn hear(
        &mut self,
        packet: &mut Packet<'_>,
        now: u64,
    ) -> Result<Option<u8>, DropReason> {
        let header = Header::of_esp(packet.bytes())?;
        if header.spi != self.receiver.spi() {
            return Err(DropReason::UnknownSender);
        }
        self.runs.check(header.time, header.sequence, now)?;
        let opened = self.receiver.open_payload(packet)?;
        self.runs.mark(opened.time, opened.sequence, now)?;
        self.is_up = true;
        Ok(opened.next_header)
    }

    /// Says how it is with the numbers, when that has changed.
    pub(super) fn tick(&mut self, now: u64) {
        self.numbers.tell(self.sender.remaining() == 0, now);
    }
}

/// Both directions, as they are seen from `own`.
pub(super) fn session(key: &Key, suite: Suite, own: IpAddr, peer: IpAddr) -> Session {
    let [out, inward] = [(own, peer), (peer, own)].map(|(from, to)| key.standing(suite, from, to));
    Session { suite, out, inward, workers: [1, 1] }
}

#[cfg(test)]
mod tests;
