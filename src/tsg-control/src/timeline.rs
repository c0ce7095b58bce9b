//! The life of what a whole group must change over to: epochs and policy versions.
//!
//! ```text
//! Prepared ──all online members have it, or time is up──▶ Active ──a newer one is Active──▶ Retiring ──▶ gone
//! ```
//!
//! A member can open (or lets in) with everything that lives, and seals (or sends) with what is
//! active. Since a thing becomes active only after those who must understand it have it, a change
//! loses nothing.

use serde::{Deserialize, Serialize};

/// Where an epoch or a policy version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Members can open with it, nobody seals with it yet.
    Prepared,
    /// Members seal with it.
    Active,
    /// A newer one is active; members that have not heard of that may still seal with this.
    Retiring,
}

/// More than this live at no time.
pub const MOST_LIVE: usize = 3;

/// A retiring entry stays at least this long, in milliseconds: packets are on their way.
pub const LINGER: u64 = 5_000;

/// One thing on the timeline.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// The epoch or policy version.
    pub item: T,
    /// Where it stands.
    pub stage: Stage,
    /// The state revision that announced this stage.
    pub revision: u64,
    /// Since when it stands there, in the owner's milliseconds.
    pub since: u64,
    /// When the next stage comes even if members are missing, in the owner's milliseconds.
    pub deadline: u64,
    /// When the next stage was to come if nothing had been prepared in place of another.
    pub due: u64,
}

/// What a step of the timeline did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The prepared entry is in force now.
    Activated,
    /// One or more entries are gone.
    Retired,
}

/// The entries, oldest first; at most [`MOST_LIVE`].
#[derive(Clone, Debug)]
pub struct Timeline<T> {
    entries: Vec<Entry<T>>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Timeline<T> {
    /// What lives, oldest first.
    pub fn live(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// The items that live, to be changed.
    pub fn items_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|entry| &mut entry.item)
    }

    /// Stages and items, the items to be changed.
    pub fn stages_mut(&mut self) -> impl Iterator<Item = (Stage, &mut T)> {
        self.entries.iter_mut().map(|entry| (entry.stage, &mut entry.item))
    }

    /// The clock jumped: everything stands where it stands since `now`, and moves on by `latest`.
    pub fn rebase(&mut self, now: u64, latest: impl Fn(&T) -> u64) {
        for entry in &mut self.entries {
            entry.since = now;
            entry.deadline = latest(&entry.item);
            entry.due = entry.deadline;
        }
    }

    /// What is in force.
    pub fn active(&self) -> Option<&Entry<T>> {
        self.entries.iter().rev().find(|entry| entry.stage == Stage::Active)
    }

    /// What waits to come into force.
    pub fn prepared(&self) -> Option<&Entry<T>> {
        self.entries.iter().find(|entry| entry.stage == Stage::Prepared)
    }

    /// Puts in what is known to live already: read from disk after a restart, announced with the
    /// first `revision`.
    pub fn restore(&mut self, item: T, stage: Stage, revision: u64, now: u64, deadline: u64) {
        let due = deadline;
        self.entries.push(Entry { item, stage, revision, since: now, deadline, due });
        self.make_room(MOST_LIVE);
    }

    /// Makes room for one more, if need be by letting go of the oldest: one that has been retiring
    /// for `patience` or longer. Members that still use it are cut off and have missed two changes.
    /// Gives whether there is room.
    pub fn room(&mut self, now: u64, patience: u64) -> bool {
        let mut steady = self.entries.iter().filter(|entry| entry.stage != Stage::Prepared);
        let oldest = steady.next();
        if steady.count() + 1 < MOST_LIVE {
            return true;
        }
        let over = oldest.is_some_and(|entry| {
            entry.stage == Stage::Retiring && now >= entry.since.saturating_add(patience)
        });
        if over {
            self.entries.remove(0);
        }
        over
    }

    /// What waits to come into force has been put off already, and has [`LINGER`] at most left:
    /// what took its place could come into force before members have it.
    pub fn is_put_off(&self, now: u64) -> bool {
        self.prepared().is_some_and(|entry| now > entry.due)
    }

    /// Takes out what waits to come into force.
    pub fn take_prepared(&mut self) -> Option<T> {
        let at = self.entries.iter().position(|entry| entry.stage == Stage::Prepared)?;
        Some(self.entries.remove(at).item)
    }

