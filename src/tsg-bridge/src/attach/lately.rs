//! What a thread asked or told a moment ago: the tables that all threads share are behind locks, and not for each packet.

use std::time::{Duration, Instant};

/// So long it counts: what has changed since is found there as soon.
const LATELY: Duration = Duration::from_millis(250);

const PLACES: usize = 64;

/// Answers by what they are about. Each has one place, which the latest of those that share it takes.
pub(super) struct Lately<K, V> {
    places: [Option<(K, V, Instant)>; PLACES],
}

impl<K: Copy + PartialEq, V: Copy> Lately<K, V> {
    pub(super) fn new() -> Self {
        Self { places: [None; PLACES] }
    }

    /// `place` is made from the key, and may be any number.
    pub(super) fn get(&self, place: u8, key: &K, now: Instant) -> Option<V> {
        let (known, value, at) = self.places[usize::from(place) % PLACES].as_ref()?;
        (known == key && now.duration_since(*at) < LATELY).then_some(*value)
    }

    pub(super) fn put(&mut self, place: u8, key: K, value: V, now: Instant) {
        self.places[usize::from(place) % PLACES] = Some((key, value, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_for_a_while_and_for_nothing_else() {
        let (mut lately, now) = (Lately::new(), Instant::now());
        lately.put(7, "pair", 1, now);
        assert_eq!(lately.get(7, &"pair", now), Some(1));
        assert_eq!(lately.get(7, &"another", now), None);
        assert_eq!(lately.get(7, &"pair", now + LATELY), None);
        lately.put(7 + PLACES as u8, "another", 2, now);
        assert_eq!((lately.get(7, &"pair", now), lately.get(7, &"another", now)), (None, Some(2)));
    }
}
