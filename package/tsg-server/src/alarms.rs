//! Alarms: what is wrong, since when, and when it is over.
//!
//! [`Watch`] follows what is found wrong; what it gives away is told by [`crate::notify`]. No I/O and no clock here.

mod watch;

pub use watch::Watch;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use tsg_control::server::{Trouble, TroubleKind};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// The same as long as it stands, and when it comes again.
    pub id: String,
    /// What kind it is.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// The group that it is about.
    pub group: Option<String>,
    /// The gateway that it is about.
    pub gateway: Option<String>,
    /// What is wrong, in words: one line.
    pub text: String,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
}

/// The kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One that a gateway raises, or the server in its name.
    Gateway,
    /// Nothing is heard of a gateway.
    Silent,
    /// A gateway is there and not in the newest state of its group.
    Late,
    /// A group has no key, or none that comes after the one that ends.
    Keys,
    /// The server's disk is full.
    Disk,
    /// Syslog, webhook or mail does not get through.
    Channel,
    /// Nothing is wrong: somebody tries whether alarms arrive.
    Test,
}

/// How much an alarm matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing has to be done.
    Info,
    /// Somebody should look.
    Warning,
    /// Traffic stops, or will soon.
    Critical,
}

/// An alarm begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub number: u64,
    /// Which of the two.
    pub state: State,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Which alarm.
    pub alarm: Alarm,
}

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It stands.
    Raised,
    /// It does not any more.
    Over,
}

impl Kind {
    /// As programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Silent => "silent",
            Self::Late => "late",
            Self::Keys => "keys",
            Self::Disk => "disk",
            Self::Channel => "channel",
            Self::Test => "test",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Gateway | Self::Silent | Self::Late | Self::Channel => Severity::Warning,
            Self::Keys | Self::Disk => Severity::Critical,
            Self::Test => Severity::Info,
        }
    }
}

impl Severity {
    /// As programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl State {
    /// As programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Over => "over",
        }
    }
}

impl Alarm {
    /// One of the server itself.
    pub fn of_server(kind: Kind, about: &str, text: &str, now: u64) -> Self {
        Self::new(kind, about, None, None, text, now)
    }

    /// One of a gateway or a group.
    pub fn of(trouble: &Trouble, now: u64) -> Self {
        let (kind, by_words) = match trouble.kind {
            TroubleKind::Gateway => (Kind::Gateway, true),
            TroubleKind::Silent => (Kind::Silent, false),
            TroubleKind::Late => (Kind::Late, false),
            TroubleKind::Keys => (Kind::Keys, false),
        };
        // A gateway has several; what counts up in their words makes no new one of them.
        let words = if by_words { without_numbers(&trouble.text) } else { String::new() };
        let about = match &trouble.gateway {
            Some((_, key)) => format!("{key} {words}"),
            None => trouble.group.clone(),
        };
        let gateway = trouble.gateway.as_ref().map(|(name, _)| name.as_str());
        Self::new(kind, &about, Some(&trouble.group), gateway, &trouble.text, now)
    }

    fn new(
        kind: Kind,
        about: &str,
        group: Option<&str>,
        gateway: Option<&str>,
        text: &str,
        since: u64,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind.name());
        hash.update([0]);
        hash.update(about);
        let id = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self {
            id,
            kind,
            severity: kind.severity(),
            group: group.map(plain),
            gateway: gateway.map(plain),
            text: plain(text),
            since,
        }
    }

    /// What it is about: `plant / pump`, `plant`, or nothing for the server itself.
    pub fn about(&self) -> String {
        let parts = [self.group.as_deref(), self.gateway.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" / ")
    }
}

/// In one line: `raised: plant / pump: nothing was heard of it for 65 s`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.alarm.about();
        let about = if about.is_empty() { "key server" } else { &about };
        write!(f, "{}: {about}: {}", self.state.name(), self.alarm.text)
    }
}

/// Text from outside on one line, with nothing in it that shows other text than it is.
fn plain(text: &str) -> String {
    const MOST: usize = 500;
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = |c: char| if c.is_control() || hidden(c) { '\u{fffd}' } else { c };
    text.chars().take(MOST).map(shown).collect()
}

fn without_numbers(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for sign in text.chars().map(|sign| if sign.is_ascii_digit() { '0' } else { sign }) {
        if sign != '0' || !words.ends_with('0') {
            words.push(sign);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::keys::PublicKey;

    fn trouble(kind: TroubleKind, key: u8, text: &str) -> Trouble {
        let gateway = Some(("pump".to_owned(), PublicKey([key; 32])));
        Trouble { group: "plant".to_owned(), gateway, kind, text: text.to_owned() }
    }

    #[test]
    fn an_alarm_stays_the_same_while_its_numbers_change() {
        let id = |kind, key, text: &str| Alarm::of(&trouble(kind, key, text), 1).id;
        let first = id(TroubleKind::Gateway, 1, "the time may be off by 70 ms");
        assert_eq!(first, id(TroubleKind::Gateway, 1, "the time may be off by 1250 ms"));
        assert_ne!(first, id(TroubleKind::Gateway, 2, "the time may be off by 70 ms"));
        assert_ne!(first, id(TroubleKind::Gateway, 1, "no key"));
        assert_ne!(first, id(TroubleKind::Silent, 1, "the time may be off by 70 ms"));
        let silent = id(TroubleKind::Silent, 1, "nothing was heard of it for 65 s");
        assert_eq!(silent, id(TroubleKind::Silent, 1, "since the key server started"));
        assert_eq!(silent.len(), 16);
    }

    #[test]
    fn a_hostile_name_stays_one_plain_line() {
        let mut wrong = trouble(TroubleKind::Gateway, 1, "a\r\nBcc: x\u{202e}y\u{2028}z");
        wrong.gateway = Some(("p\nq".to_owned(), PublicKey([1; 32])));
        let alarm = Alarm::of(&wrong, 1);
        assert_eq!(alarm.text, "a\u{fffd}\u{fffd}Bcc: x\u{fffd}y\u{fffd}z");
        assert_eq!(alarm.about(), "plant / p\u{fffd}q");
        let long = Alarm::of_server(Kind::Disk, "", &"ü".repeat(2_000), 1);
        assert_eq!(long.text.chars().count(), 500);
    }
}
