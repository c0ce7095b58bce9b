//! What the gateway says of itself: for `tsg status`, and in its reports to the key server.

use super::cache::Cache;
use super::control::Control;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use tsg_control::clock::LONGEST_ROUND_TRIP;
use tsg_control::gateway::{KeyView, Standing};
use tsg_control::group::{Fail, Mode};
use tsg_control::message::PolicyVersion;

/// More machines than this are counted, not named.
const MOST_NAMED: usize = 20;

/// The text is the same as long as it lasts: the key server is told of each new one.
const BYPASSED: &str =
    "timed bypass: what the rules seal goes IN CLEAR until it ends; `tsg bypass off` ends it";

/// The state of one moment.
pub(super) struct Overview {
    pub(super) json: Value,
    pub(super) counters: BTreeMap<String, u64>,
    pub(super) alarms: Vec<String>,
}

impl Overview {
    /// What a notification carries.
    pub(super) fn news(&self) -> Value {
        let field = |name: &str| self.json.get(name).cloned().unwrap_or_default();
        json!({ "state": field("state"), "connected": field("connected"), "alarms": self.alarms })
    }

    /// What makes a notification due: an alarm in which only seconds pass is the same.
    pub(super) fn summary(&self) -> Value {
        let mut news = self.news();
        news["alarms"] = self.alarms.iter().map(|alarm| timeless(alarm)).collect();
        news
    }
}

/// A text without its numbers of seconds and milliseconds.
fn timeless(text: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_unit = |word: &str| matches!(word.trim_end_matches([',', ';', '.', ':']), "s" | "ms");
    let words: Vec<&str> = text.split(' ').collect();
    let next = words.iter().skip(1).map(Some).chain([None]);
    let counts = |(word, next): &(&&str, Option<&&str>)| {
        is_number(word) && next.is_some_and(|next| is_unit(next))
    };
    let kept = words.iter().zip(next).filter(|pair| !counts(pair)).map(|(word, _)| *word);
    kept.collect::<Vec<_>>().join(" ")
}

