//! How far the collector has the audit trail: in a file, so that an outage or a restart loses no entry.

use crate::database::Lookout;
use crate::files;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Name of the file, in the data folder.
const FILE: &str = "syslog.json";

/// Told again when it is not known how far the collector is.
const AGAIN: u64 = 1_000;

/// The last entry that the collector has.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    kept: Kept,
    failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Its number, 0 for none.
    number: u64,
    /// Its hash: another one is there after a backup was restored.
    chain: String,
}

impl Place {
    /// Where it was left. With none it begins with what comes next.
    pub(super) fn open(folder: &Path, reader: &Lookout) -> Result<Self> {
        let path = folder.join(FILE);
        let newest = reader.newest()?;
        let (number, is_new) = match read(&path) {
            Ok(None) => (newest, true),
            Ok(Some(kept)) if kept.number > newest => {
                // An older database: the collector has all of it.
                log::warn!(
                    "the audit trail ends at {newest}, and the syslog collector has it up to {}: was a backup restored?",
                    kept.number
                );
                (newest, true)
            }
            Ok(Some(kept)) if kept.chain == reader.chain(kept.number)? => (kept.number, false),
            Ok(Some(_)) => {
                log::warn!(
                    "it is not known how far the syslog collector has the audit trail: the last {AGAIN} entries are sent again"
                );
                (newest.saturating_sub(AGAIN), true)
            }
            Err(error) => {
                log::warn!(
                    "{error:#}: the last {AGAIN} entries of the audit trail are sent to the syslog collector again"
                );
                (newest.saturating_sub(AGAIN), true)
            }
        };
        let kept = Kept { number, chain: reader.chain(number)? };
        let mut place = Self { path, kept, failed: false };
        if is_new {
            place.write();
        }
        Ok(place)
    }

    pub(super) const fn number(&self) -> u64 {
        self.kept.number
    }

    /// The collector has it up to there.
    pub(super) fn move_to(&mut self, number: u64, reader: &Lookout) -> Result<()> {
        if number != self.kept.number {
            self.kept = Kept { number, chain: reader.chain(number)? };
            self.write();
        }
        Ok(())
    }

    fn write(&mut self) {
        let written = serde_json::to_vec(&self.kept)
            .context("cannot write a number as JSON")
            .and_then(|text| files::replace(&self.path, &text));
        match written {
            Ok(()) => self.failed = false,
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                log::warn!(
                    "{error:#}; after a restart audit entries are sent to the syslog collector again"
                );
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<Option<Kept>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let kept = serde_json::from_slice(&text);
    kept.map(Some).with_context(|| format!("{} is damaged", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{AuditEntry, Batch, Database};

    fn add(database: &mut Database, entries: usize) {
        let text = |text: &str| text.to_owned();
        let entry = AuditEntry {
            who: text("root"),
            action: text("rekey"),
            object: text("plant"),
            outcome: text("done"),
        };
        let audit = vec![entry; entries];
        database.store(&Batch { audit, ..Batch::default() }, 7).unwrap();
    }

    fn number(folder: &Path) -> u64 {
        Place::open(folder, &Lookout::open(folder).unwrap()).unwrap().number()
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        add(&mut database, 3);
        // What was there before is not news.
        assert_eq!(number(folder.path()), 3);
        add(&mut database, 4);
        assert_eq!(number(folder.path()), 3);
        let reader = Lookout::open(folder.path()).unwrap();
        let mut place = Place::open(folder.path(), &reader).unwrap();
        place.move_to(5, &reader).unwrap();
        assert_eq!(number(folder.path()), 5);
        let rest = reader.after(5, 10).unwrap();
        assert_eq!(rest.iter().map(|row| row.id).collect::<Vec<_>>(), [6, 7]);
    }

    #[test]
    fn a_restored_backup_is_noticed() {
        let (folder, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut database = Database::open(folder.path()).unwrap();
        add(&mut database, 3);
        assert_eq!(number(folder.path()), 3);
        // An older one: what is in it was told.
        fs::copy(folder.path().join(FILE), old.path().join(FILE)).unwrap();
        let mut before = Database::open(old.path()).unwrap();
        add(&mut before, 2);
        assert_eq!(number(old.path()), 2);
        // Another one, which went further: told again.
        fs::copy(folder.path().join(FILE), old.path().join(FILE)).unwrap();
        database.store(&Batch::default(), 8).unwrap();
        before.store(&Batch::default(), 8).unwrap();
        let mut other = AuditEntry {
            who: String::new(),
            action: String::new(),
            object: String::new(),
            outcome: String::new(),
        };
        other.who = "somebody else".to_owned();
        before.store(&Batch { audit: vec![other; 2], ..Batch::default() }, 9).unwrap();
        assert_eq!(number(old.path()), 0);
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path()).unwrap();
        add(&mut database, 3);
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(number(folder.path()), 0);
        assert_eq!(number(folder.path()), 0);
    }
}
