//! A new password: typed twice without being shown, or a line on standard input.

use crate::accounts::{AccountError, PasswordHash};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use zeroize::Zeroizing;

/// More than a password has.
const ROOM: usize = 2_048;

/// The hash of the password.
pub(super) fn ask() -> Result<PasswordHash> {
    let password = if io::stdin().is_terminal() { typed()? } else { line()? };
    tsg_sodium::init()?;
    PasswordHash::of(&password).map_err(|error| match error {
        AccountError::NotFound(text)
        | AccountError::Conflict(text)
        | AccountError::Changed(text)
        | AccountError::Invalid(text) => {
            anyhow!(text)
        }
    })
}

fn typed() -> Result<Zeroizing<String>> {
    let unseen = Unseen::begin()?;
    let first = prompt("New password: ")?;
    let again = prompt("Once more: ")?;
    drop(unseen);
    ensure!(first == again, "these are two different passwords");
    Ok(first)
}

fn prompt(text: &str) -> Result<Zeroizing<String>> {
    let mut terminal = io::stderr().lock();
    terminal.write_all(text.as_bytes())?;
    let line = line();
    terminal.write_all(b"\n")?;
    line
}

fn line() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(ROOM));
    io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

/// The terminal does not show what is typed, as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot ask the terminal")?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet).context("cannot quiet the terminal")?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
