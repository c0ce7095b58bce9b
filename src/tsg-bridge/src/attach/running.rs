//! An attach at work: its threads, its rules and its gate.

use super::keeper::{self, Keeper};
use super::listener::{self, Ears, Machine, Machines};
use super::neighbours::{Neighbours, Place};
use super::sockets::Interfaces;
use super::{Counters, Handler, Kind, Link, Ports, Side, ingress, nfqueue};
use crate::gate::{self, Gate};
use crate::rules::{Plan, Queues, always, always_passes};
use anyhow::{Context as _, Result, bail};
use core::fmt;
use core::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tsg_control::group::{Fail, NonIp};
use tsg_esp::ip::{Outline, Version};

/// What the threads of one attach share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) interfaces: Interfaces,
    stop: AtomicBool,
    neighbours: Mutex<Neighbours>,
    ears: Mutex<Ears>,
    stations: Mutex<ingress::Stations>,
    machines: Mutex<Machines>,
    counters: Mutex<Vec<Counters>>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Shared {
    pub(super) fn new(ports: &Ports, threads: usize) -> Self {
        Self {
            interfaces: Interfaces::new(ports),
            stop: AtomicBool::new(false),
            neighbours: Mutex::default(),
            ears: Mutex::new(Ears::new(ports)),
            stations: Mutex::default(),
            machines: Mutex::default(),
            counters: Mutex::new(vec![Counters::default(); threads]),
            plan: Mutex::new(None),
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        lock(&self.neighbours)
    }

    pub(super) fn stations(&self) -> MutexGuard<'_, ingress::Stations> {
        lock(&self.stations)
    }

    /// The plan that is in force, or is about to be.
    pub(super) fn plan(&self) -> Option<Arc<Plan>> {
        lock(&self.plan).clone()
    }

    /// Does this packet always pass? The rules do not look below a second tag, so those packets are asked about
    /// here.
    pub(super) fn always_passes(&self, version: Version, packet: &[u8]) -> bool {
        let plan = self.plan();
        let servers = plan.as_ref().map_or(&[][..], |plan| &plan.servers);
        Outline::parse(packet)
            .is_ok_and(|outline| outline.version == version && always_passes(&outline, servers))
    }

    /// Does a frame pass that is not IP? Nothing is known of `non_ip` without a plan, and then it does not.
    pub(super) fn passes_not_ip(&self, ether_type: u16, link: &Link) -> bool {
        let plan = self.plan();
        always::passes_not_ip(ether_type, link.dst)
            || plan.is_some_and(|plan| match &plan.non_ip {
                NonIp::Pass => true,
                NonIp::Drop => false,
                NonIp::Only(types) => types.contains(&ether_type),
            })
    }

    pub(super) fn ears(&self) -> MutexGuard<'_, Ears> {
        lock(&self.ears)
    }

    /// Takes in what was heard on the ports until now.
    pub(super) fn listen(&self) {
        self.ears().listen(|address, place| self.hear(address, place));
    }

    /// The Ethernet header that `find` knows. What is still in the sockets is taken in first if it does not: the
    /// answer to the sender's ARP question may have come a moment ago.
    pub(super) fn link(&self, find: impl Fn(&Neighbours) -> Option<Link>) -> Option<Link> {
        let known = find(&self.neighbours());
        known.or_else(|| {
            self.listen();
            find(&self.neighbours())
        })
    }

    /// A packet between these two addresses, source first, goes on from side `from`. Its sender was heard; of whom
    /// it is for nothing was, and there may be no such machine.
    pub(super) fn hear_both(&self, (src, dest): (IpAddr, IpAddr), link: &Link, from: Side) {
        let place = |mac, side| Place { mac, vlans: Some(link.vlans), side };
        self.hear(src, place(link.src, from));
        self.neighbours().hear(dest, place(link.dst, from.other()));
    }

    /// An address was heard somewhere.
    pub(super) fn hear(&self, address: IpAddr, place: Place) {
        self.neighbours().hear(address, place);
        if place.side == Side::Lan && super::neighbours::is_machine(address) {
            lock(&self.machines).hear(Machine { address, mac: place.mac, side: place.side });
        }
    }

    /// What a thread had counted before it was replaced: the new one goes on from there.
    pub(super) fn counted(&self, thread: usize) -> Counters {
        lock(&self.counters).get(thread).copied().unwrap_or_default()
    }

    /// Makes a thread's counters visible.
    pub(super) fn publish(&self, thread: usize, counters: Counters) {
        if let Some(slot) = lock(&self.counters).get_mut(thread) {
            *slot = counters;
        }
    }
}

