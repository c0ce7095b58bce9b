//! The replay window of one sender: RFC 6479's shifting bitmap, exact over 8,192 numbers.
//!
//! Not for: time ([`freshness`](crate::freshness)), and not for locking: two threads that open
//! packets of one sender share the window behind the caller's mutex, and call [`Window::check`] and
//! [`Window::mark`] in two separate, short holds with the decryption between them.

use crate::DropReason;

/// How many of the newest sequence numbers a window tells apart.
pub const WINDOW: u32 = 8192;

const WORD_BITS: u32 = 64;

/// One word more than the window: the word that the newest number falls into is only partly used.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

/// Which sequence numbers of one sender were opened.
///
/// Number `n` is acceptable if it was not marked and is not [`WINDOW`] or more below the newest
/// marked one.
#[derive(Clone, Debug)]
pub struct Window {
    newest: u32,
    words: [u64; WORDS],
}

impl Window {
    /// A window that has seen nothing.
    pub const fn new() -> Self {
        Self { newest: 0, words: [0; WORDS] }
    }

    /// The newest number marked; 0 before the first.
    pub const fn newest(&self) -> u32 {
        self.newest
    }

    /// Whether a packet with this number could be new: the quick check, before the cipher's work.
    ///
    /// # Errors
    ///
    /// [`DropReason::Replayed`], [`DropReason::TooOld`], or [`DropReason::Malformed`] for 0, which
    /// nobody sends.
    pub fn check(&self, sequence: u32) -> Result<(), DropReason> {
        if sequence == 0 {
            return Err(DropReason::Malformed);
        }
        if sequence > self.newest {
            return Ok(());
        }
        if self.newest - sequence >= WINDOW {
            return Err(DropReason::TooOld);
        }
        if self.words[word(sequence)] & bit(sequence) != 0 {
            return Err(DropReason::Replayed);
        }
        Ok(())
    }

    /// Takes note of a packet that authenticated.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check): between the quick check and now, another thread may have marked
    /// the same number, and then the packet must be dropped.
    pub fn mark(&mut self, sequence: u32) -> Result<(), DropReason> {
        self.check(sequence)?;
        if sequence > self.newest {
            let ahead = sequence / WORD_BITS - self.newest / WORD_BITS;
            let last = sequence / WORD_BITS;
            for step in 0..ahead.min(WORDS as u32) {
                self.words[((last - step) % WORDS as u32) as usize] = 0;
            }
            self.newest = sequence;
        }
        self.words[word(sequence)] |= bit(sequence);
        Ok(())
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

const fn word(sequence: u32) -> usize {
    (sequence / WORD_BITS % WORDS as u32) as usize
}

const fn bit(sequence: u32) -> u64 {
    1 << (sequence % WORD_BITS)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    #[derive(Default)]
    struct Model {
        newest: u32,
        seen: HashSet<u32>,
    }

    impl Model {
        fn mark(&mut self, sequence: u32) -> Result<(), DropReason> {
            if sequence == 0 {
                return Err(DropReason::Malformed);
            }
            if u64::from(sequence) + u64::from(WINDOW) <= u64::from(self.newest) {
                return Err(DropReason::TooOld);
            }
            if !self.seen.insert(sequence) {
                return Err(DropReason::Replayed);
            }
            self.newest = self.newest.max(sequence);
            Ok(())
        }
    }

    fn agrees_with_the_model(sequences: impl IntoIterator<Item = u32>) {
        let mut window = Window::new();
        let mut model = Model::default();
        for sequence in sequences {
            let checked = window.check(sequence);
            let marked = window.mark(sequence);
            assert_eq!(checked, marked, "check and mark differ at {sequence}");
            assert_eq!(marked, model.mark(sequence), "at {sequence}, newest {}", window.newest());
        }
    }

    #[test]
    fn the_edges_of_the_window() {
        let mut window = Window::new();
        assert_eq!(window.mark(0), Err(DropReason::Malformed));
        for newest in [WINDOW, WINDOW + 63, WINDOW + 64, 3 * WINDOW + 17, u32::MAX] {
            window.mark(newest).unwrap();
            assert_eq!(window.check(newest), Err(DropReason::Replayed));
            assert_eq!(window.check(newest - (WINDOW - 1)), Ok(()));
            if newest > WINDOW {
                assert_eq!(window.check(newest - WINDOW), Err(DropReason::TooOld));
            }
        }
    }

    #[test]
    fn a_jump_forgets_what_falls_out_and_nothing_else() {
        let jumps = [1, 63, 64, 65, 128].into_iter().chain((WINDOW - 65..WINDOW + 130).step_by(7));
        for jump in jumps.chain([WORDS as u32 * WORD_BITS * 3 - 1, 1 << 30]) {
            let mut window = Window::new();
            let full = 2 * WINDOW + 37;
            for sequence in 1..=full {
                window.mark(sequence).unwrap();
            }
            let newest = full + jump;
            window.mark(newest).unwrap();
            for sequence in newest - (WINDOW - 1)..=newest {
                let marked = sequence <= full || sequence == newest;
                let expected = if marked { Err(DropReason::Replayed) } else { Ok(()) };
                assert_eq!(window.check(sequence), expected, "{sequence} after a jump of {jump}");
            }
        }
    }

    #[test]
    fn every_number_once_in_any_order_of_a_window() {
        let backwards: Vec<u32> = (1..=WINDOW).rev().collect();
        agrees_with_the_model(backwards.iter().copied().chain(backwards.iter().copied()));
        agrees_with_the_model((1..3 * WINDOW).map(|n| n ^ 0x155));
    }

    fn step() -> impl Strategy<Value = i64> {
        prop_oneof![
            8 => -40i64..40,
            4 => -(i64::from(WINDOW) + 3)..200,
            2 => (-65i64..66).prop_map(|d| i64::from(WINDOW) + d),
            1 => 0i64..20_000,
            1 => Just(i64::from(u32::MAX) / 3),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_walk_agrees_with_a_set(
            start in any::<u32>(),
            steps in proptest::collection::vec(step(), 1..600),
        ) {
            let mut at = i64::from(start >> 3);
            agrees_with_the_model(steps.into_iter().map(|step| {
                at = (at + step).clamp(0, i64::from(u32::MAX));
                at as u32
            }));
        }
    }
}
