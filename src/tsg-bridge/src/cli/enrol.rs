//! `tsg enrol`: a one-time token of the key server becomes configuration and a secret to send once.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd as _,
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};
use tsg_control::token::Token;
use zeroize::Zeroizing;

use super::key;
use crate::{
    config::Endpoint,
    enrolment,
    folders::Folders,
    identity::Identity,
    uci::{self, Value},
};

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
    let token = Token::decode(&text)?;
    let servers =
        token.servers.iter().map(|server| server.parse().map(|s: Endpoint| s.to_string()));
    let servers = servers.collect::<Result<Vec<_>, _>>().context("the token's server is not")?;

    let (identity, _) = Identity::load_or_create(&folders.state)?;
    enrolment::store(folders, &token.secret)?;
    uci::store(&folders.config_file(), |document| {
        let servers = match servers.as_slice() {
            [server] => Value::Text(server.clone()),
            _ => Value::List(servers.clone()),
        };
        document.set("tsg", "main", "server", servers);
        document.set("tsg", "main", "server_key", token.server_key.to_string().as_str().into());
    })?;

    key::show(identity.public(), out)?;
    writeln!(out, "key server:  {}", token.servers.join(" "))?;
    writeln!(out, "group:       {}", token.group)?;
    if has_expired(&token) {
        writeln!(
            out,
            "By this machine's clock the token has expired. If the clock is right, ask for a new one."
        )?;
    }
    writeln!(out, "Now start the gateway: /etc/init.d/tsg restart")?;
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

/// Only a hint: a gateway has no clock worth trusting before it has heard the key server.
fn has_expired(token: &Token) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.is_ok_and(|now| now.as_secs() > token.expires)
}
