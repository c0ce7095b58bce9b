//! The senders that were heard: a key and a window each, shared by all workers.

use super::view::{EpochTag, EpochView};
use super::{Reason, lock};
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

/// Keys for senders that were not heard before, per second: what a flood of forged SPIs may cost.
const BUDGET: u32 = 500;

/// One sender's security association in one epoch.
struct Association {
    receiver: Receiver<AnyCipher>,
    window: Mutex<Window>,
    /// Newest pseudo-time of an authentic packet.
    newest: AtomicU32,
    /// Local time in seconds when it was last heard.
    heard: AtomicU32,
}

/// All that were heard, by epoch and SPI.
#[derive(Default)]
pub(super) struct Receivers {
    table: RwLock<HashMap<(EpochTag, u32), Arc<Association>>>,
    /// Newest pseudo-time among the senders of an epoch that were forgotten: what is older could
    /// be a replay of theirs.
    floors: RwLock<HashMap<EpochTag, u32>>,
    budget: Mutex<Budget>,
}

#[derive(Default)]
struct Budget {
    second: u64,
    used: u32,
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

    /// Forgets epochs that are gone.
    pub(super) fn keep(&self, epochs: &[EpochTag]) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.retain(|(epoch, _), _| epochs.contains(epoch));
        drop(table);
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        floors.retain(|epoch, _| epochs.contains(epoch));
    }

    /// Opens `packet`, in the order of tsg-esp's front page. A sender that was not heard before is
    /// remembered once a packet of it has authenticated.
    pub(super) fn open(
        &self,
        epoch: &EpochView,
        header: Header,
        packet: &mut Packet<'_>,
        outline: &Outline,
        now: u64,
        window: u32,
    ) -> Result<Opened, Reason> {
        let key = (epoch.tag, header.spi.value());
        let known = self.table.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = &known {
            lock(&known.window).check(header.sequence)?;
        }
        epoch.check_time(header.time, now, window)?;
        let association = match known {
            Some(known) => known,
            None => Arc::new(self.derive(epoch, header, now)?),
        };
        let opened = association.receiver.open(packet, outline, &epoch.form)?;
        let association = self.remember(key, association);
        lock(&association.window).mark(opened.sequence)?;
        association.heard(opened.time, now);
        Ok(opened)
    }

    /// Is this packet authentic? Changes nothing but the packet: for a look at a copy.
    pub(super) fn is_authentic(
        &self,
        epoch: &EpochView,
        header: Header,
        packet: &mut Packet<'_>,
        outline: &Outline,
        now: u64,
        window: u32,
    ) -> bool {
        epoch.check_time(header.time, now, window).is_ok()
            && self.derive(epoch, header, now).is_ok_and(|association| {
                association.receiver.open(packet, outline, &epoch.form).is_ok()
            })
    }

    fn derive(&self, epoch: &EpochView, header: Header, now: u64) -> Result<Association, Reason> {
        if header.spi.sender() > epoch.highest_sender {
            return Err(DropReason::UnknownSender.into());
        }
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        if floors.get(&epoch.tag).is_some_and(|&floor| !after(header.time, floor)) {
            return Err(DropReason::Stale.into());
        }
        drop(floors);
        if !lock(&self.budget).take(now / 1000) {
            return Err(Reason::Budget);
        }
        let receiver = receiver(epoch, header.spi)?;
        Ok(Association {
            receiver,
            window: Mutex::new(Window::new()),
            newest: AtomicU32::new(header.time),
            heard: AtomicU32::new(0),
        })
    }

    /// The association under this key: the one that another worker has put in meanwhile, or ours.
    fn remember(&self, key: (EpochTag, u32), ours: Arc<Association>) -> Arc<Association> {
        let known = self.table.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return known;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= MOST {
            self.evict(&mut table);
        }
        table.entry(key).or_insert(ours).clone()
    }

    fn evict(&self, table: &mut HashMap<(EpochTag, u32), Arc<Association>>) {
        let silent = table.iter().min_by_key(|(_, known)| known.heard.load(Ordering::Relaxed));
        let Some((key, newest)) =
            silent.map(|(&key, known)| (key, known.newest.load(Ordering::Relaxed)))
        else {
            return;
        };
        table.remove(&key);
        let mut floors = self.floors.write().unwrap_or_else(PoisonError::into_inner);
        let floor = floors.entry(key.0).or_insert(newest);
        if after(newest, *floor) {
            *floor = newest;
        }
    }
}

impl Association {
    fn heard(&self, time: u32, now: u64) {
        self.heard.store((now / 1000) as u32, Ordering::Relaxed);
        if after(time, self.newest.load(Ordering::Relaxed)) {
            self.newest.store(time, Ordering::Relaxed);
        }
    }
}

fn receiver(epoch: &EpochView, spi: Spi) -> Result<Receiver<AnyCipher>, Reason> {
    let key = Sodium::derive(&epoch.tek, spi);
    match AnyCipher::new(epoch.suite, &key) {
        Ok(cipher) => Ok(Receiver::new(spi, cipher, key.salt)),
        Err(tsg_sodium::NoAes) => Err(Reason::NoKey),
    }
}

/// RFC 1982: is `a` later than `b`?
const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Budget {
    fn take(&mut self, second: u64) -> bool {
        if self.second != second {
            *self = Self { second, used: 0 };
        }
        self.used = self.used.saturating_add(1);
        self.used <= BUDGET
    }
}
