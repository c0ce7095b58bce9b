//! Peers that are not let in, or not any more. Their keys cost nothing, so none of them, and no
//! address that many of them share, gets more than its part of what all of them may say.

use super::allowance::{Allowance, Rate, price};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use tsg_control::keys::PublicKey;

/// More strangers, or addresses of strangers, are not remembered: the one that was silent for the
/// longest time makes room.
const MOST: usize = 4_096;

/// One stranger asks every few seconds.
const ONE: Rate = Rate { a_second: 2, at_once: 20 };

/// All at one address: a plant's gateways may come from behind one NAT.
const ADDRESS: Rate = Rate { a_second: 100, at_once: 500 };

/// All together.
const ALL: Rate = Rate { a_second: 500, at_once: 2_000 };

/// The strangers that were heard lately.
pub(super) struct Strangers {
    known: HashMap<PublicKey, Allowance>,
    addresses: HashMap<IpAddr, Allowance>,
    all: Allowance,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { known: HashMap::new(), addresses: HashMap::new(), all: Allowance::full(ALL, 0) }
    }
}

impl Strangers {
    /// May it say `bytes`? It pays itself first, so that one that says too much takes nothing
    /// from the others.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn pay(
        &mut self,
        key: &PublicKey,
        address: IpAddr,
        bytes: usize,
        now: u64,
    ) -> Result<(), &'static str> {
        let price = price(bytes);
        if self.known.get_mut(key).is_some_and(|known| !known.pay(price, ONE, now)) {
            return Err("too many messages");
        }
        let network = neighbourhood(address);
        if !self.addresses.contains_key(&network) {
            make_room(&mut self.addresses, Allowance::paid_at);
        }
        let shared = self.addresses.entry(network).or_insert_with(|| Allowance::full(ADDRESS, now));
        if !shared.pay(price, ADDRESS, now) {
            return Err("too many strangers at one address");
        }
        if !self.all.pay(price, ALL, now) {
            return Err("too many strangers");
        }
        if !self.known.contains_key(key) {
            make_room(&mut self.known, Allowance::paid_at);
            let mut allowance = Allowance::full(ONE, now);
            let _ = allowance.pay(price, ONE, now);
            self.known.insert(*key, allowance);
        }
        Ok(())
    }

    /// It is let in.
    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.known.remove(key);
    }

    /// Forgets those that said nothing since `before`.
    pub(super) fn forget_silent(&mut self, before: u64) {
        self.known.retain(|_, known| known.paid_at() > before);
        self.addresses.retain(|_, allowance| allowance.paid_at() > before);
    }
}

/// Whoever has one address of an IPv6 network has all of it.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn make_room<K: Copy + Eq + Hash, V>(known: &mut HashMap<K, V>, heard: impl Fn(&V) -> u64) {
    if known.len() < MOST {
        return;
    }
    if let Some(oldest) = known.iter().min_by_key(|(_, v)| heard(v)).map(|(key, _)| *key) {
        known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> PublicKey {
        let mut key = [2; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey(key)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_that_floods_takes_nothing_from_the_others() {
        let mut strangers = Strangers::default();
        let heard =
            (0..100_000).filter(|_| strangers.pay(&key(0), ip("192.0.2.1"), 10, 0).is_ok()).count();
        assert!((15..=20).contains(&heard), "{heard}");
        assert_eq!(strangers.pay(&key(1), ip("192.0.2.1"), 10, 0), Ok(()));
    }

    #[test]
    fn one_address_takes_little_from_the_others() {
        let mut strangers = Strangers::default();
        let heard = (0..100_000)
            .filter(|&number| strangers.pay(&key(number), ip("2001:db8::1"), 10, 0).is_ok())
            .count();
        assert!((400..=500).contains(&heard), "{heard}");
        // All of a network is one address.
        assert!(strangers.pay(&key(200_000), ip("2001:db8::2"), 10, 0).is_err());
        assert_eq!(strangers.pay(&key(200_001), ip("2001:db8:0:1::2"), 10, 0), Ok(()));
        assert_eq!(strangers.pay(&key(200_002), ip("192.0.2.1"), 10, 0), Ok(()));
    }

    #[test]
    fn all_of_them_have_a_limit_and_a_newcomer_finds_room() {
        let mut strangers = Strangers::default();
        let mut heard = 0_u32;
        for number in 0..6_000_u32 {
            let address = format!("10.0.{}.{}", number / 200 % 250, number % 200);
            let now = u64::from(number / 6);
            heard += u32::from(strangers.pay(&key(number), ip(&address), 10, now).is_ok());
        }
        assert!((1_900..2_600).contains(&heard), "{heard}");
        for number in 0..5_000_u32 {
            let now = 10_000 + u64::from(number) * 2;
            let address = format!("10.0.{}.{}", number / 200 % 250, number % 200);
            assert_eq!(strangers.pay(&key(number), ip(&address), 10, now), Ok(()));
            assert!(strangers.known.len() <= MOST && strangers.addresses.len() <= MOST);
        }
        assert!(strangers.known.contains_key(&key(4_999)));
        assert!(!strangers.known.contains_key(&key(0)));
    }
}
