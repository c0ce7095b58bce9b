//! The one-time secret of an enrolment, between `tsg enrol` and the daemon that sends it.
//!
//! `tsg enrol` stores it in the state folder (mode 0600, one line of hex); the daemon sends it with its
//! hello and forgets it when the key server has answered that it is used up.

use std::{fs, io::ErrorKind};

use anyhow::{Context, Result, anyhow};
use tsg_control::token::TokenSecret;
use zeroize::Zeroizing;

use crate::{
    folders::Folders,
    identity::{Replace, prepare_folder, read_secret_file, write_secret_file},
};

/// Keeps the secret until the key server has taken it.
///
/// # Errors
/// Names the file that cannot be written.
pub fn store(folders: &Folders, secret: &TokenSecret) -> Result<()> {
    prepare_folder(&folders.state)?;
    let mut line = Zeroizing::new(String::with_capacity(2 * TokenSecret::LEN + 1));
    for byte in secret.expose() {
        for nibble in [byte >> 4, byte & 15] {
            line.extend(char::from_digit(nibble.into(), 16));
        }
    }
    line.push('\n');
    write_secret_file(&folders.token(), line.as_bytes(), Replace::Allow)
}

/// The secret that waits to be sent, if there is one.
///
/// # Errors
/// The file is damaged or open to others.
pub fn pending(folders: &Folders) -> Result<Option<TokenSecret>> {
    let path = folders.token();
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = read_secret_file(&path)?;
    let secret = parse(text.trim_end()).ok_or_else(|| {
        anyhow!("{} is damaged; delete it and run `tsg enrol` with a new token", path.display())
    })?;
    Ok(Some(secret))
}

/// Deletes the secret: it is used up.
///
/// # Errors
/// Names the file that cannot be deleted.
pub fn forget(folders: &Folders) -> Result<()> {
    let path = folders.token();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn parse(hex: &str) -> Option<TokenSecret> {
    if hex.len() != 2 * TokenSecret::LEN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digit = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    Some(TokenSecret::make(|secret| {
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = digit(2 * at).unwrap_or_default();
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_waits_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { state: folder.path().join("state"), ..Folders::default() };
        assert!(pending(&folders).unwrap().is_none());
        let secret = TokenSecret::make(|secret| *secret = std::array::from_fn(|i| i as u8 * 17));
        store(&folders, &secret).unwrap();
        assert_eq!(fs::metadata(folders.token()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(pending(&folders).unwrap().unwrap(), secret);
        fs::write(folders.token(), "00").unwrap();
        assert!(pending(&folders).unwrap_err().to_string().contains("damaged"));
        forget(&folders).unwrap();
        forget(&folders).unwrap();
        assert!(pending(&folders).unwrap().is_none());
    }
}