    /// What waits to come into force has changed: members must confirm `revision` now.
    pub fn announce_again(&mut self, revision: u64) {
        for entry in self.entries.iter_mut().filter(|entry| entry.stage == Stage::Prepared) {
            entry.revision = revision;
        }
    }

    /// A new item, announced with `revision`. It takes the place of one that is still prepared
    /// (nobody seals with that), and the oldest goes if there were too many. However often that
    /// happens, the change is put off by [`LINGER`] at most, for the last one to reach members.
    pub fn prepare(&mut self, item: T, revision: u64, now: u64, deadline: u64) {
        let due = self.prepared().map_or(deadline, |replaced| replaced.due.min(deadline));
        let deadline = deadline.min(due.max(now.saturating_add(LINGER))).min(due + LINGER);
        self.entries.retain(|entry| entry.stage != Stage::Prepared);
        self.make_room(MOST_LIVE - 1);
        let stage = Stage::Prepared;
        self.entries.push(Entry { item, stage, revision, since: now, deadline, due });
    }

    /// Moves on what may move on. `confirmed` says of each entry of [`Timeline::live`] whether those who
    /// are waited for have confirmed its stage: members that are online for what is prepared, all for
    /// what is retiring.
    /// A new stage is announced with `revision`; what is retiring then stays until every member
    /// has confirmed that, or until `deadline` says (of what retires and what takes its place).
    pub fn step(
        &mut self,
        now: u64,
        revision: u64,
        confirmed: &[bool],
        deadline: impl Fn(&T, &T) -> u64,
    ) -> Option<Step> {
        let confirmed = |at: usize| confirmed.get(at).copied().unwrap_or(false);
        if let Some(at) = self.entries.iter().position(|entry| entry.stage == Stage::Prepared)
            && (now >= self.entries[at].deadline || confirmed(at))
        {
            let (older, newer) = self.entries.split_at_mut(at);
            let next = newer.first_mut()?;
            for entry in older {
                // An earlier promise is kept where it is the shorter one.
                let end = deadline(&entry.item, &next.item);
                if entry.stage == Stage::Active {
                    entry.stage = Stage::Retiring;
                    entry.revision = revision;
                    entry.since = now;
                    entry.deadline = end;
                }
                entry.deadline = entry.deadline.min(end);
            }
            next.stage = Stage::Active;
            next.revision = revision;
            next.since = now;
            return Some(Step::Activated);
        }
        let before = self.entries.len();
        let mut at = 0;
        self.entries.retain(|entry| {
            let all = confirmed(at);
            at += 1;
            entry.stage != Stage::Retiring
                || now < entry.since + LINGER
                || (now < entry.deadline && !all)
        });
        (self.entries.len() < before).then_some(Step::Retired)
    }

