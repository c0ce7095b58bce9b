//! Writes a set-up into the UCI files, keeps what was there, and takes it back.
//!
//! What was there is kept in the state folder until it is confirmed, so that it outlives a power cut: whoever has locked
//! himself out switches the box off and on, and has it back.

use super::draft::Place;
use super::{Draft, back};
use crate::folders::Folders;
use crate::identity::{Replace, prepare_folder, write_secret_file};
use crate::uci;
use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was there before a set-up, and whether somebody still has to say that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Unless it is confirmed until this moment of that boot, it is undone.
    pub(crate) deadline: Option<Deadline>,
    files: Vec<KeptFile>,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadline {
    pub(crate) boot: String,
    /// Of this boot's clock.
    pub(crate) at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    name: String,
    before: String,
    after: String,
}

impl Kept {
    /// None if there is no set-up to undo.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn load(folders: &Folders) -> Result<Option<Self>> {
        let path = path(folders);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let kept = serde_json::from_str(&text);
        kept.map(Some).with_context(|| format!("{} is damaged; delete it", path.display()))
    }

    fn save(&self, folders: &Folders) -> Result<()> {
        prepare_folder(&folders.state)?;
        write_secret_file(&path(folders), &serde_json::to_vec(self)?, Replace::Allow)
    }
}

/// Writes the changes. What was there is kept before.
///
/// # Errors
/// Names the file; a set-up that waits to be confirmed; somebody else's changes in between. The files are then as they
/// were.
pub(crate) fn apply(folders: &Folders, draft: &Draft, deadline: Option<Deadline>) -> Result<()> {
    if Kept::load(folders)?.is_some_and(|kept| kept.deadline.is_some()) {
        bail!(
            "a set-up waits to be confirmed: run `tsg setup --confirm` or `tsg setup --undo` first"
        );
    }
    let mut files = Vec::new();
    for place in Place::ALL {
        let path = folders.config.join(place.name());
        let before =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut document = uci::Document::parse(before.as_bytes())
            .map_err(|error| anyhow::anyhow!("{}:{error}", path.display()))?;
        ensure!(
            document.package() == draft.before(place),
            "{} was changed meanwhile; look again",
            path.display()
        );
        for (at, section, option, value) in draft.edits(place) {
            document.set_in(at, &section.kind, section.name.as_deref(), option, value.cloned());
        }
        files.push(KeptFile {
            name: place.name().to_owned(),
            before,
            after: document.text().to_owned(),
        });
    }
    let kept = Kept { deadline, files };
    kept.save(folders)?;
    let written = write_all(folders, &kept.files, |file| (&file.before, &file.after));
    if written.is_err() {
        // One of two files is worse than none.
        undo(folders).context("and what was written before that stays")?;
    }
    written
}

/// Puts back what was there before the last set-up. Of /etc/config/tsg stays what others have changed since.
///
/// # Errors
/// There is none, or something was changed since that would be lost.
pub(crate) fn undo(folders: &Folders) -> Result<()> {
    let kept = Kept::load(folders)?.context("there is no set-up to undo")?;
    let ways = kept.files.iter().map(|file| way_back(folders, file));
    let ways: Vec<KeptFile> = ways.collect::<Result<_>>()?;
    write_all(folders, &ways, |file| (&file.before, &file.after))?;
    forget(folders)
}

/// From a file as it is now to what undoing makes of it.
fn way_back(folders: &Folders, file: &KeptFile) -> Result<KeptFile> {
    let path = folders.config.join(&file.name);
    let there =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let ports = (file.name == Place::Tsg.name() && there != file.after)
        .then(|| back::with_ports_of(&file.before, &file.after, &there))
        .flatten();
    let (before, after) = match ports {
        Some(text) if there != file.before => (there, text),
        Some(_) | None => (file.after.clone(), file.before.clone()),
    };
    Ok(KeptFile { name: file.name.clone(), before, after })
}

/// The set-up stays. It can still be undone.
///
/// # Errors
/// None waits for that.
pub(crate) fn confirm(folders: &Folders) -> Result<()> {
    let kept = Kept::load(folders)?.filter(|kept| kept.deadline.is_some());
    let kept =
        kept.context("no set-up waits to be confirmed: it was undone, or is confirmed already")?;
    Kept { deadline: None, ..kept }.save(folders)
}

/// Undoes a set-up that nobody has confirmed in time, or before the box was switched off. Says whether it did.
///
/// # Errors
/// As [`undo`].
pub(crate) fn expire(folders: &Folders, now: &Deadline) -> Result<bool> {
    let deadline = Kept::load(folders)?.and_then(|kept| kept.deadline);
    let late =
        deadline.is_some_and(|deadline| deadline.boot != now.boot || now.at_ms >= deadline.at_ms);
    if late {
        undo(folders)?;
    }
    Ok(late)
}

/// What time it is, as deadlines are kept.
pub(crate) fn now() -> Deadline {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Deadline { boot: boot.trim().to_owned(), at_ms: crate::boottime::now() }
}

/// Who takes up what is in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Gate,
    Network,
    Gateway,
}

impl Service {
    const fn command(self) -> (&'static str, &'static str) {
        match self {
            Self::Gate => ("/usr/sbin/tsg", "gate"),
            Self::Network => ("/etc/init.d/network", "reload"),
            Self::Gateway => ("/etc/init.d/tsg", "restart"),
        }
    }
}

/// Lets them take it up, in this order. Gives what could not be run.
pub(crate) fn reload(services: &[Service]) -> Vec<String> {
    let mut failed = Vec::new();
    for (script, verb) in services.iter().map(|service| service.command()) {
        let ran = Command::new(script)
            .arg(verb)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match ran {
            Ok(status) if status.success() => {}
            Ok(status) => failed.push(format!("{script} {verb}: {status}")),
            Err(error) => failed.push(format!("{script} {verb}: {error}")),
        }
    }
    failed
}

/// Replaces each file, if it is what it should be before; all or none, but for a power cut in between.
fn write_all<'k>(
    folders: &Folders,
    files: &'k [KeptFile],
    from_to: impl Fn(&'k KeptFile) -> (&'k String, &'k String),
) -> Result<()> {
    for file in files {
        let path = folders.config.join(&file.name);
        let there =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (from, to) = from_to(file);
        ensure!(
            there == *from || there == *to,
            "{} was changed since, and that would be lost: change it by hand; what it was is in {}",
            path.display(),
            self::path(folders).display()
        );
    }
    for file in files {
        let (from, to) = from_to(file);
        let path = folders.config.join(&file.name);
        uci::replace_text(&path, from, to)?;
    }
    Ok(())
}

fn forget(folders: &Folders) -> Result<()> {
    let path = path(folders);
    match fs::remove_file(&path) {
        // Somebody else has undone the same at the same moment.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("cannot delete {}", path.display())),
    }
}

fn path(folders: &Folders) -> PathBuf {
    folders.state.join("setup.json")
}

/// Changes that somebody has staged with `uci set` and not committed: they would go in with ours, or against them.
///
/// # Errors
/// There are some.
pub(crate) fn nothing_staged(staged: &Path) -> Result<()> {
    for place in Place::ALL {
        let path = staged.join(place.name());
        let is_empty = fs::metadata(&path).map_or(true, |meta| meta.len() == 0);
        ensure!(
            is_empty,
            "there are changes of {0} that are not committed (`uci changes {0}`): commit them or `uci revert {0}`",
            place.name()
        );
    }
    Ok(())
}
