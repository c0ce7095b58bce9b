//! The server's time: milliseconds that count from 1970 as well as the machine knew it when the
//! server started, and run on with the time since boot. So a step of the wall clock does not move
//! it; a large one is noticed, and is a new clock (DESIGN section 5).

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// The wall clock may be this far off in milliseconds before it counts as a jump.
const TOLERANCE: u64 = 2_000;

/// Both clocks of the machine, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970; may be set by anybody at any time.
    pub wall: u64,
    /// Since boot, suspension included; only ever runs.
    pub boot: u64,
}

impl Reading {
    /// What the machine's clocks say.
    ///
    /// # Errors
    /// The kernel does not have them.
    pub fn now() -> Result<Self> {
        Ok(Self {
            wall: milliseconds(ClockId::CLOCK_REALTIME)?,
            boot: milliseconds(ClockId::CLOCK_BOOTTIME)?,
        })
    }
}

fn milliseconds(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock).context("cannot read the machine's clock")?;
    // Before 1970 is 1970.
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Ok(seconds.saturating_mul(1000) + nanos / 1_000_000)
}

/// The server's clock.
#[derive(Clone, Copy, Debug)]
pub struct ServerClock {
    base: Reading,
}

impl ServerClock {
    /// A clock that starts.
    pub const fn new(base: Reading) -> Self {
        Self { base }
    }

    /// The server's time.
    pub const fn at(&self, reading: Reading) -> u64 {
        self.base.wall.saturating_add(reading.boot.saturating_sub(self.base.boot))
    }

    /// Compares with the wall clock. After a jump the clock follows it, and by how many
    /// milliseconds is said.
    pub const fn notice_jump(&mut self, reading: Reading) -> Option<i64> {
        let now = self.at(reading);
        let off = now.abs_diff(reading.wall);
        if off <= TOLERANCE {
            return None;
        }
        self.base = reading;
        Some(reading.wall.wrapping_sub(now).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(wall: u64, boot: u64) -> Reading {
        Reading { wall, boot }
    }

    #[test]
    fn it_runs_with_the_time_since_boot() {
        let mut clock = ServerClock::new(reading(1_000_000, 500));
        assert_eq!(clock.at(reading(9_999_999, 700)), 1_000_200);
        assert_eq!(clock.notice_jump(reading(1_001_500, 700)), None);
        assert_eq!(clock.at(reading(0, 700)), 1_000_200);
    }

    #[test]
    fn a_jump_is_noticed_once_and_followed() {
        let mut clock = ServerClock::new(reading(1_000_000, 500));
        assert_eq!(clock.notice_jump(reading(4_000_000, 1_500)), Some(2_999_000));
        assert_eq!(clock.notice_jump(reading(4_001_000, 2_500)), None);
        assert_eq!(clock.at(reading(0, 2_500)), 4_001_000);
        assert_eq!(clock.notice_jump(reading(1_000, 3_500)), Some(-4_001_000));
        assert_eq!(clock.at(reading(0, 3_500)), 1_000);
    }

    #[test]
    fn the_machine_has_both_clocks() {
        let first = Reading::now().unwrap();
        let second = Reading::now().unwrap();
        assert!(first.boot > 0 && second.boot >= first.boot);
    }
}