    /// When [`Timeline::step`] has something to do even if nobody confirms anything; `now` is when it
    /// was called last.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        self.entries
            .iter()
            .filter(|entry| entry.stage != Stage::Active)
            .map(|entry| match entry.stage {
                Stage::Retiring if now < entry.since + LINGER => entry.since + LINGER,
                Stage::Prepared | Stage::Active | Stage::Retiring => entry.deadline,
            })
            .min()
    }

    fn make_room(&mut self, most: usize) {
        let surplus = self.entries.len().saturating_sub(most);
        self.entries.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(stages: &[Stage]) -> Timeline<u32> {
        let mut timeline = Timeline::default();
        for (id, &stage) in (1..).zip(stages) {
            timeline.restore(id, stage, 1, 0, 100_000);
        }
        timeline
    }

    fn ids(timeline: &Timeline<u32>) -> Vec<(u32, Stage)> {
        timeline.live().iter().map(|entry| (entry.item, entry.stage)).collect()
    }

    #[test]
    fn a_change_waits_for_those_who_are_online_or_its_deadline() {
        for (now, answer, moves) in [(14_999, false, false), (15_000, false, true), (0, true, true)]
        {
            let mut timeline = timeline(&[Stage::Active]);
            timeline.prepare(2, 7, 0, 15_000);
            let step = timeline.step(now, 8, &[false, answer], |_, _| 100_000);
            assert_eq!(step, moves.then_some(Step::Activated), "{now} {answer}");
            if moves {
                assert_eq!(ids(&timeline), [(1, Stage::Retiring), (2, Stage::Active)]);
                assert!(timeline.live().iter().all(|entry| entry.revision == 8));
            }
        }
    }

    #[test]
    fn what_retires_lingers_until_all_know() {
        let mut timeline = timeline(&[Stage::Active]);
        timeline.prepare(2, 7, 0, 15_000);
        timeline.step(1_000, 8, &[true, true], |_, _| 60_000);
        assert_eq!(timeline.deadline(1_000), Some(1_000 + LINGER));
        assert_eq!(timeline.step(999 + LINGER, 9, &[true, true], |_, _| 0), None);
        assert_eq!(timeline.step(1_000 + LINGER, 9, &[false, true], |_, _| 0), None);
        assert_eq!(timeline.deadline(1_000 + LINGER), Some(60_000));
        let mut other = timeline.clone();
        assert_eq!(other.step(1_000 + LINGER, 9, &[true, true], |_, _| 0), Some(Step::Retired));
        assert_eq!(timeline.step(60_000, 9, &[false, true], |_, _| 0), Some(Step::Retired));
        assert_eq!(ids(&timeline), [(2, Stage::Active)]);
        assert_eq!(timeline.deadline(60_000), None);
    }

    #[test]
    fn a_hard_end_holds_for_what_was_retiring_before() {
        let mut timeline = timeline(&[Stage::Retiring, Stage::Active]);
        timeline.prepare(3, 7, 0, 15_000);
        timeline.step(20_000, 8, &[false, false, false], |_, _| 20_000);
        assert_eq!(timeline.step(20_000, 9, &[false, false, false], |_, _| 0), Some(Step::Retired));
        assert_eq!(ids(&timeline), [(2, Stage::Retiring), (3, Stage::Active)]);
        assert_eq!(timeline.step(25_000, 9, &[false, false], |_, _| 0), Some(Step::Retired));
        assert_eq!(ids(&timeline), [(3, Stage::Active)]);
    }

    #[test]
    fn a_new_one_takes_the_place_of_one_that_nobody_uses() {
        let mut timeline = timeline(&[Stage::Retiring, Stage::Active]);
        timeline.prepare(3, 7, 0, 15_000);
        timeline.prepare(4, 8, 0, 15_000);
        assert_eq!(
            ids(&timeline),
            [(1, Stage::Retiring), (2, Stage::Active), (4, Stage::Prepared)]
        );
        assert_eq!(timeline.take_prepared(), Some(4));
        assert_eq!(timeline.take_prepared(), None);
    }

    #[test]
    fn replacing_what_is_prepared_does_not_put_the_change_off() {
        for pace in [100, 4_000, 7_000, 10_000, 14_000] {
            let mut timeline = timeline(&[Stage::Active]);
            let activated = (0..60_000).step_by(100).find(|&now| {
                if now % pace == 0 {
                    timeline.prepare(2, 7, now, now + 15_000);
                }
                timeline.step(now, 8, &[false, false], |_, _| 100_000) == Some(Step::Activated)
            });
            let activated = activated.unwrap();
            assert!((15_000..=15_000 + LINGER).contains(&activated), "every {pace}: {activated}");
        }
    }

    #[test]
    fn a_hard_deadline_is_not_put_off_at_all() {
        let mut timeline = timeline(&[Stage::Active]);
        timeline.prepare(2, 7, 0, 15_000);
        timeline.prepare(3, 8, 14_000, 14_500);
        assert_eq!(timeline.deadline(14_000), Some(14_500));
    }

    #[test]
    fn there_is_room_when_the_oldest_has_been_waited_for() {
        assert!(timeline(&[]).room(0, 0));
        assert!(timeline(&[Stage::Retiring, Stage::Active]).room(0, 15_000));
        let mut full = timeline(&[Stage::Retiring, Stage::Retiring, Stage::Active]);
        assert!(!full.room(14_999, 15_000));
        assert_eq!(full.live().len(), 3);
        assert!(full.room(15_000, 15_000));
        assert_eq!(ids(&full), [(2, Stage::Retiring), (3, Stage::Active)]);
        // Room is for what takes the place of a prepared one, too.
        full.prepare(4, 7, 0, 15_000);
        assert!(full.room(0, 15_000));
    }

    #[test]
    fn never_more_than_three() {
        let mut timeline = timeline(&[Stage::Active]);
        for id in 2..50 {
            timeline.prepare(id, 7, 0, 15_000);
            assert!(timeline.live().len() <= MOST_LIVE);
            if id % 3 > 0 {
                timeline.step(0, 8, &[true; 3], |_, _| 100_000);
            }
            let active = timeline.live().iter().filter(|entry| entry.stage == Stage::Active);
            assert_eq!(active.count(), 1, "{:?}", ids(&timeline));
        }
    }
}
