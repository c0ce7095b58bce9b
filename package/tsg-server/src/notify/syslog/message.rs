//! Messages as RFC 5424 has them: header, structured data, and words behind a byte order mark.
//!
//! The names of the structured data are in docs/server.md. 32473 is the number that RFC 5612 gives to those who have none
//! of their own.

use super::lines::Line;
use crate::alarms::{Event, Severity as Matters, State};
use crate::database::AuditRow;
use log::Level;
use std::fmt::Write as _;
use syslog_fmt::v5424::{Config, Formatter, write_msg};
use syslog_fmt::{Facility, Severity};

const PROGRAM: &str = "tsg-server";
const AUDIT: &str = "audit@32473";
const ALARM: &str = "alarm@32473";

/// The longest message in bytes: what a collector should take (RFC 5425), and what fits into one packet on every path of IPv6.
const MOST: usize = 8_192;
const MOST_BY_UDP: usize = 1_200;

/// One value may have this part of a message.
const PART: usize = 12;

/// What stands between structured data and the words.
const BEFORE_WORDS: usize = " \u{feff}".len();

/// Writes messages of this process.
#[derive(Debug)]
pub(super) struct Writer {
    daemon: Formatter,
    audit: Formatter,
    most: usize,
}

/// A name and a value of structured data.
type Parameter<'a> = (&'a str, String);

impl Writer {
    pub(super) fn new(host: &str, by_udp: bool) -> Self {
        Self::of(host, std::process::id(), if by_udp { MOST_BY_UDP } else { MOST })
    }

    fn of(host: &str, process: u32, most: usize) -> Self {
        let process = process.to_string();
        let formatter = |facility| {
            Config {
                facility,
                hostname: Some(host),
                app_name: Some(PROGRAM),
                proc_id: Some(&process),
            }
            .into_formatter()
        };
        Self { daemon: formatter(Facility::Daemon), audit: formatter(Facility::Authpriv), most }
    }

    /// A line of the audit trail.
    pub(super) fn audit(&self, row: &AuditRow) -> Vec<u8> {
        let (who, from) = who_and_from(&row.who);
        let done = !row.outcome.starts_with("refused");
        let severity = if done { Severity::Notice } else { Severity::Warning };
        let parameters = [
            ("id", row.id.to_string()),
            ("who", who.to_owned()),
            ("from", from.to_owned()),
            ("action", row.action.clone()),
            ("object", row.object.clone()),
            ("outcome", row.outcome.clone()),
        ];
        let AuditRow { who, action, object, outcome, .. } = row;
        let words = format!("{who}: {action} {object}: {outcome}");
        self.message(&self.audit, severity, row.at, "AUDIT", Some((AUDIT, &parameters)), &words)
    }

    /// An alarm is raised or over.
    pub(super) fn alarm(&self, event: &Event) -> Vec<u8> {
        let Event { state, at, alarm, .. } = event;
        let severity = match (state, alarm.severity) {
            (State::Over, _) | (State::Raised, Matters::Info) => Severity::Notice,
            (State::Raised, Matters::Warning) => Severity::Warning,
            (State::Raised, Matters::Critical) => Severity::Crit,
        };
        let mut parameters = vec![
            ("id", alarm.id.clone()),
            ("state", state.name().to_owned()),
            ("kind", alarm.kind.name().to_owned()),
            ("severity", alarm.severity.name().to_owned()),
            ("since", time(alarm.since)),
        ];
        for (name, value) in [("group", &alarm.group), ("gateway", &alarm.gateway)] {
            parameters.extend(value.clone().map(|value| (name, value)));
        }
        let words = format!("alarm {event}");
        self.message(&self.daemon, severity, *at, "ALARM", Some((ALARM, &parameters)), &words)
    }

    /// A line of the log.
    pub(super) fn line(&self, line: &Line) -> Vec<u8> {
        let severity = match line.level {
            Level::Error => Severity::Err,
            Level::Warn => Severity::Warning,
            Level::Info => Severity::Info,
            Level::Debug | Level::Trace => Severity::Debug,
        };
        self.message(&self.daemon, severity, line.at, "LOG", None, &line.text)
    }

