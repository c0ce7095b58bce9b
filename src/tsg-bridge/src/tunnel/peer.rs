//! The other end: the keys that this one has with it, and what is to be said to it and when.
//!
//! Time comes in as milliseconds of the boot's clock, what is to be sent goes out as bytes. Not here: how they get
//! there ([`super::wire`]).

use super::Key;
use super::agreement::{Agreement, Session};
use super::hello::{Hello, Suites};
use crate::pipeline::{Budget, Reason};
use core::ops::Range;
use tsg_esp::DropReason;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Kdf as _, Spi, Suite, Tek};
use tsg_esp::open::{Header, Receiver};
use tsg_esp::replay::Window;
use tsg_esp::seal::{SEQUENCE_END, SPARE_FROM, SealError, Sender};
use tsg_sodium::{AnyCipher, NoAes, Sodium};

/// Keys last so long.
const LIFETIME: u64 = 3_600_000;

/// What was sealed with the keys before may still be on its way for so long.
const GRACE: u64 = 10_000;

/// An offer without an answer is made again after this.
const AGAIN: u64 = 1_000;

/// New keys that nothing came with yet are told of again after this.
const PROVE_AGAIN: u64 = 500;

/// Who was sent something and said nothing for so long may have lost the keys.
const SILENCE: u64 = 15_000;

/// Who heard something for so long, and had nothing to send, shows that it is there.
const SHOW: u64 = 5_000;

/// This end opens with so many keys at once: the newest, those in use, and those of before.
const MOST_KEYS: usize = 3;

/// Answers to hellos in a second: those of an attacker are recordings.
const ANSWERS: u32 = 5;

/// Packets carry no time: nothing but the sequence number makes their IVs.
const NO_TIME: u32 = 0;

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
    suites: Suites,
    /// One for each key that the two have in common: the one of a file, or those of a group.
    agreements: Vec<Agreement>,
    /// The key that new agreements are made under, by the SPI of its hellos.
    offering: Option<Spi>,
    answers: Budget,
    /// What this end seals with, and the key that it was agreed on under.
    sealing: Option<(Box<Sender<AnyCipher>>, Spi)>,
    unproven: Option<Unproven>,
    /// What this end opens with, the newest first.
    opening: Vec<Opening>,
    /// When the newest keys were agreed on.
    agreed: u64,
    /// Since when something is sent without an answer.
    waiting: Option<u64>,
    /// Since when something was heard, and nothing was sent.
    owing: Option<u64>,
    /// When an offer was made last.
    offered: Option<u64>,
}

/// New keys that the other end may not have: nothing came with them yet.
struct Unproven {
    sender: Box<Sender<AnyCipher>>,
    under: Spi,
    hello: Hello,
    told: u64,
}

struct Opening {
    receiver: Box<Receiver<AnyCipher>>,
    under: Spi,
    window: Box<Window>,
    /// The end of it, once there are newer keys in use.
    until: Option<u64>,
}

impl Peer {
    /// With the key of a file.
    pub(super) fn new(key: Key, suites: Suites) -> Self {
        let mut peer = Self::without_keys(suites);
        peer.hold(vec![(key, true)]);
        peer
    }

    /// One that has nothing in common with this end yet.
    pub(super) fn without_keys(suites: Suites) -> Self {
        Self {
            suites,
            agreements: Vec::new(),
            offering: None,
            answers: Budget::new(ANSWERS),
            sealing: None,
            unproven: None,
            opening: Vec::new(),
            agreed: 0,
            waiting: None,
            owing: None,
            offered: None,
        }
    }

    /// From now on the two have these keys in common, and no others: what was agreed on under others is over. New agreements
    /// are made under the last that is marked so.
    pub(super) fn hold(&mut self, keys: Vec<(Key, bool)>) {
        let marked = keys.iter().rev().find(|(_, offers)| *offers);
        self.offering = marked.map(|(key, _)| key.hello_spi());
        let held: Vec<Spi> = keys.iter().map(|(key, _)| key.hello_spi()).collect();
        self.agreements.retain(|agreement| held.contains(&agreement.key().hello_spi()));
        for (key, _) in keys {
            if self.agreement(key.hello_spi()).is_none() {
                self.agreements.push(Agreement::new(key, self.suites));
            }
        }
        self.opening.retain(|opening| held.contains(&opening.under));
        self.sealing.take_if(|(_, under)| !held.contains(under));
        self.unproven.take_if(|unproven| !held.contains(&unproven.under));
    }

