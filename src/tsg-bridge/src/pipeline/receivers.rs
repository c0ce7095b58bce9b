//! The senders that were heard: a key and a window each, shared by all workers.

use super::budget::Budget;
use super::view::{EpochTag, EpochView};
use super::{Reason, lock};
use crate::attach::Side;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tsg_esp::DropReason;
use tsg_esp::buffer::Packet;
use tsg_esp::crypto::{Kdf as _, Spi};
use tsg_esp::ip::Outline;
use tsg_esp::open::{Header, Opened, Receiver};
use tsg_esp::replay::Window;
use tsg_sodium::{AnyCipher, Sodium};

/// More senders than this are not remembered at once: the one that was silent longest goes.
const MOST: usize = 4_096;

/// Keys for senders that were not heard before, per second and side of the bridge: what a flood of
/// forged SPIs may cost, and what a rekey of a large group needs.
const DERIVED: u32 = 2_000;

/// Keys of senders that did not prove themselves yet are kept in so many places, each for the
/// sender numbers with one remainder. In a group with fewer numbers a flood costs nobody his key.
const UNPROVEN: usize = 512;

/// Senders that a worker finds again without looking into the table that all share.
const RECENT: usize = 16;

/// Pseudo-times are compared by serial arithmetic, which reaches 24 days. What is older than this,
/// in seconds, cannot be fresh, and is not compared.
const COMPARED: u32 = 86_400;

/// One sender's security association in one epoch.
struct Association {
    receiver: Derived,
    window: Mutex<Window>,
    /// Newest pseudo-time of an authentic packet.
    newest: AtomicU32,
    /// Local time in seconds when it was last heard.
    heard: AtomicU32,
}

/// What a sender leaves behind that had to be forgotten.
#[derive(Clone, Copy)]
struct Floor {
    /// Newest pseudo-time of an authentic packet.
    time: u32,
    /// Local time in seconds when it was last heard.
    heard: u32,
}

/// A sender in an epoch.
type Key = (EpochTag, u32);

/// A sender's key, before and after it has proved itself.
type Derived = Arc<Receiver<AnyCipher>>;

/// All that were heard, by epoch and SPI.
pub(super) struct Receivers {
    /// Epochs that are not gone. A worker may still look at one that is.
    held: RwLock<Vec<EpochTag>>,
    table: RwLock<HashMap<Key, Arc<Association>>>,
    /// The newest of an epoch's senders that were forgotten: what is older could be a replay.
    floors: RwLock<HashMap<EpochTag, Floor>>,
    /// Keys without an authentic packet so far.
    unproven: Mutex<Vec<Option<(Key, Derived)>>>,
    /// One for each side: who floods the WAN does not hinder gateways in series.
    budgets: [Mutex<Budget>; 2],
    /// Counts how often something was forgotten: what a worker remembers by itself may be that.
    forgotten: AtomicU32,
}

/// The senders that one worker heard last.
#[derive(Default)]
pub(super) struct Recent {
    places: [Option<(Key, Arc<Association>)>; RECENT],
    /// How much had been forgotten when they were put in.
    forgotten: u32,
}

impl Recent {
    /// Holds no key any longer.
    pub(super) fn clear(&mut self) {
        self.places.fill(None);
    }

    fn find(&mut self, key: Key, all: &Receivers) -> Option<&Association> {
        let forgotten = all.forgotten.load(Ordering::Acquire);
        if forgotten != self.forgotten {
            self.forgotten = forgotten;
            self.clear();
        }
        let place = &mut self.places[key.1 as usize % RECENT];
        if place.as_ref().is_none_or(|(known, _)| *known != key) {
            *place = all.known(key).map(|known| (key, known));
        }
        place.as_ref().map(|(_, known)| &**known)
    }
}

/// A sealed packet as far as it can be read, and its epoch.
pub(super) struct Sealed<'a> {
    pub(super) epoch: &'a EpochView,
    pub(super) header: Header,
    pub(super) outline: &'a Outline,
    /// How old it may be, in milliseconds.
    pub(super) window: u32,
}

