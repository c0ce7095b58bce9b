//! What changed, on its way to the workers and into the kernel.

use super::{Control, policy, report};
use crate::boottime;
use crate::pipeline::{EpochTag, EpochView, View};
use crate::rules::Plan;
use tsg_control::group::Fail;
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Rule};

impl Control {
    /// Brings what changed to the workers and into the kernel.
    pub(super) fn renew(&mut self, now: u64) {
        if !self.stale_view || !self.is_active() {
            return;
        }
        self.stale_view = false;
        self.view_at = now;
        let plan = self.new_plan();
        if self.plan.as_ref() != Some(&plan) {
            // Keys do not wait for the rules, but a policy does: what it newly lets go would meet the gate
            // of the one before. The first has none before it.
            if self.judging.is_empty() {
                self.judging = self.judged_policies();
            }
            self.publish(now);
            self.data.install(&plan, &self.shared);
            self.plan = Some(plan);
        }
        self.judging = self.judged_policies();
        self.publish(now);
        let told = self.group_keys.tell(&self.gateway.keys(now));
        report(told, "tunnels of this host do not get the group's keys");
    }

    pub(super) fn publish(&self, now: u64) {
        let held: Vec<EpochTag> = self.gateway.keys(now).iter().map(EpochTag::of).collect();
        self.shared.publish(self.view(now), &held);
    }

    pub(super) fn view(&self, now: u64) -> View {
        View {
            epochs: self.gateway.keys(now).into_iter().filter_map(EpochView::new).collect(),
            policies: self.judging.clone(),
            local: policy::stricter_rules(&self.config),
            window: self.gateway.settings().map_or(4, |settings| settings.replay_window) * 1000,
            mine: self.gateway.machines().iter().copied().collect(),
            others: self.gateway.map().others.iter().copied().collect(),
            has_map: self.gateway.map().revision > 0,
            path_mtu: self.config.path_mtu.unwrap_or_else(|| self.data.path_mtu()),
            oversize: self.config.oversize,
            fail: if self.bypass.is_on() { Fail::Open } else { self.config.fail },
        }
    }

    pub(super) fn new_plan(&self) -> Plan {
        let keys = self.gateway.keys(boottime::now());
        let carriages = keys.into_iter().map(|key| key.carriage).collect();
        policy::plan(
            &self.live_policies(),
            carriages,
            self.server_addresses(),
            &self.config,
            self.bypass.is_on(),
        )
    }

    /// The policies that hold, with the local bypass rules in front if the group allows these.
    pub(super) fn live_policies(&self) -> Vec<PolicyVersion> {
        let allowed = self.gateway.settings().is_some_and(|settings| settings.local_bypass);
        let bypass = |rule: &&Rule| allowed && rule.action == Action::Bypass;
        let bypass: Vec<Rule> = self.config.rules.iter().filter(bypass).cloned().collect();
        self.policies.live(self.gateway.policies(), &bypass)
    }

    pub(super) fn judged_policies(&self) -> Vec<PolicyVersion> {
        self.bypass.relax(self.live_policies())
    }
}
