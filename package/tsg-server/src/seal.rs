//! The secrets in the data folder, sealed: the server's CURVE secret and the key of its own web certificate.
//!
//! Not for: the database. It has no keys (docs/decisions/0002) and no secrets but by their hash, except those of the second
//! factors, which lie there in clear, sealed or not (docs/decisions/0017).
//!
//! What seals them is a data key, chosen by chance. The file `seal` holds it, itself sealed with what the operator gives: a
//! key file, or a passphrase. So another key or passphrase means another `seal`, and nothing else.
//!
//! Without a key everything is in clear, as long as there is no `seal`. At the first start with one everything is sealed. That
//! can be interrupted anywhere: `seal` comes first, and what is still in clear then is sealed by the next start.

mod secret;
mod wrap;

pub use secret::{Asked, Key, Secret};

use crate::files;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::path::{Path, PathBuf};
use tsg_sodium::KeepingKey;
use wrap::Wrap;
use zeroize::Zeroizing;

/// Name of the file that holds the data key.
pub const FILE: &str = "seal";

/// The files that are sealed.
const SECRETS: [&str; 2] = [crate::identity::FILE, crate::web::CERTIFICATE];

/// What a sealed file begins with.
const MARK: &str = "tsg-server sealed 1\n";

/// How the secrets lie in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// In clear.
    #[default]
    Clear,
    /// Sealed with a key of this name.
    Key(String),
    /// Sealed with a passphrase.
    Passphrase,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("in clear"),
            Self::Key(name) => write!(f, "sealed with key {name}"),
            Self::Passphrase => f.write_str("sealed with a passphrase"),
        }
    }
}

/// The secrets of a data folder, opened.
#[derive(Debug)]
pub struct Vault {
    folder: PathBuf,
    key: Option<KeepingKey>,
    state: State,
}

impl Vault {
    /// Opens it, and seals what is still in clear if there is a key.
    ///
    /// # Errors
    /// Names file and option: the key is missing or another one, `seal` is lost or damaged. Nothing is changed then.
    pub fn open(folder: &Path, secret: Option<Secret>) -> Result<Self> {
        tsg_sodium::init()?;
        let vault = match (Wrap::read(folder)?, secret) {
            (None, None) => {
                none_is_sealed(folder)?;
                Self { folder: folder.to_owned(), key: None, state: State::Clear }
            }
            (None, Some(secret)) => {
                none_is_sealed(folder)?;
                let key = KeepingKey::random();
                let wrap = Wrap::make(&key, &secret)?;
                files::write_new_secret(&folder.join(FILE), &wrap.text()?)?;
                Self { folder: folder.to_owned(), key: Some(key), state: wrap.state() }
            }
            (Some(wrap), None) => bail!(wrap.missing(folder)),
            (Some(wrap), Some(secret)) => {
                let key = wrap.unwrap(folder, &secret)?;
                Self { folder: folder.to_owned(), key: Some(key), state: wrap.state() }
            }
        };
        vault.seal_all()?;
        Ok(vault)
    }

