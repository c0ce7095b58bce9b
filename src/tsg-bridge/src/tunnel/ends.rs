//! Both ends of a tunnel's process, the device and the way to the other end, what its threads have in common, and the threads:
//! [workers](Worker) that carry packets, and the [upkeep](Upkeep) of the tunnel.

use super::device::{Device, Queue};
use super::hello::Able;
use super::mode::OtherMode;
use super::moment::Moment;
use super::other::Other;
use super::peer::Peer;
use super::run::{Keys, Tunnel, key};
use super::standing::Standing;
use super::status::Counts;
use super::transport::Transport;
use super::upkeep::Upkeep;
use super::way::Way;
use super::worker::Worker;
use crate::identity::prepare_folder;
use crate::interface;
use anyhow::{Context as _, Result, ensure};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// What the threads have in common.
pub(super) struct Shared {
    pub(super) tunnel: Tunnel,
    pub(super) peer: Other,
    pub(super) way: Way,
    /// Who is in the other mode, as far as that can be told.
    pub(super) other_mode: Option<OtherMode>,
    /// The device's, in bytes; 0 while none is known.
    pub(super) mtu: AtomicU16,
    /// When something was sent last.
    pub(super) sent: Moment,
    counts: Vec<Mutex<Counts>>,
    /// The path may take other lengths than before.
    may_have_changed: AtomicBool,
    /// There is something to do for the upkeep.
    bell: EventFd,
    /// The end for all.
    end: EventFd,
}

impl Shared {
    fn new(tunnel: &Tunnel, peer: Other, way: Way, other_mode: Option<OtherMode>) -> Result<Self> {
        let event = || {
            let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
            EventFd::from_flags(flags).context("eventfd")
        };
        Ok(Self {
            tunnel: tunnel.clone(),
            peer,
            counts: (0..way.workers()).map(|_| Mutex::default()).collect(),
            way,
            other_mode,
            mtu: AtomicU16::new(0),
            sent: Moment::default(),
            may_have_changed: AtomicBool::new(false),
            bell: event()?,
            end: event()?,
        })
    }

    /// What became of that worker's packets. Nobody else holds it for long.
    pub(super) fn counts_of(&self, worker: usize) -> MutexGuard<'_, Counts> {
        self.counts[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of all packets.
    pub(super) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        (0..self.counts.len()).for_each(|worker| all.add(&self.counts_of(worker)));
        all
    }

    /// Has the way to the other end looked at soon.
    pub(super) fn look_at_path(&self) {
        self.may_have_changed.store(true, Relaxed);
        // Full means that it rings already.
        let _ = self.bell.write(1);
    }

    /// Whether somebody wanted that. The bell is still then.
    pub(super) fn is_path_to_be_looked_at(&self) -> bool {
        let _ = self.bell.read();
        self.may_have_changed.swap(false, Relaxed)
    }

    pub(super) const fn bell(&self) -> &EventFd {
        &self.bell
    }

    /// Ends all threads.
    pub(super) fn finish(&self) {
        let _ = self.end.write(1);
    }

    /// Can be read once all threads are to end.
    pub(super) const fn end(&self) -> &EventFd {
        &self.end
    }
}

/// Ends all threads when it goes.
struct Finish<'s>(&'s Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Both ends of the process.
pub(super) struct Ends {
    shared: Shared,
    queues: Vec<Queue>,
    upkeep: Upkeep,
}

impl Ends {
    pub(super) fn open(tunnel: &Tunnel) -> Result<Self> {
        let Tunnel { interface, peer, device: name, .. } = tunnel;
        let workers = tunnel.workers();
        let able = Able { aes: tsg_sodium::aes_available(), workers };
        let file = tunnel.keys.file().map(|file| key(file)).transpose()?;
        ensure!(
            interface::exists(interface),
            "there is no interface {interface}: name the one that {peer} is reached by"
        );
        if let Some(folder) = tunnel.socket.parent() {
            prepare_folder(folder)?;
        }
        let way = Way::open(tunnel, workers)?;
        let (device, queues) = Device::open(name, workers)?;
        let transport = tunnel.transport.then(|| Transport::open(tunnel)).transpose()?;
        let other_mode = file.as_ref().map(|file| OtherMode::of(tunnel, file));
        let key = file.map(|file| tunnel.key(file));
        // Last, as a start with static keys costs numbers.
        let other = match (key, &tunnel.keys) {
            (None, _) => Other::Agreeing(Peer::without_keys(able)),
            (Some(key), Keys::Static(how)) => {
                Other::Standing(Mutex::new(Standing::open(tunnel, how, &key)?))
            }
            (Some(key), Keys::File(_) | Keys::Group(_)) => Other::Agreeing(Peer::new(key, able)),
        };
        let shared = Shared::new(tunnel, other, way, other_mode)?;
        let upkeep = Upkeep::begin(&shared, device, transport)?;
        Ok(Self { shared, queues, upkeep })
    }

    /// Until `signals` can be read, or the device is gone.
    pub(super) fn serve(self, signals: &impl AsFd) -> Result<()> {
        let Self { shared, queues, mut upkeep } = self;
        let shared = &shared;
        thread::scope(|scope| {
            // Also those that were started before one could not be.
            let _finish = Finish(shared);
            let start = |(number, queue): (usize, Queue)| {
                let headers = upkeep.headers();
                let work = move || {
                    // Without one of them some flows would stand still.
                    let _finish = Finish(shared);
                    Worker::new(number, shared, queue, headers).serve()
                };
                let name = format!("worker-{number}");
                let started = thread::Builder::new().name(name).spawn_scoped(scope, work);
                started.context("cannot start a thread")
            };
            let workers: Result<Vec<_>> = queues.into_iter().enumerate().map(start).collect();
            workers.and_then(|workers| {
                let kept = upkeep.serve(shared, signals);
                shared.finish();
                let join = |worker: thread::ScopedJoinHandle<'_, Result<()>>| {
                    worker.join().unwrap_or_else(|panic| resume_unwind(panic))
                };
                workers.into_iter().try_for_each(join).and(kept)
            })
        })
    }
}
