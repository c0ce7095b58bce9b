//! What the daemon may do beside its work.

use anyhow::Result;

use super::report::Report;
use crate::machine::Machine;

/// procd holds a service to its capabilities by a program of its own, which small images leave out. Silent where no procd
/// starts the daemon.
pub(super) fn check(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    if !machine.has_file("sbin/procd") {
        return Ok(());
    }
    if machine.has_file("sbin/ujail") {
        return report.good("rights", "procd holds the gateway to its three capabilities");
    }
    report.warning("rights", "the gateway runs with all of root's rights; install procd-ujail")
}
