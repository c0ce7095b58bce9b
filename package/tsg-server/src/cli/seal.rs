//! `tsg-server seal-key` and `reseal`. No server is asked: `reseal` needs that none runs.

use super::args::Reseal;
use crate::files::DataFolder;
use crate::seal::{self, Key};
use anyhow::{Result, ensure};
use std::io::{self, Write as _};
use std::path::Path;

/// A key in a new file; its name is shown.
pub(super) fn key(file: &Path) -> Result<()> {
    let key = Key::create(file)?;
    say(&format!("{}: seal key {}\n", file.display(), key.name()))
}

pub(super) fn reseal(wanted: &Reseal) -> Result<()> {
    let folder = &wanted.data.data;
    ensure!(folder.is_dir(), "there is no data folder {}: give it by --data", folder.display());
    let _held = DataFolder::open(folder)?;
    // A credential is what they are sealed with, if they are.
    let known = wanted.seal.asked().read(false)?;
    let known = known.filter(|_| seal::is_there(folder) || wanted.seal.is_given());
    let new = wanted.asked_new().map(|asked| asked.read(true)).transpose()?.flatten();
    let state = seal::reseal(folder, known, new)?;
    say(&format!("the secrets in {} are {state} now\n", folder.display()))
}

fn say(text: &str) -> Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
