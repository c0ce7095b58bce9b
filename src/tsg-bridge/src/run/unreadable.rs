//! What the key server says and this version cannot read: once in the log, and in an alarm for as long as it lasts.

use std::collections::BTreeSet;
use tsg_control::message::{DecodeError, Heard, VERSION};

/// More lines than this are not remembered as said.
const MOST: usize = 64;

/// What was not understood so far.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    said: BTreeSet<String>,
    version: Option<u16>,
}

impl Unreadable {
    /// A message could not be read.
    pub(super) fn note(&mut self, error: &DecodeError) {
        if let DecodeError::Version(version) = error {
            self.version = Some(*version);
        }
        self.say(&error.to_string());
    }

    /// A message could be read, but for what is `unknown` of it.
    pub(super) fn note_heard(&mut self, heard: &Heard) {
        self.version = None;
        heard.unknown.iter().for_each(|unknown| self.say(unknown));
    }

    /// The key server is of another version, and what to do.
    pub(super) fn alarm(&self) -> Option<String> {
        let version = self.version?;
        let older = if version > VERSION { "this gateway" } else { "the key server" };
        Some(format!(
            "the key server speaks version {version} of the protocol, this gateway version {VERSION}: upgrade {older}"
        ))
    }

    fn say(&mut self, text: &str) {
        if self.said.len() >= MOST {
            self.said.clear();
        }
        if self.said.insert(text.to_owned()) {
            log::warn!("from the key server: {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_lasts_until_something_can_be_read() {
        let mut unreadable = Unreadable::default();
        unreadable.note(&DecodeError::Kind("weather".to_owned()));
        assert_eq!(unreadable.alarm(), None);
        for (version, older) in [(2, "upgrade this gateway"), (0, "upgrade the key server")] {
            unreadable.note(&DecodeError::Version(version));
            assert!(unreadable.alarm().unwrap().ends_with(older));
        }
        unreadable.note_heard(&Heard { message: None, answer: None, unknown: Vec::new() });
        assert_eq!(unreadable.alarm(), None);
        for number in 0..1_000 {
            unreadable.note(&DecodeError::Malformed(number.to_string()));
        }
        assert!(unreadable.said.len() <= MOST);
    }
}
