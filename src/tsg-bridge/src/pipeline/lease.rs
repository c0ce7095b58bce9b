//! Sequence numbers, leased ahead of use: DESIGN section 4.
//!
//! A worker seals only below a ceiling that is in a file first, so that the next process of the
//! same boot starts above everything this one can have used; `flock` beside it makes sure that
//! there is one process only. After a boot the file does not count, and with it go the keys: the
//! key server gives new sender numbers. Where keys outlast a boot, as a tunnel's static ones do,
//! the file does, too.

mod record;

use super::EpochTag;
use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use record::{Ceilings, Record};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tsg_esp::seal::{SEQUENCE_END, SPARE_FROM};

/// How many numbers are leased at once; few in tests, which come to the end of a block.
const BLOCK: u64 = 1 << if cfg!(test) { 4 } else { 20 };

/// The same where each block is written to a disk, and each start costs one for good.
const LASTING_BLOCK: u64 = 1 << if cfg!(test) { 4 } else { 16 };

/// After a failure the record is not tried again for this long, in milliseconds.
const RETRY: u64 = 1_000;

/// Epochs that are gone are remembered up to this many: the key server may list one anew, with
/// the same sender numbers, as long as it lives there.
const MOST_GONE: usize = 32;

/// What a worker may use: numbers from `first` up to, not including, `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) sender: u32,
    pub(crate) first: u64,
    pub(crate) limit: u64,
}

/// All leases of this gateway.
#[derive(Debug)]
pub struct Leases {
    record: Record,
    block: u64,
    /// Holding it means to be the only process.
    _lock: Flock<File>,
    ceilings: Ceilings,
    /// Epochs with ceilings that are not held any more, the longest gone first.
    gone: VecDeque<EpochTag>,
    holders: BTreeMap<(EpochTag, u32), usize>,
    continues: bool,
    /// When the record could not be written the last time, and why.
    failed: Option<(u64, String)>,
}

/// The record cannot be written, so there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotStored;

impl Leases {
    /// Reads what an earlier process of this boot leased, and keeps out a second one.
    ///
    /// # Errors
    /// Another process runs.
    pub fn open(run: &Path) -> Result<Self> {
        let lock = lock(run, "give this one its own with --run")?;
        Self::of(Record::new(run)?, BLOCK, lock)
    }

    /// The same for keys that outlast a boot. The folder is there, for them alone.
    ///
    /// # Errors
    /// Another process runs; or what an earlier one leased cannot be read, so that nothing is safe.
    pub(crate) fn lasting(folder: &Path) -> Result<Self> {
        let lock = lock(folder, "make a key for each tunnel")?;
        Self::of(Record::lasting(folder), LASTING_BLOCK, lock)
    }

    fn of(record: Record, block: u64, lock: Flock<File>) -> Result<Self> {
        let earlier = record.read()?;
        Ok(Self {
            record,
            block,
            _lock: lock,
            continues: earlier.is_some(),
            failed: None,
            ceilings: earlier.unwrap_or_default(),
            gone: VecDeque::new(),
            holders: BTreeMap::new(),
        })
    }