    /// How the secrets lie there.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Where a secret file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A secret file in clear; `None` if there is none.
    ///
    /// # Errors
    /// Names the file: it cannot be read, is open to others, or was sealed with another key.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let path = self.folder.join(name);
        let Some(text) = files::read_secret(&path)? else { return Ok(None) };
        let Some(sealed) = text.strip_prefix(MARK) else { return Ok(Some(text)) };
        let key = self.key.as_ref().with_context(|| lost(&self.folder, name))?;
        let shown = path.display();
        let sealed: String = sealed.split_whitespace().collect();
        let sealed = STANDARD
            .decode(sealed)
            .with_context(|| format!("{shown} is damaged: put it back from a backup"))?;
        let open = key.open(place(name).as_bytes(), &sealed).map_err(|_| {
            anyhow::anyhow!(
                "{shown} is damaged, or was sealed with another data key than {} holds: put both back from the same copy of \
                 the folder, or restore a backup",
                self.folder.join(FILE).display()
            )
        })?;
        str::from_utf8(&open)
            .map(|text| Some(Zeroizing::new(text.to_owned())))
            .with_context(|| format!("{shown} is damaged: put it back from a backup"))
    }

    /// Writes a secret file that is not there yet.
    ///
    /// # Errors
    /// It is there, or cannot be written.
    pub fn write_new(&self, name: &str, text: &str) -> Result<()> {
        files::write_new_secret(&self.folder.join(name), self.sealed(name, text).as_bytes())
    }

    fn sealed(&self, name: &str, text: &str) -> Zeroizing<String> {
        let Some(key) = &self.key else { return Zeroizing::new(text.to_owned()) };
        let sealed = STANDARD.encode(key.seal(place(name).as_bytes(), text.as_bytes()));
        let lines: Vec<_> = sealed.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
        Zeroizing::new(format!("{MARK}{}\n", lines.join("\n")))
    }

    /// Nothing is in clear any more, whatever a start before this one has left.
    fn seal_all(&self) -> Result<()> {
        if self.key.is_none() {
            return Ok(());
        }
        for name in SECRETS {
            let path = self.folder.join(name);
            files::wipe_rest(&path)?;
            // Also to see that the key opens it.
            let Some(text) = self.read(name)? else { continue };
            if !is_sealed(&path)? {
                files::replace_secret(&path, self.sealed(name, &text).as_bytes())?;
                log::info!("{} is sealed now", path.display());
            }
        }
        Ok(())
    }
}

/// Another key or passphrase from now on; `None`: everything is in clear again. Says what is so then.
///
/// # Errors
/// As [`Vault::open`].
pub fn reseal(folder: &Path, known: Option<Secret>, new: Option<Secret>) -> Result<State> {
    let Some(wrap) = Wrap::read(folder)? else {
        ensure!(known.is_none(), "{}", clear(folder));
        ensure!(new.is_some(), "the secrets in {} are in clear already", folder.display());
        return Vault::open(folder, new).map(|vault| vault.state);
    };
    let Some(known) = known else { bail!(wrap.missing(folder)) };
    let vault = Vault {
        folder: folder.to_owned(),
        key: Some(wrap.unwrap(folder, &known)?),
        state: wrap.state(),
    };
    vault.seal_all()?;
    let (path, Some(key)) = (folder.join(FILE), &vault.key) else { return Ok(vault.state) };
    if let Some(new) = new {
        let wrap = Wrap::make(key, &new)?;
        files::replace_secret(&path, &wrap.text()?)?;
        return Ok(wrap.state());
    }
    for name in SECRETS {
        if let Some(text) = vault.read(name)? {
            files::replace_secret(&folder.join(name), text.as_bytes())?;
        }
    }
    // The last thing: until then the next start with the key seals everything again.
    files::remove_secret(&path)?;
    Ok(State::Clear)
}

/// Is there a `seal`? Then a key must be given that there is; else it is a new one.
pub fn is_there(folder: &Path) -> bool {
    folder.join(FILE).symlink_metadata().is_ok()
}

/// What the blob of a file is bound to.
fn place(name: &str) -> String {
    format!("tsg-server sealed 1 {name}")
}

fn is_sealed(path: &Path) -> Result<bool> {
    Ok(files::read_secret(path)?.is_some_and(|text| text.starts_with(MARK)))
}

fn none_is_sealed(folder: &Path) -> Result<()> {
    for name in SECRETS {
        if is_sealed(&folder.join(name))? {
            bail!(lost(folder, name));
        }
    }
    Ok(())
}

fn lost(folder: &Path, name: &str) -> String {
    format!(
        "{} is sealed, and {} is gone, which holds the key of it: put it back from a copy of the folder, or restore a backup \
         into an empty folder",
        folder.join(name).display(),
        folder.join(FILE).display()
    )
}

fn clear(folder: &Path) -> String {
    format!(
        "the secrets in {} are in clear: leave --seal-key and --seal-passphrase away, and say with --new-seal-key or \
         --new-seal-passphrase what to seal them with",
        folder.display()
    )
}
