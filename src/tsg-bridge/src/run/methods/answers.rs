//! What is answered from what is known.

use super::super::control::Control;
use super::super::status::counted;
use crate::arguments::Arguments;
use anyhow::Result;
use serde_json::{Value, json};
use std::net::IpAddr;
use tsg_control::message::PolicyVersion;
use tsg_control::policy::Rule;

/// More machines than this are counted, not named: an answer must fit into a message.
const MOST_LISTED: usize = 4_096;

pub(super) fn counts(control: &mut Control, _: &Arguments, _: u64) -> Result<Value> {
    Ok(serde_json::to_value(counted(control))?)
}

/// The machines behind this gateway, those behind others, and those that no gateway reports.
pub(super) fn peers(control: &mut Control, _: &Arguments, _: u64) -> Result<Value> {
    let others = &control.gateway.map().others;
    Ok(json!({
        "mine": control.gateway.machines().iter().collect::<Vec<&IpAddr>>(),
        "others": others.iter().take(MOST_LISTED).collect::<Vec<&IpAddr>>(),
        "others_more": others.len().saturating_sub(MOST_LISTED),
        "unreached": control.unreached().collect::<Vec<&IpAddr>>(),
        "senders_known": control.shared.senders_known(),
    }))
}

/// The key server's rules as they are in force and come into force, and the local ones.
pub(super) fn policy(control: &mut Control, _: &Arguments, _: u64) -> Result<Value> {
    Ok(json!({
        "versions": control.known_policies().iter().map(version).collect::<Vec<_>>(),
        "local": control.config.rules.iter().map(rule).collect::<Vec<_>>(),
    }))
}

fn version(version: &PolicyVersion) -> Value {
    json!({
        "version": version.version,
        "stage": version.stage,
        "mode": version.mode,
        "fail": version.fail,
        "non_ip": version.non_ip,
        "default_action": version.policy.default_action,
        "rules": version.policy.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

/// A rule with all its fields; an empty list means any.
fn rule(rule: &Rule) -> Value {
    fn words<T: ToString>(list: &[T]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }
    json!({
        "name": rule.name,
        "action": rule.action,
        "proto": words(&rule.proto),
        "src": words(&rule.src_ip),
        "dest": words(&rule.dest_ip),
        "src_port": words(&rule.src_port),
        "dest_port": words(&rule.dest_port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::group::{Fail, Mode, NonIp};
    use tsg_control::policy::Policy;
    use tsg_control::timeline::Stage;

    #[test]
    fn a_policy_is_shown_with_all_its_words() {
        let encrypt: Rule =
            "encrypt proto=tcp dest_port=502,20000-20010 src_ip=192.0.2.0/24 name=modbus"
                .parse()
                .unwrap();
        let shown = version(&PolicyVersion {
            version: 3,
            stage: Stage::Active,
            policy: Policy::new(vec![encrypt]),
            mode: Mode::Enforce,
            non_ip: NonIp::Pass,
            fail: Fail::Closed,
        });
        assert_eq!(
            shown,
            json!({
                "version": 3, "stage": "active", "mode": "enforce", "fail": "closed",
                "non_ip": "pass", "default_action": "bypass",
                "rules": [{
                    "name": "modbus", "action": "encrypt", "proto": ["tcp"], "src": ["192.0.2.0/24"],
                    "dest": [], "src_port": [], "dest_port": ["502", "20000-20010"],
                }],
            })
        );
    }
}
