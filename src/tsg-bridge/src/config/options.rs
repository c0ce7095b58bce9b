//! Reading a section option by option, and collecting what is wrong with it.

use std::{collections::HashMap, path::Path};

use super::problem::{Problem, Severity};
use crate::uci::{Opt, Section, Value};

/// More errors, or more warnings, than this nobody reads.
const MAX_FINDINGS: usize = 100;

/// What was found so far in one file, and where the reader is.
pub(super) struct Findings<'a> {
    pub(super) problems: Vec<Problem>,
    file: &'a Path,
    section: Option<String>,
    anonymous: HashMap<String, u32>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self { problems: Vec::new(), file, section: None, anonymous: HashMap::new() }
    }

    /// What is found from now on is about this section: its name, or its place among the anonymous ones
    /// of its type, as `uci show` has it.
    pub(super) fn enter(&mut self, section: &Section) -> String {
        let label = section.name.clone().unwrap_or_else(|| {
            let count = self.anonymous.entry(section.kind.clone()).or_default();
            *count += 1;
            format!("@{}[{}]", section.kind, *count - 1)
        });
        self.section = Some(label.clone());
        label
    }

    /// What is found from now on is about the file, or about the section of that label.
    pub(super) fn about(&mut self, label: Option<&str>) {
        self.section = label.map(str::to_owned);
    }

    /// Goes through the options of a section. `read` takes each known one.
    pub(super) fn each_option(
        &mut self,
        section: &Section,
        known: &[&str],
        read: impl FnMut(&Opt) -> Result<(), Wrong>,
    ) {
        let advice = "Check its spelling or remove it; it is not looked at";
        self.options(section, known, (Severity::Warning, advice), read);
    }

    /// The same; an option that is not known is an error.
    pub(super) fn only_options(
        &mut self,
        section: &Section,
        known: &[&str],
        read: impl FnMut(&Opt) -> Result<(), Wrong>,
    ) {
        self.options(section, known, (Severity::Error, "Check its spelling or remove it"), read);
    }

    fn options(
        &mut self,
        section: &Section,
        known: &[&str],
        (unknown, advice): (Severity, &str),
        mut read: impl FnMut(&Opt) -> Result<(), Wrong>,
    ) {
        for opt in &section.options {
            if known.contains(&opt.name.as_str()) {
                if let Err(wrong) = read(opt) {
                    self.wrong(&opt.name, wrong);
                }
                continue;
            }
            let allowed = format!("this option is not known; known are {}", known.join(", "));
            self.add(unknown, Some(&opt.name), None, &allowed, advice);
        }
    }

    pub(super) fn wrong(&mut self, option: &str, wrong: Wrong) {
        let Wrong { value, allowed, advice } = wrong;
        self.add(Severity::Error, Some(option), Some(&value), &allowed, &advice);
    }

    pub(super) fn missing(&mut self, option: &str, allowed: &str, advice: &str) {
        let allowed = format!("not set; it is {allowed}");
        self.add(Severity::Error, Some(option), None, &allowed, advice);
    }

    /// Something about the section, or the file, as a whole.
    pub(super) fn whole(&mut self, severity: Severity, allowed: &str, advice: &str) {
        self.add(severity, None, None, allowed, advice);
    }

    /// Is there an error from the `since`th finding on?
    pub(super) fn failed(&self, since: usize) -> bool {
        self.problems[since..].iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Is there an error about this option from the `since`th finding on?
    pub(super) fn failed_option(&self, since: usize, option: &str) -> bool {
        self.problems[since..].iter().any(|problem| problem.option.as_deref() == Some(option))
    }

    fn add(
        &mut self,
        severity: Severity,
        option: Option<&str>,
        value: Option<&str>,
        allowed: &str,
        advice: &str,
    ) {
        if self.problems.iter().filter(|problem| problem.severity == severity).count()
            >= MAX_FINDINGS
        {
            return;
        }
        self.problems.push(Problem {
            severity,
            file: self.file.to_owned(),
            section: self.section.clone(),
            option: option.map(str::to_owned),
            value: value.map(str::to_owned),
            allowed: allowed.to_owned(),
            advice: advice.to_owned(),
        });
    }
}

/// What is wrong with one value.
#[derive(Debug)]
pub(super) struct Wrong {
    value: String,
    allowed: String,
    advice: String,
}

impl Wrong {
    pub(super) fn new(value: &str, allowed: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { value: value.to_owned(), allowed: allowed.into(), advice: advice.into() }
    }
}

/// The one text of an option that takes one.
pub(super) fn single(opt: &Opt) -> Result<&str, Wrong> {
    match &opt.value {
        Value::Text(text) => Ok(text),
        Value::List(texts) => match texts.as_slice() {
            [text] => Ok(text),
            _ => Err(Wrong::new(
                &texts.join(" "),
                "this option has one value",
                "Write it once, as `option` and not as `list`",
            )),
        },
    }
}

/// All texts of an option that takes several, blanks between them as separators like fw4.
pub(super) fn several(opt: &Opt) -> impl Iterator<Item = &str> {
    opt.value.texts().iter().flat_map(|text| text.split_whitespace())
}

/// The words that OpenWrt's `config_get_bool` takes.
pub(super) fn boolean(opt: &Opt) -> Result<bool, Wrong> {
    match single(opt)? {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        other => Err(Wrong::new(other, "0 or 1", "Write 1 for on and 0 for off")),
    }
}