    fn message(
        &self,
        formatter: &Formatter,
        severity: Severity,
        at: u64,
        kind: &str,
        data: Option<(&str, &[Parameter<'_>])>,
        words: &str,
    ) -> Vec<u8> {
        let shown: Vec<_> = data
            .iter()
            .flat_map(|(_, parameters)| parameters.iter())
            .map(|(name, value)| (*name, cut(&one_line(value), self.most / PART, true)))
            .collect();
        let pairs = || shown.iter().map(|(name, value)| (*name, value.as_str()));
        let elements = data.iter().map(|(id, _)| (*id, pairs()));
        let mut message = Vec::with_capacity(512);
        // Memory takes it all.
        let _ =
            formatter.write_with_data(&mut message, severity, time(at), "", Some(kind), elements);
        let room = self.most.saturating_sub(message.len() + BEFORE_WORDS);
        let _ = write_msg(&mut message, cut(&one_line(words), room, false));
        message
    }
}

/// `2026-11-29T08:30:00.123Z`.
fn time(milliseconds: u64) -> String {
    let seconds = tsg_bundle::utc(milliseconds / 1000).replace(' ', "T");
    format!("{seconds}.{:03}Z", milliseconds % 1000)
}

/// `ann (192.0.2.7)` is ann, from 192.0.2.7.
fn who_and_from(who: &str) -> (&str, &str) {
    let split = who.strip_suffix(')').and_then(|rest| rest.rsplit_once(" ("));
    split.unwrap_or((who, ""))
}

/// With control characters as escapes.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => {
                let _ = write!(line, "{}", character.escape_default());
            }
            false => line.push(character),
        }
    }
    line
}

