//! What a queue's thread has told the others of lately: at each packet that would be a lock for nothing.

use super::super::Side;
use super::super::ethernet::Link;
use core::net::IpAddr;
use std::time::{Duration, Instant};

/// So long it counts: the tables that all threads share may have forgotten it since.
const LATELY: Duration = Duration::from_millis(250);

const PLACES: usize = 64;

/// Where a packet came from and where it went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) ends: (IpAddr, IpAddr),
    pub(super) link: Link,
    pub(super) from: Side,
}

/// The latest of them.
pub(super) struct Told {
    places: [Option<(Heard, Instant)>; PLACES],
    now: Instant,
}

impl Told {
    pub(super) fn new() -> Self {
        Self { places: [None; PLACES], now: Instant::now() }
    }

    /// A batch begins.
    pub(super) fn begin(&mut self) {
        self.now = Instant::now();
    }

    /// Is it to be told? It counts as told then.
    pub(super) fn is_news(&mut self, heard: Heard) -> bool {
        let Link { src, dst, .. } = heard.link;
        let place = usize::from(src[5] ^ dst[5] ^ last(heard.ends.0) ^ last(heard.ends.1)) % PLACES;
        let known = &mut self.places[place];
        if let Some((before, at)) = known
            && *before == heard
            && self.now.duration_since(*at) < LATELY
        {
            return false;
        }
        *known = Some((heard, self.now));
        true
    }
}

fn last(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ethernet::Vlans;
    use super::*;

    #[test]
    fn only_what_is_new_is_told_and_what_was_told_a_while_ago() {
        let ends = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let link = Link { dst: [2; 6], src: [4; 6], vlans: Vlans::default() };
        let heard = Heard { ends, link, from: Side::Lan };
        let moved = Heard { from: Side::Wan, ..heard };
        let mut told = Told::new();
        assert!(told.is_news(heard) && !told.is_news(heard));
        assert!(told.is_news(moved) && !told.is_news(moved));
        assert!(told.is_news(heard));
        told.now += LATELY;
        assert!(told.is_news(heard) && !told.is_news(heard));
    }
}
