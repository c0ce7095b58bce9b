//! How often somebody may try a password, or the set-up code.
//!
//! After a few wrong ones each further attempt waits twice as long: for a name from one machine or network of IPv6, and
//! from there for any name, whether or not there is such a user. Nobody can make somebody wait who is elsewhere.

use crate::network::neighbourhood;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong attempts are free: of one name, and from one address, behind which there may be many people.
const FREE_BY_NAME: u32 = 4;
const FREE_BY_ADDRESS: u32 = 20;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(300);

/// What was tried so long ago is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// More names, or addresses, are not remembered.
const MOST: usize = 10_000;

/// Wrong attempts.
#[derive(Default)]
pub(super) struct Throttle {
    names: Mutex<Tries<(String, IpAddr)>>,
    addresses: Mutex<Tries<IpAddr>>,
}

struct Tries<K>(HashMap<K, Try>);

impl<K> Default for Tries<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[derive(Clone, Copy)]
struct Try {
    wrong: u32,
    last: Instant,
}

impl Throttle {
    /// An attempt begins. It counts as wrong until [`Self::right`] is called, so that many at once gain nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn begin(&self, name: &str, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let (name, from) = key(name, from);
        let (mut names, mut addresses) = (lock(&self.names), lock(&self.addresses));
        let name_wait = names.wait(&(name.clone(), from), FREE_BY_NAME, now);
        let wait = name_wait.max(addresses.wait(&from, FREE_BY_ADDRESS, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        names.count((name, from), now);
        addresses.count(from, now);
        Ok(())
    }

    /// It was the right one.
    pub(super) fn right(&self, name: &str, from: IpAddr) {
        let (name, from) = key(name, from);
        lock(&self.addresses).0.remove(&from);
        lock(&self.names).0.remove(&(name, from));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(name: &str, from: IpAddr) -> (String, IpAddr) {
    (name.chars().take(64).collect::<String>().to_lowercase(), neighbourhood(from))
}

impl<K: Hash + Eq> Tries<K> {
    fn wait(&self, key: &K, free: u32, now: Instant) -> Duration {
        let Some(tried) = self.0.get(key).filter(|tried| tried.wrong >= free) else {
            return Duration::ZERO;
        };
        let doubled = 1_u64 << (tried.wrong - free).min(10);
        let wait = Duration::from_secs(doubled).min(LONGEST);
        (tried.last + wait).saturating_duration_since(now)
    }

    fn count(&mut self, key: K, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, tried| now.saturating_duration_since(tried.last) < FORGOTTEN);
        }
        // Those that were tried least often make room.
        if self.0.len() >= MOST {
            let fewest = self.0.values().map(|tried| tried.wrong).min().unwrap_or(0);
            self.0.retain(|_, tried| tried.wrong > fewest);
        }
        let tried = self.0.entry(key).or_insert(Try { wrong: 0, last: now });
        if now.saturating_duration_since(tried.last) >= FORGOTTEN {
            tried.wrong = 0;
        }
        tried.wrong += 1;
        tried.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn each_wrong_password_waits_longer_than_the_one_before() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_BY_NAME {
            throttle.begin("ann", HERE, now).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = throttle.begin("Ann", HERE, now).unwrap_err();
            waits.push(wait.as_secs());
            now += wait;
            throttle.begin("ann", HERE, now).unwrap();
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 32]);
        assert_eq!(waits.last(), Some(&LONGEST.as_secs()));
        // Who is elsewhere does not wait for that.
        throttle.begin("ann", "192.0.2.2".parse().unwrap(), now).unwrap();
        throttle.right("ann", HERE);
        throttle.begin("ann", HERE, now).unwrap();
    }

    #[test]
    fn an_address_that_tries_many_names_waits_too() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for attempt in 0..FREE_BY_ADDRESS {
            throttle.begin(&format!("user{attempt}"), HERE, now).unwrap();
        }
        assert!(throttle.begin("another", HERE, now).is_err());
        throttle.begin("another", "192.0.2.2".parse().unwrap(), now).unwrap();
        let v6 = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
        for attempt in 0..FREE_BY_ADDRESS as u16 {
            throttle.begin(&format!("more{attempt}"), v6(attempt), now).unwrap();
        }
        assert!(throttle.begin("another6", v6(999), now).is_err(), "they are one network");
    }

    #[test]
    fn it_forgets_after_an_hour_and_remembers_no_more_than_it_can() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_BY_NAME {
            throttle.begin("ann", HERE, now).unwrap();
        }
        let later = now + FORGOTTEN;
        throttle.begin("ann", HERE, later).unwrap();
        throttle.begin("ann", HERE, later).unwrap();
        for host in 0..3 * MOST as u32 {
            let _ = throttle.begin(&format!("n{host}"), IpAddr::V4(host.into()), later);
        }
        assert!(lock(&throttle.names).0.len() <= MOST && lock(&throttle.addresses).0.len() <= MOST);
    }
}
