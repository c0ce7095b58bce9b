//! The file `seal`: the data key, sealed with what the operator gives.

use super::secret::{Secret, Value};
use super::{FILE, State};
use crate::files;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tsg_sodium::KeepingKey;

const VERSION: u32 = 1;

/// What the sealed data key is bound to.
const PLACE: &[u8] = b"tsg-server seal 1";

/// The file, in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrap {
    version: u32,
    by: By,
    /// The data key, sealed; base64.
    data_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// A key with this name.
    Key { name: String },
    /// A passphrase, by argon2id with this salt, base64.
    Passphrase { salt: String },
}

impl Wrap {
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let Some(text) = files::read_secret(&path)? else { return Ok(None) };
        let damaged =
            || format!("{} is damaged: put it back from a copy of the folder", path.display());
        let version: Version = serde_json::from_str(&text).with_context(damaged)?;
        ensure!(
            version.version == VERSION,
            "{} was written by a newer tsg-server (version {}): install that version again",
            path.display(),
            version.version
        );
        serde_json::from_str(&text).map(Some).with_context(damaged)
    }

    pub(super) fn make(key: &KeepingKey, secret: &Secret) -> Result<Self> {
        let (by, with) = match &secret.value {
            Value::Key(with) => (By::Key { name: with.name() }, with.key()),
            Value::Passphrase(text) => {
                secret.check_new()?;
                let mut salt = [0; 16];
                tsg_sodium::random(&mut salt);
                (By::Passphrase { salt: STANDARD.encode(salt) }, stretched(text.as_bytes(), &salt)?)
            }
        };
        let data_key = STANDARD.encode(with.seal(PLACE, key.expose()));
        Ok(Self { version: VERSION, by, data_key })
    }

    pub(super) fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    pub(super) fn state(&self) -> State {
        match &self.by {
            By::Key { name } => State::Key(name.clone()),
            By::Passphrase { .. } => State::Passphrase,
        }
    }

    /// There is no key, and one is needed.
    pub(super) fn missing(&self, folder: &Path) -> String {
        format!("the secrets in {} are {}: {}", folder.display(), self.state(), self.remedy())
    }

    fn remedy(&self) -> &'static str {
        match self.by {
            By::Key { .. } => "give the file of that key by --seal-key",
            By::Passphrase { .. } => "give it by --seal-passphrase",
        }
    }

    pub(super) fn unwrap(&self, folder: &Path, secret: &Secret) -> Result<KeepingKey> {
        let (state, remedy) = (self.state(), self.remedy());
        let with = match (&self.by, &secret.value) {
            (By::Key { name }, Value::Key(with)) => {
                ensure!(
                    with.name() == *name,
                    "the secrets in {} are {state}, and {} is key {}: {remedy}",
                    folder.display(),
                    secret.from,
                    with.name()
                );
                with.key()
            }
            (By::Passphrase { salt }, Value::Passphrase(text)) => {
                let salt = STANDARD.decode(salt).ok().and_then(|salt| salt.try_into().ok());
                stretched(text.as_bytes(), &salt.with_context(|| damaged(folder))?)?
            }
            (By::Key { .. }, Value::Passphrase(_)) | (By::Passphrase { .. }, Value::Key(_)) => {
                bail!(
                    "the secrets in {} are {state}, and {} is {}: {remedy}",
                    folder.display(),
                    secret.from,
                    if matches!(secret.value, Value::Key(_)) { "a key" } else { "a passphrase" }
                )
            }
        };
        let sealed = STANDARD.decode(&self.data_key).with_context(|| damaged(folder))?;
        let open = with.open(PLACE, &sealed).map_err(|_| match self.by {
            By::Key { .. } => anyhow::anyhow!(damaged(folder)),
            By::Passphrase { .. } => anyhow::anyhow!(
                "this is not the passphrase that the secrets in {} are sealed with (from {}, --seal-passphrase), or {} is damaged",
                folder.display(),
                secret.from,
                folder.join(FILE).display()
            ),
        })?;
        let key = open.as_slice().try_into().with_context(|| damaged(folder))?;
        Ok(KeepingKey::new(key))
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn damaged(folder: &Path) -> String {
    format!("{} is damaged: put it back from a copy of the folder", folder.join(FILE).display())
}

fn stretched(passphrase: &[u8], salt: &[u8; 16]) -> Result<KeepingKey> {
    KeepingKey::of_passphrase(passphrase, salt)
        .context("there are no 256 MiB of memory to make a key of the passphrase")
}
