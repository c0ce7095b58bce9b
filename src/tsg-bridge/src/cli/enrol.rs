//! `tsg enrol`: a one-time token of the key server, from standard input or a file.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd as _,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use zeroize::Zeroizing;

use super::{ask, key};
use crate::{enrolment, folders::Folders};

/// More than this is no token.
const MAX_BYTES: u64 = 8192;

pub(super) fn run(folders: &Folders, file: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let text = match file {
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            read_limited(file).with_context(|| path.display().to_string())?
        }
        None => from_stdin()?,
    };
    let accepted = enrolment::accept(folders, &text)?;
    key::show(&accepted.public, out)?;
    writeln!(out, "key server:  {}", accepted.servers.join(" "))?;
    writeln!(out, "group:       {}", accepted.group)?;
    if accepted.expired {
        writeln!(
            out,
            "By this machine's clock the token has expired. If the clock is right, ask for a new one."
        )?;
    }
    if !ask::is_running(folders) {
        writeln!(out, "Now start the gateway: /etc/init.d/tsg start")?;
        return Ok(());
    }
    ask::ask(folders, "reload", serde_json::Value::Null)?;
    writeln!(out, "The gateway takes it over.")?;
    Ok(())
}

fn from_stdin() -> Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        writeln!(io::stderr(), "Paste the token, then press Enter and Ctrl-D:")?;
    }
    // Past the standard library's buffer, which nobody zeroes.
    let direct = stdin.as_fd().try_clone_to_owned().map(File::from);
    direct.map_err(anyhow::Error::from).and_then(read_limited).context("stdin")
}

fn read_limited(from: impl Read) -> Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize + 1));
    from.take(MAX_BYTES + 1).read_to_string(&mut text).context("cannot read a token")?;
    ensure!(text.len() as u64 <= MAX_BYTES, "this is too long to be a token");
    Ok(text)
}
