//! Both ends of a tunnel's process, the device and the way to the other end, and its threads: [workers](Worker) that carry
//! packets, and the [upkeep](Upkeep) of the tunnel.

use super::Key;
use super::device::{Device, Queue};
use super::hello::Able;
use super::mode::OtherMode;
use super::other::Other;
use super::peer::Peer;
use super::settings::{Keys, Tunnel};
use super::shared::{Finish, Shared};
use super::standing::Standing;
use super::transport::{Transport, warn_of_former};
use super::upkeep::Upkeep;
use super::way::Way;
use super::worker::Worker;
use crate::identity::prepare_folder;
use crate::interface;
use anyhow::{Context as _, Result, ensure};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

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
        let file = tunnel.keys.file().map(|file| Key::load_or_make(file)).transpose()?;
        ensure!(
            interface::exists(interface),
            "there is no interface {interface}: name the one that {peer} is reached by"
        );
        if let Some(folder) = tunnel.socket.parent() {
            prepare_folder(folder)?;
        }
        let way = Way::open(tunnel, workers.into())?;
        let (device, queues) = Device::open(name, workers)?;
        let transport = tunnel.transport.then(|| Transport::open(tunnel)).transpose()?;
        if transport.is_none() {
            warn_of_former(name);
        }
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
