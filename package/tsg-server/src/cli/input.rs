//! What an operator names to be read: a file, or `-` for standard input.

use crate::operations::read_list;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A longer file is none of those that are read here: a policy of 256 rules, 1,000 fingerprints with their names.
const MOST_BYTES: u64 = 512 * 1024;

/// All of it, which must be text.
pub(super) fn text(path: &Path) -> Result<String> {
    let name = path.display().to_string();
    let mut text = String::new();
    let read = match name.as_str() {
        "-" => io::stdin().lock().take(MOST_BYTES + 1).read_to_string(&mut text),
        _ => {
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            file.take(MOST_BYTES + 1).read_to_string(&mut text)
        }
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if text.len() as u64 > MOST_BYTES {
        bail!("{name} is longer than {MOST_BYTES} bytes");
    }
    Ok(text)
}

/// The fingerprints in a list.
pub(super) fn list(path: &Path) -> Result<Vec<String>> {
    read_list(&text(path)?).with_context(|| path.display().to_string())
}
