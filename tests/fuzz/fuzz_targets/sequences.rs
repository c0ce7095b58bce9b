//! The record of sequence numbers that an earlier process left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::OnceLock;
use tsg_bridge::pipeline::Leases;
use tsg_fuzz::Folder;

static FOLDER: OnceLock<(Folder, String)> = OnceLock::new();

fuzz_target!(|text: &[u8]| {
    let (folder, boot) = FOLDER.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .expect("the kernel names its boot");
        (Folder::new(), boot.trim_end().to_owned())
    });
    // Inputs are from another boot than this one.
    let text = String::from_utf8_lossy(text).replace("BOOT", boot);
    let path = folder.path().join("sequences");
    fs::write(&path, &text).expect("the folder is ours");
    let leases = Leases::open(folder.path()).expect("nobody else has the folder");
    if !leases.continue_earlier() {
        return;
    }
    leases.begin().expect("the folder is ours");
    drop(leases);
    let written = fs::read(&path).expect("it was just written");
    let again = Leases::open(folder.path()).expect("nobody else has the folder");
    assert!(again.continue_earlier());
    again.begin().expect("the folder is ours");
    assert_eq!(fs::read(&path).expect("it was just written"), written);
});
