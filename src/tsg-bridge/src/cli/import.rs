//! `tsg import`: the predecessor's `cb.conf` becomes configuration and identity.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use zeroize::Zeroizing;

use super::key;
use crate::{
    folders::Folders,
    identity::{IDENTITY_FILE, Replace},
    import::{CbConf, MAX_BYTES},
    uci,
};

pub(super) fn run(folders: &Folders, path: &Path, force: bool, out: &mut dyn Write) -> Result<()> {
    let conf = read(path)?;
    let replace = if force { Replace::Allow } else { Replace::Never };
    let key_file = folders.state.join(IDENTITY_FILE);
    ensure!(
        force || key_file.symlink_metadata().is_err(),
        "{} exists already: this gateway has an identity; `tsg import --force {}` replaces it",
        key_file.display(),
        path.display()
    );
    conf.identity.save(&folders.state, replace)?;
    uci::store(&folders.config_file(), |document| {
        let mut set = |option, value: &str| document.set("tsg", "main", option, value.into());
        set("server", &conf.server.to_string());
        set("server_key", &conf.server_key.to_string());
        if let Some(name) = &conf.name {
            set("name", name);
        }
    })?;
    for line in &conf.left_out {
        writeln!(out, "{}: {line}", path.display())?;
    }
    key::show(conf.identity.public(), out)?;
    writeln!(out, "key server:  {}", conf.server)?;
    writeln!(out, "The old file still holds the secret key: delete it once the gateway runs.")?;
    Ok(())
}

fn read(path: &Path) -> Result<CbConf> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    CbConf::parse(&text).map_err(|bad| {
        let lines: Vec<String> =
            bad.0.iter().map(|bad| format!("{}:{bad}", path.display())).collect();
        anyhow!("{}", lines.join("\n"))
    })
}