    fn agreement(&mut self, under: Spi) -> Option<&mut Agreement> {
        self.agreements.iter_mut().find(|agreement| agreement.key().hello_spi() == under)
    }

    /// Whether packets go through.
    pub(super) const fn is_up(&self) -> bool {
        self.sealing.is_some()
    }

    /// The cipher that packets are sealed with, and when its keys were agreed on.
    pub(super) fn keys(&self) -> Option<(Suite, u64)> {
        self.sealing.as_ref().map(|(sender, _)| (sender.cipher().suite(), self.agreed))
    }

    /// Whether the other end has said nothing for long, though it was sent something.
    pub(super) fn is_silent(&self, now: u64) -> bool {
        self.waiting.is_some_and(|since| now >= since + SILENCE)
    }

    /// Seals a payload of that next header: what is left is ESP.
    pub(super) fn seal(
        &mut self,
        packet: &mut Packet<'_>,
        next_header: u8,
        now: u64,
    ) -> Result<(), Reason> {
        let (sender, _) = self.sealing.as_mut().ok_or(Reason::NoKey)?;
        sender.seal_payload(packet, next_header, NO_TIME).map_err(SealError::reason)?;
        self.waiting.get_or_insert(now);
        self.owing = None;
        Ok(())
    }

    /// Takes ESP that came in. What is to be answered goes to `say`.
    pub(super) fn hear(
        &mut self,
        packet: &mut Packet<'_>,
        now: u64,
        say: &mut Vec<Vec<u8>>,
    ) -> Result<Heard, Reason> {
        let header = Header::of_esp(packet.bytes())?;
        if let Some(agreement) = self.agreement(header.spi) {
            let hello = Hello::open(packet.bytes_mut(), agreement.key())?;
            let under = header.spi;
            // What agreeing leaves on the stack is keys.
            let agreed = tsg_sodium::on_a_clean_stack(|| self.hear_hello(&hello, under, now, say));
            return Ok(if agreed { Heard::Now(None) } else { Heard::Hello });
        }
        let place = self.opening.iter().position(|opening| opening.receiver.spi() == header.spi);
        let place = place.ok_or(DropReason::UnknownSender)?;
        let opening = &mut self.opening[place];
        opening.window.check(header.sequence)?;
        let opened = opening.receiver.open_payload(packet)?;
        opening.window.mark(opened.sequence)?;
        self.waiting = None;
        if opened.next_header.is_some() {
            self.owing.get_or_insert(now);
        }
        if place == 0 {
            self.prove(now);
        }
        Ok(Heard::Now(opened.next_header))
    }

    /// The other end has the newest keys.
    fn prove(&mut self, now: u64) {
        if let Some(unproven) = self.unproven.take() {
            self.sealing = Some((unproven.sender, unproven.under));
            for older in self.opening.iter_mut().skip(1) {
                older.until.get_or_insert(now + GRACE);
            }
        }
    }

    /// Says whether it has led to new keys.
    fn hear_hello(&mut self, hello: &Hello, under: Spi, now: u64, say: &mut Vec<Vec<u8>>) -> bool {
        use super::agreement::Heard;
        let Some(agreement) = self.agreement(under) else { return false };
        match agreement.hear(hello) {
            Heard::Again if self.answers.take(now) => self.prove_to_other(say),
            Heard::Answer(answer) if self.answers.take(now) => self.say_hello(&answer, under, say),
            Heard::Own | Heard::Again | Heard::Answer(_) => {}
            Heard::Agreed(session, answer) => {
                let fresh = 1..SEQUENCE_END;
                let Ok((sender, receiver)) = associations(&session, fresh) else { return false };
                let window = Box::default();
                self.opening.insert(0, Opening { receiver, under, window, until: None });
                if self.opening.len() > MOST_KEYS {
                    // Never those in use: they are the newest that something came with.
                    let least = if self.unproven.is_some() { 1 } else { MOST_KEYS };
                    self.opening.remove(least);
                }
                self.agreed = now;
                self.unproven = Some(Unproven { sender, under, hello: answer, told: now });
                self.tell_unproven(now, say);
                return true;
            }
        }
        false
    }

