//! A secret that somebody types on the terminal without its being shown, or that comes as a line on standard input.

use anyhow::{Context, Result, ensure};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use zeroize::Zeroizing;

/// More than a password has.
const ROOM: usize = 2_048;

/// A new one: typed twice, or a line.
pub(crate) fn new(what: &str) -> Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let unseen = Unseen::begin()?;
    let first = ask(&format!("New {what}: "))?;
    let again = ask("Once more: ")?;
    drop(unseen);
    ensure!(first == again, "these are two different {what}s");
    Ok(first)
}

/// One that there is: typed, or a line.
pub(crate) fn known(what: &str) -> Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let _unseen = Unseen::begin()?;
    ask(&format!("{what}: "))
}

fn ask(text: &str) -> Result<Zeroizing<String>> {
    let mut terminal = io::stderr().lock();
    terminal.write_all(text.as_bytes())?;
    let line = line();
    terminal.write_all(b"\n")?;
    line
}

fn line() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(ROOM));
    io::stdin().lock().read_line(&mut line).context("cannot read from standard input")?;
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
