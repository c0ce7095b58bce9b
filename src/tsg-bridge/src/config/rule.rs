//! `config rule`: local rules, in fw4's words. The words themselves are tsg-control's.

use tsg_control::policy::{Action, Rule};

use super::{
    options::{Findings, Wrong, boolean, several, single},
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
    match opt.name.as_str() {
        option @ ("name" | "action") => set_word(option, single(opt)?, rule),
        option => {
            let words: Vec<&str> = several(opt).flat_map(|text| text.split(',')).collect();
            let is_any = |word: &&&str| **word == "any" || **word == "all";
            if let Some(any) = words.iter().find(is_any).filter(|_| words.len() > 1) {
                return Err(Wrong::new(any, "this word alone", "Remove it, or the others"));
            }
            let mut words = words.into_iter().filter(|word| !word.is_empty());
            words.try_for_each(|word| set_word(option, word, rule))
        }
    }
}

fn set_word(option: &str, word: &str, rule: &mut Rule) -> Result<(), Wrong> {
    rule.set(option, word).map_err(|error| {
        let error = error.to_string();
        // It begins with the word itself, which a finding shows too.
        let allowed = error.rsplit_once(" is not ").map_or(error.as_str(), |(_, allowed)| allowed);
        Wrong::new(word, allowed, "Correct it; the words are those of OpenWrt's firewall")
    })
}
