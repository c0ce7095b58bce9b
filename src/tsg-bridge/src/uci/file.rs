//! UCI files on disk: a size limit on reading, a lock and an atomic replacement on writing.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};

use super::{Document, Package};

/// More than this is no configuration file.
pub const MAX_FILE_BYTES: u64 = 256 * 1024;

/// OpenWrt ships configuration files that only root may read.
const NEW_FILE_MODE: u32 = 0o600;

const LOCK_TRIES: u32 = 100;

/// Reads and parses a file.
///
/// # Errors
/// Names the file, and the line and column if its text is at fault.
pub fn read(path: &Path) -> Result<Package> {
    let text = read_limited(path)?;
    Package::parse(&text).map_err(|error| anyhow!("{}:{error}", path.display()))
}

/// Changes a file under libuci's lock, and replaces it in one step; its mode stays. A file that is not
/// there yet starts empty.
///
/// # Errors
/// Names the file and what could not be done; the file is then as it was.
pub fn store(path: &Path, change: impl FnOnce(&mut Document)) -> Result<()> {
    let locked = lock(path)?;
    let text = read_limited(path)?;
    let mut document =
        Document::parse(&text).map_err(|error| anyhow!("{}:{error}", path.display()))?;
    change(&mut document);
    let mode = locked.metadata()?.permissions().mode() & 0o7777;
    replace(path, document.text(), mode)
        .with_context(|| format!("cannot replace {}", path.display()))
}

/// Replaces a whole file under libuci's lock, if its text is still `from`, or `to` already; its mode stays.
///
/// # Errors
/// As [`store`], and if the text is another.
pub fn replace_text(path: &Path, from: &str, to: &str) -> Result<()> {
    let locked = lock(path)?;
    let text = read_limited(path)?;
    if text == to.as_bytes() {
        return Ok(());
    }
    ensure!(text == from.as_bytes(), "{} was changed meanwhile; look again", path.display());
    let mode = locked.metadata()?.permissions().mode() & 0o7777;
    replace(path, to, mode).with_context(|| format!("cannot replace {}", path.display()))
}

/// Locks the file as libuci does. Who held the lock before may have put a new file in its place, so the
/// one that is locked must still be the one at that path.
fn lock(path: &Path) -> Result<Flock<File>> {
    for _ in 0..LOCK_TRIES {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(NEW_FILE_MODE)
            .open(path)
            .with_context(|| format!("cannot open {} for writing", path.display()))?;
        let locked = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| anyhow!("cannot lock {}: {error}", path.display()))?;
        let (ours, there) = (locked.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return Ok(locked);
        }
    }
    Err(anyhow!("{} is being changed by something else all the time; try again", path.display()))
}

fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(file.metadata()?.is_file(), "{} is not a file", path.display());
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        text.len() as u64 <= MAX_FILE_BYTES,
        "{} is larger than {} KiB; that is no configuration file",
        path.display(),
        MAX_FILE_BYTES / 1024
    );
    Ok(text)
}

/// Writes beside the file and renames over it; the lock keeps others off that name, which starts with a
/// dot, so that `uci` does not list it.
fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let path = fs::canonicalize(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(anyhow!("it has no folder"));
    };
    let beside = folder.join(format!(".{}.tsg-new", name.to_string_lossy()));
    // Left over from a power cut.
    let _ = fs::remove_file(&beside);
    let written = write_new(&beside, text, mode).and_then(|()| Ok(fs::rename(&beside, &path)?));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    Ok(File::open(folder)?.sync_all()?)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file.sync_all()?)
}
