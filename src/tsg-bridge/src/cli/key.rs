//! `tsg keygen` and `tsg fingerprint`.

use std::io::Write;

use anyhow::Result;
use tsg_control::keys::PublicKey;

use crate::{
    folders::Folders,
    identity::{Identity, Replace},
};

pub(super) fn keygen(folders: &Folders, force: bool, out: &mut dyn Write) -> Result<()> {
    if force {
        let identity = Identity::generate()?;
        identity.save(&folders.state, Replace::Allow)?;
        return show(identity.public(), out);
    }
    let (identity, is_new) = Identity::load_or_create(&folders.state)?;
    if !is_new {
        writeln!(out, "There is an identity already; --force would replace it.")?;
    }
    show(identity.public(), out)
}

pub(super) fn fingerprint(folders: &Folders, out: &mut dyn Write) -> Result<()> {
    show(Identity::load(&folders.state)?.public(), out)
}

pub(super) fn show(public: &PublicKey, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "public key:  {public}")?;
    writeln!(out, "fingerprint: {}", public.fingerprint())?;
    Ok(())
}
