//! UCI files, the way OpenWrt's libuci reads and writes them.
//!
//! For: reading `/etc/config/tsg` (and looking into `network`, `firewall`), writing values back without
//! disturbing the rest of the file. The grammar is libuci's (`file.c`), tested against the real `uci`.
//! Not for: what the values mean (see [`crate::config`]), nor for `/tmp/.uci` delta files: like procd,
//! the gateway sees what was committed.
//!
//! Layers, bottom up: `lex` (words, quotes, continuation), `statement` (`config`, `option`, `list`),
//! `package` (sections with their options), `write`, `edit` (change one option, keep comments),
//! `file` (limits, locks, atomic replacement).
//!
//! Two deliberate differences from libuci, both refusals of what it would silently lose: a byte 0 in the
//! file, and text after an unquoted word that ends in `;` (`option a b;option c d`).

mod edit;
mod error;
mod file;
mod lex;
mod package;
mod statement;
mod write;

pub use edit::Document;
pub use error::ParseError;
pub use file::{MAX_FILE_BYTES, read, replace_text, store};
pub use package::{Opt, Package, Section, Value};
pub use write::write;
