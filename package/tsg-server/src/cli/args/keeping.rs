//! What is kept: sealed on the disk, in backups, restored.

use super::Data;
use crate::seal::Asked;
use std::path::PathBuf;

/// What seals the secrets.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Seal {
    /// File of the key that seals the server's secrets on its disk; by default the systemd credential tsg-server.seal-key, if there is one
    #[arg(
        long,
        env = "TSG_SERVER_SEAL_KEY",
        conflicts_with = "seal_passphrase",
        value_name = "FILE"
    )]
    seal_key: Option<PathBuf>,
    /// File or descriptor with a passphrase that seals them; `-` for the terminal or standard input
    #[arg(long, env = "TSG_SERVER_SEAL_PASSPHRASE", value_name = "FILE")]
    seal_passphrase: Option<PathBuf>,
}

impl Seal {
    pub(in super::super) const fn is_given(&self) -> bool {
        self.seal_key.is_some() || self.seal_passphrase.is_some()
    }

    pub(in super::super) fn asked(&self) -> Asked {
        Asked { key: self.seal_key.clone(), passphrase: self.seal_passphrase.clone() }
    }
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Reseal {
    #[command(flatten)]
    pub(in super::super) data: Data,
    /// What they are sealed with
    #[command(flatten)]
    pub(in super::super) seal: Seal,
    #[command(flatten)]
    new: New,
}

/// What they are sealed with from then on.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct New {
    /// File of the new key
    #[arg(long, value_name = "FILE")]
    new_seal_key: Option<PathBuf>,
    /// File or descriptor with the new passphrase; `-` for the terminal or standard input
    #[arg(long, value_name = "FILE")]
    new_seal_passphrase: Option<PathBuf>,
    /// Nothing: the secrets are in clear again
    #[arg(long)]
    unseal: bool,
}

impl Reseal {
    /// `None`: nothing is to seal them.
    pub(in super::super) fn asked_new(&self) -> Option<Asked> {
        let New { new_seal_key: key, new_seal_passphrase: passphrase, unseal } = &self.new;
        (!unseal).then(|| Asked { key: key.clone(), passphrase: passphrase.clone() })
    }
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Backup {
    /// Who can open it: age1…, as `backup-key` shows it; may be given several times
    #[arg(long = "recipient", required = true, value_name = "age1…")]
    pub(in super::super) recipients: Vec<String>,
    /// Where to: a new file, or `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub(in super::super) to: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct Restore {
    #[command(flatten)]
    pub(in super::super) data: Data,
    /// What the secrets are sealed with here
    #[command(flatten)]
    pub(in super::super) seal: Seal,
    /// File of the identity of one of its recipients
    #[arg(long, value_name = "FILE")]
    pub(in super::super) identity: PathBuf,
    /// The backup, or `-` for standard input
    pub(in super::super) backup: PathBuf,
}
