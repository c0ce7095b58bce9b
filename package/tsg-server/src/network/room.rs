//! How many strangers may still connect: members and operators come first when file descriptors
//! run short.
//!
//! Strangers that stay connected and silent cannot be told from gateways that wait, and libzmq
//! cannot disconnect them, so it is the new ones that are refused.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// So many are kept for the database, operators and connections that have not said who they are.
const KEPT: u64 = 256;

/// Room for strangers, counted down as they come. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    left: AtomicU64,
    asked: AtomicU64,
    full: AtomicBool,
}

impl Room {
    /// A stranger wants to connect. Gives whether it may.
    pub(super) fn take(&self) -> bool {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let less = |left: u64| left.checked_sub(1);
        self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Counts anew, if a stranger has asked since. `limit` is how many files may be open, `absent` how many members
    /// are not connected.
    pub(super) fn look(&self, limit: u64, absent: u64) {
        if self.0.asked.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        // That this cannot be read is what it looks like when nothing is left.
        let open = fs::read_dir("/proc/self/fd").map_or(limit, |files| files.count() as u64);
        let left = for_strangers(limit, absent).saturating_sub(open);
        self.0.left.store(left, Ordering::Relaxed);
        let was_full = self.0.full.swap(left == 0, Ordering::Relaxed);
        if left == 0 && !was_full {
            log::warn!(
                "{open} of {limit} files are open: gateways that are not let in cannot connect \
                 for now; see who is connected, or raise the limit (LimitNOFILE= in systemd, \
                 --ulimit nofile in a container)"
            );
        }
    }

    /// Room for the first strangers, before anything was counted.
    pub(super) fn open(limit: u64, members: u64) -> Self {
        let room = Self::default();
        room.0.left.store(for_strangers(limit, members) / 2, Ordering::Relaxed);
        room
    }
}

/// Strangers may connect while fewer files than this are open: there is room left for the members that are absent. Where
/// the limit is too low for them, a quarter: not all of them may come.
const fn for_strangers(limit: u64, absent: u64) -> u64 {
    let left = limit.saturating_sub(absent.saturating_add(KEPT));
    if left < limit / 4 { limit / 4 } else { left }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_operators_come_first() {
        assert_eq!(for_strangers(20_000, 10_000), 9_744);
        assert_eq!(for_strangers(1_024, 1_000), 256);
        assert_eq!(for_strangers(u64::MAX, u64::MAX), u64::MAX / 4);
    }

    #[test]
    fn room_is_taken_and_counted_anew() {
        let room = Room::open(48, 0);
        assert_eq!((0..100).filter(|_| room.take()).count(), 6);
        // The test has a few files open.
        room.look(100_000, 10);
        let taken = (0..100_000).filter(|_| room.take()).count();
        assert!((90_000..99_734).contains(&taken), "{taken}");
        room.look(8, 0);
        assert!(!room.take());
    }
}
