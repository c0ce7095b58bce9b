//! A one-time token of the key server becomes configuration and a secret to send once.
//!
//! The secret is stored in the state folder (mode 0600, one line of hex); the daemon sends it with its hello and forgets
//! it when the key server has answered that it is used up.

use std::{fs, io::ErrorKind, time::SystemTime};

use anyhow::{Context, Result, anyhow};
use tsg_control::{
    keys::PublicKey,
    token::{Token, TokenSecret},
};
use zeroize::Zeroizing;

use crate::{
    config::Endpoint,
    folders::Folders,
    identity::{Identity, Replace, prepare_folder, read_secret_file, write_secret_file},
    uci::{self, Value},
};

/// What a token said; not its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Addresses of the key server.
    pub servers: Vec<String>,
    /// The group that the gateway will be in.
    pub group: String,
    /// This gateway's own key.
    pub public: PublicKey,
    /// Going by this machine's clock. Only a hint: a gateway has no clock worth trusting before it has heard the key
    /// server.
    pub expired: bool,
}

/// Takes a token: the key server's address and key go to UCI, the secret waits for the daemon's next hello. There is an
/// identity afterwards.
///
/// # Errors
/// The text is no token, or a file cannot be written. The text is not repeated.
pub fn accept(folders: &Folders, text: &str) -> Result<Accepted> {
    let token = Token::decode(text)?;
    let servers =
        token.servers.iter().map(|server| server.parse().map(|s: Endpoint| s.to_string()));
    let servers = servers.collect::<Result<Vec<_>, _>>().context("the token's server is not")?;
    let (identity, _) = Identity::load_or_create(&folders.state)?;
    store(folders, &token.secret)?;
    uci::store(&folders.config_file(), |document| {
        let servers = match servers.as_slice() {
            [server] => Value::Text(server.clone()),
            _ => Value::List(servers.clone()),
        };
        document.set("tsg", "main", "server", servers);
        document.set("tsg", "main", "server_key", token.server_key.to_string().as_str().into());
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Accepted {
        servers,
        group: token.group.clone(),
        public: *identity.public(),
        expired: now.is_ok_and(|now| now.as_secs() > token.expires),
    })
}

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
