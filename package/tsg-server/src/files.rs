//! The data folder and files in it that only the daemon may read.

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the file by which a data folder is held.
pub const LOCK: &str = "lock";

/// Name of the folder in which a restore makes everything, within the data folder.
pub const UNFINISHED: &str = "restoring";

/// More than this is no key, and no certificate.
const MOST_BYTES: u64 = 65_536;

/// The data folder, held so that no second server uses it; released when dropped.
#[derive(Debug)]
pub struct DataFolder {
    _lock: Flock<File>,
}

impl DataFolder {
    /// Makes the folder with mode 0700 if it is missing, and takes hold of it.
    ///
    /// # Errors
    /// The folder cannot be made, belongs to somebody else, another server uses it, or a restore into it was broken off.
    pub fn open(path: &Path) -> Result<Self> {
        let held = Self::hold(path)?;
        let unfinished = path.join(UNFINISHED);
        ensure!(
            !unfinished.exists(),
            "a restore into {} was broken off: give `tsg-server restore` again, or move the folder away",
            path.display()
        );
        Ok(held)
    }

    /// Takes hold of the folder, whatever is in it.
    ///
    /// # Errors
    /// The folder cannot be made, belongs to somebody else, or another server uses it.
    pub fn hold(path: &Path) -> Result<Self> {
        prepare(path, 0o700)?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .with_context(|| format!("cannot open {}", lock.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Self { _lock: held }),
            Err((_, error)) => bail!(
                "{} is in use ({error}): another tsg-server runs on it; stop that one, or give \
                 this one its own --data",
                path.display()
            ),
        }
    }
}

/// Bytes that are left on the disk of a folder.
#[allow(clippy::unnecessary_cast, reason = "libc counts in 32 bits on small machines")]
pub fn free(folder: &Path) -> u64 {
    // What cannot be told is no reason to refuse.
    statvfs(folder).map_or(u64::MAX, |disk| {
        let (blocks, size) = (disk.blocks_available() as u64, disk.fragment_size() as u64);
        blocks.saturating_mul(size)
    })
}

/// Makes a folder if it is missing, and checks that nobody else can write to it.
///
/// # Errors
/// Names the folder and what to do.
pub fn prepare(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))?;
    let meta = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(meta.is_dir(), "{} is not a folder: move it away", path.display());
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o022 == 0,
        "others can write to {0}: run `chmod go-w {0}`",
        path.display()
    );
    Ok(())
}

/// Checks that nobody else can write to a file, if it is there.
///
/// # Errors
/// Names the file and what to do.
pub fn check_writers(path: &Path) -> Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(format!("cannot look at {}", path.display())),
    };
    ensure!(meta.is_file(), "{} is not a file: move it away", path.display());
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o022 == 0,
        "others can write to {0} (mode {1:04o}): if nobody did, run `chmod 600 {0}`",
        path.display(),
        meta.mode() & 0o7777
    );
    Ok(())
}

/// Writes a new file of mode 0600: on disk as a whole, or not at all. One that is there stays.
///
/// # Errors
/// The file is there, or cannot be written.
pub fn write_new_secret(path: &Path, content: &[u8]) -> Result<()> {
    let beside = write_beside(path, content)?;
    // A hard link, unlike a rename, fails when the name is taken.
    let linked = fs::hard_link(&beside, path);
    let _ = fs::remove_file(&beside);
    linked.with_context(|| format!("cannot make {}", path.display()))?;
    sync_folder(path)
}

/// Puts other content into a file of mode 0600: after a crash it has the one or the other. What it had before is overwritten.
///
/// # Errors
/// The file cannot be written.
pub fn replace_secret(path: &Path, content: &[u8]) -> Result<()> {
    let old = open_to_wipe(path)?;
    replace(path, content)?;
    sync_folder(path)?;
    // Nobody needs it any more: the new one is on the disk.
    wipe(old, path)
}

/// Writes a new file of mode 0600 where an operator wants it. One that is there stays.
///
/// # Errors
/// The file is there, or cannot be written; nothing is left of it then.
pub fn create_secret(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}: is the disk full?", path.display()))?;
    sync_folder(path)
}