/// A thread that panicked under a lock leaves whole values: each is replaced at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How an attach is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its kind.
    pub kind: Kind,
    /// All ports are there.
    pub ports: bool,
    /// Why the rules are not in force, if they are not.
    pub rules: Option<String>,
    /// Why the gate does not stand, if it does not: with nothing but netfilter there are
    /// moments in which `closed` does not hold.
    pub gate: Option<String>,
    /// How often rules or gate had gone and were put back.
    pub reinstalled: u64,
}

/// Makes the handlers, one for each thread: at the start, and anew after a thread has ended.
pub type Handlers = Box<dyn Fn() -> Vec<Box<dyn Handler>> + Send>;

/// An attach at work. Dropping it leaves rules and gate as they are, as [`leave`](Self::leave) with
/// [`Fail::Closed`] does.
pub struct Running {
    ports: Ports,
    handlers: Handlers,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    keeper: Keeper,
    gate: Gate,
    plan: Option<Plan>,
    /// What the gate is made from. Not the rules' plan if that could not be loaded.
    gated: Option<Plan>,
    /// What the kernel dropped before the threads were replaced, and since then, as of the last look.
    overruns: [u64; 2],
    status: Status,
}

/// Starts an attach with one thread for each handler, on the ports that there are; the others follow when they
/// come. No packet comes before the first [`Running::install`].
///
/// # Errors
/// What is missing: a kernel module, a permission, or another gateway has it.
pub fn start(kind: Kind, ports: &Ports, handlers: Handlers) -> Result<Running> {
    ports.check()?;
    let made = handlers();
    let shared = Arc::new(Shared::new(ports, made.len()));
    let crew = Crew::new(kind, ports, &shared, made)?;
    let complete = shared.interfaces.complete();
    Ok(Running {
        ports: ports.clone(),
        handlers,
        shared,
        threads: crew.threads,
        keeper: Keeper::new(kind, ports.clone(), crew.queues, crew.taps),
        gate: Gate::new(ports),
        plan: None,
        gated: None,
        overruns: [0; 2],
        status: Status { kind, ports: complete, rules: None, gate: None, reinstalled: 0 },
    })
}

/// Takes away what an earlier run left behind: rules of any kind, gate, isolation. Standalone ports are connected.
///
/// # Errors
/// The kernel refuses; the rest is gone.
pub fn clear(ports: &Ports) -> Result<()> {
    let removed = remove(ports);
    let connected = if ports.standalone { Wire::new(ports).verify() } else { Ok(()) };
    removed.and(connected)
}

/// Takes away everything, also what connects standalone ports.
///
/// # Errors
/// The kernel refuses; the rest is gone.
pub fn remove(ports: &Ports) -> Result<()> {
    for kind in Kind::ALL {
        keeper::clear_leftovers(kind, ports);
    }
    let gate = Gate::new(ports).remove();
    gate.and(gate::unlock(ports))
}

/// Without a daemon: connects standalone ports as far as `plan` says, unless rules of a daemon stand. Ports in a
/// bridge are connected by it.
///
/// # Errors
/// The kernel refuses.
pub fn connect(ports: &Ports, plan: &Plan) -> Result<()> {
    match ports.standalone && !keeper::is_served(ports) {
        true => Wire::new(ports).0.install(plan),
        false => Ok(()),
    }
}

/// Standalone ports where no gateway is wanted: everything passes.
#[derive(Debug)]
pub struct Wire(Keeper);

