//! Gateways in series: where machines on the LAN side stand, as their own packets show it.
//!
//! Bounded, and forgotten when the machine falls silent. Not for: what the key server's map says
//! ([`super::View`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// More machines than this are not told apart.
const MOST: usize = 1_024;

/// A machine that did not show for this long where it stands may be elsewhere.
const FORGET_AFTER: u64 = 10 * 60_000;

/// A machine's packet is looked at again after this.
const LOOK_AGAIN: u64 = 60_000;

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Another gateway between it and this one seals for it.
    Behind,
    /// It sends here in clear what is for sealing: no gateway is in between.
    Direct,
}

/// Machines, where each stands and when it showed that.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// There are machines; mostly there are none, and then nobody has to look.
    any: AtomicBool,
    machines: RwLock<HashMap<IpAddr, (Place, u64)>>,
}

impl Places {
    pub(super) fn of(&self, machine: IpAddr) -> Option<Place> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let places = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        places.get(&machine).map(|&(place, _)| place)
    }

    /// It has shown this lately: its packet need not be looked at.
    pub(super) fn is_certain(&self, machine: IpAddr, place: Place, now: u64) -> bool {
        let places = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        places.get(&machine).is_some_and(|&(known, at)| known == place && now < at + LOOK_AGAIN)
    }

    /// It shows this. Gives whether that is news.
    pub(super) fn put(&self, machine: IpAddr, place: Place, now: u64) -> bool {
        if self.is_certain(machine, place, now) {
            return false;
        }
        let mut places = self.machines.write().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST && !places.contains_key(&machine) {
            return false;
        }
        self.any.store(true, Ordering::Release);
        places.insert(machine, (place, now)).is_none_or(|(before, _)| before != place)
    }

    /// Some machine is behind another gateway.
    pub(super) fn any_behind(&self) -> bool {
        let places = self.machines.read().unwrap_or_else(PoisonError::into_inner);
        places.values().any(|&(place, _)| place == Place::Behind)
    }

    /// Forgets who was silent for long, and gives the machines behind another gateway.
    pub(super) fn behind(&self, now: u64) -> Vec<IpAddr> {
        let mut places = self.machines.write().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, &mut (_, at)| now < at + FORGET_AFTER);
        self.any.store(!places.is_empty(), Ordering::Release);
        let behind = places.iter().filter(|(_, (place, _))| *place == Place::Behind);
        behind.map(|(&machine, _)| machine).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn who_falls_silent_is_forgotten() {
        let places = Places::default();
        assert!(places.put(machine(1), Place::Behind, 1_000));
        assert!(!places.put(machine(1), Place::Behind, 1_000 + LOOK_AGAIN));
        assert_eq!(places.behind(1_000 + FORGET_AFTER), [machine(1)]);
        assert!(places.any_behind());
        assert!(places.behind(1_000 + LOOK_AGAIN + FORGET_AFTER).is_empty());
        assert_eq!(places.of(machine(1)), None);
        assert!(!places.any_behind());
    }

    #[test]
    fn the_last_word_counts_and_the_number_is_bounded() {
        let places = Places::default();
        for number in 0..2 * MOST as u32 {
            places.put(machine(number), Place::Behind, 0);
        }
        assert_eq!(places.behind(0).len(), MOST);
        assert!(places.put(machine(0), Place::Direct, 1));
        assert_eq!(places.of(machine(0)), Some(Place::Direct));
        assert!(!places.is_certain(machine(0), Place::Behind, 1));
    }
}
