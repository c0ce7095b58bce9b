//! What the two ends agree on, and when: under each key that they have in common, again and again.

use super::{QUESTION, View, anything};
use crate::pipeline::Budget;
use crate::tunnel::agreement::{Agreement, Heard};
use crate::tunnel::associations::Associations;
use crate::tunnel::hello::{Able, Hello};
use crate::tunnel::{Key, Public};
use std::collections::VecDeque;
use std::sync::Arc;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::Spi;
use tsg_esp::ip::protocol;
use tsg_esp::seal::SPARE_FROM;

/// Keys last so long.
pub(super) const LIFETIME: u64 = 3_600_000;

/// What was sealed with the keys before may still be on its way for so long.
pub(super) const GRACE: u64 = 10_000;

/// An offer without an answer is made again after this.
pub(super) const AGAIN: u64 = 1_000;

/// New keys that nothing came with yet are told of again after this.
pub(super) const PROVE_AGAIN: u64 = 500;

/// This end opens with so many keys at once: the newest, those in use, and those of before.
pub(super) const MOST_KEYS: usize = 3;

/// Answers to hellos in a second. Those of an attacker are recordings, so [each is answered](AGAIN_TO_ONE) a few times a second
/// only, and he is not in the way of a fresh one.
const ANSWERS: u32 = 2_000;

/// The same hello is answered again after this.
const AGAIN_TO_ONE: u64 = 200;

/// So many that were answered lately are known.
const LATELY: usize = 256;

/// The worker whose associations carry what the ends say to each other.
const SPEAKER: usize = 0;

/// What the ends agree on.
pub(super) struct Agreements {
    able: Able,
    /// One for each key that the two have in common: the one of a file, or those of a group.
    all: Vec<Agreement>,
    /// The key that new ones are made under, by the SPI of its hellos.
    offering: Option<Spi>,
    answers: Answers,
    /// What this end seals with.
    sealing: Option<Arc<Associations>>,
    unproven: Option<Unproven>,
    /// What this end opens with, the newest first.
    opening: Vec<Opening>,
    /// When the newest keys were agreed on.
    agreed: u64,
    /// When an offer was made last.
    offered: Option<u64>,
}

/// New keys that the other end may not have: nothing came with them yet.
struct Unproven {
    associations: Arc<Associations>,
    hello: Hello,
    told: u64,
}

/// How much is answered.
struct Answers {
    all: Budget,
    /// Whose half, and when; the latest is last.
    lately: VecDeque<(Public, u64)>,
}

impl Answers {
    const fn new() -> Self {
        Self { all: Budget::new(ANSWERS), lately: VecDeque::new() }
    }

    /// Whether a hello with that half is answered now.
    fn take(&mut self, half: &Public, now: u64) -> bool {
        let known = self.lately.iter().position(|(known, _)| known == half);
        let is_due = known.is_none_or(|at| now >= self.lately[at].1 + AGAIN_TO_ONE);
        if !is_due || !self.all.take(now) {
            return false;
        }
        match known {
            Some(at) => drop(self.lately.remove(at)),
            None if self.lately.len() == LATELY => drop(self.lately.pop_front()),
            None => {}
        }
        self.lately.push_back((*half, now));
        true
    }
}

struct Opening {
    associations: Arc<Associations>,
    /// The end of it, once there are newer keys in use.
    until: Option<u64>,
}

impl Agreements {
    pub(super) const fn new(able: Able) -> Self {
        Self {
            able,
            all: Vec::new(),
            offering: None,
            answers: Answers::new(),
            sealing: None,
            unproven: None,
            opening: Vec::new(),
            agreed: 0,
            offered: None,
        }
    }

    /// See [`super::Peer::hold`].
    pub(super) fn hold(&mut self, keys: Vec<(Key, bool)>) {
        let marked = keys.iter().rev().find(|(_, offers)| *offers);
        self.offering = marked.map(|(key, _)| key.hello_spi());
        let held: Vec<Spi> = keys.iter().map(|(key, _)| key.hello_spi()).collect();
        self.all.retain(|agreement| held.contains(&agreement.key().hello_spi()));
        for (key, _) in keys {
            if self.key(key.hello_spi()).is_none() {
                self.all.push(Agreement::new(key, self.able));
            }
        }
        let is_over = |associations: &Associations| !held.contains(&associations.under());
        self.opening.retain(|opening| !is_over(&opening.associations));
        self.sealing.take_if(|sealing| is_over(sealing));
        self.unproven.take_if(|unproven| is_over(&unproven.associations));
    }

    /// What workers are to go by.
    pub(super) fn view(&self) -> View {
        View {
            hellos: self.all.iter().map(|agreement| agreement.key().hello_spi()).collect(),
            sealing: self.sealing.clone(),
            opening: self.opening.iter().map(|opening| Arc::clone(&opening.associations)).collect(),
        }
    }

    pub(super) const fn agreed(&self) -> u64 {
        self.agreed
    }

