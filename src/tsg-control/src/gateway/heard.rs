//! What a later key server says: what is understood of it is obeyed, and what is not is told.

use super::Gateway;
use crate::message::{Heard, PolicyVersion, ToGateway};
use crate::timeline::Stage;

impl Gateway {
    /// What the key server said, over a connection that proved to be with it.
    pub fn handle_heard(&mut self, heard: Heard, now: u64) {
        if let Some(done) = heard.answer {
            self.done(done);
        }
        let Some(mut message) = heard.message else { return };
        let mut of = None;
        if let ToGateway::State(state) = &mut message {
            of = Some((state.instance, state.revision));
            if !heard.unknown.is_empty() {
                keep_in_force(&mut state.policies, self.policies());
            }
        }
        self.handle_message(message, now);
        let in_state = self.state.as_ref().map(|known| (known.instance, known.revision));
        if of.is_some() && of == in_state {
            self.unknown = heard.unknown;
        }
    }

    /// What it does not understand of the state that it is in, in words.
    pub fn not_understood(&self) -> &[String] {
        if self.state.is_some() { &self.unknown } else { &[] }
    }
}

/// The policy in force is among those that are not understood: the newest that is, stays.
fn keep_in_force(listed: &mut Vec<PolicyVersion>, before: &[PolicyVersion]) {
    if listed.iter().any(|version| version.stage == Stage::Active) {
        return;
    }
    if let Some(retiring) = listed.iter_mut().rev().find(|v| v.stage == Stage::Retiring) {
        retiring.stage = Stage::Active;
        return;
    }
    let last = before.iter().rev().find(|version| version.stage == Stage::Active);
    listed.splice(0..0, last.cloned());
}