    /// What is to be said without having been asked.
    pub(super) fn tick(&mut self, now: u64, say: &mut Vec<Vec<u8>>) {
        self.opening.retain(|opening| opening.until.is_none_or(|until| now < until));
        if self.unproven.as_ref().is_some_and(|unproven| now >= unproven.told + PROVE_AGAIN) {
            self.tell_unproven(now, say);
        }
        if self.owing.is_some_and(|since| now >= since + SHOW) {
            self.owing = None;
            self.prove_to_other(say);
        }
        let Some(offering) = self.offering else { return };
        let worn = |(sender, under): &(Box<Sender<AnyCipher>>, Spi)| {
            sender.sequence() >= SPARE_FROM || now >= self.agreed + LIFETIME || *under != offering
        };
        let wanted = self.sealing.as_ref().is_none_or(worn) || self.is_silent(now);
        if wanted && self.offered.is_none_or(|offered| now >= offered + AGAIN) {
            self.offered = Some(now);
            let offer = self.agreement(offering).map(|agreement| agreement.offer());
            if let Some(offer) = offer {
                self.say_hello(&offer, offering, say);
            }
        }
    }

    fn say_hello(&mut self, hello: &Hello, under: Spi, say: &mut Vec<Vec<u8>>) {
        let mut random = [0; 12];
        tsg_sodium::random(&mut random);
        if let Some(agreement) = self.agreement(under) {
            say.push(hello.seal(agreement.key(), random));
        }
    }

    fn tell_unproven(&mut self, now: u64, say: &mut Vec<Vec<u8>>) {
        let Some(unproven) = &mut self.unproven else { return };
        unproven.told = now;
        let (hello, under) = (unproven.hello, unproven.under);
        self.say_hello(&hello, under, say);
        self.prove_to_other(say);
    }

    /// Something under the newest keys.
    fn prove_to_other(&mut self, say: &mut Vec<Vec<u8>>) {
        let newest = self.unproven.as_mut().map(|unproven| &mut unproven.sender);
        let proven = self.sealing.as_mut().map(|(sender, _)| sender);
        let Some(sender) = newest.or(proven) else { return };
        let mut room = [0; HEAD_ROOM + TAIL_ROOM + 3];
        let Ok(mut packet) = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM) else { return };
        if sender.seal_dummy(&mut packet, NO_TIME).is_ok() {
            say.push(packet.bytes().to_vec());
        }
    }
}

pub(super) type Associations = (Box<Sender<AnyCipher>>, Box<Receiver<AnyCipher>>);

/// Both directions of a session, with their keys where they stay. It is sealed with these numbers.
pub(super) fn associations(session: &Session, numbers: Range<u64>) -> Result<Associations, NoAes> {
    let blank = || AnyCipher::blank(session.suite);
    let Range { start, end } = numbers;
    // A smaller cipher in the place of a larger one takes along what lay on the stack, which is secrets by now.
    let both = || -> Result<Associations, NoAes> {
        let sender = Box::new(Sender::new(session.out.0, blank()?, [0; 4], start, end));
        Ok((sender, Box::new(Receiver::new(session.inward.0, blank()?, [0; 4]))))
    };
    let (mut sender, mut receiver) = tsg_sodium::on_a_clean_stack(both)?;
    give_key(sender.key_mut(), &session.out);
    give_key(receiver.key_mut(), &session.inward);
    Ok((sender, receiver))
}

fn give_key((cipher, salt): (&mut AnyCipher, &mut [u8; 4]), (spi, tek): &(Spi, Tek)) {
    let key = Sodium::derive(tek, *spi);
    *salt = key.salt;
    cipher.set_key(&key);
}

#[cfg(test)]
mod tests;
