//! `config rule`: local rules, in fw4's words. The words themselves are tsg-control's.

use tsg_control::policy::{Action, Rule};

use super::{
    options::{Findings, Wrong, boolean, single},
    problem::Severity,
};
use crate::uci::{Opt, Section};

const OPTIONS: [&str; 8] =
    ["name", "action", "proto", "src_ip", "dest_ip", "src_port", "dest_port", "enabled"];

/// None if the rule is off, or wrong; that is then among the findings.
pub(super) fn read(section: &Section, found: &mut Findings<'_>) -> Option<Rule> {
    let mut rule = Rule::any(Action::Drop);
    let mut enabled = true;
    let before = found.problems.len();
    found.each_option(section, &OPTIONS, |opt| match opt.name.as_str() {
        "enabled" => boolean(opt).map(|on| enabled = on),
        _ => set(opt, &mut rule),
    });
    if section.value("action").is_none() {
        found.missing("action", "encrypt, bypass or drop", "Add `option action 'encrypt'`");
    }
    if !found.failed(before)
        && let Err(error) = rule.check()
    {
        found.whole(Severity::Error, &error.to_string(), "Correct the rule");
    }
    Some(rule).filter(|_| enabled && !found.failed(before))
}

fn set(opt: &Opt, rule: &mut Rule) -> Result<(), Wrong> {
    let advice = "Correct it; a rule's words are those of OpenWrt's firewall";
    let wrong =
        |value: &str, error: &dyn std::fmt::Display| Wrong::new(value, error.to_string(), advice);
    match opt.name.as_str() {
        option @ ("name" | "action") => {
            let text = single(opt)?;
            rule.set(option, text).map_err(|error| wrong(text, &error))
        }
        option => opt.value.texts().iter().try_for_each(|text| {
            let blanks_to_spaces = text.replace(['\t', '\n', '\r'], " ");
            rule.set(option, &blanks_to_spaces).map_err(|error| wrong(text, &error))
        }),
    }
}
