//! What stands, damped: an alarm is raised when it has stood for a while, and over when it was gone for as long.

use super::{Alarm, Event, State};
use std::collections::BTreeMap;

/// Follows alarms.
#[derive(Debug)]
pub struct Watch {
    /// What stood lately, by its id.
    known: BTreeMap<String, Known>,
    /// An alarm has to stand, and to be gone, for so many milliseconds.
    delay: u64,
    /// Number of the next event.
    next: u64,
}

#[derive(Debug)]
struct Known {
    alarm: Alarm,
    stands: bool,
    /// Since when, in milliseconds of a clock that only ever runs.
    changed: u64,
    raised: bool,
}

impl Watch {
    /// Goes on from what was raised before, and numbers events from `next` on.
    pub fn new(raised: Vec<Alarm>, next: u64, delay: u64, clock: u64) -> Self {
        let known = |alarm: Alarm| {
            (alarm.id.clone(), Known { alarm, stands: true, changed: clock, raised: true })
        };
        Self { known: raised.into_iter().map(known).collect(), delay, next }
    }

    /// This is wrong now, and nothing else. Gives what there is to tell. `clock` only ever runs; `now` is the time that
    /// people are told. Both in milliseconds.
    pub fn follow(&mut self, found: Vec<Alarm>, clock: u64, now: u64) -> Vec<Event> {
        let mut gone: Vec<String> = Vec::new();
        let mut standing = BTreeMap::new();
        for alarm in found {
            standing.entry(alarm.id.clone()).or_insert(alarm);
        }
        let mut events = Vec::new();
        for (id, known) in &mut self.known {
            let stands = standing.remove(id);
            if known.stands != stands.is_some() {
                (known.stands, known.changed) = (stands.is_some(), clock);
            }
            if let Some(Alarm { text, group, gateway, .. }) = stands {
                (known.alarm.text, known.alarm.group, known.alarm.gateway) = (text, group, gateway);
            }
            let long = clock.saturating_sub(known.changed) >= self.delay;
            let state = match (known.stands, known.raised) {
                (true, false) if long => State::Raised,
                (false, true) if long => State::Over,
                (false, false) => {
                    gone.push(id.clone());
                    continue;
                }
                (true, _) | (false, true) => continue,
            };
            known.raised = state == State::Raised;
            if state == State::Over {
                gone.push(id.clone());
            }
            events.push(Event { number: self.next, state, at: now, alarm: known.alarm.clone() });
            self.next += 1;
        }
        for id in gone {
            self.known.remove(&id);
        }
        for (id, alarm) in standing {
            self.known.insert(id, Known { alarm, stands: true, changed: clock, raised: false });
        }
        events
    }

    /// What stands now, those that stand longest first, and whether each was raised already.
    pub fn standing(&self) -> Vec<(&Alarm, bool)> {
        let stands = self.known.values().filter(|known| known.stands);
        let mut all: Vec<_> = stands.map(|known| (&known.alarm, known.raised)).collect();
        all.sort_by_key(|(alarm, _)| alarm.since);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn alarm(about: &str, since: u64) -> Alarm {
        Alarm::of_server(Kind::Disk, about, about, since)
    }

    fn told(events: &[Event]) -> Vec<(State, &str, u64)> {
        events.iter().map(|event| (event.state, event.alarm.text.as_str(), event.number)).collect()
    }

    #[test]
    fn what_stands_is_raised_once_and_over_once() {
        let mut watch = Watch::new(Vec::new(), 5, 30, 0);
        let mut follow = |at: u64, found: &[&str]| {
            let found = found.iter().map(|about| alarm(about, at)).collect();
            let events = watch.follow(found, at, 1_000 + at);
            told(&events).into_iter().map(|(s, t, n)| (s, t.to_owned(), n)).collect::<Vec<_>>()
        };
        assert!(follow(0, &["a"]).is_empty());
        assert!(follow(29, &["a", "b"]).is_empty());
        assert_eq!(follow(30, &["a", "b"]), [(State::Raised, "a".to_owned(), 5)]);
        assert!(follow(58, &["a", "b"]).is_empty());
        assert_eq!(follow(60, &["b"]), [(State::Raised, "b".to_owned(), 6)]);
        assert!(follow(89, &["b"]).is_empty());
        assert_eq!(follow(90, &["b"]), [(State::Over, "a".to_owned(), 7)]);
        assert!(follow(1_000, &["b"]).is_empty());
    }

    #[test]
    fn what_comes_and_goes_is_not_told_each_time() {
        let mut watch = Watch::new(Vec::new(), 1, 30, 0);
        // Never long enough there.
        for at in (0..1_000).step_by(10) {
            let found = if at % 40 < 20 { vec![alarm("a", at)] } else { Vec::new() };
            assert!(watch.follow(found, at, at).is_empty(), "{at}");
        }
        // Raised, and then never long enough gone.
        let mut events = 0;
        for at in (1_000..2_000).step_by(10) {
            let found = if at < 1_100 || at % 40 < 20 { vec![alarm("a", at)] } else { Vec::new() };
            events += watch.follow(found, at, at).len();
        }
        assert_eq!(events, 1);
    }

    #[test]
    fn a_restart_repeats_nothing_and_forgets_nothing() {
        let raised = vec![alarm("stays", 7), alarm("went", 8)];
        let mut watch = Watch::new(raised, 3, 30, 100);
        assert!(watch.follow(vec![alarm("stays", 100)], 100, 100).is_empty());
        let events = watch.follow(vec![alarm("stays", 130)], 130, 130);
        assert_eq!(told(&events), [(State::Over, "went", 3)]);
        let [(stays, raised)] = watch.standing()[..] else { panic!() };
        assert_eq!((stays.since, raised), (7, true));
    }

    #[test]
    fn the_words_are_the_newest_and_since_is_the_first() {
        let mut watch = Watch::new(Vec::new(), 1, 30, 0);
        let first = alarm("a", 10);
        watch.follow(vec![first.clone()], 0, 10);
        let newer = Alarm { text: "newer".to_owned(), since: 40, ..first };
        let events = watch.follow(vec![newer], 30, 40);
        assert_eq!((events[0].alarm.since, events[0].alarm.text.as_str()), (10, "newer"));
    }
}
