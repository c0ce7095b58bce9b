//! Whether a packet's pseudo-time is of now (docs/protocol.md: freshness).
//!
//! Pseudo-time is a 32-bit count of milliseconds which goes round after 49.7 days; all comparisons
//! are serial arithmetic (as RFC 1982). Not for: knowing the time. The caller passes it in.

use crate::DropReason;

/// How far in the future a floor may lie and still be taken as such (three days). A floor further
/// "ahead" is one from long ago: so a gateway that has run for 40 days in one epoch does not
/// mistake its own start for the future.
const FLOOR_AHEAD_MAX: u32 = 1 << 28;

/// The tolerance for pseudo-times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The group's `replay_window` in milliseconds.
    pub window_ms: u32,
    /// How wrong this gateway's own idea of pseudo-time may be, in milliseconds. Grows while the
    /// key server is away.
    pub clock_error_ms: u32,
}

impl Freshness {
    /// Milliseconds that a packet's time may be off, either way. At most 2^31 − 1.
    pub const fn tolerance_ms(&self) -> u32 {
        let sum = self.window_ms.saturating_add(self.clock_error_ms);
        if sum > i32::MAX as u32 { i32::MAX as u32 } else { sum }
    }

    /// Checks the time of a packet against `now`, and against `floor`: what was sealed before it
    /// may have been opened by this gateway already without it knowing, after a start or an
    /// eviction. A floor is of no more use once it is older than the tolerance, and must be
    /// forgotten before it is 46 days old.
    ///
    /// # Errors
    ///
    /// [`DropReason::Stale`] or [`DropReason::Future`].
    pub fn check(&self, packet_time: u32, now: u32, floor: Option<u32>) -> Result<(), DropReason> {
        let age = now.wrapping_sub(packet_time) as i32;
        let tolerance = self.tolerance_ms() as i32;
        if age > tolerance {
            return Err(DropReason::Stale);
        }
        if age < -tolerance {
            return Err(DropReason::Future);
        }
        match floor {
            Some(floor) if i64::from(age) > floor_age(floor, now) => Err(DropReason::Stale),
            Some(_) | None => Ok(()),
        }
    }
}

/// Milliseconds since `floor`; negative if it lies ahead.
fn floor_age(floor: u32, now: u32) -> i64 {
    let ahead = floor.wrapping_sub(now);
    if ahead <= FLOOR_AHEAD_MAX { -i64::from(ahead) } else { i64::from(now.wrapping_sub(floor)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Freshness = Freshness { window_ms: 4000, clock_error_ms: 250 };

    #[test]
    fn accepts_within_window_and_error_on_both_sides() {
        for now in [1_000_000, 0, 10, u32::MAX, 1 << 31] {
            let at = |offset: i32| FRESH.check(now.wrapping_add(offset as u32), now, None);
            assert_eq!(at(0), Ok(()));
            assert_eq!(at(-4250), Ok(()));
            assert_eq!(at(-4251), Err(DropReason::Stale));
            assert_eq!(at(4250), Ok(()));
            assert_eq!(at(4251), Err(DropReason::Future));
            assert_eq!(at(i32::MAX), Err(DropReason::Future));
        }
    }

    #[test]
    fn nothing_from_before_the_floor() {
        for now in [1_000_000, 100, u32::MAX - 100] {
            let at = |packet: i32, floor: i32| {
                let floor = now.wrapping_add(floor as u32);
                FRESH.check(now.wrapping_add(packet as u32), now, Some(floor))
            };
            assert_eq!(at(-1000, -1000), Ok(()));
            assert_eq!(at(-1001, -1000), Err(DropReason::Stale));
            assert_eq!(at(0, 300), Err(DropReason::Stale), "a floor in the future holds all back");
            assert_eq!(at(300, 300), Ok(()));
            assert_eq!(at(-4250, -100_000), Ok(()));
        }
    }

    #[test]
    fn an_old_floor_does_not_turn_into_a_future_one() {
        const DAY: u32 = 86_400_000;
        for days in [1, 20, 25, 40, 46] {
            let now = 77u32.wrapping_add(days * DAY);
            assert_eq!(FRESH.check(now, now, Some(77)), Ok(()), "after {days} days");
        }
    }

    #[test]
    fn a_huge_tolerance_does_not_overflow() {
        let loose = Freshness { window_ms: u32::MAX, clock_error_ms: u32::MAX };
        assert_eq!(loose.tolerance_ms(), i32::MAX as u32);
        assert_eq!(loose.check(0, i32::MAX as u32, None), Ok(()));
        assert_eq!(loose.check(0, 1 << 31, None), Err(DropReason::Future));
    }
}
