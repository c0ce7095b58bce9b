//! What `tsg-server restore` reads: the format age, the archive in it, its manifest, files with identities.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tsg_server::backup::fuzzing::read(bytes));
