//! `tsg offloads`: the offloads of the gateway's ports, as the configuration wants them, or as they were before.
//!
//! The daemon does the same by itself; this is for a hotplug script, and for whoever takes the gateway away.

use std::io::Write;

use anyhow::Result;

use super::{Verdict, complain};
use crate::{
    config::Config,
    folders::Folders,
    offloads::{self, Wanted},
};

pub(super) fn run(folders: &Folders, restore: bool, out: &mut dyn Write) -> Result<Verdict> {
    let troubles = if restore {
        offloads::restore(folders)?
    } else {
        let (config, _) = Config::load(&folders.config_file())?;
        offloads::apply(folders, &Wanted::of(&config))?
    };
    troubles.iter().for_each(|trouble| complain(trouble));
    if !troubles.is_empty() {
        return Ok(Verdict::Problems);
    }
    match restore {
        true => writeln!(out, "the ports' offloads are as they were")?,
        false => writeln!(out, "the ports' offloads are as the configuration wants them")?,
    }
    Ok(Verdict::Good)
}
