//! How much a peer may say: a bucket that fills with time, and that messages are paid from.

/// What a small message costs: how a bucket fills is counted in thousandths of it.
pub(super) const MESSAGE: u64 = 1_000;

/// A frame of this many bytes costs as much as a message more.
const FRAME: u64 = 1_024;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Small messages a second.
    pub(super) a_second: u64,
    /// Small messages at once.
    pub(super) at_once: u64,
}

/// What a message of `bytes` costs.
pub(super) const fn price(bytes: usize) -> u64 {
    MESSAGE + bytes as u64 * MESSAGE / FRAME
}

/// One bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    level: u64,
    at: u64,
}

impl Allowance {
    pub(super) const fn full(rate: Rate, now: u64) -> Self {
        Self { level: rate.at_once * MESSAGE, at: now }
    }

    /// When it was last asked to pay.
    pub(super) const fn paid_at(&self) -> u64 {
        self.at
    }

    /// Pays, if there is enough left. `now` in milliseconds.
    pub(super) fn pay(&mut self, price: u64, rate: Rate, now: u64) -> bool {
        // A thousandth of a message a millisecond is one a second.
        let gained = now.saturating_sub(self.at).saturating_mul(rate.a_second);
        self.level = self.level.saturating_add(gained).min(rate.at_once * MESSAGE);
        self.at = now;
        let enough = self.level >= price;
        if enough {
            self.level -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { a_second: 10, at_once: 100 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Allowance::full(RATE, 5_000);
        let at_once = (0..1_000).filter(|_| bucket.pay(price(0), RATE, 5_000)).count();
        assert_eq!(at_once, 100);
        let later = (0..10_000).filter(|ms| bucket.pay(price(0), RATE, 5_000 + ms)).count();
        assert!((99..=100).contains(&later), "{later}");
        // A clock that went back gives nothing and takes nothing.
        assert!(!bucket.pay(price(0), RATE, 0));
    }

    #[test]
    fn long_messages_cost_more() {
        let mut bucket = Allowance::full(RATE, 0);
        assert_eq!((0..1_000).filter(|_| bucket.pay(price(64 * 1024), RATE, 0)).count(), 1);
        assert_eq!((0..1_000).filter(|_| bucket.pay(price(100), RATE, 0)).count(), 31);
    }
}
