//! How two ends come to keys that were never used before: at a start, every hour, and when one has not heard the other
//! for long.
//!
//! Each end offers a half, an X25519 public key, that is good for one agreement. Who hears its own half back in a
//! [`Hello`] knows that the other end is there now: what was recorded earlier names a half that is over. No clock, no
//! sockets, and nothing on a disk: after a crash or from a backup an end begins with a new half, so that no nonce
//! comes twice under one key.
//!
//! Not here: when hellos are sent, and to where ([`super::peer`]).

use super::hello::{Able, Hello};
use super::key::first_spi;
use super::{Key, Public};
use crate::identity::SecretKey;
use tsg_esp::crypto::{Spi, Suite, Tek};

/// What both ends have after an agreement. The secrets of the two directions differ.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) suite: Suite,
    /// What this end seals with: the first SPI, and the secret.
    pub(super) out: (Spi, Tek),
    /// What it opens with.
    pub(super) inward: (Spi, Tek),
    /// So many of this end's workers seal, and so many of the other's.
    pub(super) workers: [u8; 2],
}

/// What a hello leads to.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing: it is one's own.
    Own,
    /// The other end does not know yet that this one has the same keys.
    Again,
    /// To be told what this end has.
    Answer(Hello),
    /// Both have offered a half that the other has heard now. The answer is still to be sent.
    Agreed(Session, Hello),
}

/// One end.
#[derive(Debug)]
pub(super) struct Agreement {
    key: Key,
    able: Able,
    half: Half,
    /// The halves of the last agreement: this end's and the other's.
    last: Option<(Public, Public)>,
}

/// This end's part in the next agreement.
#[derive(Debug)]
struct Half {
    secret: SecretKey,
    public: Public,
    spi: Spi,
}

impl Half {
    fn new() -> Self {
        let secret = SecretKey::generate();
        let mut random = [0; 32];
        tsg_sodium::random(&mut random);
        Self { public: Public(secret.public().0), spi: first_spi(&random), secret }
    }
}

impl Agreement {
    pub(super) fn new(key: Key, able: Able) -> Self {
        Self { key, able, half: Half::new(), last: None }
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// What begins an agreement.
    pub(super) const fn offer(&self) -> Hello {
        self.hello(None)
    }

    const fn hello(&self, heard: Option<Public>) -> Hello {
        Hello { able: self.able, spi: self.half.spi, own: self.half.public, heard }
    }

    /// Hears an authentic hello, which may be somebody's recording.
    pub(super) fn hear(&mut self, hello: &Hello) -> Heard {
        let ours = |(own, _): (Public, Public)| own == hello.own;
        if hello.own == self.half.public || self.last.is_some_and(ours) {
            return Heard::Own;
        }
        if self.last.is_some_and(|(own, peer)| peer == hello.own && hello.heard == Some(own)) {
            return Heard::Again;
        }
        let answer = self.hello(Some(hello.own));
        if hello.heard != Some(self.half.public) {
            return Heard::Answer(answer);
        }
        let Ok((out, inward)) = self.key.agree(&self.half.secret, &hello.own) else {
            return Heard::Own;
        };
        let session = Session {
            suite: self.able.suite_with(hello.able),
            out: (hello.spi, out),
            inward: (self.half.spi, inward),
            workers: [self.able.workers, hello.able.workers],
        };
        self.last = Some((self.half.public, hello.own));
        self.half = Half::new();
        Heard::Agreed(session, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (Agreement, Agreement) {
        tsg_sodium::init().unwrap();
        let key = Key::generate();
        let text = key.text();
        let end = |key, aes| Agreement::new(key, Able::alone(aes));
        (end(key, true), end(Key::parse(&text).unwrap(), false))
    }

    fn agreed(heard: Heard) -> (Session, Hello) {
        match heard {
            Heard::Agreed(session, answer) => (session, answer),
            other @ (Heard::Own | Heard::Again | Heard::Answer(_)) => panic!("{other:?}"),
        }
    }

    fn answer(heard: Heard) -> Hello {
        match heard {
            Heard::Answer(hello) => hello,
            other @ (Heard::Own | Heard::Again | Heard::Agreed(..)) => panic!("{other:?}"),
        }
    }

    /// From the offer of the one to both sessions.
    fn agree(one: &mut Agreement, other: &mut Agreement) -> (Session, Session) {
        let reply = answer(other.hear(&one.offer()));
        let (first, confirmed) = agreed(one.hear(&reply));
        let (second, last) = agreed(other.hear(&confirmed));
        assert!(matches!(one.hear(&last), Heard::Again));
        (first, second)
    }

    fn fit(one: &Session, other: &Session) {
        assert_eq!((&one.out, &one.inward), (&other.inward, &other.out));
        assert_ne!(one.out.1, one.inward.1);
        assert_eq!((one.suite, other.suite), (Suite::ChaCha20Poly1305, Suite::ChaCha20Poly1305));
    }

    #[test]
    fn both_have_the_same_keys_and_new_ones_each_time() {
        let (mut one, mut other) = two();
        let (first, same) = agree(&mut one, &mut other);
        fit(&first, &same);
        let (second, same) = agree(&mut other, &mut one);
        fit(&second, &same);
        assert_ne!(first.out.1, second.out.1);
        assert_ne!(first.out.1, second.inward.1);
    }

    #[test]
    fn offers_that_cross_lead_to_one_agreement() {
        let (mut one, mut other) = two();
        let (first, second) = (one.offer(), other.offer());
        let (to_one, to_other) = (answer(other.hear(&first)), answer(one.hear(&second)));
        let (here, confirmed) = agreed(one.hear(&to_one));
        let (there, again) = agreed(other.hear(&to_other));
        fit(&here, &there);
        assert!(matches!(other.hear(&confirmed), Heard::Again));
        assert!(matches!(one.hear(&again), Heard::Again));
    }

    #[test]
    fn a_restarted_end_is_taken_back() {
        let (mut one, mut other) = two();
        agree(&mut one, &mut other);
        let mut restarted = Agreement::new(Key::parse(&one.key.text()).unwrap(), one.able);
        let (here, there) = agree(&mut restarted, &mut other);
        fit(&here, &there);
    }

    #[test]
    fn a_recording_changes_nothing() {
        let (mut one, mut other) = two();
        let offer = one.offer();
        let reply = answer(other.hear(&offer));
        let (_, confirmed) = agreed(one.hear(&reply));
        agreed(other.hear(&confirmed));
        agree(&mut one, &mut other);
        // All of the first agreement once more, to each end.
        for recorded in [&offer, &reply, &confirmed] {
            for end in [&mut one, &mut other] {
                let before = end.last;
                assert!(!matches!(end.hear(recorded), Heard::Agreed(..)));
                assert_eq!(end.last, before);
            }
        }
        // One's own words come back.
        assert!(matches!(one.hear(&one.offer()), Heard::Own));
    }

    #[test]
    fn another_key_leads_to_other_secrets() {
        let (mut one, _) = two();
        let (mut stranger, _) = two();
        let reply = answer(stranger.hear(&one.offer()));
        let (here, confirmed) = agreed(one.hear(&reply));
        let (there, _) = agreed(stranger.hear(&confirmed));
        assert_ne!(here.out.1, there.inward.1);
    }
}
