//! Without a daemon a TAP is gone, and what is forwarded to it. So the daemon writes a frame into its TAP now and then;
//! while none comes, and `fail` is open, what is for the daemon passes.

use super::{Hooks, Lines, hook};
use core::fmt::Write as _;

/// For so many seconds after its last frame the daemon is believed to live.
const SECONDS: u32 = 3;

/// The same for all frames of a port and of a TAP: that they are Ethernet.
const ALWAYS: &str = "meta iiftype";

/// The set that a frame of the daemon fills for a while, and the hooks where it comes in.
pub(super) fn beats(text: &mut String, hooks: &Hooks<'_>) {
    let _ = writeln!(
        text,
        "  set alive {{ type iface_type; size 16; flags dynamic,timeout; timeout {SECONDS}s; }}"
    );
    for tap in &hooks.taps {
        hook(text, "beat", tap, |lines| {
            lines.add(format!("update @alive {{ {ALWAYS} timeout {SECONDS}s }}"));
            lines.add("drop");
        });
    }
}

/// The first line of what hands a frame to the daemon.
pub(super) fn or_pass(lines: &mut Lines<'_>) {
    lines.add(format!("{ALWAYS} != @alive goto pass"));
}

/// Who loads rules lives, too.
pub(super) fn first_beat(text: &mut String, table: &str) {
    let _ = writeln!(text, "add element netdev {table} alive {{ ether timeout {SECONDS}s }}");
}
