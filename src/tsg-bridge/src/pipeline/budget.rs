//! So many a second, evenly: what is left over is not lost to whoever comes at the wrong moment of
//! each second.

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u32,
    /// Thousandths.
    left: u64,
    at: u64,
}

impl Budget {
    /// This many in a second, and as many at once.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second as u64 * 1_000, at: 0 }
    }

    /// Gives whether there is one left at local time `now`, in milliseconds.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let per_second = u64::from(self.per_second);
        let earned = now.saturating_sub(self.at).saturating_mul(per_second);
        self.at = self.at.max(now);
        self.left = self.left.saturating_add(earned).min(per_second * 1_000);
        match self.left.checked_sub(1_000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_comes_back_evenly() {
        let mut budget = Budget::new(100);
        let mut taken = |now: u64| (0..1_000).filter(|_| budget.take(now)).count();
        assert_eq!(taken(5_000), 100);
        assert_eq!(taken(5_000), 0);
        assert_eq!(taken(5_009), 0);
        assert_eq!(taken(5_010), 1);
        assert_eq!(taken(5_500), 49);
        assert_eq!(taken(4_000), 0, "a clock that goes back brings nothing");
        assert_eq!(taken(u64::MAX), 100);
    }
}