impl Default for Receivers {
    fn default() -> Self {
        Self {
            held: RwLock::default(),
            table: RwLock::default(),
            floors: RwLock::default(),
            unproven: Mutex::new(vec![None; UNPROVEN]),
            budgets: [Budget::new(DERIVED), Budget::new(DERIVED)].map(Mutex::new),
            forgotten: AtomicU32::new(0),
        }
    }
}

impl core::fmt::Debug for Receivers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Receivers({})", self.len())
    }
}

impl Receivers {
    pub(super) fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets epochs that are gone. From then on nothing of them is put in.
    pub(super) fn keep(&self, epochs: &[EpochTag]) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = epochs.to_vec();
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|(epoch, _), _| epochs.contains(epoch));
        drop(table);
        self.forgotten.fetch_add(1, Ordering::Release);
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        floors.retain(|epoch, _| epochs.contains(epoch));
        drop(floors);
        for place in lock(&self.unproven).iter_mut() {
            place.take_if(|((epoch, _), _)| !epochs.contains(epoch));
        }
    }

    /// Opens `packet`, in the order of tsg-esp's front page. A sender that was not heard before is
    /// remembered once a packet of it has authenticated.
    pub(super) fn open(
        &self,
        sealed: Sealed<'_>,
        packet: &mut Packet<'_>,
        recent: &mut Recent,
        now: u64,
    ) -> Result<Opened, Reason> {
        let Sealed { epoch, header, outline, window } = sealed;
        let key = (epoch.tag, header.spi.value());
        if let Some(known) = recent.find(key, self) {
            lock(&known.window).check(header.sequence)?;
            epoch.check_time(header.time, now, window)?;
            let opened = known.receiver.open(packet, outline, &epoch.form)?;
            known.take(&opened, now)?;
            return Ok(opened);
        }
        epoch.check_time(header.time, now, window)?;
        let receiver = self.derive(epoch, header, Side::Wan, now)?;
        let opened = receiver.open(packet, outline, &epoch.form)?;
        let ours = Association::new(receiver, opened.time, now);
        self.remember(key, ours, now)?.take(&opened, now)?;
        Ok(opened)
    }

    /// To be asked with the lock on what is then put in, which [`keep`](Self::keep) takes after it has said what is held.
    fn is_held(&self, epoch: EpochTag) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).contains(&epoch)
    }

    fn known(&self, key: Key) -> Option<Arc<Association>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Is this packet authentic, whatever its time and sequence number? Changes nothing but the
    /// packet, whose content is lost.
    pub(super) fn is_authentic(
        &self,
        epoch: &EpochView,
        header: Header,
        packet: &mut Packet<'_>,
        outline: &Outline,
        from: Side,
        now: u64,
    ) -> bool {
        let key = (epoch.tag, header.spi.value());
        let known = if from == Side::Wan { self.known(key) } else { None };
        let known = known.map(|known| Arc::clone(&known.receiver));
        let receiver = known.map_or_else(|| self.derive(epoch, header, from, now), Ok);
        receiver.is_ok_and(|receiver| receiver.open(packet, outline, &epoch.form).is_ok())
    }

    /// The key of a sender that was not heard before.
    fn derive(
        &self,
        epoch: &EpochView,
        header: Header,
        from: Side,
        now: u64,
    ) -> Result<Derived, Reason> {
        if header.spi.sender() > epoch.highest_sender {
            return Err(DropReason::UnknownSender.into());
        }
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        if floors.get(&epoch.tag).is_some_and(|floor| floor.covers(header.time, now)) {
            return Err(DropReason::Stale.into());
        }
        drop(floors);
        let key = (epoch.tag, header.spi.value());
        let at = header.spi.sender() as usize % UNPROVEN;
        if let Some(Some((known, receiver))) = lock(&self.unproven).get(at)
            && *known == key
        {
            return Ok(Arc::clone(receiver));
        }
        let [lan, wan] = &self.budgets;
        let budget = match from {
            Side::Lan => lan,
            Side::Wan => wan,
        };
        if !lock(budget).take(now) {
            return Err(Reason::Budget);
        }
        let receiver = tsg_sodium::on_a_clean_stack(|| receiver(epoch, header.spi))?;
        let mut unproven = lock(&self.unproven);
        if let Some(place) = unproven.get_mut(at).filter(|_| self.is_held(epoch.tag)) {
            *place = Some((key, Arc::clone(&receiver)));
        }
        Ok(receiver)
    }

    /// The association under this key: the one that another worker has put in meanwhile, or ours.
    fn remember(&self, key: Key, ours: Association, now: u64) -> Result<Arc<Association>, Reason> {
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_held(key.0) {
            return Err(DropReason::UnknownEpoch.into());
        }
        if table.len() >= MOST {
            self.evict(&mut table, now);
        }
        Ok(table.entry(key).or_insert_with(|| Arc::new(ours)).clone())
    }

    fn evict(&self, table: &mut HashMap<Key, Arc<Association>>, now: u64) {
        let silent = table.iter().min_by_key(|(_, known)| known.heard.load(Ordering::Relaxed));
        let Some((key, floor)) = silent.map(|(&key, known)| (key, known.floor())) else { return };
        table.remove(&key);
        self.forgotten.fetch_add(1, Ordering::Release);
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        let higher = floors.get(&key.0).is_some_and(|known| known.covers(floor.time, now));
        if floor.counts(now) && !higher {
            floors.insert(key.0, floor);
        }
    }
}

