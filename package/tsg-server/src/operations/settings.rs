//! The settings of a group as operators type them.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use tsg_control::group::{FOREVER, Settings};

/// Names and values, which [`Settings::set`] takes.
pub fn settings(all: &Settings) -> BTreeMap<&'static str, String> {
    let json = serde_json::to_value(all).unwrap_or_default();
    Settings::NAMES.into_iter().map(|name| (name, text(name, json.get(name)))).collect()
}

/// Tells these settings from others.
pub fn settings_tag(all: &Settings) -> String {
    let hash = Sha256::digest(serde_json::to_vec(all).unwrap_or_default());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn text(name: &str, value: Option<&Value>) -> String {
    match value {
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if matches!(name, "protocol" | "encap_port") => {
            number.to_string()
        }
        Some(Value::Number(number)) => duration(number.as_u64().unwrap_or(0)),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

fn duration(seconds: u64) -> String {
    if seconds == u64::from(FOREVER) {
        return "forever".to_owned();
    }
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(length) && (unit != "d" || seconds > 86_400) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_as_they_are_shown() {
        let mut other = Settings::default();
        for (name, value) in [
            ("mode", "learn"),
            ("island_time", "forever"),
            ("non_ip", "0x8892"),
            ("key_lifetime", "36h"),
        ] {
            other.set(name, value).unwrap();
        }
        for all in [Settings::default(), other] {
            let mut read = Settings::default();
            for (name, value) in settings(&all) {
                read.set(name, &value).unwrap();
            }
            assert_eq!(read, all);
            assert_eq!(settings_tag(&read), settings_tag(&all));
        }
    }

    #[test]
    fn durations_are_short() {
        let shown = [0, 4, 60, 90, 5_400, 86_400, 172_800, u64::from(FOREVER)].map(duration);
        assert_eq!(shown, ["0s", "4s", "1m", "90s", "90m", "24h", "2d", "forever"]);
    }
}
