//! The one clock that a gateway trusts: milliseconds since boot, suspended time included.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since boot.
pub fn now() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * 1000 + nanoseconds / 1_000_000
}
