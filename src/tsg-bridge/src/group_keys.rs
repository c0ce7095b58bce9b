//! What a gateway gives to the tunnels of its host, so that two members of a group need no key file: a secret for each of
//! the group's epochs, derived from its TEK, in a file in RAM that only root may read.
//!
//! The daemon writes it whenever the epochs change, tunnels look at it. It stays when the daemon stops, as its own state
//! does; each secret says when it ends. Not here: what a tunnel does with it ([`crate::tunnel`]).

use crate::folders::Folders;
use crate::identity::{Replace, read_secret_file, write_secret_file};
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tsg_control::gateway::KeyView;
use tsg_control::keys::tek_check;
use tsg_esp::crypto::Tek;
use tsg_sodium::hkdf_sha256;
use zeroize::Zeroizing;

const LEN: usize = 32;

/// What the first word of a line is.
const SEAL: &str = "seal";
const OPEN: &str = "open";

/// First word, end and secret.
const LONGEST_LINE: usize = 80;

/// Stands for an epoch that does not end.
const NEVER: &str = "-";

/// The secret of one epoch.
#[derive(Clone)]
pub(crate) struct GroupKey {
    /// Members agree on keys under it; under the others they only go on.
    pub(crate) seals: bool,
    /// Its end, in milliseconds of the boot's clock.
    pub(crate) ends: Option<u64>,
    pub(crate) secret: Box<Zeroizing<[u8; LEN]>>,
}

impl GroupKey {
    /// Of this moment.
    pub(crate) fn lives(&self, now: u64) -> bool {
        self.ends.is_none_or(|at| now < at)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (first, ends, text) = (words.next()?, words.next()?, words.next()?);
        let seals = match first {
            SEAL => true,
            OPEN => false,
            _ => return None,
        };
        let ends = match ends {
            NEVER => None,
            at => Some(at.parse().ok()?),
        };
        let bytes = STANDARD.decode(text).map(Zeroizing::new).ok()?;
        let mut secret: Box<Zeroizing<[u8; LEN]>> = Box::default();
        if bytes.len() != LEN || words.next().is_some() {
            return None;
        }
        secret.copy_from_slice(&bytes);
        Some(Self { seals, ends, secret })
    }
}

fn secret_of(tek: &Tek) -> Box<Zeroizing<[u8; LEN]>> {
    let mut secret: Box<Zeroizing<[u8; LEN]>> = Box::default();
    secret.copy_from_slice(&*hkdf_sha256(tek.expose(), &[], b"tsg tunnel 1 group"));
    secret
}

/// The file.
pub(crate) fn path(folders: &Folders) -> PathBuf {
    folders.run.join("group-keys")
}

/// Reads it; nothing if there is none.
///
/// # Errors
/// It is damaged, or others can read it.
pub(crate) fn read(path: &Path) -> Result<Vec<GroupKey>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = read_secret_file(path)?;
    let keys: Option<Vec<_>> = text.lines().map(GroupKey::parse).collect();
    keys.with_context(|| format!("{}: not what a gateway writes", path.display()))
}

/// The daemon's side of the file.
pub(crate) struct Telling {
    path: PathBuf,
    /// The epochs that it holds.
    told: Vec<Told>,
}

/// What its TEK is recognised by, whether it is sealed with, and its end.
type Told = ([u8; 8], bool, Option<u64>);

impl Telling {
    /// What an earlier process wrote stays until something is told.
    pub(crate) fn new(folders: &Folders) -> Self {
        Self { path: path(folders), told: Vec::new() }
    }

    /// Writes what there is now, if that has changed; takes the file away if there is nothing.
    ///
    /// # Errors
    /// It cannot be written, and is gone then, or cannot be deleted.
    pub(crate) fn tell(&mut self, views: &[KeyView]) -> Result<()> {
        let told = |view: &KeyView| (tek_check(&view.tek), view.sealing, view.ends);
        let told: Vec<Told> = views.iter().map(told).collect();
        if told == self.told && self.path.exists() {
            return Ok(());
        }
        self.told = told;
        if views.is_empty() {
            return self.forget();
        }
        // Long enough from the start: what grows leaves copies.
        let mut text = Zeroizing::new(String::with_capacity(views.len() * LONGEST_LINE));
        for view in views {
            text.push_str(&line(view));
        }
        let written = write_secret_file(&self.path, text.as_bytes(), Replace::Allow);
        written.inspect_err(|_| {
            if let Err(error) = self.forget() {
                log::error!("{error:#}");
            }
        })
    }

    /// Takes it away.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub(crate) fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{}: cannot be deleted", self.path.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn line(view: &KeyView) -> Zeroizing<String> {
    let first = if view.sealing { SEAL } else { OPEN };
    let ends = view.ends.map_or_else(|| NEVER.to_owned(), |at| at.to_string());
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_LINE));
    let secret = secret_of(&view.tek);
    let _ =
        writeln!(line, "{first} {ends} {}", *Zeroizing::new(STANDARD.encode(secret.as_slice())));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::key;

    fn views(ends: Option<u64>) -> Vec<KeyView> {
        let old =
            KeyView { tek: Tek::new([1; 32]).into(), sealing: false, ends: Some(77), ..key(1) };
        vec![old, KeyView { tek: Tek::new([2; 32]).into(), ends, ..key(1) }]
    }

    #[test]
    fn what_is_told_is_read_and_nothing_else_is() {
        tsg_sodium::init().unwrap();
        let run = tempfile::tempdir().unwrap();
        let folders = Folders { run: run.path().to_owned(), ..Folders::default() };
        let (file, mut telling) = (path(&folders), Telling::new(&folders));
        assert!(read(&file).unwrap().is_empty());
        telling.tell(&views(None)).unwrap();
        let keys = read(&file).unwrap();
        let shown: Vec<_> = keys.iter().map(|key| (key.seals, key.ends)).collect();
        assert_eq!(shown, [(false, Some(77)), (true, None)]);
        assert_eq!(
            (keys[0].lives(76), keys[0].lives(77), keys[1].lives(u64::MAX)),
            (true, false, true)
        );
        // Not the TEK, and not one secret for two of them.
        assert_ne!(**keys[0].secret, [1; 32]);
        assert_ne!(keys[0].secret, keys[1].secret);
        let text = fs::read_to_string(&file).unwrap();
        for wrong in
            ["", " ", "hear - AAAA", "seal x", &text[..text.len() - 4], &format!("{text}\n")]
        {
            fs::write(&file, wrong).unwrap();
            assert!(read(&file).is_err() || wrong.is_empty(), "{wrong:?}");
        }
        // It is told anew when it changes, or is gone.
        fs::remove_file(&file).unwrap();
        telling.tell(&views(None)).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        telling.tell(&views(None)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
        telling.tell(&views(Some(5))).unwrap();
        assert_eq!(read(&file).unwrap()[1].ends, Some(5));
        telling.tell(&[]).unwrap();
        assert!(!file.exists());
    }
}