pub(super) fn overview(
    control: &Control,
    unreached: Vec<IpAddr>,
    lease_failed: bool,
    now: u64,
) -> Overview {
    let gateway = &control.gateway;
    let keys = gateway.keys(now);
    let policy = control.policy_in_force();
    let counters = counted(control);
    let mut alarms = Vec::new();
    if control.is_active() {
        alarms.extend(standing_alarm(gateway.standing(), control.link_trouble(), now));
        alarms.extend(control.key_trouble());
        alarms.extend(control.unreadable.alarm());
        alarms.extend(gateway.not_understood().iter().cloned());
        alarms.extend(key_alarm(&keys, policy));
        let clock = gateway.clock().filter(|clock| !clock.is_open());
        alarms.extend(time_alarm(&keys, clock.map(|clock| clock.error(now))));
    }
    alarms.extend(unreached_alarm(&unreached, policy));
    if lease_failed {
        alarms.push("sequence numbers cannot be stored: nothing is sealed".to_owned());
    }
    if let Some(why) = control.settings.trouble() {
        alarms
            .push(format!("the settings are wrong, and after a restart nothing would run: {why}"));
    }
    if let Some(why) = control.policies.trouble() {
        alarms.push(format!("the next boot would begin with an older policy: {why}"));
    }
    alarms.extend(open_alarm(&keys).map(str::to_owned));
    if control.bypass.is_on() {
        alarms.push(BYPASSED.to_owned());
    }
    if let Some(why) = control.cache.as_ref().and_then(Cache::trouble) {
        alarms.push(format!("option cache_keys: a power cut would leave no keys: {why}"));
    }
    for bridge in control.data.status() {
        let device = &bridge.ports.bridge;
        alarms.extend(bridge.trouble.iter().map(|trouble| format!("{device}: {trouble}")));
    }
    let bridges: Vec<Value> = control
        .data
        .status()
        .map(|bridge| {
            json!({
                "device": bridge.ports.bridge,
                "lan": bridge.ports.lan,
                "wan": bridge.ports.wan,
                "attach": bridge.kind.map(|kind| kind.name()),
                "why": bridge.why,
            })
        })
        .collect();
    let names = gateway.names();
    let sealing = keys.iter().find(|key| key.sealing);
    let clock = gateway.clock();
    let json = json!({
        "state": if control.is_active() { state(gateway.standing(), sealing) } else { "idle" },
        "connected": matches!(gateway.standing(), Standing::Member),
        "enabled": control.config.enabled,
        "routed": control.config.routed,
        "name": names.map(|(_, name)| name),
        "group": names.map(|(group, _)| group),
        "fingerprint": control.identity.public().fingerprint().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "servers": control.config.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "epoch": sealing.map_or(0, |key| key.id),
        "epochs": keys.iter().map(|key| epoch(key, now)).collect::<Vec<_>>(),
        "policy": policy.map_or(0, |version| version.version),
        "policies": control.known_policies().iter().map(|v| json!({
            "version": v.version, "stage": v.stage, "mode": v.mode, "fail": v.fail,
            "rules": v.policy.rules.len(),
        })).collect::<Vec<_>>(),
        "mode": policy.map(|version| version.mode),
        "fail": policy.map_or(control.config.fail, |version| version.fail),
        "time_error_ms": clock.filter(|clock| !clock.is_open()).map(|clock| clock.error(now)),
        "bypass": control.bypass.left(now).map(|left| json!({ "ends_in_s": left })),
        "since_server_s": gateway.last_answer().map(|at| now.saturating_sub(at) / 1000),
        "next_rekey_s": gateway.rekey_due().map(|at| at.saturating_sub(now) / 1000),
        "uptime_s": now.saturating_sub(control.doors.started()) / 1000,
        "attach_wanted": control.config.attach.name(),
        "bridges": bridges,
        "machines": gateway.machines().iter().collect::<Vec<_>>(),
        "machines_of_others": gateway.map().others.len(),
        "counters": counters,
        "alarms": alarms,
    });
    Overview { json, counters, alarms }
}

/// What is counted, by name.
pub(super) fn counted(control: &Control) -> BTreeMap<String, u64> {
    let mut counters = control.shared.counters().by_name();
    counters.extend(control.data.counters());
    counters.insert("senders_known".to_owned(), control.shared.senders_known() as u64);
    counters
}

fn state(standing: &Standing, sealing: Option<&KeyView>) -> &'static str {
    match (standing, sealing) {
        (Standing::Revoked(_), _) => "revoked",
        (Standing::Refused(_), _) => "refused",
        (Standing::Pending, _) => "pending",
        (_, Some(key)) if key.origin.is_some() => "sealing",
        (Standing::Searching, _) => "searching",
        (Standing::Member | Standing::Island(_), _) => "no key",
    }
}

fn epoch(key: &KeyView, now: u64) -> Value {
    let stage = match (key.prepared, key.sealing) {
        (true, _) => "prepared",
        (false, true) => "sealing",
        (false, false) => "opening",
    };
    json!({
        "id": key.id,
        "stage": stage,
        "cipher": key.suite.as_str(),
        "senders": key.senders,
        "ends_in_s": key.ends.map(|at| at.saturating_sub(now) / 1000),
        "time_known": key.origin.is_some() && !key.open,
    })
}

fn standing_alarm(standing: &Standing, trouble: Option<&str>, now: u64) -> Option<String> {
    match standing {
        Standing::Searching => Some(match trouble {
            Some(why) => format!("no answer of the key server yet: {why}"),
            None => "no answer of the key server yet".to_owned(),
        }),
        Standing::Pending => Some("an operator has to approve this gateway".to_owned()),
        Standing::Refused(reason) => Some(format!("the key server refuses: {reason}")),
        Standing::Member => None,
        Standing::Island(since) => Some(format!(
            "the key server does not answer for {} s; the keys at hand serve until they end",
            now.saturating_sub(*since) / 1000
        )),
        Standing::Revoked(reason) => Some(format!("thrown out of the group: {reason}")),
    }
}

