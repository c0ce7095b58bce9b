//! What an operator seals with: a key file, a systemd credential, a passphrase.

use crate::{files, prompt};
use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use tsg_control::keys::{key_text, read_key};
use tsg_sodium::KeepingKey;
use zeroize::Zeroizing;

/// The name of the systemd credential.
const CREDENTIAL: &str = "tsg-server.seal-key";

/// A passphrase is as long as a password, at least.
const LEAST_SIGNS: usize = 12;

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// A key file.
    pub key: Option<PathBuf>,
    /// A file or descriptor with a passphrase; `-` for standard input, or the terminal.
    pub passphrase: Option<PathBuf>,
}

impl Asked {
    /// Reads it. `None`: nothing was given, and there is no credential either.
    ///
    /// # Errors
    /// Names the file: it is missing, open to others, or holds none.
    pub fn read(&self, is_new: bool) -> Result<Option<Secret>> {
        self.read_with(is_new, files::credentials().as_deref())
    }

    fn read_with(&self, is_new: bool, credentials: Option<&Path>) -> Result<Option<Secret>> {
        if let Some(path) = &self.passphrase {
            return passphrase(path, is_new, credentials).map(Some);
        }
        let ready = || credentials.map(|at| at.join(CREDENTIAL)).filter(|at| at.exists());
        let Some(path) = self.key.clone().or_else(ready) else { return Ok(None) };
        let text = files::read_given(&path, credentials)?;
        let key = Key::parse(&text).with_context(|| {
            format!(
                "{} holds no seal key: make one with `tsg-server seal-key FILE`",
                path.display()
            )
        })?;
        Ok(Some(Secret { value: Value::Key(key), from: path.display().to_string() }))
    }
}

fn passphrase(path: &Path, is_new: bool, credentials: Option<&Path>) -> Result<Secret> {
    let (text, from) = match path.as_os_str() == "-" {
        true if is_new => (prompt::new("passphrase")?, "standard input".to_owned()),
        true => (prompt::known("Passphrase")?, "standard input".to_owned()),
        false => (files::read_given(path, credentials)?, path.display().to_string()),
    };
    let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    ensure!(!text.is_empty(), "{from} holds no passphrase: it is empty");
    Ok(Secret { value: Value::Passphrase(text), from })
}

/// A key or a passphrase, and where it is from.
#[derive(Debug)]
pub struct Secret {
    pub(super) value: Value,
    pub(super) from: String,
}

pub(super) enum Value {
    Key(Key),
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Secret {
    /// May it seal from now on?
    pub(super) fn check_new(&self) -> Result<()> {
        if let Value::Passphrase(text) = &self.value {
            ensure!(
                text.chars().count() >= LEAST_SIGNS,
                "the passphrase from {} is too short: at least {LEAST_SIGNS} characters, a few words are good",
                self.from
            );
        }
        Ok(())
    }
}

/// A key that seals: 32 bytes by chance, in a file of its own.
#[derive(Debug)]
pub struct Key(KeepingKey);

impl Key {
    /// Makes one, in a new file of mode 0600.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        tsg_sodium::init()?;
        let made = Self(KeepingKey::random());
        let key = Zeroizing::new(key_text(made.0.expose()));
        let mut text = Zeroizing::new(String::with_capacity(256));
        let said = "# A seal key of a TSG key server: keep it apart from its data folder. Name ";
        for part in [said, &made.name(), "\n", &key, "\n"] {
            text.push_str(part);
        }
        files::create_secret(path, text.as_bytes())?;
        Ok(made)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().context("it is empty")?;
        ensure!(lines.next().is_none(), "it has more than one line");
        let mut bytes = Zeroizing::new([0; 32]);
        read_key(line, &mut bytes).context("its line is no key in base64")?;
        Ok(Self(KeepingKey::new(&bytes)))
    }

    pub(super) fn key(&self) -> KeepingKey {
        self.0.clone()
    }

    /// To tell keys apart; says nothing of the key.
    pub fn name(&self) -> String {
        let hash = Sha256::new()
            .chain_update("tsg-server seal key")
            .chain_update(self.0.expose())
            .finalize();
        let groups: Vec<_> =
            hash[..8].chunks(2).map(|two| format!("{:02x}{:02x}", two[0], two[1])).collect();
        groups.join("-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_credential_is_found_by_its_name_and_an_option_goes_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let credential = folder.path().join(CREDENTIAL);
        let found = |asked: &Asked| {
            let secret = asked.read_with(false, Some(folder.path())).unwrap();
            secret.map(|secret| match secret.value {
                Value::Key(key) => key.name(),
                Value::Passphrase(text) => text.to_string(),
            })
        };
        assert_eq!(found(&Asked::default()), None);
        let ready = Key::create(&credential).unwrap().name();
        // As systemd has it for a service that is not root's.
        fs::set_permissions(&credential, Permissions::from_mode(0o440)).unwrap();
        assert_eq!(found(&Asked::default()), Some(ready.clone()));
        let other = tempfile::tempdir().unwrap();
        let path = other.path().join("key");
        let own = Key::create(&path).unwrap().name();
        assert_ne!(own, ready);
        let asked = Asked { key: Some(path.clone()), passphrase: None };
        assert_eq!(found(&asked), Some(own));
        fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
        let error = format!("{:#}", asked.read_with(false, None).unwrap_err());
        assert!(error.contains("chmod 600"), "{error}");
        let words = folder.path().join("words");
        fs::write(&words, "correct horse battery\n").unwrap();
        let asked = Asked { key: None, passphrase: Some(words) };
        assert_eq!(found(&asked).as_deref(), Some("correct horse battery"));
    }

    #[test]
    fn what_is_no_key_is_told_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let asked = Asked { key: Some(path.clone()), passphrase: None };
        let told = || format!("{:#}", asked.read_with(false, None).unwrap_err());
        assert!(told().contains("/key"));
        for wrong in ["", "# only words\n", "c2VjcmV0\n", "a\nb\n"] {
            fs::write(&path, wrong).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(told().contains("holds no seal key") && !told().contains("c2Vj"), "{}", told());
        }
    }
}
