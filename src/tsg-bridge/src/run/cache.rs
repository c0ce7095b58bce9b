//! Keys on flash, for who sets `cache_keys`: a gateway that lost power goes on without the key server.
//!
//! Two files in a folder that no backup copies. `keys` has the epochs, bound to this device
//! ([`bound`]), with the sender numbers that no boot has used so far: those that a boot takes are
//! gone from the file before it seals with one. `times` says what time it was, and before which time
//! everything counts as opened: a lease like that of the sequence numbers, kept anew before it ends.
//! docs/decisions/0009 says what a gateway can and cannot know then.

mod bound;
#[cfg(test)]
mod tests;

use crate::folders::Folders;
use crate::identity::{Identity, Replace, prepare_folder, write_secret_file};
use anyhow::{Context as _, Result};
use bound::Bound;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tsg_control::gateway::{Gateway, Saved, Standing, Times};
use tsg_control::message::{decode, encode};

/// The key server may take so long to answer before keys of an earlier boot are used, in
/// milliseconds: since then somebody may have been thrown out.
const PATIENCE: u64 = 10_000;

/// The times on flash are good for so long…
const LEASE: u64 = 60_000;

/// …and are kept anew so long before that ends.
const MARGIN: u64 = 20_000;

/// A longer file is not ours.
const LONGEST: usize = 1 << 20;

/// What lies on flash, and what came from there.
pub(super) struct Cache {
    folder: PathBuf,
    bound: Bound,
    /// Of the keys that lie there, if they are of this boot.
    written: Option<[u8; 32]>,
    /// The times that lie there, of this boot.
    times: Times,
    /// Keys of an earlier boot, and from when on they may be used.
    waiting: Option<(Saved, Times, u64)>,
    trouble: Option<String>,
}

impl Cache {
    /// What an earlier boot left, unless this one has `keys` already.
    pub(super) fn open(folders: &Folders, identity: &Identity, wan: Vec<String>, now: u64) -> Self {
        let bound = Bound::new(identity.secret(), wan);
        let mut cache = Self {
            folder: folders.cache(),
            bound,
            written: None,
            times: Times::default(),
            waiting: None,
            trouble: None,
        };
        match cache.read() {
            Ok(Some((keys, times))) => cache.waiting = Some((keys, times, now + PATIENCE)),
            Ok(None) => {}
            Err(error) => log::warn!("option cache_keys: {error:#}; starting without it"),
        }
        cache
    }

    /// Takes away what an earlier run with `cache_keys` left.
    pub(super) fn clear(folders: &Folders) -> Result<()> {
        let folder = folders.cache();
        delete(&folder.join("keys"))?;
        delete(&folder.join("times"))
    }

    /// This boot has its own keys.
    pub(super) fn forget_earlier(&mut self) {
        self.waiting = None;
    }

    /// Goes on with the keys of before the power cut, if the key server does not answer; `senders` are
    /// the numbers that this boot needs.
    pub(super) fn take_up(&mut self, gateway: &mut Gateway, senders: usize, now: u64) {
        if *gateway.standing() != Standing::Searching || gateway.names().is_some() {
            self.forget_earlier();
        }
        let Some((earlier, times, _)) = self.waiting.take_if(|(.., from)| now >= *from) else {
            return;
        };
        let mut keys = earlier.clone();
        keys.begin_boot(&times, senders);
        let (usable, left) = keys.senders();
        gateway.restore(keys, now);
        let kept = self.keep(gateway, now);
        self.note(&kept);
        if kept.is_err() {
            // The numbers lie there for the next boot as well, so this one must not use them.
            gateway.forget();
            self.waiting = Some((earlier, times, now + PATIENCE));
            return;
        }
        log::warn!(
            "the key server does not answer: going on with the keys of before the power cut, \
             {usable} sender numbers, {left} are left for another"
        );
    }

    /// The keys have changed, or may have.
    pub(super) fn follow(&mut self, gateway: &Gateway, now: u64) {
        if self.waiting.is_some() && *gateway.standing() == Standing::Searching {
            return;
        }
        self.forget_earlier();
        let kept = self.keep(gateway, now);
        self.settle(&kept);
    }

    /// Keeps the times anew when that is due. To be called every second or so.
    pub(super) fn keep_times(&mut self, gateway: &Gateway, now: u64) {
        if self.written.is_some() && self.are_times_due(gateway, now) {
            let kept = self.write_times(gateway, LEASE, now);
            self.settle(&kept);
        }
    }

    /// The daemon ends in good order: nothing is opened after this.
    pub(super) fn close(&mut self, gateway: &Gateway, now: u64) {
        if self.written.is_some() {
            let kept = self.write_times(gateway, 0, now);
            self.settle(&kept);
        }
    }

    /// Why a power cut would leave this gateway without keys.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn keep(&mut self, gateway: &Gateway, now: u64) -> Result<()> {
        let Some(keys) = gateway.save_for_next_boot() else {
            self.written = None;
            return delete(&self.folder.join("keys"));
        };
        let plain = encode(&keys);
        let digest: [u8; 32] = Sha256::digest(plain.as_slice()).into();
        let lies_there = self.written == Some(digest);
        if lies_there && !self.are_times_due(gateway, now) {
            return Ok(());
        }
        prepare_folder(&self.folder)?;
        self.write_times(gateway, LEASE, now)?;
        if lies_there {
            return Ok(());
        }
        write_secret_file(&self.folder.join("keys"), &self.bound.seal(&plain), Replace::Allow)?;
        self.written = Some(digest);
        Ok(())
    }

    /// The lease ends soon, as time goes by or because the key server, or others, told that it is later than it was
    /// taken to be.
    fn are_times_due(&self, gateway: &Gateway, now: u64) -> bool {
        !self.times.cover(&gateway.times(MARGIN, now))
    }

    fn write_times(&mut self, gateway: &Gateway, lease: u64, now: u64) -> Result<()> {
        let times = gateway.times(lease, now);
        let text = serde_json::to_vec(&times)?;
        write_secret_file(&self.folder.join("times"), &text, Replace::Allow)?;
        self.times = times;
        Ok(())
    }

    fn read(&self) -> Result<Option<(Saved, Times)>> {
        let (Some(keys), Some(times)) =
            (read(&self.folder.join("keys"))?, read(&self.folder.join("times"))?)
        else {
            return Ok(None);
        };
        let path = self.folder.join("keys");
        let plain = self.bound.open(&keys).with_context(|| {
            format!("{} is damaged, or of another device or key", path.display())
        })?;
        let keys = decode(&plain, LONGEST).with_context(|| path.display().to_string())?;
        let path = self.folder.join("times");
        let times = serde_json::from_slice(&times).with_context(|| path.display().to_string())?;
        Ok(Some((keys, times)))
    }

    /// What could not be kept as it is now must not stay as it was: after a power cut it would open what
    /// was opened before.
    fn settle(&mut self, kept: &Result<()>) {
        self.note(kept);
        if kept.is_err() {
            self.written = None;
            if let Err(error) = delete(&self.folder.join("keys")) {
                log::debug!("{error:#}");
            }
        }
    }

    /// Says a trouble once when it comes, and once when it goes.
    fn note(&mut self, kept: &Result<()>) {
        let trouble = kept.as_ref().err().map(|error| format!("{error:#}"));
        match (&self.trouble, &trouble) {
            (None, Some(why)) => log::error!("option cache_keys: {why}"),
            (Some(_), None) => log::info!("option cache_keys: keys are kept again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.trouble = trouble;
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be deleted", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
