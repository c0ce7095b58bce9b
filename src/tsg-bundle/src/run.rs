//! Programs that may hang and talk without end: each has a deadline and a limit.
//!
//! Nothing here waits for what a program does: one that cannot even be killed (it waits for a device in the kernel)
//! is left alone.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are, whoever started this one.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// One that was killed ends within this time, or not at all.
const DYING: Duration = Duration::from_secs(1);

/// Which part of a long output matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Start,
    End,
}

/// How long it may take and how much it may say, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) patience: Duration,
    pub(crate) most: usize,
    pub(crate) keep: Keep,
}

/// What a program said on both its outputs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) output: Vec<u8>,
    /// It did not end well, or not all of its output is there.
    pub(crate) trouble: Option<String>,
    /// It did not end well.
    pub(crate) failed: bool,
    /// What it ended with, if it ended by itself.
    pub(crate) code: Option<i32>,
}

/// Runs a program.
///
/// # Errors
/// It could not be started, and why.
pub(crate) fn run(argv: &[&str], limits: Limits) -> io::Result<Ran> {
    let until = Instant::now() + limits.patience;
    let (program, arguments) = argv.split_first().ok_or(ErrorKind::NotFound)?;
    let (child, heard) = start(program, arguments)?;
    let group = Pid::from_raw(child.id().cast_signed());
    let mut kept = Kept { output: Vec::new(), limits, cut: false };
    let mut trouble = kept.listen(&heard, until);
    let ended = thread(move || wait(child))?;
    let has_enough = kept.cut && limits.keep == Keep::Start;
    let status =
        if trouble.is_none() && !has_enough { ended.recv_timeout(left(until)).ok() } else { None };
    if let Some(status) = status {
        trouble = failure(status);
    } else {
        trouble = trouble.or_else(|| Some(late(limits)).filter(|_| !has_enough));
        let _ = killpg(group, Signal::SIGKILL);
        if ended.recv_timeout(DYING).is_err() {
            trouble = trouble.map(|trouble| format!("{trouble}, and cannot be killed"));
        }
    }
    let failed = trouble.is_some();
    let code = status.flatten().and_then(|status| status.code());
    Ok(Ran { trouble: trouble.or_else(|| kept.trouble()), output: kept.output, failed, code })
}

/// What `work` gives, if it does so in time. Else it goes on by itself, and nobody listens.
pub(crate) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    thread(work).ok()?.recv_timeout(patience).ok()
}

fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Receiver<T>> {
    let (sender, receiver) = channel();
    thread::Builder::new().spawn(move || sender.send(work()))?;
    Ok(receiver)
}

fn start(program: &str, arguments: &[&str]) -> io::Result<(Child, Receiver<Vec<u8>>)> {
    let (mut reader, writer) = io::pipe()?;
    // What of this process writes into the pipe goes with the command, at the end of the statement.
    let child = Command::new(program)
        .args(arguments)
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let (sender, heard) = sync_channel(4);
    thread::Builder::new().spawn(move || {
        let mut room = vec![0; 8 * 1024];
        loop {
            match reader.read(&mut room) {
                Ok(length @ 1..) if sender.send(room[..length].to_vec()).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    })?;
    Ok((child, heard))
}

fn wait(mut child: Child) -> Option<ExitStatus> {
    child.wait().ok()
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn late(limits: Limits) -> String {
    format!("it did not end within {} s", limits.patience.as_secs_f32().ceil())
}

fn failure(status: Option<ExitStatus>) -> Option<String> {
    let status = status?;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("ended by signal {signal}")),
        (None, None) => Some("it did not end well".to_owned()),
    }
}

struct Kept {
    output: Vec<u8>,
    limits: Limits,
    cut: bool,
}

impl Kept {
    /// Until it has closed its outputs, has said enough, or its time is over: then that is the trouble.
    fn listen(&mut self, heard: &Receiver<Vec<u8>>, until: Instant) -> Option<String> {
        loop {
            match heard.recv_timeout(left(until)) {
                Ok(chunk) => self.output.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => {
                    self.cut_to(self.limits.most);
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.cut_to(self.limits.most);
                    return Some(late(self.limits));
                }
            }
            match self.limits.keep {
                Keep::Start if self.output.len() > self.limits.most => {
                    self.cut_to(self.limits.most);
                    return None;
                }
                Keep::End if self.output.len() > 2 * self.limits.most => {
                    self.cut_to(self.limits.most);
                }
                Keep::Start | Keep::End => {}
            }
        }
    }

    fn cut_to(&mut self, most: usize) {
        let Some(over) = self.output.len().checked_sub(most).filter(|&over| over > 0) else {
            return;
        };
        self.cut = true;
        match self.limits.keep {
            Keep::Start => self.output.truncate(most),
            Keep::End => drop(self.output.drain(..over)),
        }
    }

    fn trouble(&self) -> Option<String> {
        let (which, size) = match self.limits.keep {
            Keep::Start => ("first", self.limits.most >> 10),
            Keep::End => ("last", self.limits.most >> 10),
        };
        self.cut.then(|| format!("only the {which} {size} KiB"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { patience: Duration::from_secs(10), most: 64 * 1024, keep: Keep::Start };

    fn shell(script: &str, limits: Limits) -> (String, Option<String>) {
        let ran = run(&["sh", "-c", script], limits).unwrap();
        (String::from_utf8(ran.output).unwrap(), ran.trouble)
    }

    #[test]
    fn it_is_heard_to_the_end() {
        assert_eq!(shell("echo out; echo err >&2", LIMITS), ("out\nerr\n".to_owned(), None));
        let failed = shell("echo no such port; exit 3", LIMITS);
        assert_eq!(failed, ("no such port\n".to_owned(), Some("exit code 3".to_owned())));
        let killed = shell("kill -9 $$", LIMITS).1.unwrap();
        assert_eq!(killed, "ended by signal 9");
        assert_eq!(run(&["tsg-none"], LIMITS).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(run(&["/etc"], LIMITS).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let limits = Limits { patience: Duration::from_millis(200), ..LIMITS };
        let before = Instant::now();
        for script in ["echo begun; sleep 600 & sleep 600", "exec >&- 2>&-; sleep 600"] {
            let (_, trouble) = shell(script, limits);
            assert_eq!(trouble.unwrap(), "it did not end within 1 s");
        }
        assert_eq!(shell("echo begun; sleep 600", limits).0, "begun\n");
        assert!(before.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn one_that_talks_without_end_is_cut() {
        let (output, trouble) = shell("yes", LIMITS);
        assert_eq!((output.len(), trouble.unwrap().as_str()), (65_536, "only the first 64 KiB"));
        let limits = Limits { keep: Keep::End, ..LIMITS };
        let (output, trouble) = shell("seq 100000; echo the end", limits);
        assert!(output.ends_with("100000\nthe end\n"));
        assert_eq!((output.len(), trouble.unwrap().as_str()), (65_536, "only the last 64 KiB"));
        assert_eq!(shell("seq 10", limits).1, None);
    }

    #[test]
    fn work_that_hangs_is_left_alone() {
        let (hold, held) = channel::<()>();
        assert_eq!(within(Duration::from_secs(10), || 7), Some(7));
        assert_eq!(within(Duration::from_millis(50), move || held.recv().is_ok()), None);
        drop(hold);
    }
}
