//! The other end: the keys that this one has with it, and what is to be said to it and when.
//!
//! Workers seal and open with what was agreed on, each in its [turn](Peer::turn); what is agreed on, and when, is
//! [one's](agreements). Time comes in as milliseconds of the boot's clock, what is to be sent goes out as bytes. Not here:
//! how they get there ([`super::wire`]).

mod agreements;

use super::Key;
use super::associations::Associations;
use super::hello::{Able, Hello};
use super::moment::Moment;
use crate::pipeline::Reason;
use agreements::Agreements;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tsg_esp::DropReason;
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::{Spi, Suite};
use tsg_esp::open::Header;
use tsg_esp::seal::SealError;

/// Who was sent something and said nothing for so long may have lost the keys.
const SILENCE: u64 = 15_000;

/// Who heard something for so long, and had nothing to send, shows that it is there.
const SHOW: u64 = 5_000;

/// In a dummy packet it asks for one without.
const QUESTION: u8 = b'?';

/// What came of ESP that was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The other end has the key, and may have sent it long ago.
    Hello,
    /// The other end has sent it now: a payload of that next header, or nothing but a sign of life.
    Now(Option<u8>),
}

/// The other end of a tunnel.
pub(super) struct Peer {
    agreements: Mutex<Agreements>,
    view: RwLock<Arc<View>>,
    signs: Signs,
}

/// What workers go by.
#[derive(Default)]
struct View {
    /// The SPIs of hellos.
    hellos: Vec<Spi>,
    sealing: Option<Arc<Associations>>,
    /// The newest first.
    opening: Vec<Arc<Associations>>,
}

impl Peer {
    /// With the key of a file.
    pub(super) fn new(key: Key, able: Able) -> Self {
        let peer = Self::without_keys(able);
        peer.hold(vec![(key, true)]);
        peer
    }

    /// One that has nothing in common with this end yet.
    pub(super) fn without_keys(able: Able) -> Self {
        Self {
            agreements: Mutex::new(Agreements::new(able)),
            view: RwLock::default(),
            signs: Signs::default(),
        }
    }

    /// From now on the two have these keys in common, and no others: what was agreed on under others is over. New agreements
    /// are made under the last that is marked so.
    pub(super) fn hold(&self, keys: Vec<(Key, bool)>) {
        self.with_agreements(|agreements| agreements.hold(keys));
    }

    /// Does something to what is agreed on, and shows the workers what has come of it.
    fn with_agreements<T>(&self, act: impl FnOnce(&mut Agreements) -> T) -> T {
        let mut agreements = self.agreements();
        let done = act(&mut agreements);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(agreements.view());
        done
    }

    fn agreements(&self) -> MutexGuard<'_, Agreements> {
        self.agreements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The SPIs of hellos that are heard.
    #[cfg(test)]
    pub(super) fn hellos(&self) -> Vec<Spi> {
        self.view().hellos.clone()
    }

    /// Whether packets go through.
    pub(super) fn is_up(&self) -> bool {
        self.view().sealing.is_some()
    }

    /// The cipher that packets are sealed with, and when its keys were agreed on.
    pub(super) fn keys(&self) -> Option<(Suite, u64)> {
        let agreed = self.agreements().agreed();
        self.view().sealing.as_ref().map(|sealing| (sealing.suite(), agreed))
    }

    /// Whether the other end has said nothing for long, though it was sent something.
    pub(super) fn is_silent(&self, now: u64) -> bool {
        self.signs.waiting.get().is_some_and(|since| now >= since + SILENCE)
    }

    /// What is to be said without having been asked.
    pub(super) fn tick(&self, now: u64, say: &mut Vec<Vec<u8>>) {
        let owes = self.signs.owing.get().is_some_and(|since| now >= since + SHOW);
        if owes {
            self.signs.owing.end();
        }
        let is_silent = self.is_silent(now);
        self.with_agreements(|agreements| {
            agreements.tick(now, say);
            if owes {
                agreements.prove_to_other(say);
            }
            agreements.offer_if_needed(is_silent, now, say);
        });
    }

    /// Asks the other end whether it is still there, and has it hear where this one is. Says whether there are keys for it.
    pub(super) fn ask(&self, now: u64, say: &mut Vec<Vec<u8>>) -> bool {
        let is_asked = self.agreements().ask(say);
        if is_asked {
            self.signs.waiting.begin(now);
        }
        is_asked
    }

