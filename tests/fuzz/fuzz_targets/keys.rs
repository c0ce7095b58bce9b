//! Keys in base64 and Z85, and the files that hold pairs of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;
use tsg_control::keys::{PublicKey, key_text, read_key};
use tsg_fuzz::Folder;

static FOLDER: OnceLock<Folder> = OnceLock::new();

fuzz_target!(|text: &[u8]| {
    if let Ok(text) = core::str::from_utf8(text) {
        for word in text.split_whitespace() {
            let Ok(key) = word.parse::<PublicKey>() else { continue };
            let mut bytes = [0; 32];
            assert_eq!((read_key(word, &mut bytes), bytes), (Ok(()), key.0));
            assert_eq!(key.to_string().parse(), Ok(key));
            assert!(word.len() == 40 || key_text(&key.0) == word, "two texts in base64 mean {key}");
            assert_eq!(key.fingerprint().to_string().len(), 39);
        }
    }
    let folder = FOLDER.get_or_init(Folder::new).path();
    write(&folder.join(tsg_bridge::identity::IDENTITY_FILE), text);
    if let Ok(identity) = tsg_bridge::identity::Identity::load(folder) {
        let secret = tsg_bridge::identity::SecretKey::new(identity.secret().bytes());
        let again = tsg_bridge::identity::Identity::from_secret(secret);
        assert_eq!(again.public(), identity.public());
    }
    write(&folder.join(tsg_server::identity::FILE), text);
    let _ = tsg_server::seal::Vault::open(folder, None)
        .and_then(|vault| tsg_server::identity::Identity::open(&vault));
});

fn write(path: &Path, text: &[u8]) {
    fs::write(path, text).expect("the folder is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}
