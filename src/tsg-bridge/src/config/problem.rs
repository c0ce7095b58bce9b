//! What is wrong in a configuration, in one shape: where, what, what is allowed, what to do.

use std::{fmt, path::PathBuf};

/// Longer values are cut in messages.
const SHOWN_CHARS: usize = 80;

/// Does the gateway start with it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Yes.
    Warning,
    /// No.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Does it keep the gateway from starting?
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// The section as `uci show` names it (`main`, `@rule[2]`); none if it is about the file.
    pub section: Option<String>,
    /// The option; none if it is about the section.
    pub option: Option<String>,
    /// The value found; none if it is missing or does not matter.
    pub value: Option<String>,
    /// What would be right, or what is wrong.
    pub allowed: String,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(section) = &self.section {
            write!(f, "section {section}: ")?;
        }
        if let Some(option) = &self.option {
            write!(f, "option {option}: ")?;
        }
        if let Some(value) = &self.value {
            write!(f, "{:?} is not allowed; allowed: ", shown(value))?;
        }
        write!(f, "{}. {}.", self.allowed, self.advice)
    }
}

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Everything that keeps the gateway from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// What an error says, finding by finding: a line of a log for each.
    pub fn each_of(error: &anyhow::Error) -> Vec<String> {
        match error.downcast_ref::<Self>() {
            Some(Self(problems)) => problems.iter().map(ToString::to_string).collect(),
            None => vec![format!("{error:#}")],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let line_end = if at == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_and_another_error_is_one() {
        let problem = |allowed: &str| Problem {
            severity: Severity::Error,
            file: "/etc/config/tsg".into(),
            section: None,
            option: None,
            value: None,
            allowed: allowed.to_owned(),
            advice: "Correct it".to_owned(),
        };
        let both = anyhow::Error::from(Problems(vec![problem("one"), problem("two")]));
        let expected = ["/etc/config/tsg: one. Correct it.", "/etc/config/tsg: two. Correct it."];
        assert_eq!(Problems::each_of(&both.context("with a context")), expected);
        assert_eq!(Problems::each_of(&anyhow::anyhow!("a\nb")), ["a\nb"]);
    }
}
