//! Methods that may take time: one after the other on a thread beside the control thread, and few in all.

use super::super::doors::Asker;
use super::Fault;
use crate::folders::Folders;
use crate::run::control::Control;
use anyhow::{Context as _, Result, anyhow};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde_json::Value;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;

/// More than these do not wait for their turn.
const MOST_WAITING: usize = 4;

/// What is done; it has what it needs to know, such as arguments.
pub(in super::super) type Work = Box<dyn FnOnce(&Folders) -> Result<Value> + Send>;

/// What is done, and who waits for it.
pub(in super::super) struct Job {
    pub(in super::super) asker: Asker,
    pub(in super::super) work: Work,
    pub(in super::super) then: Option<fn(&mut Control)>,
}

/// What came of it.
pub(in super::super) struct Finished {
    pub(in super::super) asker: Asker,
    pub(in super::super) answer: Result<Value>,
    pub(in super::super) then: Option<fn(&mut Control)>,
}

/// The thread, which begins with the first job and ends with this.
pub(in super::super) struct Aside {
    folders: Folders,
    bell: Arc<EventFd>,
    jobs: Option<SyncSender<Job>>,
    answers: (Sender<Finished>, Receiver<Finished>),
}

impl Aside {
    pub(in super::super) fn new(folders: &Folders) -> Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = Arc::new(EventFd::from_flags(flags).context("eventfd")?);
        Ok(Self { folders: folders.clone(), bell, jobs: None, answers: channel() })
    }

    /// What to wait for.
    pub(in super::super) fn descriptor(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Begins a job, or gives it back with why not.
    pub(in super::super) fn begin(&mut self, job: Job) -> Result<(), (Asker, Fault)> {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => match self.start() {
                Ok(jobs) => self.jobs.insert(jobs),
                Err(error) => return Err((job.asker, Fault::Failed(error))),
            },
        };
        jobs.try_send(job).map_err(|back| {
            let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = back;
            (job.asker, Fault::Failed(anyhow!("too much is asked at once: try again")))
        })
    }

    /// What is done by now.
    pub(in super::super) fn finished(&mut self) -> Vec<Finished> {
        let _ = self.bell.read();
        self.answers.1.try_iter().collect()
    }

    fn start(&self) -> Result<SyncSender<Job>> {
        let (jobs, next) = sync_channel::<Job>(MOST_WAITING);
        let (folders, bell, answers) =
            (self.folders.clone(), Arc::clone(&self.bell), self.answers.0.clone());
        let work = move || {
            for Job { asker, work, then } in next {
                let answer = work(&folders);
                // It is gone, and an argument may have been a secret.
                tsg_sodium::wipe_stack();
                if answers.send(Finished { asker, answer, then }).is_err() {
                    return;
                }
                let _ = bell.write(1);
            }
        };
        thread::Builder::new().name("aside".to_owned()).spawn(work).context("a thread")?;
        Ok(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    static DOOR: Mutex<()> = Mutex::new(());

    fn job(work: fn(&Folders) -> Result<Value>) -> Job {
        Job { asker: Asker::Nobody, work: Box::new(work), then: None }
    }

    fn slow(_: &Folders) -> Result<Value> {
        drop(DOOR.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(json!("slow"))
    }

    fn wait(aside: &mut Aside) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let finished = aside.finished();
            if let [Finished { answer, .. }] = finished.as_slice() {
                return match answer {
                    Ok(value) => value.to_string(),
                    Err(error) => format!("{error:#}"),
                };
            }
            thread::yield_now();
        }
        panic!("it takes too long");
    }

    #[test]
    fn what_takes_long_is_waited_for_by_nobody_else_and_few_wait() {
        tsg_sodium::init().unwrap();
        let mut aside = Aside::new(&Folders::default()).unwrap();
        let closed = DOOR.lock().unwrap();
        let mut begun = 0;
        let deadline = Instant::now() + Duration::from_secs(20);
        // One is being done, and so many wait.
        while begun < MOST_WAITING + 1 {
            assert!(Instant::now() < deadline, "it takes none");
            begun += usize::from(aside.begin(job(slow)).is_ok());
        }
        let (_, fault) = aside.begin(job(slow)).err().unwrap();
        assert!(fault.to_string().contains("too much"), "{fault}");
        assert!(aside.finished().is_empty());
        drop(closed);
        let mut done = 0;
        while done < begun {
            assert!(Instant::now() < deadline, "only {done} were done");
            done += aside.finished().len();
        }
        aside.begin(job(|_| anyhow::bail!("no"))).map_err(|(_, fault)| fault).unwrap();
        assert_eq!(wait(&mut aside), "no");
    }
}
