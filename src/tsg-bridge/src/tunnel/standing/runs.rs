//! Replay windows for an end that may start anew with its numbers, under the same key.
//!
//! All IVs of one run have the same upper half: this program draws it, and Linux has the like, since its `seqiv` adds
//! a random number that stays to the sequence number. So a run is known by it, and each has a window of its own. Packets
//! of a run that was never heard may be a recording: they count only if nothing else was heard for a while.

use std::collections::BTreeSet;
use tsg_esp::DropReason;
use tsg_esp::replay::Window;

/// For so long a run that is heard keeps others out, in milliseconds.
const QUIET: u64 = 5_000;

/// The windows of so many runs are kept, those heard last.
const MOST: usize = 32;

/// So many runs that are over are remembered; then there are no new ones.
const MOST_OVER: usize = 65_536;

/// All runs of the other end.
#[derive(Default)]
pub(super) struct Runs {
    /// The run heard last is the first.
    windows: Vec<(u32, Box<Window>)>,
    over: BTreeSet<u32>,
    /// When something was heard last.
    heard: Option<u64>,
}

impl Runs {
    /// Whether a packet of this run with this number could be new.
    pub(super) fn check(&self, run: u32, sequence: u32, now: u64) -> Result<(), DropReason> {
        match self.windows.iter().find(|(known, _)| *known == run) {
            Some((_, window)) => window.check(sequence),
            None => self.check_new(run, now),
        }
    }

    fn check_new(&self, run: u32, now: u64) -> Result<(), DropReason> {
        let quiet = self.heard.is_none_or(|heard| now >= heard + QUIET);
        let may = quiet && self.over.len() < MOST_OVER && !self.over.contains(&run);
        if may { Ok(()) } else { Err(DropReason::TooOld) }
    }

    /// Takes note of a packet that authenticated.
    pub(super) fn mark(&mut self, run: u32, sequence: u32, now: u64) -> Result<(), DropReason> {
        let place = match self.windows.iter().position(|(known, _)| *known == run) {
            Some(place) => place,
            None => {
                self.check_new(run, now)?;
                self.windows.push((run, Box::default()));
                self.windows.len() - 1
            }
        };
        self.windows[place].1.mark(sequence)?;
        self.windows[..=place].rotate_right(1);
        if self.windows.len() > MOST {
            self.over.extend(self.windows.pop().map(|(run, _)| run));
        }
        self.heard = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks, after the quick check.
    fn take(runs: &mut Runs, run: u32, sequence: u32, now: u64) -> bool {
        let checked = runs.check(run, sequence, now);
        assert_eq!(checked, runs.mark(run, sequence, now));
        checked.is_ok()
    }

    #[test]
    fn each_number_of_a_run_counts_once() {
        let mut runs = Runs::default();
        for sequence in [5, 3, 9_000] {
            assert!(take(&mut runs, 7, sequence, 0));
            assert!(!take(&mut runs, 7, sequence, QUIET));
        }
        assert!(!take(&mut runs, 7, 4, 0), "too old");
    }

    #[test]
    fn an_end_that_begins_anew_is_heard_when_its_earlier_run_is_silent() {
        let mut runs = Runs::default();
        assert!(take(&mut runs, 1, 100, 0));
        for sequence in [1, 101] {
            assert!(!take(&mut runs, 2, sequence, QUIET - 1));
        }
        assert!(take(&mut runs, 2, 1, QUIET));
        assert!(take(&mut runs, 2, 2, QUIET));
        // What is late still comes, once.
        assert!(take(&mut runs, 1, 101, QUIET));
        assert!(!take(&mut runs, 1, 101, 3 * QUIET));
        assert!(!take(&mut runs, 3, 50, 2 * QUIET - 1));
    }

    #[test]
    fn a_run_that_is_over_stays_so() {
        let mut runs = Runs::default();
        let later = |run: u32| u64::from(run) * QUIET;
        for run in 0..1_000 {
            assert!(take(&mut runs, run, 1, later(run)));
        }
        assert_eq!((runs.windows.len(), runs.over.len()), (MOST, 1_000 - MOST));
        for run in 0..1_000 {
            assert!(!take(&mut runs, run, 1, later(2_000)), "run {run}");
        }
        assert!(!take(&mut runs, 0, 5_000, later(2_000)), "a run that is over");
    }

    #[test]
    fn memory_is_bounded() {
        let mut runs = Runs::default();
        let taken = (0..2 * MOST_OVER as u32)
            .filter(|run| take(&mut runs, *run, 1, u64::from(*run) * QUIET));
        assert_eq!(taken.count(), MOST + MOST_OVER);
    }
}
