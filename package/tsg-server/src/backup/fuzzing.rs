//! The door for the fuzzers (tests/fuzz): what a restore reads.

use super::archive::Entries;
use super::restore::manifest;
use crate::age::{Identity, Reader, Recipient};
use std::io;

/// Who opens the first inputs.
const IDENTITY: &str = include_str!("../../tests/age/identity.txt");

/// The bytes as a backup, as what is in one, as a manifest, and as the names of who opens it.
pub fn read(bytes: &[u8]) {
    let _ = tsg_sodium::init();
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = Identity::read_all(text);
        if let Ok(recipient) = text.parse::<Recipient>() {
            assert_eq!(recipient.to_string(), text);
        }
    }
    let identities = Identity::read_all(IDENTITY).unwrap_or_default();
    if let Ok(mut reader) = Reader::open(bytes, &identities) {
        let _ = io::copy(&mut reader, &mut io::sink());
    }
    let mut entries = Entries(bytes);
    while let Ok(Some(entry)) = entries.next() {
        if entries.content(&entry, 100_000).is_err() {
            break;
        }
    }
    let _ = manifest(bytes);
}
