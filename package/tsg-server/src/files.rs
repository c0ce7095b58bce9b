//! The data folder and files in it that only the daemon may read.

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// More than this is no file of ours.
const MOST_BYTES: u64 = 4096;

/// The data folder, held so that no second server uses it; released when dropped.
#[derive(Debug)]
pub struct DataFolder {
    _lock: Flock<File>,
}

impl DataFolder {
    /// Makes the folder with mode 0700 if it is missing, and takes hold of it.
    ///
    /// # Errors
    /// The folder cannot be made, belongs to somebody else, or another server uses it.
    pub fn open(path: &Path) -> Result<Self> {
        prepare(path, 0o700)?;
        let lock = path.join("lock");
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
    // A hard link, unlike a rename, fails when the name is taken.
    let linked = fs::hard_link(&beside, path);
    let _ = fs::remove_file(&beside);
    linked.with_context(|| format!("cannot make {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot write {} to disk", folder.display()))
}

/// Writes a file of mode 0600: on disk as a whole, or as it was before.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let written = || {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot write {}: is the disk full?", path.display()))
}

/// Reads a file that only its owner may read. `None` if there is none.
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
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o077 == 0,
        "others can read {0} (mode {1:04o}): if nobody did, run `chmod 600 {0}`",
        path.display(),
        meta.mode() & 0o7777
    );
    let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES as usize + 1));
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.len() as u64 <= MOST_BYTES, "{} is too long to be a key", path.display());
    Ok(Some(text))
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
