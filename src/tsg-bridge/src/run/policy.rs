//! Which policies hold: the key server's or, without its word, the last one that was in force; and
//! what the kernel is told of them.
//!
//! Not here: when a policy comes into force ([`tsg_control::timeline`]), what its rules mean
//! ([`tsg_control::policy`]).

use super::memory;
use crate::config::Config;
use crate::folders::Folders;
use crate::rules::Plan;
use std::net::SocketAddr;
use std::sync::Arc;
use tsg_control::group::{Carriage, Fail};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Policy, Rule};
use tsg_control::timeline::Stage;

/// How long after it could not be kept it is tried again, in milliseconds. Flash wears.
const KEEP_AGAIN: u64 = 10_000;

/// The policy to fall back to.
pub(super) struct Policies {
    last: Option<PolicyVersion>,
    unkept: Option<Unkept>,
}

/// What is on flash is older than what is in force.
struct Unkept {
    why: String,
    again: u64,
}

impl Policies {
    /// Begins with the policy of before the boot.
    pub(super) fn recall(folders: &Folders) -> Self {
        Self { last: memory::recall_policy(folders), unkept: None }
    }

    /// The key server's policies are `known` now. The one in force is kept, here and on flash: it
    /// goes on when the server takes back its word, as in a revocation.
    pub(super) fn follow(&mut self, folders: &Folders, known: &[PolicyVersion], now: u64) {
        let Some(newest) = in_force(known) else { return };
        self.last = Some(newest.clone());
        self.keep(folders, now);
    }

    /// Tries again what could not be kept.
    pub(super) fn look_after(&mut self, folders: &Folders, now: u64) {
        if self.unkept.as_ref().is_some_and(|unkept| now >= unkept.again) {
            self.keep(folders, now);
        }
    }

    fn keep(&mut self, folders: &Folders, now: u64) {
        let Some(last) = &self.last else { return };
        let before = self.unkept.take();
        match memory::keep_policy(folders, last) {
            Ok(()) if before.is_some() => log::info!("the policy is kept for the next boot again"),
            Ok(()) => {}
            Err(error) => {
                let why = format!("{error:#}");
                if before.is_none_or(|before| before.why != why) {
                    log::error!("the policy is not kept for the next boot: {why}");
                }
                self.unkept = Some(Unkept { why, again: now + KEEP_AGAIN });
            }
        }
    }

    /// Why the next boot would begin with an older policy.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.unkept.as_ref().map(|unkept| unkept.why.as_str())
    }

    /// What the server has told or, without its word, the last one.
    pub(super) fn known<'a>(&'a self, told: &'a [PolicyVersion]) -> &'a [PolicyVersion] {
        if told.is_empty() { self.last.as_slice() } else { told }
    }

    /// The same, with `bypass` in front.
    pub(super) fn live(&self, told: &[PolicyVersion], bypass: &[Rule]) -> Vec<PolicyVersion> {
        let mut policies = self.known(told).to_vec();
        for version in &mut policies {
            Arc::make_mut(&mut version.policy.rules).splice(..0, bypass.iter().cloned());
        }
        policies
    }
}

/// The local rules that want more than the server.
pub(super) fn stricter_rules(config: &Config) -> Policy {
    let stricter = config.rules.iter().filter(|rule| rule.action != Action::Bypass);
    Policy::new(stricter.cloned().collect())
}

/// What the kernel is told.
pub(super) fn plan(
    policies: &[PolicyVersion],
    carriages: Vec<Carriage>,
    servers: Vec<SocketAddr>,
    config: &Config,
    bypassed: bool,
) -> Plan {
    let fail = if bypassed { Fail::Open } else { config.fail };
    let local = stricter_rules(config);
    let unknown = Plan { servers, local, bypassed, ..Plan::unknown(fail) };
    // What is only prepared may be judged by already, but weakens nothing.
    let (prepared, told): (Vec<&PolicyVersion>, Vec<&PolicyVersion>) =
        policies.iter().partition(|version| version.stage == Stage::Prepared);
    let rules = |versions: &[&PolicyVersion]| {
        versions.iter().map(|version| version.policy.clone()).collect::<Vec<_>>()
    };
    let unknown = Plan { policies: rules(&told), prepared: rules(&prepared), ..unknown };
    let carriages = if carriages.is_empty() { unknown.carriages } else { distinct(carriages) };
    let Some(newest) = in_force(policies) else { return Plan { carriages, ..unknown } };
    Plan {
        // While the mode changes, the laxer one must still get through.
        mode: told.iter().map(|version| version.mode).min().unwrap_or(newest.mode),
        fail: newest.fail,
        non_ip: newest.non_ip.clone(),
        carriages,
        ..unknown
    }
}