    /// Makes the record: from now on the next process may go on with the keys of this one. Keys of
    /// an earlier process without a record must be gone by then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(&self) -> Result<()> {
        self.record.write(&self.ceilings)
    }

    /// There is a record of what an earlier process used. Without one, sender numbers of an
    /// earlier process must not be used again.
    pub const fn continue_earlier(&self) -> bool {
        self.continues
    }

    /// These are the epochs that are held.
    pub fn keep(&mut self, held: &[EpochTag]) {
        self.holders.retain(|(epoch, _), _| held.contains(epoch));
        self.gone.retain(|epoch| !held.contains(epoch));
        let known: BTreeSet<EpochTag> = self.ceilings.keys().map(|&(epoch, _)| epoch).collect();
        let gone = |epoch: &EpochTag| !held.contains(epoch) && !self.gone.contains(epoch);
        let gone: Vec<EpochTag> = known.into_iter().filter(gone).collect();
        self.gone.extend(gone);
        while self.gone.len() > MOST_GONE {
            let forgotten = self.gone.pop_front();
            self.ceilings.retain(|&(epoch, _), _| Some(epoch) != forgotten);
        }
    }

    /// A number for worker `worker`, out of `senders`: one that is almost used up only if there is
    /// no other.
    pub(crate) fn take(
        &mut self,
        worker: usize,
        epoch: EpochTag,
        senders: &[u32],
        now: u64,
    ) -> Result<Option<Lease>, NotStored> {
        let holder = |sender: u32| self.holders.get(&(epoch, sender));
        let may = |sender: &u32| {
            !self.is_over(epoch, *sender) && holder(*sender).is_none_or(|holder| *holder == worker)
        };
        let rank = |sender: &u32| (self.is_worn(epoch, *sender), holder(*sender).is_none());
        let best = senders.iter().copied().filter(may).min_by_key(rank);
        let Some(sender) = best else { return Ok(None) };
        let first = self.next(epoch, sender);
        self.holders.retain(|(other, _), holder| *other != epoch || *holder != worker);
        self.holders.insert((epoch, sender), worker);
        self.raise(epoch, sender, first, now)
    }

    /// Three quarters of it are leased: there should be another.
    pub(crate) fn is_worn(&self, epoch: EpochTag, sender: u32) -> bool {
        self.next(epoch, sender) >= SPARE_FROM
    }

    /// All of it is leased.
    pub(crate) fn is_over(&self, epoch: EpochTag, sender: u32) -> bool {
        self.next(epoch, sender) >= SEQUENCE_END
    }

    /// The next block of a number that a worker has.
    pub(crate) fn extend(
        &mut self,
        epoch: EpochTag,
        sender: u32,
        now: u64,
    ) -> Result<Option<Lease>, NotStored> {
        match self.ceilings.get(&(epoch, sender)).copied() {
            Some(first) if first < SEQUENCE_END => self.raise(epoch, sender, first, now),
            Some(_) | None => Ok(None),
        }
    }

    /// Why the record cannot be written, if that is so; tries again.
    pub(crate) fn trouble(&mut self, now: u64) -> Option<String> {
        if self.failed.is_some() {
            // Whether it worked is what is looked at next.
            let _ = self.store(now);
        }
        self.failed.as_ref().map(|(_, why)| why.clone())
    }

    #[cfg(test)]
    pub(crate) fn set_ceiling(&mut self, epoch: EpochTag, sender: u32, ceiling: u64) {
        self.ceilings.insert((epoch, sender), ceiling);
    }

    fn next(&self, epoch: EpochTag, sender: u32) -> u64 {
        self.ceilings.get(&(epoch, sender)).copied().unwrap_or(1)
    }

    fn raise(
        &mut self,
        epoch: EpochTag,
        sender: u32,
        first: u64,
        now: u64,
    ) -> Result<Option<Lease>, NotStored> {
        let limit = (first + self.block).min(SEQUENCE_END);
        if first >= limit {
            return Ok(None);
        }
        self.ceilings.insert((epoch, sender), limit);
        if let Err(error) = self.store(now) {
            self.ceilings.insert((epoch, sender), first);
            return Err(error);
        }
        Ok(Some(Lease { sender, first, limit }))
    }

    /// Writes the record; a packet that comes soon after a failure does not wait for another.
    fn store(&mut self, now: u64) -> Result<(), NotStored> {
        if self.failed.as_ref().is_some_and(|&(at, _)| now < at + RETRY) {
            return Err(NotStored);
        }
        let written = self.record.write(&self.ceilings);
        self.failed = written.err().map(|error| (now, format!("{error:#}")));
        match self.failed {
            Some(_) => Err(NotStored),
            None => Ok(()),
        }
    }
}

