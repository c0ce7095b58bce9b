//! Tests: what earlier versions said and kept, byte by byte, and the peers that they were.
//!
//! Nothing here uses today's messages: what is frozen must not change with them.

pub mod later;
pub mod v0_1_0;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the corpus, such as `to_server/register` of `0.1.0`.
///
/// # Panics
/// There is none.
pub fn read(version: &str, name: &str) -> Vec<u8> {
    let path = path(version, name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file must be in the corpus; `TSG_RECORD=1` puts it there, once.
///
/// # Panics
/// It is missing.
pub fn record(version: &str, name: &str, bytes: &[u8]) {
    let path = path(version, name);
    let wanted = std::env::var_os("TSG_RECORD").is_some();
    if wanted && !path.exists() {
        let done = fs::create_dir_all(path.parent().unwrap_or(Path::new(".")));
        done.and_then(|()| fs::write(&path, bytes)).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(path.exists(), "{} is missing: see tests/previous/README.md", path.display());
}

fn path(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(version).join(name)
}