fn key_alarm(keys: &[KeyView], policy: Option<&PolicyVersion>) -> Option<String> {
    let policy = policy?;
    if keys.iter().any(|key| key.sealing && key.origin.is_some()) {
        return None;
    }
    Some(match policy.fail {
        Fail::Closed => "no key: what the rules match is stopped".to_owned(),
        Fail::Open => "no key: what the rules match goes IN CLEAR, as `fail open` says".to_owned(),
    })
}

fn open_alarm(keys: &[KeyView]) -> Option<&'static str> {
    keys.iter().any(|key| key.open && key.origin.is_some()).then_some(
        "keys of before the power cut serve until the key server answers; the time is what other \
         gateways seal by",
    )
}

/// Who delays what gateway and key server say to each other cannot make the time wrong by more than half a
/// second without this being said.
fn time_alarm(keys: &[KeyView], error: Option<u64>) -> Option<String> {
    if keys.iter().any(|key| !key.prepared && key.origin.is_none()) {
        return Some(format!(
            "the time of the key server is not known: its answers take longer than {} s",
            LONGEST_ROUND_TRIP / 1000
        ));
    }
    let error = error.filter(|error| *error > LONGEST_ROUND_TRIP / 2)?;
    Some(format!(
        "the time may be off by {error} ms, and recorded packets are taken for as much longer: the key \
         server is gone, or its answers take longer than {} s",
        LONGEST_ROUND_TRIP / 1000
    ))
}

fn unreached_alarm(unreached: &[IpAddr], policy: Option<&PolicyVersion>) -> Option<String> {
    if unreached.is_empty() || policy.is_none_or(|version| version.mode != Mode::Enforce) {
        return None;
    }
    let named: Vec<String> = unreached.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let more = unreached.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!(
        "no gateway is known in front of {}{more}: what is sealed for a machine without a gateway \
         does not reach it",
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::group::Carriage;
    use tsg_esp::crypto::{Suite, Tek};

    fn key(prepared: bool, origin: Option<i64>) -> KeyView {
        KeyView {
            id: 1,
            tek: Tek::new([0; 32]).into(),
            suite: Suite::ChaCha20Poly1305,
            carriage: Carriage::Protocol(253),
            sealing: !prepared,
            prepared,
            senders: vec![1],
            open: false,
            highest_sender: 256,
            origin,
            error: 0,
            floor: 0,
            ends: None,
        }
    }

    #[test]
    fn seconds_that_pass_are_no_news() {
        let island = |s: u64| standing_alarm(&Standing::Island(0), None, s * 1000).unwrap();
        assert_ne!(island(12), island(345));
        assert_eq!(timeless(&island(12)), timeless(&island(345)));
        let off = |ms| time_alarm(&[key(false, Some(0))], Some(ms)).unwrap();
        assert_eq!(timeless(&off(501)), timeless(&off(64_000)));
        assert_ne!(timeless("in front of 192.0.2.1"), timeless("in front of 192.0.2.2"));
        assert_ne!(timeless("policy 3 is not followed"), timeless("policy 4 is not followed"));
        assert_eq!(timeless(""), "");
    }

    #[test]
    fn a_time_that_is_not_known_well_is_said() {
        let said = |keys: &[KeyView], error| time_alarm(keys, error).unwrap_or_default();
        let known = [key(false, Some(0))];
        assert_eq!(said(&known, Some(500)), "");
        assert!(said(&known, Some(501)).contains("off by 501 ms"));
        assert!(said(&[key(false, None)], None).contains("not known"));
        // What is only prepared is not used yet: the next heartbeat asks for the time.
        assert_eq!(said(&[key(false, Some(0)), key(true, None)], Some(1)), "");
        assert_eq!(said(&[], None), "");
    }
}