    /// The key whose hellos have that SPI.
    pub(super) fn key(&self, under: Spi) -> Option<&Key> {
        self.all.iter().map(Agreement::key).find(|key| key.hello_spi() == under)
    }

    fn agreement(&mut self, under: Spi) -> Option<&mut Agreement> {
        self.all.iter_mut().find(|agreement| agreement.key().hello_spi() == under)
    }

    /// The other end has these keys.
    pub(super) fn prove(&mut self, proven: &Arc<Associations>, now: u64) {
        proven.prove();
        let newest = self.unproven.take_if(|one| Arc::ptr_eq(&one.associations, proven));
        if newest.is_some() {
            self.sealing = Some(Arc::clone(proven));
            for older in self.opening.iter_mut().skip(1) {
                older.until.get_or_insert(now + GRACE);
            }
        }
    }

    /// Hears an authentic hello. Says whether it has led to new keys.
    pub(super) fn hear(
        &mut self,
        hello: &Hello,
        under: Spi,
        now: u64,
        say: &mut Vec<Vec<u8>>,
    ) -> bool {
        let Some(agreement) = self.agreement(under) else { return false };
        match agreement.hear(hello) {
            Heard::Again if self.answers.take(&hello.own, now) => self.prove_to_other(say),
            Heard::Answer(answer) if self.answers.take(&hello.own, now) => {
                self.say_hello(&answer, under, say)
            }
            Heard::Own | Heard::Again | Heard::Answer(_) => {}
            Heard::Agreed(session, hello) => {
                let Ok(associations) = Associations::new(&session, under) else { return false };
                let associations = Arc::new(associations);
                let newest = Opening { associations: Arc::clone(&associations), until: None };
                self.opening.insert(0, newest);
                if self.opening.len() > MOST_KEYS {
                    // Never those in use: they are the newest that something came with.
                    let least = if self.unproven.is_some() { 1 } else { MOST_KEYS };
                    self.opening.remove(least);
                }
                self.agreed = now;
                self.unproven = Some(Unproven { associations, hello, told: now });
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
    }

    /// Offers if there are no keys, or they are worn, or the other end may have lost them.
    pub(super) fn offer_if_needed(&mut self, is_silent: bool, now: u64, say: &mut Vec<Vec<u8>>) {
        let Some(offering) = self.offering else { return };
        let is_worn = self.sealing.as_ref().is_none_or(|sealing| {
            sealing.sequence() >= SPARE_FROM
                || now >= self.agreed + LIFETIME
                || sealing.under() != offering
        });
        let is_due = self.offered.is_none_or(|offered| now >= offered + AGAIN);
        if (is_worn || is_silent) && is_due {
            self.offered = Some(now);
            let offer = self.agreement(offering).map(|agreement| agreement.offer());
            if let Some(offer) = offer {
                self.say_hello(&offer, offering, say);
            }
        }
    }

    fn say_hello(&self, hello: &Hello, under: Spi, say: &mut Vec<Vec<u8>>) {
        let mut random = [0; 12];
        tsg_sodium::random(&mut random);
        if let Some(key) = self.key(under) {
            say.push(hello.seal(key, random));
        }
    }

    fn tell_unproven(&mut self, now: u64, say: &mut Vec<Vec<u8>>) {
        let Some(unproven) = &mut self.unproven else { return };
        unproven.told = now;
        let (hello, under) = (unproven.hello, unproven.associations.under());
        self.say_hello(&hello, under, say);
        self.prove_to_other(say);
    }

    /// Something under the newest keys.
    pub(super) fn prove_to_other(&self, say: &mut Vec<Vec<u8>>) {
        let newest = self.unproven.as_ref().map(|unproven| &unproven.associations);
        if let Some(associations) = newest.or(self.sealing.as_ref()) {
            say.extend(dummy(associations, &[]));
        }
    }

    /// A question under the keys in use. Says whether there are any.
    pub(super) fn ask(&self, say: &mut Vec<Vec<u8>>) -> bool {
        let question = self.sealing.as_ref().and_then(|sealing| dummy(sealing, &[QUESTION]));
        let is_asked = question.is_some();
        say.extend(question);
        is_asked
    }

    #[cfg(test)]
    pub(super) fn offer(&mut self) -> Vec<u8> {
        let (under, mut say) = (self.offering.unwrap(), Vec::new());
        let offer = self.agreement(under).unwrap().offer();
        self.say_hello(&offer, under, &mut say);
        say.remove(0)
    }

    #[cfg(test)]
    pub(super) const fn opening(&self) -> usize {
        self.opening.len()
    }
}

/// A dummy packet (RFC 4303 section 2.6) with that in it.
fn dummy(associations: &Associations, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut sender = associations.sender(SPEAKER)?;
    let mut room = [0; HEAD_ROOM + TAIL_ROOM + 3];
    let mut packet = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM).ok()?;
    packet.push_back(bytes.len()).ok()?;
    packet.bytes_mut().copy_from_slice(bytes);
    sender.seal_payload(&mut packet, protocol::NO_NEXT_HEADER, anything()).ok()?;
    Some(packet.bytes().to_vec())
}
