//! How much each peer may still say.

use super::allowance::{Allowance, MESSAGE, Rate, price};
use super::roster::Standing;
use super::strangers::Strangers;
use std::collections::HashMap;
use std::net::IpAddr;
use tsg_control::keys::PublicKey;

/// A peer that says nothing for this long, in milliseconds, is forgotten; gateways speak every ten
/// seconds.
const SILENT: u64 = 120_000;

/// A gateway that is let in. It says less than one thing a second when all is well.
const MEMBER: Rate = Rate { a_second: 1_000, at_once: 2_000 };

/// To a member's registration the answer is a whole state: it costs as much as this many messages
/// more.
const REGISTRATION: u64 = 49;

/// The peers that were heard lately.
#[derive(Default)]
pub(super) struct Peers {
    members: HashMap<PublicKey, Allowance>,
    strangers: Strangers,
}

impl Peers {
    /// A message came, of so many bytes.
    ///
    /// # Errors
    /// Why it is not to be read.
    pub(super) fn hear(
        &mut self,
        from: &PublicKey,
        standing: Standing,
        address: IpAddr,
        bytes: usize,
        now: u64,
    ) -> Result<(), &'static str> {
        if standing != Standing::Member {
            self.members.remove(from);
            return self.strangers.pay(from, address, bytes, now);
        }
        let member = self.members.entry(*from).or_insert_with(|| {
            self.strangers.remove(from);
            Allowance::full(MEMBER, now)
        });
        if member.pay(price(bytes), MEMBER, now) { Ok(()) } else { Err("too many messages") }
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
        let pays = |member: &mut Allowance| member.pay(REGISTRATION * MESSAGE, MEMBER, now);
        if member.is_none_or(pays) { Ok(()) } else { Err("too many registrations") }
    }

    /// Forgets those that are silent.
    pub(super) fn forget_silent(&mut self, now: u64) {
        let before = now.saturating_sub(SILENT);
        self.strangers.forget_silent(before);
        self.members.retain(|_, member| member.paid_at() > before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([255; 32]);

    fn hear(peers: &mut Peers, from: PublicKey, standing: Standing, now: u64) -> bool {
        peers.hear(&from, standing, "192.0.2.1".parse().unwrap(), 100, now).is_ok()
    }

    #[test]
    fn registrations_cost_more() {
        let mut peers = Peers::default();
        hear(&mut peers, KEY, Standing::Member, 0);
        let answered = (0..1_000).filter(|_| peers.hear_registration(&KEY, 0).is_ok()).count();
        assert!((38..=40).contains(&answered), "{answered}");
        assert_eq!(peers.hear_registration(&KEY, 1_000), Ok(()));
        // A stranger's is answered in a few words.
        let stranger = PublicKey([1; 32]);
        hear(&mut peers, stranger, Standing::Stranger, 0);
        assert_eq!(peers.hear_registration(&stranger, 0), Ok(()));
    }

    #[test]
    fn strangers_take_nothing_from_members() {
        let mut peers = Peers::default();
        for number in 0..100_000_u32 {
            let mut key = [2; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            hear(&mut peers, PublicKey(key), Standing::Stranger, 0);
        }
        assert!(hear(&mut peers, KEY, Standing::Member, 0));
    }

    #[test]
    fn who_is_let_in_or_thrown_out_changes_places() {
        let mut peers = Peers::default();
        assert!(hear(&mut peers, KEY, Standing::Member, 1));
        let mut heard =
            |standing, now| (0..1_000).filter(|_| hear(&mut peers, KEY, standing, now)).count();
        let few = heard(Standing::Revoked, 1);
        assert!(few < 20, "{few}");
        let many = heard(Standing::Member, 1);
        assert!(many > 500, "{many}");
        peers.forget_silent(SILENT);
        assert_eq!(peers.members.len(), 1);
        peers.forget_silent(SILENT + 1);
        assert!(peers.members.is_empty());
    }
}