/// Takes a file away, if it is there, and overwrites what it was.
///
/// # Errors
/// The file cannot be written.
pub fn remove_secret(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let file = open_to_wipe(path)?;
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    sync_folder(path)?;
    wipe(file, path)
}

/// Takes away what a crash has left of [`write_new_secret`] and [`replace_secret`].
///
/// # Errors
/// The file cannot be written.
pub fn wipe_rest(path: &Path) -> Result<()> {
    let beside = path.with_extension("new");
    let links = fs::symlink_metadata(&beside).map_or(0, |meta| meta.nlink());
    if links > 1 {
        // The same file as the one that counts.
        return fs::remove_file(&beside)
            .with_context(|| format!("cannot remove {}", beside.display()));
    }
    remove_secret(&beside)
}

fn open_to_wipe(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NOFOLLOW);
    options.open(path).with_context(|| format!("cannot write {}", path.display()))
}

fn wipe(mut file: File, path: &Path) -> Result<()> {
    let length = file.metadata().map_or(0, |meta| meta.len()).min(MOST_BYTES);
    file.write_all(&vec![0; length as usize])
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot overwrite what {} was", path.display()))
}

fn write_beside(path: &Path, content: &[u8]) -> Result<PathBuf> {
    let beside = path.with_extension("new");
    // Left over from a crash; the lock on the folder says that nobody else writes it.
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("cannot write {}", beside.display()))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}: is the disk full?", beside.display()))?;
    Ok(beside)
}

/// What happened to a name in a folder is on the disk.
///
/// # Errors
/// The folder cannot be written.
pub fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot write {} to disk", folder.display()))
}

/// Writes a file of mode 0600 that is no secret: on disk as a whole, or as it was before.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let beside = write_beside(path, content)?;
    fs::rename(&beside, path).with_context(|| format!("cannot replace {}", path.display()))
}

/// Reads a file of ours that only its owner may read. `None` if there is none.
///
/// # Errors
/// Names the file and what to do: it is open to others, too long, or unreadable.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let meta = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(meta.is_file(), "{} is not a file: move it away", path.display());
    check_readers(path, &meta)?;
    read_all(file, path).map(Some)
}

/// Where systemd has put the credentials of this service, if it has.
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|at| !at.is_empty()).map(PathBuf::from)
}

/// Reads what an operator names by an option: as [`read_given`], with the credentials of this service.
///
/// # Errors
/// Names the file and what to do; if it is missing, the option as well.
pub fn read_named(path: &Path, option: &str) -> Result<Zeroizing<String>> {
    ensure!(path.exists(), "{} is not there: it was given by {option}", path.display());
    read_given(path, credentials().as_deref())
}

/// Reads what an operator names: a file that only its owner may read, a file in the folder of the `credentials`, or a descriptor such as
/// `/dev/fd/3`.
///
/// # Errors
/// Names the file and what to do: it is missing, open to others, too long, or unreadable.
pub fn read_given(path: &Path, credentials: Option<&Path>) -> Result<Zeroizing<String>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let meta = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
    // systemd has seen to who may read a credential; its mode does not say so.
    let is_credential = credentials.is_some_and(|folder| path.starts_with(folder));
    if meta.is_file() && !is_credential {
        check_readers(path, &meta)?;
    }
    read_all(file, path)
}

fn check_readers(path: &Path, meta: &fs::Metadata) -> Result<()> {
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o077 == 0,
        "others can read {0} (mode {1:04o}): if nobody did, run `chmod 600 {0}`",
        path.display(),
        meta.mode() & 0o7777
    );
    Ok(())
}

fn read_all(file: File, path: &Path) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES as usize + 1));
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        text.len() as u64 <= MOST_BYTES,
        "{} is too long to be a key: {MOST_BYTES} bytes are the most",
        path.display()
    );
    Ok(text)
}

fn check_owner(path: &Path, owner: u32) -> Result<()> {
    let own = geteuid().as_raw();
    ensure!(
        owner == 0 || owner == own,
        "{0} belongs to user {owner}: run `chown {own} {0}`",
        path.display()
    );
    Ok(())
}