impl Wire {
    /// Nothing yet; [`verify`](Self::verify) connects.
    pub fn new(ports: &Ports) -> Self {
        let queues = Queues { first: 0, count: 0 };
        Self(Keeper::new(Kind::Ingress, ports.clone(), queues, Vec::new()))
    }

    /// Sees to it that the ports are connected. To be called every second.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn verify(&mut self) -> Result<()> {
        match self.0.is_installed() {
            true => self.0.verify().map(drop),
            false => self.0.install(&Plan::wire()),
        }
    }
}

/// The threads of an attach, and where the kernel reaches them.
struct Crew {
    threads: Vec<JoinHandle<()>>,
    queues: Queues,
    taps: Vec<String>,
}

impl Crew {
    fn new(
        kind: Kind,
        ports: &Ports,
        shared: &Arc<Shared>,
        handlers: Vec<Box<dyn Handler>>,
    ) -> Result<Self> {
        if handlers.is_empty() {
            bail!("an attach needs at least one handler");
        }
        let count = u16::try_from(handlers.len()).context("too many handlers")?;
        let mut queues = Queues { first: 0, count };
        let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        let mut taps = Vec::new();
        match kind {
            Kind::NfqueueNft | Kind::NfqueueIptables => {
                let (first, workers) = nfqueue::Worker::open_all(shared, handlers)?;
                queues.first = first;
                for worker in workers {
                    work.push(Box::new(|| worker.run()));
                }
            }
            Kind::Ingress => {
                taps = ingress::tap_names(ports);
                for (at, handler) in handlers.into_iter().enumerate() {
                    let worker = ingress::Worker::open(Arc::clone(shared), &taps, at, handler)?;
                    work.push(Box::new(|| worker.run()));
                }
                ingress::keep_up(&taps, queues.count)?;
            }
        }
        shared.ears().follow(&shared.interfaces);
        let listening = Arc::clone(shared);
        work.push(Box::new(move || listener::run(&listening)));
        let threads = work.into_iter().enumerate().map(spawn).collect::<Result<_>>()?;
        Ok(Self { threads, queues, taps })
    }
}

fn spawn((at, work): (usize, Box<dyn FnOnce() + Send>)) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("attach-{at}"))
        .spawn(work)
        .context("cannot start a thread")
}

impl Running {
    /// Brings a plan into force, in place of the one before. No packet is lost, and none that both plans
    /// seal passes in clear: the gate lets through what either plan lets through while the
    /// rules change.
    ///
    /// # Errors
    /// The rules cannot be loaded; those of the plan before are still in force. Where the new plan holds closed the gate
    /// alone does so: what it seals and they let pass stops. A gate that cannot be put up is no error: it is in
    /// [`status`](Self::status).
    pub fn install(&mut self, plan: &Plan) -> Result<()> {
        let versions = plan.versions();
        let before = self.gated.as_ref().map(Plan::versions).unwrap_or_default();
        if self.gated.as_ref() != Some(plan) {
            let between: Vec<&Plan> = before.iter().chain(&versions).collect();
            self.status.gate = told(self.gate.install(&between), "gate");
        }
        *lock(&self.shared.plan) = Some(Arc::new(plan.clone()));
        let loaded = self.keeper.install(plan);
        self.status.rules = loaded.as_ref().err().map(|error| format!("{error:#}"));
        if loaded.is_err() && plan.holds_closed() && !before.is_empty() {
            self.close(plan);
        }
        loaded?;
        if self.plan.is_none() {
            // They are isolated at boot, until rules and gate stand.
            if let Err(error) = gate::unlock(&self.ports) {
                log::warn!("{error:#}");
            }
            self.gated = Some(plan.clone());
        } else {
            self.close(plan);
        }
        self.plan = Some(plan.clone());
        Ok(())
    }

    /// The gate stops all that this plan stops.
    fn close(&mut self, plan: &Plan) {
        let versions = plan.versions();
        let versions: Vec<&Plan> = versions.iter().collect();
        let done = match self.gated.as_ref() == Some(plan) {
            true => self.gate.verify(&versions).map(drop),
            false => self.gate.install(&versions),
        };
        self.status.gate = told(done, "gate");
        self.gated = Some(plan.clone());
    }

