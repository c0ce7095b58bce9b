//! From a backup to a data folder that a server starts on.
//!
//! Everything is made and checked in a folder within the empty data folder, and moved up when all of it is good. As long as that folder is
//! there no server starts: a restore that was broken off is given again, and begins anew.

use super::archive::Entries;
use super::{FORMAT, MANIFEST, Manifest};
use crate::age::{self, Reader};
use crate::clock::Reading;
use crate::database::{self, AuditEntry, Batch, Database};
use crate::files::{self, DataFolder};
use crate::identity::{self, Identity};
use crate::operations::Operator;
use crate::seal::{self, Secret, State, Vault};
use crate::web;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// What a restore puts there, in this order.
const FILES: [&str; 4] = [seal::FILE, identity::FILE, web::CERTIFICATE, database::FILE];

/// A manifest, a key, a certificate are never longer.
const MOST_BYTES: u64 = 8 * 1024;

/// What is there now.
#[derive(Debug)]
pub struct Report {
    /// Of what it is.
    pub manifest: Manifest,
    /// How the secrets lie there.
    pub state: State,
    /// How many there are.
    pub groups: usize,
    /// How many were let in.
    pub gateways: usize,
    /// How many may sign in.
    pub users: usize,
}

/// Puts a backup into an empty data folder; `called` is what the operator calls the backup.
///
/// # Errors
/// The folder is not empty, or the backup is none, damaged, for somebody else, or of a newer version. The folder is empty then.
pub fn restore(
    from: impl Read,
    called: &str,
    identities: &[age::Identity],
    folder: &Path,
    secret: Option<Secret>,
    operator: &Operator,
) -> Result<Report> {
    let _held = DataFolder::hold(folder)?;
    clear(folder)?;
    let staged = folder.join(files::UNFINISHED);
    DirBuilder::new()
        .mode(0o700)
        .create(&staged)
        .with_context(|| format!("cannot make {}", staged.display()))?;
    files::sync_folder(&staged)?;
    let filled = fill(from, called, identities, &staged, secret, operator)
        .with_context(|| format!("nothing is restored from {called}"));
    if filled.is_err() {
        // What cannot go now goes when it is given again.
        let _ = discard(&staged);
    }
    let report = filled?;
    for name in FILES {
        let (there, here) = (staged.join(name), folder.join(name));
        if there.exists() {
            fs::rename(&there, &here)
                .with_context(|| format!("cannot move {} up", there.display()))?;
        }
    }
    files::sync_folder(&folder.join(database::FILE))?;
    // From here on a server starts.
    fs::remove_dir(&staged).with_context(|| format!("cannot remove {}", staged.display()))?;
    files::sync_folder(&staged)?;
    Ok(report)
}

/// The folder is empty, or a restore into it was broken off: then that one's files go.
fn clear(folder: &Path) -> Result<()> {
    let staged = folder.join(files::UNFINISHED);
    let again = staged.exists();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let name = entry?.file_name();
        let ours = name == files::UNFINISHED || FILES.iter().any(|file| name == *file);
        ensure!(
            name == files::LOCK || name == "lost+found" || (again && ours),
            "{} is not empty ({:?} is in it): nothing is restored; move it away, and give an empty folder by --data",
            folder.display(),
            name
        );
    }
    if again {
        for name in FILES {
            files::remove_secret(&folder.join(name))?;
        }
        discard(&staged)?;
    }
    Ok(())
}

/// Takes away what was made so far, and overwrites what is secret.
fn discard(staged: &Path) -> Result<()> {
    for name in FILES {
        files::remove_secret(&staged.join(name))?;
    }
    fs::remove_dir_all(staged).with_context(|| format!("cannot remove {}", staged.display()))
}

