//! `tsg-server backup` and `backup-key`.

use super::args::Backup;
use super::client::Client;
use crate::age::Identity;
use crate::files;
use crate::operations::{Answer, Operation};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use zeroize::Zeroizing;

pub(super) fn run(socket: &Path, wanted: &Backup) -> Result<()> {
    let operation = Operation::Backup { recipients: wanted.recipients.clone() };
    let mut client = Client::connect(socket)?;
    if wanted.to.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        ensure!(!out.is_terminal(), "a backup is nothing for a terminal: give a file by --to");
        expect(client.ask(&operation)?)?;
        client.take(&mut out)?;
        return Ok(out.flush()?);
    }
    // Before the order, which is audited.
    let mut file = create(&wanted.to)?;
    let written = expect_into(&mut client, &operation, &mut file);
    if written.is_err() {
        let _ = fs::remove_file(&wanted.to);
    }
    let (server, bytes) =
        written.with_context(|| format!("no backup in {}", wanted.to.display()))?;
    files::sync_folder(&wanted.to)?;
    let said =
        format!("{}: the key server {server}, {} kB\n", wanted.to.display(), bytes.div_ceil(1024));
    Ok(io::stdout().lock().write_all(said.as_bytes())?)
}

fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Gives the server's fingerprint and how long the backup is.
fn expect_into(
    client: &mut Client,
    operation: &Operation,
    file: &mut File,
) -> Result<(String, u64)> {
    let server = expect(client.ask(operation)?)?;
    let bytes = client.take(file)?;
    file.sync_all().context("is the disk full?")?;
    Ok((server, bytes))
}

fn expect(answer: Answer) -> Result<String> {
    let Answer::Backup(ordered) = answer else {
        bail!("the key server answers something else: it is of another version")
    };
    Ok(ordered.server)
}

/// An identity in a new file; its recipient is shown.
pub(super) fn key(file: &Path) -> Result<()> {
    tsg_sodium::init()?;
    let identity = Identity::generate();
    let (recipient, secret) = (identity.recipient().to_string(), identity.text());
    let mut text = Zeroizing::new(String::with_capacity(512));
    let said =
        "# Opens the backups of a TSG key server: keep it away from the server.\n# public key: ";
    for part in [said, &recipient, "\n", &secret, "\n"] {
        text.push_str(part);
    }
    files::create_secret(file, text.as_bytes())?;
    Ok(io::stdout().lock().write_all(format!("{recipient}\n").as_bytes())?)
}