/// The one that decides.
pub(super) fn in_force(policies: &[PolicyVersion]) -> Option<&PolicyVersion> {
    policies.iter().rev().find(|version| version.stage == Stage::Active)
}

fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    values.into_iter().fold(Vec::new(), |mut list, value| {
        if !list.contains(&value) {
            list.push(value);
        }
        list
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::group::{Mode, NonIp};

    fn version(version: u64, stage: Stage, rules: &[&str]) -> PolicyVersion {
        let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
        PolicyVersion {
            version,
            stage,
            policy: Policy::new(rules),
            mode: Mode::Enforce,
            non_ip: NonIp::Pass,
            fail: Fail::Closed,
        }
    }

    #[test]
    fn what_was_in_force_last_goes_on_after_a_revocation() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().to_owned(), ..Folders::default() };
        let first = version(1, Stage::Active, &["bypass proto=tcp dest_port=502"]);
        let mut policies = Policies::recall(&folders);
        assert_eq!(policies.live(&[], &[]), []);
        policies.follow(&folders, std::slice::from_ref(&first), 0);
        let second = version(2, Stage::Active, &["encrypt proto=tcp dest_port=502"]);
        let third = version(3, Stage::Prepared, &["bypass"]);
        let first = PolicyVersion { stage: Stage::Retiring, ..first };
        let known = [first, second, third];
        policies.follow(&folders, &known, 0);
        policies.follow(&folders, &[], 0);
        assert_eq!(policies.live(&[], &[]), known[1..2]);
        assert_eq!(Policies::recall(&folders).live(&[], &[]), known[1..2]);
    }

    #[test]
    fn what_flash_did_not_take_is_kept_once_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().join("away"), ..Folders::default() };
        let known = [version(1, Stage::Active, &["encrypt"])];
        let mut policies = Policies::recall(&folders);
        policies.follow(&folders, &known, 1_000);
        let why = policies.trouble().expect("an alarm").to_owned();
        assert!(why.contains("away"), "{why}");
        std::fs::create_dir(&folders.state).unwrap();
        policies.look_after(&folders, 1_000 + KEEP_AGAIN - 1);
        assert_eq!(policies.trouble(), Some(why.as_str()));
        policies.look_after(&folders, 1_000 + KEEP_AGAIN);
        assert_eq!(policies.trouble(), None);
        assert_eq!(Policies::recall(&folders).live(&[], &[]), known);
    }

    #[test]
    fn what_is_only_prepared_weakens_nothing() {
        let config = Config::default();
        let lax = |number, stage| PolicyVersion {
            mode: Mode::Learn,
            fail: Fail::Open,
            ..version(number, stage, &["bypass"])
        };
        let strict = |number, stage| PolicyVersion {
            non_ip: NonIp::Drop,
            ..version(number, stage, &["encrypt"])
        };
        let shown = |policies: &[PolicyVersion]| {
            let plan = plan(policies, Vec::new(), Vec::new(), &config, false);
            assert_eq!(plan.policies.len() + plan.prepared.len(), policies.len());
            (plan.mode, plan.fail, plan.non_ip)
        };
        let held = (Mode::Enforce, Fail::Closed, NonIp::Drop);
        assert_eq!(shown(&[strict(1, Stage::Active), lax(2, Stage::Prepared)]), held);
        let lowered = (Mode::Learn, Fail::Open, NonIp::Pass);
        assert_eq!(shown(&[strict(1, Stage::Retiring), lax(2, Stage::Active)]), lowered);
        let raised = (Mode::Learn, Fail::Closed, NonIp::Drop);
        assert_eq!(shown(&[lax(1, Stage::Retiring), strict(2, Stage::Active)]), raised);
        let unknown = (Mode::Enforce, config.fail, NonIp::Pass);
        assert_eq!(shown(&[lax(1, Stage::Prepared)]), unknown);
        // The daemon must see what it matches; but for who dies now, it opens nothing.
        let changing = [strict(1, Stage::Active), lax(2, Stage::Prepared)];
        let plan = plan(&changing, Vec::new(), Vec::new(), &config, false);
        assert_eq!(plan.effective().len(), 2);
        let versions = plan.versions();
        assert_eq!(
            (versions.len(), versions[0].effective()),
            (1, vec![changing[0].policy.clone()])
        );
    }

    #[test]
    fn local_bypass_rules_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().to_owned(), ..Folders::default() };
        let known = version(1, Stage::Active, &["encrypt"]);
        let bypass: Rule = "bypass proto=udp".parse().unwrap();
        let live = Policies::recall(&folders).live(&[known], std::slice::from_ref(&bypass));
        assert_eq!(live[0].policy.rules[0], bypass);
        assert_eq!(live[0].policy.rules.len(), 2);
    }
}
