//! The lines of `tsg check` and what they add up to.

use std::io::Write;

use anyhow::Result;

use crate::cli::Verdict;

/// Prints line by line and remembers if one was a problem.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    problems: u32,
    warnings: u32,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, problems: 0, warnings: 0 }
    }

    pub(super) fn good(&mut self, what: &str, text: &str) -> Result<()> {
        self.line("ok", what, text)
    }

    pub(super) fn warning(&mut self, what: &str, text: &str) -> Result<()> {
        self.warnings += 1;
        self.line("warning", what, text)
    }

    pub(super) fn problem(&mut self, what: &str, text: &str) -> Result<()> {
        self.problems += 1;
        self.line("PROBLEM", what, text)
    }

    pub(super) fn verdict(&mut self) -> Result<Verdict> {
        writeln!(self.out, "{} problems, {} warnings", self.problems, self.warnings)?;
        Ok(if self.problems == 0 { Verdict::Good } else { Verdict::Problems })
    }

    fn line(&mut self, grade: &str, what: &str, text: &str) -> Result<()> {
        writeln!(self.out, "{grade:<8} {what}: {text}")?;
        Ok(())
    }
}