impl Floor {
    /// It is not so long ago that nothing of then could be fresh.
    const fn counts(&self, now: u64) -> bool {
        seconds(now).wrapping_sub(self.heard) < COMPARED
    }

    /// Could what was sealed at `time` be a replay of what was forgotten?
    const fn covers(&self, time: u32, now: u64) -> bool {
        self.counts(now) && !after(time, self.time)
    }
}

impl Association {
    fn new(receiver: Derived, time: u32, now: u64) -> Self {
        Self {
            receiver,
            window: Mutex::new(Window::new()),
            newest: AtomicU32::new(time),
            heard: AtomicU32::new(seconds(now)),
        }
    }

    /// An authentic packet, unless it is a replay.
    fn take(&self, opened: &Opened, now: u64) -> Result<(), Reason> {
        lock(&self.window).mark(opened.sequence)?;
        self.heard(opened.time, now);
        Ok(())
    }

    fn heard(&self, time: u32, now: u64) {
        if !self.floor().covers(time, now) {
            self.newest.store(time, Ordering::Relaxed);
        }
        self.heard.store(seconds(now), Ordering::Relaxed);
    }

    fn floor(&self) -> Floor {
        Floor {
            time: self.newest.load(Ordering::Relaxed),
            heard: self.heard.load(Ordering::Relaxed),
        }
    }
}

fn receiver(epoch: &EpochView, spi: Spi) -> Result<Derived, Reason> {
    let cipher = AnyCipher::blank(epoch.suite).map_err(|tsg_sodium::NoAes| Reason::NoKey)?;
    let mut receiver = Arc::new(Receiver::new(spi, cipher, [0; 4]));
    let (cipher, salt) = Arc::get_mut(&mut receiver).ok_or(Reason::NoKey)?.key_mut();
    let key = Sodium::derive(&epoch.tek, spi);
    cipher.set_key(&key);
    *salt = key.salt;
    Ok(receiver)
}

/// Of local time in milliseconds.
const fn seconds(now: u64) -> u32 {
    (now / 1_000) as u32
}

