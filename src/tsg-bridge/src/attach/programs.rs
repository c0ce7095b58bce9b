//! Runs the programs that load rules and read them back. Not here: what they are told.

use super::sys;
use anyhow::{Context as _, Result, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that takes longer hangs, and is killed: the caller has a key server to talk to. The kernel lets nft wait until
/// every processor has been through the scheduler; on a machine that does nothing but forward packets that has
/// taken more than 15 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program with `input`, and gives its output.
pub(crate) fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    run_within(PATIENCE, program, arguments, input)
}

fn run_within(
    patience: Duration,
    program: &str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<String> {
    let stdin = match input {
        Some(text) => in_memory(text).context("cannot hand rules over")?.into(),
        None => Stdio::null(),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`: is it installed?"))?;
    let heard = listen(&mut child, patience);
    if heard.is_err() {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
    let status = child.wait().with_context(|| format!("{program} does not end"))?;
    let [output, said] = heard.with_context(|| format!("{program} was killed"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        bail!("{program} says: {}", said.lines().take(4).collect::<Vec<_>>().join(" / "));
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// A file with this text, which a program that does not read cannot make anybody wait for.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"tsg-rules", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What it writes to its output and to its error output, until it has closed both.
fn listen(child: &mut Child, patience: Duration) -> io::Result<[Vec<u8>; 2]> {
    let deadline = Instant::now() + patience;
    let output = child.stdout.take().map(OwnedFd::from);
    let errors = child.stderr.take().map(OwnedFd::from);
    let pipes = [output, errors].into_iter().flatten().map(File::from);
    let mut open: Vec<(usize, File)> = pipes.enumerate().collect();
    let mut heard = [Vec::new(), Vec::new()];
    let mut room = [0; 4_096];
    while !open.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = format!("it did not end within {} s", patience.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        let left = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        let mut waiting: Vec<_> = open.iter().map(|(_, pipe)| sys::readable(pipe)).collect();
        sys::wait(&mut waiting, left)?;
        let ready: Vec<bool> = waiting.iter().map(|pipe| pipe.any() == Some(true)).collect();
        for at in (0..open.len()).rev().filter(|&at| ready[at]) {
            let (which, pipe) = &mut open[at];
            match pipe.read(&mut room)? {
                0 => drop(open.remove(at)),
                len => heard[*which].extend(&room[..len]),
            }
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_is_heard_to_the_end() {
        let long = "a line\n".repeat(50_000);
        assert_eq!(run("cat", &[], Some(&long)).unwrap(), long);
        let error = run("sh", &["-c", "echo no such table >&2; exit 1"], None).unwrap_err();
        assert_eq!(error.to_string(), "sh says: no such table");
        assert!(run("tsg-no-such-program", &[], None).unwrap_err().to_string().contains("install"));
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let before = Instant::now();
        let patience = Duration::from_secs(2);
        let error =
            run_within(patience, "sh", &["-c", "exec sleep 600"], Some("text")).unwrap_err();
        assert!(format!("{error:#}").contains("did not end within 2 s"), "{error:#}");
        assert!(before.elapsed() < 10 * patience);
    }
}