    /// A batch of that worker.
    pub(super) fn turn(&self, worker: usize, now: u64) -> Turn<'_> {
        let (iv, sealed, heard) = (None, false, Signal::Nothing);
        Turn { peer: self, view: self.view(), worker, now, iv, sealed, heard }
    }
}

/// A batch of one worker. It has to begin after what is in it has come in: what is in force then is enough for it.
pub(super) struct Turn<'p> {
    peer: &'p Peer,
    view: Arc<View>,
    worker: usize,
    now: u64,
    /// What is in front of the sequence numbers in the IVs, once it was drawn.
    iv: Option<u32>,
    sealed: bool,
    heard: Signal,
}

/// What a batch has brought from the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    Nothing,
    Life,
    Packets,
}

impl Turn<'_> {
    /// Seals a payload of that next header: what is left is ESP.
    pub(super) fn seal(&mut self, packet: &mut Packet<'_>, next_header: u8) -> Result<(), Reason> {
        let sealing = self.view.sealing.as_ref().ok_or(Reason::NoKey)?;
        let mut sender = sealing.sender(self.worker).ok_or(Reason::NoKey)?;
        let iv = *self.iv.get_or_insert_with(anything);
        sender.seal_payload(packet, next_header, iv).map_err(SealError::reason)?;
        self.sealed = true;
        Ok(())
    }

    /// Takes ESP that came in. What is to be answered goes to `say`.
    pub(super) fn hear(
        &mut self,
        packet: &mut Packet<'_>,
        say: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Reason> {
        let header = Header::of_esp(packet.bytes())?;
        if self.view.hellos.contains(&header.spi) {
            return self.hear_hello(packet.bytes_mut(), header.spi, say);
        }
        let mut opening = self.view.opening.iter();
        let found = opening.find_map(|all| Some((all, all.inward(header.spi)?)));
        let (associations, inward) = found.ok_or(DropReason::UnknownSender)?;
        inward.window().check(header.sequence)?;
        let opened = inward.receiver.open_payload(packet)?;
        inward.window().mark(opened.sequence)?;
        let is_question = opened.next_header.is_none() && packet.bytes() == [QUESTION];
        self.heard = self.heard.max(match opened.next_header {
            Some(_) => Signal::Packets,
            None => Signal::Life,
        });
        if !associations.is_proven() {
            let now = self.now;
            self.peer.with_agreements(|agreements| agreements.prove(associations, now));
        }
        if is_question {
            self.peer.agreements().prove_to_other(say);
        }
        Ok(Heard::Now(opened.next_header))
    }

    fn hear_hello(
        &mut self,
        esp: &mut [u8],
        under: Spi,
        say: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Reason> {
        let now = self.now;
        let hello = {
            let agreements = self.peer.agreements();
            let key = agreements.key(under).ok_or(DropReason::UnknownSender)?;
            Hello::open(esp, key)?
        };
        let agreed = self.peer.with_agreements(|agreements| {
            // What agreeing leaves on the stack is keys.
            tsg_sodium::on_a_clean_stack(|| agreements.hear(&hello, under, now, say))
        });
        // What comes behind it may be sealed with what it has led to.
        self.view = self.peer.view();
        Ok(if agreed { Heard::Now(None) } else { Heard::Hello })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Signs { waiting, owing } = &self.peer.signs;
        match self.heard {
            Signal::Nothing => {}
            Signal::Life => waiting.end(),
            Signal::Packets => {
                waiting.end();
                owing.begin(self.now);
            }
        }
        if self.sealed {
            waiting.begin(self.now);
            owing.end();
        }
    }
}

/// Nothing but the sequence numbers makes IVs differ, and the other end reads nothing else in them. The rest is drawn, for
/// a machine that was copied as it ran, or set back to where it was: it goes on with the same numbers under the same keys.
fn anything() -> u32 {
    let mut bytes = [0; 4];
    tsg_sodium::random(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// What workers leave of their batches for who looks after the tunnel.
#[derive(Default)]
struct Signs {
    /// Since when something is sent without an answer.
    waiting: Moment,
    /// Since when something was heard, and nothing was sent.
    owing: Moment,
}

#[cfg(test)]
mod tests;
