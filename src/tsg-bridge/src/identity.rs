//! Who this gateway is: its CURVE key pair and the file that holds it.
//!
//! The file `key` in the state folder has two lines, `public BASE64` and `secret BASE64`, mode 0600. The
//! pair is checked when it is read: one wrong character is an error, not another gateway.
//! Not here: whom the gateway trusts (`server_key` in UCI) and the group's traffic keys.

mod key;
mod store;

pub use key::{KEY_BYTES, SecretKey};
use std::path::Path;
pub use store::{IDENTITY_FILE, Replace, prepare_folder, read_secret_file, write_secret_file};

use anyhow::{Context, Result, ensure};
use tsg_control::keys::PublicKey;
use zeroize::Zeroizing;

/// A CURVE key pair whose halves belong together.
#[derive(Debug)]
pub struct Identity {
    public: PublicKey,
    secret: SecretKey,
}

impl Identity {
    /// Makes a new pair from the system's random source.
    ///
    /// # Errors
    /// There is no random source.
    pub fn generate() -> Result<Self> {
        tsg_sodium::init()?;
        Ok(Self::from_secret(SecretKey::generate()))
    }

    /// The pair that belongs to a secret key.
    pub fn from_secret(secret: SecretKey) -> Self {
        Self { public: secret.public(), secret }
    }

    /// Reads the identity from a state folder.
    ///
    /// # Errors
    /// Names the file and what to do: it is missing, open to others, damaged, or its halves don't match.
    pub fn load(state: &Path) -> Result<Self> {
        let path = state.join(IDENTITY_FILE);
        let text = store::read_secret_file(&path)?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} is damaged; restore it from a backup, or make a new identity with \
                 `tsg keygen --force` and have it approved again",
                path.display()
            )
        })
    }

    /// Writes the identity into a state folder.
    ///
    /// # Errors
    /// There is one already and `replace` says to keep it, or the file cannot be written.
    pub fn save(&self, state: &Path, replace: Replace) -> Result<()> {
        prepare_folder(state)?;
        store::write_secret_file(&state.join(IDENTITY_FILE), self.text().as_bytes(), replace)
    }

    /// Reads the identity, or makes one if there is none yet. The second part says if it is new.
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Self::save`]; a damaged identity is never replaced.
    pub fn load_or_create(state: &Path) -> Result<(Self, bool)> {
        let is_there = || state.join(IDENTITY_FILE).symlink_metadata().is_ok();
        if is_there() {
            return Ok((Self::load(state)?, false));
        }
        let identity = Self::generate()?;
        match identity.save(state, Replace::Never) {
            Ok(()) => Ok((identity, true)),
            // Another process was faster.
            Err(_) if is_there() => Ok((Self::load(state)?, false)),
            Err(error) => Err(error),
        }
    }

    /// The half that others may know.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The half that nobody else may know.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    fn text(&self) -> Zeroizing<String> {
        let secret = self.secret.to_base64();
        let mut text = Zeroizing::new(String::with_capacity(256));
        text.push_str("# The identity of this gateway. Whoever has the secret is this gateway.\n");
        text.push_str("public ");
        text.push_str(&self.public.to_string());
        text.push_str("\nsecret ");
        text.push_str(&secret);
        text.push('\n');
        text
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let public = lines.next().and_then(|line| line.strip_prefix("public "));
        let secret = lines.next().and_then(|line| line.strip_prefix("secret "));
        let (Some(public), Some(secret), None) = (public, secret, lines.next()) else {
            anyhow::bail!(
                "it must have the lines `public BASE64` and `secret BASE64`, and no other"
            );
        };
        let public: PublicKey = public.parse().context("line `public`")?;
        let secret = SecretKey::parse_canonical(secret).context("line `secret`")?;
        let identity = Self::from_secret(secret);
        ensure!(
            identity.public == public,
            "the public and the secret key do not belong together: a character was changed"
        );
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (made, new) = Identity::load_or_create(folder.path()).unwrap();
        assert!(new);
        let (read, new) = Identity::load_or_create(folder.path()).unwrap();
        assert!(!new);
        assert_eq!(made.public, read.public);
        assert_eq!(made.secret.bytes(), read.secret.bytes());
    }

    #[test]
    fn many_first_starts_make_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let start = || {
            let path = folder.path().to_owned();
            std::thread::spawn(move || Identity::load_or_create(&path).unwrap())
        };
        let threads: Vec<_> = (0..16).map(|_| start()).collect();
        let made: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(made.iter().all(|(identity, _)| identity.public == made[0].0.public));
        assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = Identity::generate().unwrap().text();
        let mut tried = 0;
        let first = text.find("public").unwrap();
        for at in first..text.len() {
            for other in [b'A', b'b', b'/', b'=', b' ', b'\n', b'-'] {
                let mut bytes = text.as_bytes().to_vec();
                if bytes[at] == other {
                    continue;
                }
                bytes[at] = other;
                let changed = String::from_utf8(bytes).unwrap();
                // A file without its last line end says the same.
                if changed.trim_end() == text.trim_end() {
                    continue;
                }
                assert!(Identity::parse(&changed).is_err(), "byte {at} as {}", char::from(other));
                tried += 1;
            }
        }
        println!("{tried} changed files refused");
        assert!(tried > 500);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let text = Identity::generate().unwrap().text();
        for len in 0..text.len() - 1 {
            assert!(Identity::parse(&text[..len]).is_err(), "{len} of {} bytes", text.len());
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let identity = Identity::generate().unwrap();
        let shown = format!("{identity:?} {identity:#?}");
        assert!(shown.contains("<secret>"));
        assert!(!shown.contains(identity.secret.to_base64().as_str()));
    }

    #[test]
    fn libzmq_agrees_about_the_public_half() {
        let pair = zmq::CurveKeyPair::new().unwrap();
        let identity = Identity::from_secret(SecretKey::new(&pair.secret_key));
        assert_eq!(identity.public, PublicKey(pair.public_key));
    }
}
