//! What came of the commands that gateways were sent. Kept in memory, for the last few.

use super::{Answer, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tsg_control::keys::PublicKey;
use tsg_control::message::Done;

/// More commands are not remembered.
const MOST_COMMANDS: usize = 64;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The gateway has answered.
    pub answered: bool,
    /// It was carried out.
    pub ok: bool,
    /// What the gateway says about it, or what it collected.
    pub text: String,
}

/// The last commands, by number.
#[derive(Debug, Default)]
pub struct Outcomes(BTreeMap<u64, (PublicKey, Option<Done>)>);

impl Outcomes {
    pub(super) fn expect(&mut self, command: u64, from: PublicKey) {
        self.0.insert(command, (from, None));
        while self.0.len() > MOST_COMMANDS {
            self.0.pop_first();
        }
    }

    /// A gateway answers; only the one that was asked counts, and only once. Gives whether it
    /// does.
    pub(crate) fn note(&mut self, from: PublicKey, done: &Done) -> bool {
        let waiting = self.0.get_mut(&done.command).filter(|(asked, _)| *asked == from);
        let Some((_, outcome @ None)) = waiting else { return false };
        *outcome = Some(done.clone());
        true
    }

    pub(super) fn answer(&self, command: u64) -> Result<Answer, Refusal> {
        let Some((_, outcome)) = self.0.get(&command) else {
            let text = format!("command {command} is not remembered: see the server's log");
            return Err(Refusal::new(RefusalKind::NotFound, text));
        };
        let done = outcome.as_ref();
        let plain =
            |text: &String| text.chars().filter(|&c| c == '\n' || !c.is_control()).collect();
        Ok(Answer::Outcome(Outcome {
            answered: done.is_some(),
            ok: done.is_some_and(|done| done.ok),
            text: done.map(|done| plain(&done.text)).unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(outcomes: &Outcomes, command: u64) -> Outcome {
        match outcomes.answer(command) {
            Ok(Answer::Outcome(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let (asked, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let done = |text: &str| Done { command: 7, ok: true, text: text.to_owned() };
        let mut outcomes = Outcomes::default();
        assert!(!outcomes.note(asked, &done("before")));
        assert!(outcomes.answer(7).is_err());
        outcomes.expect(7, asked);
        assert!(!outcomes.note(other, &done("forged")));
        assert!(!outcome(&outcomes, 7).answered);
        assert!(outcomes.note(asked, &done("true\u{1b}[2J\nand more")));
        assert!(!outcomes.note(asked, &done("again")));
        let outcome = outcome(&outcomes, 7);
        assert_eq!((outcome.ok, outcome.text.as_str()), (true, "true[2J\nand more"));
    }

    #[test]
    fn old_ones_are_forgotten() {
        let mut outcomes = Outcomes::default();
        for command in 1..=1_000 {
            outcomes.expect(command, PublicKey([1; 32]));
        }
        assert_eq!(outcomes.0.len(), MOST_COMMANDS);
        assert!(outcomes.answer(1_000).is_ok());
    }
}
