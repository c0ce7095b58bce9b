//! Who is connected: where answers to a key go, and how much that key may still say.

use super::allowance::{Allowance, Rate};
use super::roster::{Roster, Standing};
use std::collections::HashMap;
use tsg_control::keys::PublicKey;

/// More peers than this are not remembered; file descriptors end before.
const MOST_PEERS: usize = 65_536;

/// A peer that says nothing for this long, in milliseconds, is forgotten; gateways speak every ten
/// seconds.
const SILENT: u64 = 120_000;

/// A gateway that is let in. It says less than one thing a second when all is well.
const MEMBER: Rate = Rate { a_second: 1_000, at_once: 2_000 };

/// One that waits, or was thrown out, asks every few seconds.
const STRANGER: Rate = Rate { a_second: 2, at_once: 20 };

/// All strangers together: keys cost nothing.
const STRANGERS: Rate = Rate { a_second: 500, at_once: 2_000 };

/// The peers that were heard lately.
pub(super) struct Peers {
    roster: Roster,
    known: HashMap<PublicKey, Peer>,
    strangers: Allowance,
}

struct Peer {
    route: Vec<u8>,
    standing: Standing,
    allowance: Allowance,
    heard: u64,
}

impl Peers {
    pub(super) fn new(roster: Roster) -> Self {
        Self { roster, known: HashMap::new(), strangers: Allowance::full(STRANGERS, 0) }
    }

    pub(super) fn count(&self) -> u64 {
        self.known.len() as u64
    }

    /// A message of `bytes` came from `key` by `route`: answers go there from now on.
    ///
    /// # Errors
    /// Why it is not to be read.
    pub(super) fn hear(
        &mut self,
        key: PublicKey,
        route: &[u8],
        bytes: usize,
        now: u64,
    ) -> Result<(), &'static str> {
        let standing = self.roster.standing(&key);
        let rate = if standing == Standing::Member { MEMBER } else { STRANGER };
        if standing != Standing::Member && !self.strangers.pay(bytes, STRANGERS, now) {
            return Err("too many strangers");
        }
        if self.known.len() >= MOST_PEERS && !self.known.contains_key(&key) {
            return Err("too many peers");
        }
        let peer = self.known.entry(key).or_insert_with(|| Peer {
            route: Vec::new(),
            standing,
            allowance: Allowance::full(rate, now),
            heard: now,
        });
        if peer.standing != standing {
            peer.standing = standing;
            peer.allowance = Allowance::full(rate, now);
        }
        peer.heard = now;
        if peer.route != route {
            route.clone_into(&mut peer.route);
        }
        if peer.allowance.pay(bytes, rate, now) { Ok(()) } else { Err("too many messages") }
    }

    /// Where answers to `key` go.
    pub(super) fn route(&self, key: &PublicKey) -> Option<&[u8]> {
        self.known.get(key).map(|peer| peer.route.as_slice())
    }

    pub(super) fn forget(&mut self, key: &PublicKey) {
        self.known.remove(key);
    }

    pub(super) fn forget_silent(&mut self, now: u64) {
        self.known.retain(|_, peer| now.saturating_sub(peer.heard) < SILENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::server::{GatewayRecord, Record};

    fn roster(member: PublicKey) -> Roster {
        let roster = Roster::default();
        roster.note(&Record::Gateway(GatewayRecord {
            key: member,
            name: "a".to_owned(),
            group: "g".to_owned(),
            revoked: None,
            approved: 0,
            aes: false,
            machines: Vec::new(),
            pinned: Vec::new(),
        }));
        roster
    }

    #[test]
    fn answers_go_where_the_key_was_heard_last() {
        let key = PublicKey([1; 32]);
        let mut peers = Peers::new(roster(key));
        peers.hear(key, b"first", 100, 0).unwrap();
        peers.hear(key, b"second", 100, 1).unwrap();
        assert_eq!(peers.route(&key), Some(&b"second"[..]));
        peers.forget_silent(SILENT);
        assert_eq!(peers.route(&key), Some(&b"second"[..]));
        peers.forget_silent(SILENT + 1);
        assert_eq!(peers.route(&key), None);
    }

    #[test]
    fn one_stranger_cannot_say_much_and_all_of_them_not_more() {
        let member = PublicKey([255; 32]);
        let mut peers = Peers::new(roster(member));
        let one =
            (0..1_000).filter(|_| peers.hear(PublicKey([1; 32]), b"r", 10, 0).is_ok()).count();
        assert!(one < 21, "{one}");
        let mut heard = 0;
        for number in 0..100_000_u32 {
            let mut key = [2; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            heard += u32::from(peers.hear(PublicKey(key), b"r", 10, 0).is_ok());
        }
        assert!(heard < 2_000, "{heard}");
        assert_eq!(peers.hear(member, b"r", 100, 0), Ok(()));
    }
}
