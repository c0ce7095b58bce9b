//! Paths that take less than the WAN port does, as somebody on them said (RFC 1191, RFC 8201).
//!
//! Anybody on the path can say so, true or not, about a packet that he has seen. So what is believed has a floor, and
//! an end. Not for: the message itself ([`tsg_esp::too_big`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// More paths than this are not told apart.
const MOST: usize = 1_024;

/// Then the path may have changed, and is tried anew (RFC 1191 section 6.3).
const LIFETIME: u64 = 10 * 60_000;

/// No path is narrower: what every IPv4 host takes (RFC 791), and what every IPv6 path takes (RFC 8200).
const NARROWEST: [u16; 2] = [576, 1_280];

/// What narrow paths take, and until when that is believed.
#[derive(Debug, Default)]
pub(super) struct Paths {
    any: AtomicBool,
    mtus: RwLock<HashMap<IpAddr, (u16, u64)>>,
}

impl Paths {
    /// What the path to this machine takes, at most `mtu`.
    pub(super) fn mtu(&self, machine: IpAddr, mtu: u16, now: u64) -> u16 {
        if !self.any.load(Ordering::Relaxed) {
            return mtu;
        }
        let mtus = self.mtus.read().unwrap_or_else(PoisonError::into_inner);
        match mtus.get(&machine) {
            Some(&(told, until)) if now < until => told.min(mtu),
            Some(_) | None => mtu,
        }
    }

    /// Somebody says that the path to this machine takes only `told`. Gives whether that is less than was known;
    /// `mtu` is what the WAN port takes.
    pub(super) fn lower(&self, machine: IpAddr, told: u16, mtu: u16, now: u64) -> bool {
        let told = told.max(NARROWEST[usize::from(machine.is_ipv6())]);
        if told >= self.mtu(machine, mtu, now) {
            return false;
        }
        let mut mtus = self.mtus.write().unwrap_or_else(PoisonError::into_inner);
        if mtus.len() >= MOST {
            mtus.retain(|_, (_, until)| now < *until);
        }
        if mtus.len() >= MOST && !mtus.contains_key(&machine) {
            return false;
        }
        mtus.insert(machine, (told, now + LIFETIME));
        self.any.store(true, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_path_is_as_narrow_as_was_told_last_until_it_is_tried_anew() {
        let paths = Paths::default();
        assert_eq!(paths.mtu(V4, 1_500, 0), 1_500);
        assert!(paths.lower(V4, 1_400, 1_500, 0) && paths.lower(V4, 1_300, 1_500, 1_000));
        assert!(!paths.lower(V4, 1_400, 1_500, 2_000), "a path does not become wider by that");
        assert_eq!(paths.mtu(V4, 1_500, LIFETIME), 1_300);
        assert_eq!(paths.mtu(V4, 1_200, 0), 1_200);
        assert_eq!(paths.mtu([10, 0, 0, 3].into(), 1_500, 0), 1_500);
        assert_eq!(paths.mtu(V4, 1_500, LIFETIME + 1_000), 1_500);
    }

    #[test]
    fn nobody_is_believed_beyond_the_floor() {
        let paths = Paths::default();
        let v6 = IpAddr::from([1u16; 8]);
        assert!(paths.lower(V4, 0, 1_500, 0) && paths.lower(v6, 0, 1_500, 0));
        assert_eq!((paths.mtu(V4, 1_500, 0), paths.mtu(v6, 1_500, 0)), (576, 1_280));
        assert!(!paths.lower(V4, 9_000, 1_500, LIFETIME));
    }

    #[test]
    fn only_so_many_are_remembered_and_what_is_over_makes_room() {
        let paths = Paths::default();
        let machine = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in 0..MOST {
            assert!(paths.lower(machine(number), 1_000, 1_500, 0));
        }
        assert!(!paths.lower(machine(MOST), 1_000, 1_500, LIFETIME - 1));
        assert!(paths.lower(machine(MOST), 1_000, 1_500, LIFETIME));
    }
}
