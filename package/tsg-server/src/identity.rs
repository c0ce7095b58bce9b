//! The server's CURVE key pair: the file `server.key` in the data folder.
//!
//! Whoever has this file is the key server, as far as gateways can tell. All servers of an
//! installation share one.

use crate::seal::Vault;
use anyhow::{Context, Result, ensure};
use std::fmt;
use tsg_control::keys::{PublicKey, key_text, read_key};
use zeroize::Zeroizing;

/// Name of the file.
pub const FILE: &str = "server.key";

/// The key pair.
#[derive(Debug)]
pub struct Identity {
    public: PublicKey,
    secret: SecretKey,
}

/// The secret half: in one place of memory however it moves, zeroed on drop, never printed.
#[derive(Default)]
struct SecretKey(Box<Zeroizing<[u8; 32]>>);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Identity {
    /// Reads the pair, or makes one on the first start.
    ///
    /// # Errors
    /// Names the file: it cannot be read or written, is open to others, or holds no pair.
    pub fn open(vault: &Vault) -> Result<Self> {
        match vault.read(FILE)? {
            Some(text) => Self::parse(&text).with_context(|| {
                format!(
                    "{} is damaged: put it back from a backup; without it every gateway must \
                     enrol again",
                    vault.path(FILE).display()
                )
            }),
            None => {
                let identity = Self::generate()?;
                vault.write_new(FILE, &identity.text())?;
                Ok(identity)
            }
        }
    }

    /// The public half, which gateways are given.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret half, for ZeroMQ's socket option.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret.0
    }

    fn generate() -> Result<Self> {
        tsg_sodium::init()?;
        let mut secret = SecretKey::default();
        tsg_sodium::random(secret.0.as_mut_slice());
        Ok(Self::from_secret(secret))
    }

    fn from_secret(secret: SecretKey) -> Self {
        Self { public: PublicKey(tsg_sodium::public_key(&secret.0)), secret }
    }

    fn text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(key_text(&self.secret.0));
        // Growing would leave copies of it.
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str("# The identity of this TSG key server: keep it secret, keep a copy.\n");
        for part in ["public ", &key_text(&self.public.0), "\nsecret ", &secret, "\n"] {
            text.push_str(part);
        }
        text
    }

    /// The pair in a text.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.trim().split_once(' '))
                .find_map(|(word, value)| (word == name).then_some(value.trim()))
                .with_context(|| format!("it has no line `{name} KEY`"))
        };
        let public: PublicKey =
            field("public")?.parse().context("its line `public` holds no key")?;
        let mut secret = SecretKey::default();
        read_key(field("secret")?, &mut secret.0).context("its line `secret` holds no key")?;
        let identity = Self::from_secret(secret);
        ensure!(identity.public == public, "its two keys do not belong together");
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn open(folder: &Path) -> Result<Identity> {
        Identity::open(&Vault::open(folder, None)?)
    }

    #[test]
    fn it_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let again = open(folder.path()).unwrap();
        assert_eq!(first.public(), again.public());
        assert_eq!(first.secret(), again.secret());
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(!format!("{first:?}").contains(&key_text(first.secret())));
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let good = Identity::generate().unwrap().text();
        let other = Identity::generate().unwrap();
        let mixed = format!("public {}\n{}", other.public(), good.lines().last().unwrap());
        for bad in ["", "public\nsecret\n", &good[..good.len() - 20], mixed.as_str()] {
            fs::write(&path, bad).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = format!("{:#}", open(folder.path()).unwrap_err());
            assert!(error.contains("server.key is damaged"), "{error}");
            assert!(error.contains("backup"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = format!("{:#}", open(folder.path()).unwrap_err());
        assert!(error.contains("chmod 600") && error.contains("0640"), "{error}");
    }
}
