//! "What would `enforce` drop?": who talks in clear although a rule wants it sealed, and who is sealed for nobody.

use super::super::control::Control;
use crate::arguments::Arguments;
use crate::pipeline::{Fate, Heard, Talk};
use anyhow::Result;
use serde_json::{Value, json};

/// The answer to `flows`, what there was most of first. `would` is what becomes of it in `enforce`: `drop`, or `seal` for
/// a machine that no gateway opens for.
pub(super) fn flows(control: &mut Control, _: &Arguments, now: u64) -> Result<Value> {
    let mode = control.policy_in_force().map(|version| version.mode);
    let view = control.shared.view();
    let one = |(talk, heard): (Talk, Heard)| {
        let rule = view.deciding_rule(&heard.flow);
        json!({
            "src": talk.src,
            "dest": talk.dest,
            "proto": talk.proto.map(|proto| proto.to_string()),
            "dest_port": talk.port,
            "packets": heard.packets,
            "last_s": now.saturating_sub(heard.last) / 1000,
            "rule": rule.map(|rule| &rule.name).filter(|name| !name.is_empty()),
            "would": match talk.fate {
                Fate::Dropped => "drop",
                Fate::Unreached => "seal",
            },
        })
    };
    let flows: Vec<Value> = control.shared.talks(now).into_iter().map(one).collect();
    Ok(json!({ "mode": mode, "flows": flows }))
}
