//! Events that wait to be told, and which alarms were raised: in memory, and in a file so that a restart neither loses nor
//! repeats them. While the disk is full, only in memory.

use super::channel::Meter;
use crate::alarms::{Alarm, Event, State};
use crate::files;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the file, in the data folder.
const FILE: &str = "alarms.json";

/// More events do not wait for one channel.
const MOST: usize = 1_000;

/// Events on their way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    path: PathBuf,
    channels: Vec<Arc<Meter>>,
    state: Mutex<Kept>,
    /// Something is not in the file yet.
    changed: AtomicBool,
    /// Held by who writes the file.
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    closed: bool,
    failed: bool,
}

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// The number of the last event.
    last: u64,
    /// Alarms that were raised and are not over, by their id.
    raised: BTreeMap<String, Alarm>,
    /// By channel.
    waiting: BTreeMap<String, VecDeque<Event>>,
}

impl Outbox {
    /// With what waits since before the start. A channel that was not there before is told what stands.
    pub(super) fn open(folder: &Path, channels: Vec<Arc<Meter>>) -> Self {
        let path = folder.join(FILE);
        let mut kept = read(&path).unwrap_or_else(|error| {
            log::warn!("{error:#}: alarms that stand are told again");
            Kept::default()
        });
        kept.waiting.retain(|name, _| channels.iter().any(|channel| channel.name == name));
        for channel in &channels {
            if !kept.waiting.contains_key(channel.name) {
                let raised = kept.raised.values().map(|alarm| {
                    kept.last += 1;
                    let (state, at) = (State::Raised, alarm.since);
                    Event {
                        number: kept.last,
                        state,
                        at: at.max(super::wall()),
                        alarm: alarm.clone(),
                    }
                });
                let raised = raised.collect();
                kept.waiting.insert(channel.name.to_owned(), raised);
            }
        }
        Self { path, channels, state: Mutex::new(kept), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, Kept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alarms that were raised and are not over, and the number of the next event.
    pub(super) fn raised(&self) -> (Vec<Alarm>, u64) {
        let state = self.state();
        (state.raised.values().cloned().collect(), state.last + 1)
    }

    /// To be told by all channels. The oldest make room.
    pub(super) fn push(&self, events: Vec<Event>) {
        let mut state = self.state();
        for event in events {
            state.last = event.number;
            let Alarm { id, .. } = &event.alarm;
            match event.state {
                State::Raised => state.raised.insert(id.clone(), event.alarm.clone()),
                State::Over => state.raised.remove(id),
            };
            for channel in &self.channels {
                let waiting = state.waiting.entry(channel.name.to_owned()).or_default();
                waiting.push_back(event.clone());
                if waiting.len() > MOST {
                    waiting.pop_front();
                    channel.lost(1);
                }
            }
        }
        self.changed.store(true, Ordering::Release);
    }

    /// What waits for a channel behind this number, the oldest first, at most so many.
    pub(super) fn after(&self, channel: &str, number: u64, most: usize) -> Vec<Event> {
        let state = self.state();
        let waiting = state.waiting.get(channel).into_iter().flatten();
        waiting.filter(|event| event.number > number).take(most).cloned().collect()
    }

    /// So many wait for a channel.
    pub(super) fn waiting(&self, channel: &str) -> usize {
        self.state().waiting.get(channel).map_or(0, VecDeque::len)
    }

    /// A channel has told those up to this number.
    pub(super) fn done(&self, channel: &str, number: u64) {
        self.keep(channel, |event| event.number > number);
    }

    /// A channel does not tell any more what is from before then. Gives how many that were.
    pub(super) fn forget(&self, channel: &str, before: u64) -> u64 {
        self.keep(channel, |event| event.at >= before)
    }

    fn keep(&self, channel: &str, wanted: impl Fn(&Event) -> bool) -> u64 {
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(channel) else { return 0 };
        let before = waiting.len();
        waiting.retain(wanted);
        let gone = before - waiting.len();
        if gone > 0 {
            self.changed.store(true, Ordering::Release);
        }
        gone as u64
    }

    /// Writes the file, if it is not what it should be. Never called by the main thread while the server runs.
    pub(super) fn save(&self) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let nowhere = self.path.as_os_str().is_empty();
        if nowhere || writing.closed || !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        let kept = self.state().clone();
        let written = serde_json::to_vec(&kept)
            .context("cannot write alarms as JSON")
            .and_then(|text| files::replace(&self.path, &text));
        match written {
            Ok(()) => writing.failed = false,
            Err(error) => {
                self.changed.store(true, Ordering::Release);
                if !std::mem::replace(&mut writing.failed, true) {
                    log::warn!(
                        "{error:#}; after a restart some alarms may be told twice, or not at all"
                    );
                }
            }
        }
    }

    /// Writes the file for the last time.
    pub(super) fn close(&self) {
        self.save();
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

fn read(path: &Path) -> Result<Kept> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::alarms::Kind;

    impl Outbox {
        pub(in super::super) fn in_memory(channels: &[Arc<Meter>]) -> Self {
            let kept = Mutex::new(Kept::default());
            Self { channels: channels.to_vec(), state: kept, ..Self::default() }
        }
    }

    pub(in super::super) fn event(number: u64) -> Event {
        let at = super::super::wall();
        let alarm = Alarm::of_server(Kind::Disk, &number.to_string(), "the disk is full", at);
        Event { number, state: State::Raised, at, alarm }
    }

    fn over(number: u64, of: u64) -> Event {
        Event { number, state: State::Over, ..event(of) }
    }

    fn meters(names: &[&'static str]) -> Vec<Arc<Meter>> {
        names.iter().map(|name| Arc::new(Meter::new(name, String::new()))).collect()
    }

    fn numbers(outbox: &Outbox, channel: &str) -> Vec<u64> {
        outbox.after(channel, 0, 100).iter().map(|event| event.number).collect()
    }

    #[test]
    fn what_waits_survives_and_what_was_told_does_not_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path(), meters(&["mail", "webhook"]));
        outbox.push(vec![event(1), event(2), over(3, 1)]);
        outbox.done("webhook", 2);
        outbox.save();
        let outbox = Outbox::open(folder.path(), meters(&["mail", "webhook"]));
        assert_eq!(numbers(&outbox, "mail"), [1, 2, 3]);
        assert_eq!(numbers(&outbox, "webhook"), [3]);
        let (raised, next) = outbox.raised();
        let ids: Vec<_> = raised.iter().map(|alarm| alarm.id.as_str()).collect();
        assert_eq!((ids, next), (vec![event(2).alarm.id.as_str()], 4));
        // Without mail, and with somebody new, who is told what stands.
        outbox.close();
        let outbox = Outbox::open(folder.path(), meters(&["syslog", "webhook"]));
        assert_eq!(numbers(&outbox, "mail"), [0_u64; 0]);
        assert_eq!(numbers(&outbox, "webhook"), [3]);
        assert_eq!(numbers(&outbox, "syslog"), [4]);
        assert_eq!(outbox.raised().1, 5);
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let meters = meters(&["mail"]);
        let outbox = Outbox::in_memory(&meters);
        outbox.push((1..=MOST as u64 + 7).map(event).collect());
        assert_eq!(outbox.waiting("mail"), MOST);
        assert_eq!(outbox.after("mail", 0, 1)[0].number, 8);
        assert_eq!(meters[0].view(0, 0).lost, 7);
        assert_eq!(outbox.forget("mail", u64::MAX), MOST as u64);
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"last\":").unwrap();
        let outbox = Outbox::open(folder.path(), meters(&["mail"]));
        outbox.push(vec![event(1)]);
        outbox.close();
        let outbox = Outbox::open(folder.path(), meters(&["mail"]));
        assert_eq!(numbers(&outbox, "mail"), [1]);
    }
}