/// Keeps out a second process, which is told `instead`.
fn lock(folder: &Path, instead: &str) -> Result<Flock<File>> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{}: cannot be opened", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::Error::EWOULDBLOCK)) => bail!(
            "{}: another tsg runs with this folder; stop it first, or {instead}",
            path.display()
        ),
        Err((_, error)) => Err(error).with_context(|| format!("{}: flock", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const EPOCH: EpochTag = EpochTag { id: 7, check: [1; 8] };

    #[test]
    fn a_restart_goes_on_above_what_was_leased() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        let first = leases.take(0, EPOCH, &[4, 5], 0).unwrap().unwrap();
        assert_eq!(first, Lease { sender: 4, first: 1, limit: 1 + BLOCK });
        assert_eq!(leases.take(1, EPOCH, &[4, 5], 0).unwrap().unwrap().sender, 5);
        assert_eq!(leases.take(2, EPOCH, &[4, 5], 0).unwrap(), None);
        let more = leases.extend(EPOCH, 4, 0).unwrap().unwrap();
        assert_eq!((more.first, more.limit), (1 + BLOCK, 1 + 2 * BLOCK));
        drop(leases);
        let mut leases = Leases::open(run.path()).unwrap();
        assert!(leases.continue_earlier());
        assert_eq!(leases.take(3, EPOCH, &[4, 5], 0).unwrap().unwrap().first, 1 + 2 * BLOCK);
    }

    #[test]
    fn what_lasts_goes_on_above_what_was_leased_in_any_boot() {
        let folder = tempfile::tempdir().unwrap();
        for start in 0..3 {
            let mut leases = Leases::lasting(folder.path()).unwrap();
            assert_eq!(leases.continue_earlier(), start > 0);
            let lease = leases.take(0, EPOCH, &[4], 0).unwrap().unwrap();
            assert_eq!(lease.first, 1 + start * LASTING_BLOCK);
        }
        fs::write(folder.path().join("sequences"), b"{").unwrap();
        let error = format!("{:#}", Leases::lasting(folder.path()).unwrap_err());
        assert!(error.contains("sequences"), "{error}");
    }

    #[test]
    fn an_epoch_that_comes_back_goes_on_above_what_was_leased() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        leases.take(0, EPOCH, &[4], 0).unwrap();
        leases.keep(&[]);
        leases.keep(&[EPOCH]);
        assert_eq!(leases.take(1, EPOCH, &[4], 0).unwrap().unwrap().first, 1 + BLOCK);
        leases.keep(&[]);
        leases.begin().unwrap();
        drop(leases);
        let mut leases = Leases::open(run.path()).unwrap();
        leases.keep(&[]);
        leases.keep(&[EPOCH]);
        assert_eq!(leases.take(0, EPOCH, &[4], 0).unwrap().unwrap().first, 1 + 2 * BLOCK);
    }

    #[test]
    fn epochs_that_are_gone_do_not_pile_up() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        for id in 1..=100 {
            let epoch = EpochTag { id, check: [1; 8] };
            leases.keep(&[epoch]);
            leases.take(0, epoch, &[4], 0).unwrap();
        }
        assert_eq!((leases.gone.len(), leases.ceilings.len()), (MOST_GONE, MOST_GONE + 1));
    }

    #[test]
    fn the_end_of_the_numbers_is_the_end() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        leases.take(0, EPOCH, &[4], 0).unwrap();
        leases.set_ceiling(EPOCH, 4, SEQUENCE_END - 5);
        assert_eq!(leases.extend(EPOCH, 4, 0).unwrap().unwrap().limit, SEQUENCE_END);
        assert_eq!(leases.extend(EPOCH, 4, 0).unwrap(), None);
        for worker in [0, 1] {
            assert_eq!(leases.take(worker, EPOCH, &[4], 0).unwrap(), None);
        }
        leases.set_ceiling(EPOCH, 5, SEQUENCE_END - 1);
        assert_eq!(leases.take(0, EPOCH, &[4, 5], 0).unwrap().unwrap().sender, 5);
    }

    #[test]
    fn one_that_is_almost_used_up_is_taken_when_there_is_no_other() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        let taken = |leases: &mut Leases, worker, senders: &[u32]| {
            leases.take(worker, EPOCH, senders, 0).unwrap().map(|lease| lease.sender)
        };
        leases.set_ceiling(EPOCH, 4, SPARE_FROM - 1);
        assert!(!leases.is_worn(EPOCH, 4));
        assert_eq!(taken(&mut leases, 0, &[4]), Some(4));
        assert!(leases.is_worn(EPOCH, 4));
        assert_eq!(taken(&mut leases, 1, &[4]), None);
        assert_eq!(taken(&mut leases, 0, &[4]), Some(4), "its own, as there is no other");
        // Once there is a spare one, it leaves this to others.
        assert_eq!(taken(&mut leases, 0, &[4, 5]), Some(5));
        assert_eq!(taken(&mut leases, 1, &[4, 5]), Some(4));
        assert_eq!(taken(&mut leases, 0, &[4, 6, 5]), Some(5), "its own before a spare one");
    }

    #[test]
    fn there_is_one_process() {
        let run = tempfile::tempdir().unwrap();
        let _leases = Leases::open(run.path()).unwrap();
        let error = Leases::open(run.path()).unwrap_err().to_string();
        assert!(error.contains("another tsg runs"), "{error}");
    }

    #[test]
    fn what_cannot_be_stored_is_not_leased_nor_tried_at_every_packet() {
        let run = tempfile::tempdir().unwrap();
        let mut leases = Leases::open(run.path()).unwrap();
        let in_the_way = run.path().join("sequences");
        fs::create_dir(&in_the_way).unwrap();
        assert_eq!(leases.trouble(0), None);
        assert_eq!(leases.take(0, EPOCH, &[4], 5_000), Err(NotStored));
        assert_eq!(leases.ceilings.get(&(EPOCH, 4)), Some(&1));
        assert!(leases.trouble(5_001).unwrap().contains("sequences"));
        fs::remove_dir(&in_the_way).unwrap();
        assert_eq!(leases.take(0, EPOCH, &[4], 5_000 + RETRY - 1), Err(NotStored));
        assert!(!in_the_way.exists());
        assert_eq!(leases.trouble(5_000 + RETRY), None);
        assert_eq!(leases.take(0, EPOCH, &[4], 5_000 + RETRY).unwrap().unwrap().first, 1);
    }
}
