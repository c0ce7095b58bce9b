//! What the daemon keeps: its state over a restart of the daemon (in RAM, with keys), and the last
//! policy over a boot (on flash, without).

use crate::folders::Folders;
use crate::identity::{Replace, write_secret_file};
use crate::pipeline::Leases;
use anyhow::{Context as _, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tsg_control::gateway::Saved;
use tsg_control::message::{PolicyVersion, decode, encode};
use tsg_esp::crypto::Tek;
use zeroize::Zeroizing;

/// A longer file is not ours.
const LONGEST: usize = 1 << 20;

fn state_file(folders: &Folders) -> PathBuf {
    folders.run.join("state")
}

/// Keeps the state in RAM; without one, there is nothing to go on from.
pub(super) fn keep(folders: &Folders, saved: Option<&Saved>) -> Result<()> {
    let path = state_file(folders);
    match saved {
        Some(saved) => replace(&path, &encode(saved)),
        None => delete(&path),
    }
}

/// What is out of date must not stay: it may name epochs and sender numbers that are used up.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    write_secret_file(path, content, Replace::Allow).inspect_err(|_| {
        if let Err(error) = delete(path) {
            log::error!("{error:#}");
        }
    })
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be deleted", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What there is to go on from, and the record for the next process. Without a record of the
/// sequence numbers nobody knows which were used: then the keys must go, and go first, or a crash
/// in between would leave them with a record that knows nothing.
pub(super) fn resume(folders: &Folders, leases: &Leases) -> Result<Option<Saved>> {
    let saved = if leases.continue_earlier() { recall(folders) } else { None };
    if saved.is_none() {
        keep(folders, None)?;
    }
    leases.begin()?;
    Ok(saved)
}

/// The TEKs that are kept in RAM, by a daemon that runs or by one that is dead: what must not be shown.
pub(crate) fn kept_teks(folders: &Folders) -> Vec<Tek> {
    recall(folders).iter().flat_map(Saved::teks).cloned().collect()
}

/// What an earlier process of this boot kept. A file that cannot be read is no reason not to
/// start: the gateway registers anew.
fn recall(folders: &Folders) -> Option<Saved> {
    let path = state_file(folders);
    let bytes = Zeroizing::new(fs::read(&path).ok()?);
    match decode(&bytes, LONGEST) {
        Ok(saved) => Some(saved),
        Err(error) => {
            log::warn!("{}: {error}; starting without it", path.display());
            None
        }
    }
}

/// Keeps the policy in force for the next boot.
pub(super) fn keep_policy(folders: &Folders, version: &PolicyVersion) -> Result<()> {
    let text = serde_json::to_vec_pretty(version)?;
    let path = folders.policy();
    // Flash wears: only what is new is written.
    if fs::read(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    write_secret_file(&path, &text, Replace::Allow)
}

/// The policy of before the boot.
pub(crate) fn recall_policy(folders: &Folders) -> Option<PolicyVersion> {
    let path = folders.policy();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            return None;
        }
    };
    let version = serde_json::from_slice::<PolicyVersion>(&text).map_err(|e| e.to_string());
    match version.and_then(|v| v.policy.check().map(|()| v).map_err(|e| e.to_string())) {
        Ok(version) => Some(version),
        Err(error) => {
            log::warn!("{}: {error}; `fail` decides until the server answers", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_cannot_be_replaced_goes() {
        let run = tempfile::tempdir().unwrap();
        // Long enough that there is no room for the name of the new file beside it.
        let path = run.path().join("s".repeat(250));
        fs::write(&path, b"old").unwrap();
        assert!(replace(&path, b"new").is_err());
        assert!(!path.exists());
    }

    #[test]
    fn keys_go_before_a_new_record_begins() {
        let run = tempfile::tempdir().unwrap();
        let folders = Folders { run: run.path().to_owned(), ..Folders::default() };
        let leases = Leases::open(run.path()).unwrap();
        // A folder cannot be deleted as a file is.
        fs::create_dir(state_file(&folders)).unwrap();
        assert!(resume(&folders, &leases).is_err());
        assert!(!run.path().join("sequences").exists());
        fs::remove_dir(state_file(&folders)).unwrap();
        fs::write(state_file(&folders), b"keys of an earlier process").unwrap();
        assert!(resume(&folders, &leases).unwrap().is_none());
        assert!(!state_file(&folders).exists());
        drop(leases);
        assert!(Leases::open(run.path()).unwrap().continue_earlier());
    }
}
