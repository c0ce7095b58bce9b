//! Who is connected: where answers to a key go, and how much that key may still say.

use super::allowance::{Allowance, MESSAGE, Rate, price};
use super::roster::{Roster, Standing};
use super::strangers::Strangers;
use std::collections::HashMap;
use tsg_control::keys::PublicKey;

/// A peer that says nothing for this long, in milliseconds, is forgotten; gateways speak every ten
/// seconds.
const SILENT: u64 = 120_000;

/// A gateway that is let in. It says less than one thing a second when all is well.
const MEMBER: Rate = Rate { a_second: 1_000, at_once: 2_000 };

/// To a member's registration the answer is a whole state: it costs as much as this many messages
/// more.
const REGISTRATION: u64 = 49;

/// A member has at most this many connections that answers were or may be sent to: what it does not read waits in
/// memory, for each of them. One that lost its link comes again before the old connection is
/// known to be dead.
const MOST_ROUTES: usize = 3;

/// What comes with a message.
pub(super) struct Envelope<'a> {
    /// Whose it is.
    pub(super) from: PublicKey,
    /// The connection it came by.
    pub(super) route: &'a [u8],
    /// The network address of the other end.
    pub(super) address: &'a str,
    /// Its length.
    pub(super) bytes: usize,
}

/// The peers that were heard lately.
pub(super) struct Peers {
    roster: Roster,
    members: HashMap<PublicKey, Member>,
    strangers: Strangers,
}

struct Member {
    routes: Routes,
    allowance: Allowance,
    heard: u64,
}

/// The connections of one key; answers go to the one it was heard by last.
#[derive(Default)]
pub(super) struct Routes(Vec<Vec<u8>>);

impl Routes {
    /// It was heard by `route`. Gives `false` when there are too many that are `alive`.
    fn heard_by(&mut self, route: &[u8], alive: impl Fn(&[u8]) -> bool) -> bool {
        if self.last() == Some(route) {
            return true;
        }
        if let Some(at) = self.0.iter().position(|known| known == route) {
            self.0[at..].rotate_left(1);
            return true;
        }
        if self.0.len() >= MOST_ROUTES {
            self.0.retain(|known| alive(known));
        }
        let room = self.0.len() < MOST_ROUTES;
        if room {
            self.0.push(route.to_vec());
        }
        room
    }

    fn last(&self) -> Option<&[u8]> {
        self.0.last().map(Vec::as_slice)
    }
}

impl Peers {
    pub(super) fn new(roster: Roster) -> Self {
        Self { roster, members: HashMap::new(), strangers: Strangers::new() }
    }

    pub(super) fn count(&self) -> u64 {
        (self.members.len() + self.strangers.count()) as u64
    }

    /// Members that are connected.
    pub(super) fn members(&self) -> u64 {
        self.members.len() as u64
    }

