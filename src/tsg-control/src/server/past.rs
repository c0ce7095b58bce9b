//! What became of a gateway lately, for operators. In memory only: what was ordered is in the audit trail.

use super::session::Session;
use crate::gateway::SILENCE;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// More of a gateway are not remembered.
const MOST: usize = 16;

/// A state that is taken over within this many milliseconds is no news.
const LATE: u64 = 30_000;

/// Something that became of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayEvent {
    /// When, server's time in milliseconds.
    pub at: u64,
    /// What.
    pub text: String,
}

/// The last of them.
#[derive(Default)]
pub(super) struct Past {
    events: VecDeque<GatewayEvent>,
    /// Alarms that were told, without their numbers: those change all the time.
    alarms: BTreeSet<String>,
    /// Since when it is not in the newest state.
    behind: Option<u64>,
}

impl Past {
    pub(super) fn note(&mut self, at: u64, text: impl Into<String>) {
        self.events.push_back(GatewayEvent { at, text: text.into() });
        self.events.drain(..self.events.len().saturating_sub(MOST));
    }

    /// A process of it registers that has not been here, or has been here before.
    pub(super) fn registered(&mut self, before: Option<&Session>, process: u64, now: u64) {
        match before {
            None => self.note(now, "came online"),
            Some(session) if session.process == process => {}
            Some(session) => {
                if let Some(at) = went_silent(session, now) {
                    self.note(at, "went silent");
                }
                self.note(now, "its daemon was started anew");
            }
        }
    }

    /// A process that is known says something.
    pub(super) fn heard(&mut self, session: &mut Session, now: u64) {
        if let Some(at) = went_silent(session, now) {
            self.note(at, "went silent");
            self.note(now, format!("came back after {} s", now.abs_diff(session.heard) / 1000));
        }
        session.heard = now;
    }

    /// A sign of life, in which it says what is wrong and whether it is in the newest state.
    pub(super) fn beaten(&mut self, alarms: &[String], is_current: bool, now: u64) {
        let told: BTreeSet<_> = alarms.iter().map(|alarm| numberless(alarm)).collect();
        let before = std::mem::replace(&mut self.alarms, told);
        for alarm in alarms.iter().filter(|alarm| !before.contains(&numberless(alarm))) {
            self.note(now, format!("alarm: {alarm}"));
        }
        if alarms.is_empty() && !before.is_empty() {
            self.note(now, "no alarm any more");
        }
        if !is_current {
            self.behind.get_or_insert(now);
        } else if let Some(since) = self.behind.take()
            && now.saturating_sub(since) >= LATE
        {
            let late = (now - since) / 1000;
            self.note(now, format!("took over keys and policy {late} s late"));
        }
    }

    /// The newest first. `approved` is in seconds.
    pub(super) fn view(
        &self,
        session: Option<&Session>,
        approved: u64,
        now: u64,
    ) -> Vec<GatewayEvent> {
        let event = |at, text: &str| GatewayEvent { at, text: text.to_owned() };
        let silent = session.and_then(|session| went_silent(session, now));
        let silent = silent.map(|at| event(at, "went silent"));
        // By its key, it may have been let in beforehand: that is not known of it.
        let let_in = (approved > 0).then(|| event(approved * 1000, "was let in"));
        let mut all: Vec<_> =
            let_in.into_iter().chain(self.events.iter().cloned()).chain(silent).collect();
        // Of what was at the same time, the last comes first.
        all.reverse();
        all.sort_by_key(|event| core::cmp::Reverse(event.at));
        all
    }
}

fn went_silent(session: &Session, now: u64) -> Option<u64> {
    let at = session.heard.saturating_add(SILENCE);
    (now >= at).then_some(at)
}

fn numberless(alarm: &str) -> String {
    alarm.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(past: &Past, session: &Session, now: u64) -> Vec<String> {
        past.view(Some(session), 1, now).into_iter().map(|event| event.text).collect()
    }

    #[test]
    fn what_became_of_it_is_told_newest_first() {
        let mut past = Past::default();
        let mut session = Session::new(1, 10_000);
        past.registered(None, 1, 10_000);
        past.heard(&mut session, 20_000);
        past.beaten(&["no answer for 12 s".to_owned()], true, 20_000);
        past.beaten(&["no answer for 15 s".to_owned()], false, 21_000);
        past.heard(&mut session, 25_000);
        past.beaten(&[], true, 25_000);
        let quiet = ["no alarm any more", "alarm: no answer for 12 s", "came online", "was let in"];
        assert_eq!(told(&past, &session, 30_000), quiet);
        assert_eq!(told(&past, &session, 60_000)[0], "went silent");
        past.heard(&mut session, 90_000);
        past.beaten(&[], false, 90_000);
        past.beaten(&[], true, 125_000);
        past.registered(Some(&session), 2, 126_000);
        let last = &told(&past, &session, 124_000)[..4];
        let expected = [
            "its daemon was started anew",
            "went silent",
            "took over keys and policy 35 s late",
            "came back after 65 s",
        ];
        assert_eq!(last, expected);
    }

    #[test]
    fn who_raises_ever_other_alarms_fills_no_memory() {
        let mut past = Past::default();
        for round in 0..1_000 {
            let alarm = "x".repeat(round % 190 + 1);
            past.beaten(&[alarm], round % 2 == 0, round as u64 * 60_000);
        }
        assert_eq!(past.events.len(), MOST);
    }
}
