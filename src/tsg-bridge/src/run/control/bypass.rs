//! The timed bypass: for a while nothing is sealed, as an operator at this gateway wants.
//!
//! It is not kept anywhere: it ends with the daemon, if not before.

use super::Control;
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use tsg_control::gateway::Standing;
use tsg_control::group::Mode;
use tsg_control::message::PolicyVersion;

/// Nobody who needs longer needs a gateway.
const LONGEST: u32 = 24 * 3600;

/// Until when, in milliseconds of the boot's clock.
#[derive(Debug, Default)]
pub(in crate::run) struct Bypass {
    until: Option<u64>,
}

impl Bypass {
    pub(in crate::run) const fn is_on(&self) -> bool {
        self.until.is_some()
    }

    pub(super) const fn until(&self) -> Option<u64> {
        self.until
    }

    fn begin(&mut self, seconds: u32, now: u64) {
        self.until = Some(now + u64::from(seconds) * 1000);
    }

    /// True if it was on.
    fn end(&mut self) -> bool {
        self.until.take().is_some()
    }

    /// What is left of it, in seconds.
    pub(in crate::run) fn left(&self, now: u64) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(now).div_ceil(1000))
    }

    /// What the workers judge by: nothing is sealed, what comes sealed is opened, and what is dropped stays so.
    pub(super) fn relax(&self, mut policies: Vec<PolicyVersion>) -> Vec<PolicyVersion> {
        if self.is_on() {
            for version in &mut policies {
                version.mode = version.mode.min(Mode::ReceiveOnly);
            }
        }
        policies
    }
}

impl Control {
    /// For `seconds` what the policy seals passes in clear; 0 ends it.
    ///
    /// # Errors
    /// It is not allowed, or makes no sense.
    pub(in crate::run) fn bypass(&mut self, seconds: u32, now: u64) -> Result<Value> {
        if seconds == 0 {
            self.end_bypass("as ordered");
            return Ok(json!({ "ok": true }));
        }
        ensure!(self.is_active(), "the gateway is idle: nothing is sealed anyway");
        ensure!(seconds <= LONGEST, "a bypass lasts {} hours at the most", LONGEST / 3600);
        if let Some(why) = self.bypass_forbidden() {
            bail!("{why}");
        }
        self.bypass.begin(seconds, now);
        self.stale_view = true;
        log::warn!("timed bypass: what the rules seal goes IN CLEAR for {seconds} s, as ordered");
        Ok(json!({ "ok": true, "ends_in_s": seconds }))
    }

    fn bypass_forbidden(&self) -> Option<String> {
        if let Standing::Revoked(_) = self.gateway.standing() {
            return Some("this gateway was thrown out of its group".to_owned());
        }
        let forbids = self.gateway.settings().is_some_and(|settings| !settings.timed_bypass);
        let (group, _) = self.gateway.names().unwrap_or_default();
        forbids.then(|| {
            format!(
                "group {group} forbids it; who runs the key server can allow it: `tsg-server group \
                 set {group} timed_bypass=yes`"
            )
        })
    }

    pub(super) fn look_after_bypass(&mut self, now: u64) {
        if self.bypass.until().is_some_and(|until| now >= until) {
            self.end_bypass("its time is over");
        } else if self.bypass.is_on()
            && let Some(why) = self.bypass_forbidden()
        {
            self.end_bypass(&why);
        }
    }

    pub(super) fn end_bypass(&mut self, why: &str) {
        if self.bypass.end() {
            self.stale_view = true;
            log::warn!("the timed bypass is over: {why}");
        }
    }
}
