//! Files that only their owner may read: made whole or not at all, refused when open to others.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

/// Name of the identity's file in the state folder.
pub const IDENTITY_FILE: &str = "key";

/// More than this is no file of ours.
const MAX_BYTES: u64 = 4096;

/// May a file that is there be replaced?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// No: that would throw away what cannot be made again.
    Never,
    /// Yes.
    Allow,
}

/// Makes a folder of mode 0700 if it is missing, and checks that others cannot write to it.
///
/// # Errors
/// Names the folder and what to do.
pub fn prepare_folder(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))?;
    let meta = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(meta.is_dir(), "{} is not a folder; move it away", path.display());
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o022 == 0,
        "others can write to {}; run `chmod 700 {0}`",
        path.display()
    );
    Ok(())
}

/// Writes a file of mode 0600: on disk as a whole, or not at all.
///
/// # Errors
/// The file exists and must stay, or cannot be written.
pub fn write_secret_file(path: &Path, content: &[u8], replace: Replace) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let beside = path.with_file_name(format!(".{name}.{process}.{count}"));
    // Left over from a crash of a process with our number.
    let _ = fs::remove_file(&beside);
    let written = write_new(&beside, content).and_then(|()| put_in_place(&beside, path, replace));
    let _ = fs::remove_file(&beside);
    written?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot write {} to disk", folder.display()))
}

/// Reads a file that only its owner may read.
///
/// # Errors
/// Names the file and what to do: it is missing, open to others, or too long.
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<String>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no {}; make one with `tsg keygen`", path.display())
        }
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let meta = file.metadata()?;
    ensure!(meta.is_file(), "{} is not a file; move it away", path.display());
    check_owner(path, meta.uid())?;
    ensure!(
        meta.mode() & 0o077 == 0,
        "others can read {0} (mode {1:04o}); if nobody did, run `chmod 600 {0}`, else \
         others have it, too: make a new one (of a gateway: `tsg keygen --force`)",
        path.display(),
        meta.mode() & 0o7777
    );
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.len() as u64 <= MAX_BYTES, "{} is too long to be a key", path.display());
    Ok(text)
}

fn check_owner(path: &Path, owner: u32) -> Result<()> {
    ensure!(
        owner == 0 || owner == geteuid().as_raw(),
        "{} belongs to user {owner}; run `chown root {0}`",
        path.display()
    );
    Ok(())
}

fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = open.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}; is the disk full?", path.display()))
}

/// A hard link, unlike a rename, fails when the name is taken.
fn put_in_place(from: &Path, to: &Path, replace: Replace) -> Result<()> {
    match replace {
        Replace::Allow => {
            fs::rename(from, to).with_context(|| format!("cannot replace {}", to.display()))
        }
        Replace::Never => match fs::hard_link(from, to) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} exists already and stays; --force replaces it", to.display())
            }
            linked => linked.with_context(|| format!("cannot make {}", to.display())),
        },
    }
}