    /// Sees to it that rules, gate and ports are as they should be, and puts back what is not. Cheap; to be
    /// called every second.
    ///
    /// # Errors
    /// Something cannot be put back; the next call tries again.
    pub fn verify(&mut self) -> Result<()> {
        if self.shared.interfaces.refresh(&self.ports) {
            self.keeper.doubt();
        }
        self.status.ports = self.shared.interfaces.complete();
        let Some(plan) = self.gated.as_ref().filter(|_| self.plan.is_some()) else { return Ok(()) };
        let versions = plan.versions();
        match self.gate.verify(&versions.iter().collect::<Vec<_>>()) {
            Ok(again) => {
                self.status.reinstalled += u64::from(again);
                self.status.gate = None;
            }
            Err(error) => self.status.gate = Some(format!("{error:#}")),
        }
        let replaced = self.replace_ended();
        let rules = self.verify_rules();
        replaced.and(rules)
    }

    fn verify_rules(&mut self) -> Result<()> {
        match self.keeper.verify() {
            Ok(again) => {
                if again {
                    log::warn!("somebody took the rules away; they are back");
                }
                self.status.reinstalled += u64::from(again);
                self.status.rules = None;
                Ok(())
            }
            Err(error) => {
                self.status.rules = Some(format!("{error:#}"));
                Err(error)
            }
        }
    }

    /// A thread that has ended leaves a queue that nobody serves: all of them begin anew.
    fn replace_ended(&mut self) -> Result<()> {
        let none_left = self.threads.is_empty();
        // Later than that nobody can be asked.
        self.overruns[1] = self.overruns[1].max(self.keeper.overruns());
        if !none_left && !self.threads.iter().any(JoinHandle::is_finished) {
            return Ok(());
        }
        let [before, lately] = self.overruns;
        self.overruns = [before + lately, 0];
        log::error!("a thread of the attach has ended; starting all of them anew");
        self.stop();
        self.shared.stop.store(false, Relaxed);
        let made = (self.handlers)();
        let crew = Crew::new(self.status.kind, &self.ports, &self.shared, made)
            .context("cannot start the threads of the attach anew")?;
        self.threads = crew.threads;
        self.keeper.serve(crew.queues, crew.taps);
        Ok(())
    }

    /// What the attach has counted so far.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for counters in lock(&self.shared.counters).iter() {
            sum += *counters;
        }
        let [before, lately] = self.overruns;
        sum.queue_full += before + lately.max(self.keeper.overruns());
        sum.gate += self.gate.stopped();
        sum
    }

    /// Machines that were heard on the LAN side since the last call; each again after a minute.
    pub fn poll_machines(&self) -> Vec<Machine> {
        lock(&self.shared.machines).take()
    }

    /// How it is doing, as of the last [`install`](Self::install) or [`verify`](Self::verify).
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Ends the daemon's part. With [`Fail::Closed`] rules and gate stay, and what they match stops; with
    /// [`Fail::Open`] they go, and everything passes in clear.
    ///
    /// # Errors
    /// Something could not be taken away.
    pub fn leave(self, fail: Fail) -> Result<()> {
        match fail {
            Fail::Closed => {
                drop(self);
                Ok(())
            }
            Fail::Open => self.detach(),
        }
    }

    /// Ends it and takes everything away: rules, gate, changed settings. Everything passes in clear; standalone ports
    /// are connected by rules.
    ///
    /// # Errors
    /// Something could not be taken away; the rest is.
    pub fn detach(mut self) -> Result<()> {
        let rules = match self.ports.standalone {
            true => Wire::new(&self.ports).verify(),
            false => self.keeper.withdraw(),
        };
        let gate = self.gate.remove();
        self.stop();
        rules.and(gate)
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the attach had panicked");
            }
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn told(result: Result<()>, what: &str) -> Option<String> {
    let error = format!("{:#}", result.err()?);
    log::warn!("{what}: {error}");
    Some(error)
}
