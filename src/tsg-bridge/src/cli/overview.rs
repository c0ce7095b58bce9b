//! A gateway's status as lines for people: what matters first, then whatever else it said.
//!
//! Nothing here knows all fields, so that an older `tsg` shows what a newer gateway says.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value};

/// These come first, in this order; alarms come last, where the eye is.
const FIRST: [&str; 12] = [
    "tunnel",
    "state",
    "connected",
    "name",
    "group",
    "fingerprint",
    "servers",
    "epoch",
    "policy",
    "mode",
    "fail",
    "bridges",
];
const ALARMS: &str = "alarms";

const LABEL_WIDTH: usize = 20;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

pub(super) fn show(answer: &Value, colours: bool, out: &mut dyn Write) -> Result<()> {
    let Value::Object(fields) = answer else {
        writeln!(out, "{}", text(answer))?;
        return Ok(());
    };
    let is_rest = |name: &&String| !FIRST.contains(&name.as_str()) && *name != ALARMS;
    let rest = fields.keys().filter(is_rest).map(String::as_str);
    for name in FIRST.into_iter().chain(rest) {
        if let Some(value) = fields.get(name) {
            field(name, value, colours, out)?;
        }
    }
    match fields.get(ALARMS) {
        Some(Value::Array(alarms)) => {
            for alarm in alarms {
                line("alarm", &text(alarm), Some(RED).filter(|_| colours), out)?;
            }
        }
        Some(other) => field(ALARMS, other, colours, out)?,
        None => {}
    }
    Ok(())
}

fn field(name: &str, value: &Value, colours: bool, out: &mut dyn Write) -> Result<()> {
    match value {
        Value::Object(fields) => {
            let told: Vec<_> = fields.iter().filter(|(_, value)| !is_nothing(value)).collect();
            line(name, if told.is_empty() { "none" } else { "" }, None, out)?;
            for (name, value) in told {
                line(&format!("  {name}"), &text(value), None, out)?;
            }
            Ok(())
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().try_for_each(|item| line(name, &text(item), None, out))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let text = text(value);
            line(name, &text, colour(name, &text).filter(|_| colours), out)
        }
    }
}

fn line(label: &str, text: &str, colour: Option<&str>, out: &mut dyn Write) -> Result<()> {
    let label = printable(&format!("{}:", label.replace('_', " ")));
    match colour {
        Some(colour) => writeln!(out, "{label:<LABEL_WIDTH$} {colour}{text}{PLAIN}")?,
        None => writeln!(out, "{}", format!("{label:<LABEL_WIDTH$} {text}").trim_end())?,
    }
    Ok(())
}

fn colour(name: &str, text: &str) -> Option<&'static str> {
    match (name, text) {
        ("state", "sealing" | "up") | ("connected", "yes") => Some(GREEN),
        ("state", "pending" | "searching" | "idle") => Some(YELLOW),
        ("state" | "connected", _) => Some(RED),
        _ => None,
    }
}

/// A counter at zero, or a list of nobody.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) => false,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => words(fields),
    }
}

fn words(fields: &Map<String, Value>) -> String {
    let told = fields.iter().filter(|(_, value)| !is_nothing(value));
    let words: Vec<String> = told
        .map(|(name, value)| format!("{} {}", printable(&name.replace('_', " ")), text(value)))
        .collect();
    words.join("; ")
}

/// A time for people.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Texts come from other machines too: control characters stay visible and harmless.
pub(super) fn printable(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(answer: &Value, colours: bool) -> String {
        let mut out = Vec::new();
        show(answer, colours, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_matters_comes_first_and_alarms_last() {
        let answer = json!({
            "alarms": ["no key\u{1b}[2J"],
            "bridges": [{"device": "br-a", "lan": ["lan1", "lan2"], "wan": "wan", "why": ""}],
            "connected": true,
            "counters": {"sealed": 3, "dropped_replay": 0},
            "servers": ["tcp://192.0.2.1:5555"],
            "state": "sealing",
            "zebra": null,
        });
        assert_eq!(
            shown(&answer, false),
            "\
state:               sealing
connected:           yes
servers:             tcp://192.0.2.1:5555
bridges:             device br-a; lan lan1, lan2; wan wan
counters:
  sealed:            3
zebra:               -
alarm:               no key\\u{1b}[2J
"
        );
    }

    #[test]
    fn colours_are_for_terminals() {
        let answer = json!({"state": "revoked", "connected": true, "alarms": ["x"]});
        assert!(!shown(&answer, false).contains('\u{1b}'));
        let coloured = shown(&answer, true);
        assert!(coloured.contains(&format!("{RED}revoked")), "{coloured:?}");
        assert!(coloured.contains(&format!("{GREEN}yes")), "{coloured:?}");
        assert!(coloured.contains(&format!("{RED}x")), "{coloured:?}");
    }
}