/// RFC 1982: is `a` later than `b`?
const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::key;

    const DAY: u64 = 86_400_000;

    /// In an epoch whose pseudo-time is local time.
    struct Bench {
        receivers: Receivers,
        epoch: EpochView,
    }

    impl Bench {
        fn new() -> Self {
            tsg_sodium::init().unwrap();
            let bench =
                Self { receivers: Receivers::default(), epoch: EpochView::new(key(1)).unwrap() };
            bench.receivers.keep(&[bench.epoch.tag]);
            bench
        }

        fn derive(&self, sender: u32, at: u64, now: u64) -> Result<Derived, Reason> {
            let spi = Spi::new(1, sender).unwrap();
            let header = Header { spi, sequence: 1, time: at as u32 };
            self.receivers.derive(&self.epoch, header, Side::Wan, now)
        }

        /// A packet of this sender is heard.
        fn hear(&self, sender: u32, now: u64) {
            let receiver = self.derive(sender, now, now).unwrap();
            let ours = Association::new(receiver, now as u32, now);
            let known = self.receivers.remember((self.epoch.tag, sender), ours, now);
            known.unwrap().heard(now as u32, now);
        }

        /// The sender that was silent longest is forgotten.
        fn evict(&self, now: u64) {
            let mut table = self.receivers.table.write().unwrap();
            self.receivers.evict(&mut table, now);
        }

        fn is_stale(&self, at: u64, now: u64) -> bool {
            self.derive(9, at, now).is_err_and(|reason| reason == DropReason::Stale.into())
        }
    }

    #[test]
    fn what_a_forgotten_sender_sealed_is_not_opened_again() {
        let bench = Bench::new();
        bench.hear(1, 50_000);
        bench.hear(2, 60_000);
        bench.evict(61_000);
        assert!(bench.is_stale(50_000, 61_000) && !bench.is_stale(50_001, 61_000));
        bench.evict(61_000);
        assert!(bench.is_stale(60_000, 61_000) && !bench.is_stale(60_001, 61_000));
    }

    #[test]
    fn a_worker_that_is_late_puts_nothing_of_an_ended_epoch_back() {
        let bench = Bench::new();
        let receiver = bench.derive(1, 1, 1).unwrap();
        let ours = Association::new(Arc::clone(&receiver), 1, 1);
        bench.receivers.keep(&[]);
        let key = (bench.epoch.tag, 1);
        let refused = bench.receivers.remember(key, ours, 1).err();
        assert_eq!(refused, Some(DropReason::UnknownEpoch.into()));
        bench.derive(2, 1, 1).unwrap();
        assert_eq!(bench.receivers.len(), 0);
        assert!(lock(&bench.receivers.unproven).iter().all(Option::is_none));
        assert_eq!(Arc::strong_count(&receiver), 1, "the key is nowhere else");
    }

    #[test]
    fn what_was_forgotten_no_worker_remembers() {
        let bench = Bench::new();
        let mut recent = Recent::default();
        let key = |sender| (bench.epoch.tag, Spi::new(1, sender).unwrap().value());
        let remember = |sender| {
            let at = u64::from(sender);
            let receiver = bench.derive(sender, at, at).unwrap();
            let ours = Association::new(receiver, sender, at);
            bench.receivers.remember(key(sender), ours, at).unwrap();
        };
        remember(1);
        assert!(recent.find(key(1), &bench.receivers).is_some());
        assert!(recent.find(key(2), &bench.receivers).is_none());
        remember(2);
        assert!(recent.find(key(2), &bench.receivers).is_some());
        assert!(recent.find(key(2 + RECENT as u32), &bench.receivers).is_none());
        bench.evict(2);
        bench.evict(2);
        assert!((1..=2).all(|sender| recent.find(key(sender), &bench.receivers).is_none()));
        remember(3);
        assert!(recent.find(key(3), &bench.receivers).is_some());
        bench.receivers.keep(&[]);
        assert!(recent.find(key(3), &bench.receivers).is_none());
    }

    #[test]
    fn in_a_long_epoch_a_floor_of_long_ago_keeps_out_nobody() {
        let bench = Bench::new();
        bench.hear(1, 50_000);
        bench.evict(60_000);
        let mut cases = 0;
        for day in 1..60 {
            assert!(!bench.is_stale(60_000 + day * DAY, 60_000 + day * DAY), "day {day}");
            cases += 1;
        }
        assert_eq!(cases, 59);
        // Silent for 30 days, and forgotten only then.
        bench.hear(2, 61 * DAY);
        bench.evict(91 * DAY);
        assert!(!bench.is_stale(91 * DAY, 91 * DAY));
        // Silent for 30 days, and heard again.
        bench.hear(3, 92 * DAY);
        bench.hear(3, 122 * DAY);
        bench.evict(122 * DAY);
        assert!(bench.is_stale(122 * DAY, 122 * DAY) && !bench.is_stale(122 * DAY + 1, 122 * DAY));
    }
}
