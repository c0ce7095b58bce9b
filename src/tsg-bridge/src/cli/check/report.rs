//! The lines of `tsg check` and what they add up to.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::Verdict;

/// Keeps what was found, and prints it line by line if somebody reads along.
pub(super) struct Report<'a> {
    out: Option<&'a mut dyn Write>,
    checks: Vec<Value>,
    problems: u32,
    warnings: u32,
}

impl<'a> Report<'a> {
    /// For people.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out: Some(out), ..Self::silent() }
    }

    /// For [`json`](Self::json).
    pub(super) const fn silent() -> Self {
        Self { out: None, checks: Vec::new(), problems: 0, warnings: 0 }
    }

    pub(super) fn good(&mut self, what: &str, text: &str) -> Result<()> {
        self.note("ok", what, text)
    }

    pub(super) fn warning(&mut self, what: &str, text: &str) -> Result<()> {
        self.warnings += 1;
        self.note("warning", what, text)
    }

    pub(super) fn problem(&mut self, what: &str, text: &str) -> Result<()> {
        self.problems += 1;
        self.note("problem", what, text)
    }

    /// The last line.
    pub(super) fn close(&mut self) -> Result<()> {
        if let Some(out) = &mut self.out {
            writeln!(out, "{} problems, {} warnings", self.problems, self.warnings)?;
        }
        Ok(())
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.problems == 0 { Verdict::Good } else { Verdict::Problems }
    }

    /// All of it.
    pub(super) fn json(self) -> Value {
        json!({ "problems": self.problems, "warnings": self.warnings, "checks": self.checks })
    }

    fn note(&mut self, grade: &str, what: &str, text: &str) -> Result<()> {
        if let Some(out) = &mut self.out {
            // What is to be looked at stands out.
            let shown = if grade == "problem" { "PROBLEM" } else { grade };
            writeln!(out, "{shown:<8} {what}: {text}")?;
        }
        self.checks.push(json!({ "grade": grade, "what": what, "text": text }));
        Ok(())
    }
}