fn fill(
    from: impl Read,
    called: &str,
    identities: &[age::Identity],
    staged: &Path,
    secret: Option<Secret>,
    operator: &Operator,
) -> Result<Report> {
    let Parts { manifest, key, certificate } = unpack(from, identities, staged)?;
    let pair = Identity::parse(&key).context("its server.key is damaged")?;
    ensure!(
        pair.public() == manifest.public_key,
        "its server.key is that of {}, and not of {}, which it says it is of",
        pair.public().fingerprint(),
        manifest.server
    );
    if let Some(certificate) = &certificate {
        web::check_certificate(certificate).context("its web.pem is damaged")?;
    }
    let (groups, gateways, users) = check(staged, &manifest, called, operator)?;
    let vault = Vault::open(staged, secret)?;
    vault.write_new(identity::FILE, &key)?;
    if let Some(certificate) = &certificate {
        vault.write_new(web::CERTIFICATE, certificate)?;
    }
    let state = vault.state().clone();
    Ok(Report { manifest, state, groups, gateways, users })
}

/// What is small; the database is in the folder.
struct Parts {
    manifest: Manifest,
    key: Zeroizing<String>,
    certificate: Option<Zeroizing<String>>,
}

fn unpack(from: impl Read, identities: &[age::Identity], staged: &Path) -> Result<Parts> {
    let mut entries = Entries(Reader::open(from, identities)?);
    let text = |entries: &mut Entries<_>, name: &str| {
        let entry = entries.next()?.with_context(|| format!("it has no {name}"))?;
        match entry.name == name {
            true => Ok(entry),
            false => bail!("it has {:?} where {name} is to be", entry.name),
        }
    };
    let entry = text(&mut entries, MANIFEST)?;
    let manifest = manifest(&entries.content(&entry, MOST_BYTES)?)?;
    let entry = text(&mut entries, identity::FILE)?;
    let key = utf8(&entries.content(&entry, MOST_BYTES)?, identity::FILE)?;
    let mut entry = entries.next()?.context("it has no database")?;
    let mut certificate = None;
    if entry.name == web::CERTIFICATE {
        certificate = Some(utf8(&entries.content(&entry, MOST_BYTES)?, web::CERTIFICATE)?);
        entry = entries.next()?.context("it has no database")?;
    }
    ensure!(
        entry.name == database::FILE,
        "it has {:?} where {} is to be",
        entry.name,
        database::FILE
    );
    super::check_room(staged, entry.length)?;
    let path = staged.join(database::FILE);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    entries.copy(&entry, &mut file)?;
    file.sync_all().with_context(|| format!("cannot write {}", path.display()))?;
    if let Some(entry) = entries.next()? {
        bail!("it has {:?} too, which no backup has", entry.name);
    }
    Ok(Parts { manifest, key, certificate })
}

pub(super) fn manifest(text: &[u8]) -> Result<Manifest> {
    let value: serde_json::Value =
        serde_json::from_slice(text).context("its manifest is damaged")?;
    ensure!(
        value["format"] == FORMAT,
        "tsg-server {} has made it, in a form (format {}) that this version does not know: install that version",
        value["version"],
        value["format"]
    );
    serde_json::from_value(value).context("its manifest is damaged")
}

fn utf8(bytes: &[u8], name: &str) -> Result<Zeroizing<String>> {
    let text = str::from_utf8(bytes).with_context(|| format!("its {name} is damaged"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The database is whole, of a version that is known here, and its audit trail as it was written. The restore is added to it.
fn check(
    staged: &Path,
    manifest: &Manifest,
    called: &str,
    operator: &Operator,
) -> Result<(usize, usize, usize)> {
    let mut database = Database::open(staged)?;
    database.check_all()?;
    let (stored, accounts) = (database.load()?, database.accounts()?);
    let verdict = database.reader().verify_audit()?;
    ensure!(verdict.broken.is_empty(), "its audit trail was changed: {}", verdict.broken);
    let entry = AuditEntry {
        who: operator.0.clone(),
        action: "restore".to_owned(),
        object: format!("the backup {called} of {}", tsg_bundle::utc(manifest.made)),
        outcome: "done".to_owned(),
    };
    let batch = Batch { audit: vec![entry], ..Batch::default() };
    database.store(&batch, Reading::now()?.wall)?;
    // Its log goes with the last connection.
    drop(database);
    let path = staged.join(database::FILE);
    ensure!(
        !path.with_extension("db-wal").exists(),
        "the log of {} could not be written into it: is the disk full?",
        path.display()
    );
    File::open(&path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok((stored.groups.len(), stored.gateways.len(), accounts.users().count()))
}