/// What fits into so many bytes, with an ellipsis if that is not all. What structured data writes as two, counts so.
fn cut(text: &str, most: usize, escaped: bool) -> String {
    let size =
        |sign: char| sign.len_utf8() + usize::from(escaped && matches!(sign, '"' | '\\' | ']'));
    if text.chars().map(size).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub('…'.len_utf8());
    let mut short: String = text
        .chars()
        .take_while(|&sign| {
            let fits = size(sign) <= left;
            left = left.saturating_sub(size(sign));
            fits
        })
        .collect();
    if most >= '…'.len_utf8() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::Alarm;
    use tsg_control::keys::PublicKey;
    use tsg_control::server::{Trouble, TroubleKind};

    const AT: u64 = 1_795_000_000_007;

    fn writer(most: usize) -> Writer {
        Writer::of("tsg.example", 812, most)
    }

    fn row(who: &str, object: &str, outcome: &str) -> AuditRow {
        AuditRow {
            id: 17,
            at: AT,
            who: who.to_owned(),
            action: "gateway approve".to_owned(),
            object: object.to_owned(),
            outcome: outcome.to_owned(),
            chain: String::new(),
        }
    }

    fn shown(message: Vec<u8>) -> String {
        String::from_utf8(message).unwrap().replace('\u{feff}', "BOM")
    }

    #[test]
    fn audit_entries_are_what_the_rfc_says() {
        for (who, object, outcome, expected) in [
            (
                "ann (192.0.2.7)",
                "pump into plant",
                "done: 1234-5678",
                r#"<85>1 2026-11-18T11:06:40.007Z tsg.example tsg-server 812 AUDIT [audit@32473 id="17" who="ann" from="192.0.2.7" action="gateway approve" object="pump into plant" outcome="done: 1234-5678"] BOMann (192.0.2.7): gateway approve pump into plant: done: 1234-5678"#,
            ),
            (
                "uid 0 (pid 812)",
                r#"a"b\c]d"#,
                "refused: größer",
                r#"<84>1 2026-11-18T11:06:40.007Z tsg.example tsg-server 812 AUDIT [audit@32473 id="17" who="uid 0" from="pid 812" action="gateway approve" object="a\"b\\c\]d" outcome="refused: größer"] BOMuid 0 (pid 812): gateway approve a"b\c]d: refused: größer"#,
            ),
            (
                "gateway 1234",
                "x\n<0>1 - forged",
                "done",
                r#"<85>1 2026-11-18T11:06:40.007Z tsg.example tsg-server 812 AUDIT [audit@32473 id="17" who="gateway 1234" from="" action="gateway approve" object="x\\n<0>1 - forged" outcome="done"] BOMgateway 1234: gateway approve x\n<0>1 - forged: done"#,
            ),
        ] {
            assert_eq!(shown(writer(MOST).audit(&row(who, object, outcome))), expected);
        }
    }

    #[test]
    fn alarms_have_their_parts_as_data() {
        let trouble = |kind, gateway: Option<&str>, text: &str| {
            let gateway = gateway.map(|name| (name.to_owned(), PublicKey([1; 32])));
            let trouble =
                Trouble { group: "plant".to_owned(), gateway, kind, text: text.to_owned() };
            Alarm::of(&trouble, AT)
        };
        let silent = trouble(TroubleKind::Silent, Some("pump"), "nothing was heard of it for 65 s");
        let keys = trouble(TroubleKind::Keys, None, "the group has no key");
        for (state, alarm, priority, rest) in [
            (
                State::Raised,
                &silent,
                28,
                r#"group="plant" gateway="pump"] BOMalarm raised: plant / pump: nothing was heard of it for 65 s"#,
            ),
            (
                State::Over,
                &silent,
                29,
                r#"group="plant" gateway="pump"] BOMalarm over: plant / pump: nothing was heard of it for 65 s"#,
            ),
            (
                State::Raised,
                &keys,
                26,
                r#"group="plant"] BOMalarm raised: plant: the group has no key"#,
            ),
        ] {
            let event = Event { number: 1, state, at: AT + 1_000, alarm: alarm.clone() };
            let expected = format!(
                r#"<{priority}>1 2026-11-18T11:06:41.007Z tsg.example tsg-server 812 ALARM [alarm@32473 id="{}" state="{}" kind="{}" severity="{}" since="2026-11-18T11:06:40.007Z" {rest}"#,
                alarm.id,
                state.name(),
                alarm.kind.name(),
                alarm.severity.name()
            );
            assert_eq!(shown(writer(MOST).alarm(&event)), expected);
        }
    }

    #[test]
    fn lines_of_the_log_have_no_data() {
        for (level, priority) in [(Level::Error, 27), (Level::Warn, 28), (Level::Info, 30)] {
            let line = Line { at: AT, level, text: "100 % größer".to_owned() };
            let expected = format!(
                "<{priority}>1 2026-11-18T11:06:40.007Z tsg.example tsg-server 812 LOG - BOM100 % größer"
            );
            assert_eq!(shown(writer(MOST).line(&line)), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_stays_whole() {
        let longest = ["ü".repeat(1_000), "]\"\\".repeat(400), "\n".repeat(500), "x".repeat(9_000)];
        for most in [MOST, MOST_BY_UDP] {
            for text in &longest {
                let writer = Writer::of(&"h".repeat(255), u32::MAX, most);
                let message = writer.audit(&row(text, text, text));
                assert!(message.len() <= most, "{} of {most}", message.len());
                let message = String::from_utf8(message).unwrap();
                let (data, words) = message.split_once(" \u{feff}").unwrap();
                assert!(data.ends_with("\"]") && data.contains("…\""), "{data}");
                assert!(data.contains("outcome=\"") && !words.is_empty(), "{message}");
                let line = Line { at: AT, level: Level::Info, text: text.clone() };
                assert!(writer.line(&line).len() <= most);
            }
        }
        assert_eq!(cut("abcdef", 6, false), "abcdef");
        assert_eq!(cut("abcdefg", 6, false), "abc…");
        assert_eq!(cut("ab]]g", 6, true), "ab…");
        assert_eq!(cut("abc", 2, false), "");
    }
}