    /// A message came: answers go where it came from. `alive` says whether a connection is still
    /// there.
    ///
    /// # Errors
    /// Why it is not to be read.
    pub(super) fn hear(
        &mut self,
        envelope: &Envelope<'_>,
        now: u64,
        alive: impl Fn(&[u8]) -> bool,
    ) -> Result<(), &'static str> {
        let &Envelope { from, route, address, bytes } = envelope;
        let routes = if self.roster.standing(&from) == Standing::Member {
            let member = self.members.entry(from).or_insert_with(|| Member {
                routes: self.strangers.remove(&from).unwrap_or_default(),
                allowance: Allowance::full(MEMBER, now),
                heard: now,
            });
            member.heard = now;
            if !member.allowance.pay(price(bytes), MEMBER, now) {
                return Err("too many messages");
            }
            &mut member.routes
        } else {
            self.strangers.pay(&from, address, bytes, now)?;
            let earlier = self.members.remove(&from);
            let Some(routes) = self.strangers.routes_mut(&from) else { return Ok(()) };
            if let Some(earlier) = earlier {
                *routes = earlier.routes;
            }
            routes
        };
        if routes.heard_by(route, alive) { Ok(()) } else { Err("too many connections") }
    }

    /// The message was a registration.
    ///
    /// # Errors
    /// Why it is not to be answered.
    pub(super) fn hear_registration(
        &mut self,
        from: &PublicKey,
        now: u64,
    ) -> Result<(), &'static str> {
        let member = self.members.get_mut(from);
        let pays = |member: &mut Member| member.allowance.pay(REGISTRATION * MESSAGE, MEMBER, now);
        if member.is_none_or(pays) { Ok(()) } else { Err("too many registrations") }
    }

    /// Where answers to `key` go.
    pub(super) fn route(&self, key: &PublicKey) -> Option<&[u8]> {
        let member = self.members.get(key).map(|member| &member.routes);
        member.or_else(|| self.strangers.routes(key)).and_then(Routes::last)
    }

    /// The connection that answers to `key` went to is gone.
    pub(super) fn forget_route(&mut self, key: &PublicKey) {
        let member = self.members.get_mut(key).map(|member| &mut member.routes);
        if let Some(routes) = member.or_else(|| self.strangers.routes_mut(key)) {
            routes.0.pop();
        }
    }

    /// Forgets those that are silent. A member's connections count for as long as they are
    /// `alive`: what it has not read still waits.
    pub(super) fn forget_silent(&mut self, now: u64, alive: impl Fn(&[u8]) -> bool) {
        let before = now.saturating_sub(SILENT);
        self.strangers.forget_silent(before);
        self.members.retain(|_, member| {
            if member.heard > before {
                return true;
            }
            member.routes.0.retain(|route| alive(route));
            member.heard = now;
            !member.routes.0.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::server::{GatewayRecord, Record};

    const MEMBERS_KEY: PublicKey = PublicKey([255; 32]);

    fn record(revoked: Option<&str>) -> Record {
        Record::Gateway(GatewayRecord {
            key: MEMBERS_KEY,
            name: "a".to_owned(),
            group: "g".to_owned(),
            revoked: revoked.map(str::to_owned),
            approved: 0,
            aes: false,
            machines: Vec::new(),
            pinned: Vec::new(),
        })
    }

    fn peers() -> Peers {
        let roster = Roster::default();
        roster.note(&record(None));
        Peers::new(roster)
    }

    fn hear(
        peers: &mut Peers,
        from: PublicKey,
        route: &[u8],
        now: u64,
    ) -> Result<(), &'static str> {
        hear_while(peers, from, route, now, |_| true)
    }

    fn hear_while(
        peers: &mut Peers,
        from: PublicKey,
        route: &[u8],
        now: u64,
        alive: impl Fn(&[u8]) -> bool,
    ) -> Result<(), &'static str> {
        let envelope = Envelope { from, route, address: "192.0.2.1", bytes: 100 };
        peers.hear(&envelope, now, alive)
    }

    #[test]
    fn answers_go_where_the_key_was_heard_last() {
        let mut peers = peers();
        for key in [MEMBERS_KEY, PublicKey([1; 32])] {
            hear(&mut peers, key, b"first", 1).unwrap();
            hear(&mut peers, key, b"second", 1).unwrap();
            assert_eq!(peers.route(&key), Some(&b"second"[..]));
            hear(&mut peers, key, b"first", 1).unwrap();
            assert_eq!(peers.route(&key), Some(&b"first"[..]));
            peers.forget_route(&key);
            assert_eq!(peers.route(&key), Some(&b"second"[..]));
            peers.forget_silent(SILENT, |_| false);
            assert_eq!(peers.route(&key), Some(&b"second"[..]));
            peers.forget_silent(SILENT + 1, |_| false);
            assert_eq!(peers.route(&key), None);
        }
        assert_eq!(peers.count(), 0);
    }

    #[test]
    fn a_key_has_few_connections() {
        let mut peers = peers();
        for route in [b"1", b"2", b"3"] {
            hear(&mut peers, MEMBERS_KEY, route, 1).unwrap();
        }
        assert_eq!(hear(&mut peers, MEMBERS_KEY, b"4", 1), Err("too many connections"));
        assert_eq!(peers.route(&MEMBERS_KEY), Some(&b"3"[..]));
        // Silence does not hide those that are there.
        peers.forget_silent(10 * SILENT, |_| true);
        assert_eq!(hear(&mut peers, MEMBERS_KEY, b"4", 1), Err("too many connections"));
        let alive = |route: &[u8]| route != b"2";
        assert_eq!(hear_while(&mut peers, MEMBERS_KEY, b"4", 1, alive), Ok(()));
        assert_eq!(peers.route(&MEMBERS_KEY), Some(&b"4"[..]));
    }

    #[test]
    fn registrations_cost_more() {
        let mut peers = peers();
        hear(&mut peers, MEMBERS_KEY, b"r", 0).unwrap();
        let answered =
            (0..1_000).filter(|_| peers.hear_registration(&MEMBERS_KEY, 0).is_ok()).count();
        assert!((38..=40).contains(&answered), "{answered}");
        let later = peers.hear_registration(&MEMBERS_KEY, 1_000);
        assert_eq!(later, Ok(()));
        // A stranger's is answered in a few words.
        let stranger = PublicKey([1; 32]);
        hear(&mut peers, stranger, b"r", 0).unwrap();
        assert_eq!(peers.hear_registration(&stranger, 0), Ok(()));
    }

    #[test]
    fn strangers_take_nothing_from_members() {
        let mut peers = peers();
        for number in 0..100_000_u32 {
            let mut key = [2; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            let _ = hear(&mut peers, PublicKey(key), b"r", 0);
        }
        assert!(peers.count() <= 4_096, "{}", peers.count());
        assert_eq!(hear(&mut peers, MEMBERS_KEY, b"r", 0), Ok(()));
    }

    #[test]
    fn who_is_let_in_or_thrown_out_changes_places() {
        let mut peers = peers();
        hear(&mut peers, MEMBERS_KEY, b"r", 0).unwrap();
        peers.roster.note(&record(Some("lost")));
        let heard = (0..1_000).filter(|_| hear(&mut peers, MEMBERS_KEY, b"r", 0).is_ok()).count();
        assert!(heard < 20, "{heard}");
        assert_eq!((peers.count(), peers.route(&MEMBERS_KEY)), (1, Some(&b"r"[..])));
        peers.roster.note(&record(None));
        let heard = (0..1_000).filter(|_| hear(&mut peers, MEMBERS_KEY, b"r", 0).is_ok()).count();
        assert!(heard > 500, "{heard}");
        assert_eq!((peers.count(), peers.route(&MEMBERS_KEY)), (1, Some(&b"r"[..])));
    }
}
