//! Programs that may hang and talk without end: each has a deadline and a limit.
//!
//! Nothing here waits for what a program does: one that cannot even be killed (it waits for a device in the kernel)
//! is left alone. Small before fast: on a router this is 100 kB that are hardly ever run.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are, whoever started this one.
const FOLDERS: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// One that was killed ends within this time, or not at all.
const DYING: Duration = Duration::from_secs(1);

/// One that has closed its outputs ends at once; it is looked at this often.
const LOOK: Duration = Duration::from_millis(5);

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
    let (mut child, reader) = start(&find(program), arguments)?;
    let mut kept = Kept { output: Vec::new(), limits, cut: false };
    let mut trouble = kept.listen(reader, until)?;
    let has_enough = kept.cut && limits.keep == Keep::Start;
    let status = if trouble.is_none() && !has_enough { end_of(&mut child, until) } else { None };
    if let Some(status) = status {
        trouble = failure(status);
    } else {
        trouble = trouble.or_else(|| Some(late(limits)).filter(|_| !has_enough));
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        if end_of(&mut child, Instant::now() + DYING).is_none() {
            trouble = trouble.map(|trouble| format!("{trouble}, and cannot be killed"));
        }
    }
    let failed = trouble.is_some();
    let code = status.and_then(|status| status.code());
    Ok(Ran { trouble: trouble.or_else(|| kept.trouble()), output: kept.output, failed, code })
}

/// What somebody found, or why not.
pub(crate) type Found = Result<Vec<u8>, String>;

/// What `work` finds, if it does so in time. Else it goes on by itself, and nobody listens.
pub(crate) fn within(patience: Duration, work: Box<dyn FnOnce() -> Found + Send>) -> Found {
    let until = Instant::now() + patience;
    let shared = Arc::new((Mutex::new(None), Condvar::new()));
    let theirs = Arc::clone(&shared);
    let started = thread::Builder::new().spawn(move || {
        let found = work();
        if let Ok(mut slot) = theirs.0.lock() {
            *slot = Some(found);
            theirs.1.notify_one();
        }
    });
    started.map_err(|error| error.to_string())?;
    let mut slot = shared.0.lock().map_err(|error| error.to_string())?;
    while slot.is_none() && Instant::now() < until {
        slot = shared.1.wait_timeout(slot, left(until)).map_err(|error| error.to_string())?.0;
    }
    slot.take().unwrap_or_else(|| Err("it did not end in time".to_owned()))
}

/// The caller's PATH may be a poor one.
fn find(program: &str) -> PathBuf {
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(program));
    places.into_iter().find(|path| path.exists()).unwrap_or_else(|| program.into())
}

fn start(program: &Path, arguments: &[&str]) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    // What of this process writes into the pipe goes with the command, at the end of the statement.
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, reader))
}

/// How it ended, if it does in time.
fn end_of(child: &mut Child, until: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn late(limits: Limits) -> String {
    format!("it did not end within {} s", limits.patience.as_millis().div_ceil(1_000))
}

fn failure(status: ExitStatus) -> Option<String> {
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
    fn listen(&mut self, mut reader: PipeReader, until: Instant) -> io::Result<Option<String>> {
        let mut room = vec![0; 8 * 1024];
        loop {
            let mut ready = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left(until)).unwrap_or(PollTimeout::MAX);
            match poll(&mut ready, timeout) {
                Ok(0) if left(until).as_millis() == 0 => {
                    self.cut_to(self.limits.most);
                    return Ok(Some(late(self.limits)));
                }
                Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            match reader.read(&mut room)? {
                0 => {
                    self.cut_to(self.limits.most);
                    return Ok(None);
                }
                length => self.output.extend(&room[..length]),
            }
            match self.limits.keep {
                Keep::Start if self.output.len() > self.limits.most => {
                    self.cut_to(self.limits.most);
                    return Ok(None);
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
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let found = Ok(b"it".to_vec());
        assert_eq!(within(Duration::from_secs(10), Box::new(|| Ok(b"it".to_vec()))), found);
        let hangs = Box::new(move || held.recv().map(|()| Vec::new()).map_err(|e| e.to_string()));
        let late = within(Duration::from_millis(50), hangs);
        assert_eq!(late.unwrap_err(), "it did not end in time");
        drop(hold);
    }
}
