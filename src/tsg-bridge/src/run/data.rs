//! The data path under control: one attach for each bridge, and what they share.

use super::sys;
use crate::attach::{self, Handler, Kind, Ports, Running, Wire};
use crate::config::{Attach, Bridge, Config};
use crate::gate::{self, Gate};
use crate::pipeline::{Shared, Worker};
use crate::rules::Plan;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tsg_control::group::Fail;

/// More threads than this for one bridge are of no use.
const MOST_THREADS: usize = 4;

/// A path narrower than this carries nothing; what an interface says then is not believed.
const LEAST_MTU: u16 = 576;

/// All bridges of the configuration.
pub(super) struct Data {
    bridges: Vec<Attached>,
    threads: usize,
}

struct Attached {
    ports: Ports,
    /// Holds until the attach runs, which then keeps it.
    gate: Gate,
    /// Connects standalone ports while the gateway is idle.
    wire: Wire,
    wanted: Attach,
    running: Option<Running>,
    /// The plan that is in force.
    installed: Option<Plan>,
    why: String,
    trouble: Option<String>,
}

/// How one bridge is doing, for the status.
pub(super) struct BridgeStatus<'a> {
    pub(super) ports: &'a Ports,
    pub(super) kind: Option<Kind>,
    pub(super) why: &'a str,
    pub(super) trouble: Vec<String>,
}

impl Data {
    pub(super) fn new(config: &Config) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let attached = |bridge: &Bridge| Attached {
            ports: Ports::of(bridge),
            gate: Gate::new(&Ports::of(bridge)),
            wire: Wire::new(&Ports::of(bridge)),
            wanted: config.attach,
            running: None,
            installed: None,
            why: String::new(),
            trouble: None,
        };
        let bridges: Vec<Attached> = config.bridges.iter().map(attached).collect();
        if config.is_idle() {
            bridges.iter().for_each(Attached::clear);
        }
        Self { bridges, threads: cores.clamp(1, MOST_THREADS) }
    }

    /// Threads of all bridges together.
    pub(super) fn workers(&self) -> usize {
        self.bridges.len() * self.threads
    }

    /// The smallest MTU among the WAN ports.
    pub(super) fn path_mtu(&self) -> u16 {
        let mtus = self.bridges.iter().filter_map(|bridge| sys::mtu(&bridge.ports.wan));
        mtus.filter(|&mtu| mtu >= LEAST_MTU).min().unwrap_or(1_500)
    }

    /// Starts what does not run yet, and brings the plan into force everywhere.
    pub(super) fn install(&mut self, plan: &Plan, shared: &Arc<Shared>) {
        let threads = self.threads;
        for (at, bridge) in self.bridges.iter_mut().enumerate() {
            let done = bridge.install(plan, shared, at * threads..(at + 1) * threads);
            bridge.note(done);
        }
    }

    /// While the gateway is idle: standalone ports stay connected.
    pub(super) fn idle(&mut self) {
        for bridge in self.bridges.iter_mut().filter(|bridge| bridge.ports.standalone) {
            let done = bridge.wire.verify();
            bridge.note(done);
        }
    }

    /// Puts right what somebody took away, and starts what could not be started before.
    pub(super) fn verify(&mut self, plan: &Plan, shared: &Arc<Shared>) {
        let threads = self.threads;
        for (at, bridge) in self.bridges.iter_mut().enumerate() {
            let done = match &mut bridge.running {
                Some(running) if bridge.installed.as_ref() == Some(plan) => running.verify(),
                Some(_) | None => bridge.install(plan, shared, at * threads..(at + 1) * threads),
            };
            bridge.note(done);
        }
    }

    /// Machines that were heard on the LAN side since the last call.
    pub(super) fn machines(&self) -> Vec<IpAddr> {
        let heard = self.bridges.iter().filter_map(|bridge| bridge.running.as_ref());
        heard.flat_map(Running::poll_machines).map(|machine| machine.address).collect()
    }

    /// What the attaches count, by name.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut sum = attach::Counters::default();
        for running in self.bridges.iter().filter_map(|bridge| bridge.running.as_ref()) {
            sum += running.counters();
        }
        let counts = [
            ("attach_frames", sum.frames),
            ("attach_extra", sum.extra),
            ("attach_send_failed", sum.send_failed),
            ("attach_no_link_address", sum.no_link_address),
            ("attach_malformed", sum.malformed),
            ("attach_same_side", sum.same_side),
            ("attach_queue_full", sum.queue_full),
            ("drop_gate", sum.gate),
        ];
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    pub(super) fn status(&self) -> impl Iterator<Item = BridgeStatus<'_>> {
        self.bridges.iter().map(|bridge| {
            let status = bridge.running.as_ref().map(Running::status);
            let mut trouble: Vec<String> = bridge.trouble.iter().cloned().collect();
            if let Some(status) = status {
                let missing = (!status.ports).then(|| "a port is missing".to_owned());
                let gate =
                    status.gate.as_ref().map(|why| format!("the gate does not stand: {why}"));
                trouble.extend([missing, gate].into_iter().flatten());
            }
            BridgeStatus {
                ports: &bridge.ports,
                kind: status.map(|status| status.kind),
                why: &bridge.why,
                trouble,
            }
        })
    }

    /// Ends it; `fail` says what stays behind.
    pub(super) fn leave(&mut self, fail: Fail) {
        for bridge in &mut self.bridges {
            let left = bridge.running.take().map_or(Ok(()), |running| running.leave(fail));
            if let Err(error) = left {
                log::error!("{}: {error:#}", bridge.ports.bridge);
            }
        }
    }
}

impl Attached {
    /// Who has switched the gateway off wants a bridge, whatever an earlier run has left to hold `closed`.
    fn clear(&self) {
        if let Err(error) = attach::clear(&self.ports) {
            log::error!("{}: {error:#}", self.ports.bridge);
        }
    }

    fn install(
        &mut self,
        plan: &Plan,
        shared: &Arc<Shared>,
        workers: std::ops::Range<usize>,
    ) -> Result<()> {
        if self.running.is_none() {
            let held = self.hold(plan);
            let started = self.start(shared, workers);
            if let (Err(_), Err(open)) = (&started, held) {
                return started.context(format!("and `closed` does not hold either: {open:#}"));
            }
            started?;
        }
        self.running.as_mut().context("just started")?.install(plan)?;
        self.installed = Some(plan.clone());
        Ok(())
    }

    /// Puts up the gate, which needs no attach: `closed` holds on the ports that there are, and what is bypassed
    /// passes.
    fn hold(&mut self, plan: &Plan) -> Result<()> {
        let versions = plan.versions();
        self.gate.verify(&versions.iter().collect::<Vec<_>>())?;
        attach::connect(&self.ports, plan)?;
        gate::unlock(&self.ports)
    }

    fn start(&mut self, shared: &Arc<Shared>, workers: std::ops::Range<usize>) -> Result<()> {
        let (kind, why) = choose(self.wanted, &self.ports)?;
        let shared = Arc::clone(shared);
        let handlers = move || {
            let worker = |number| Worker::new(number, Arc::clone(&shared));
            workers.clone().map(|number| Box::new(worker(number)) as Box<dyn Handler>).collect()
        };
        let running = attach::start(kind, &self.ports, Box::new(handlers))?;
        log::info!("{}: attach {why}", self.ports.bridge);
        self.running = Some(running);
        self.why = why;
        Ok(())
    }

    /// Says a trouble once when it comes, and once when it goes.
    fn note(&mut self, done: Result<()>) {
        let trouble = done.err().map(|error| format!("{error:#}"));
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => log::error!("{}: {trouble}", self.ports.bridge),
                None => log::info!("{}: all is well again", self.ports.bridge),
            }
            self.trouble = trouble;
        }
    }
}

fn choose(wanted: Attach, ports: &Ports) -> Result<(Kind, String)> {
    let told = |kind: Kind| (kind, format!("{kind}: chosen in the configuration"));
    match wanted {
        Attach::NfqueueNft => return Ok(told(Kind::NfqueueNft)),
        Attach::NfqueueIptables => return Ok(told(Kind::NfqueueIptables)),
        Attach::Ingress => return Ok(told(Kind::Ingress)),
        Attach::Auto if ports.standalone => {
            return Ok((Kind::Ingress, format!("{}: connects standalone ports", Kind::Ingress)));
        }
        Attach::Auto | Attach::Nfqueue => {}
    }
    let probe = attach::probe(ports);
    let kind = match wanted {
        Attach::Nfqueue => {
            [Kind::NfqueueNft, Kind::NfqueueIptables].into_iter().find(|&kind| probe.can(kind))
        }
        Attach::Auto | Attach::NfqueueNft | Attach::NfqueueIptables | Attach::Ingress => {
            probe.choice()
        }
    };
    match kind {
        Some(kind) => Ok((kind, probe.reason())),
        None => bail!(
            "this kernel offers no way to get at packets: {}. Install kmod-nft-queue and \
             kmod-nft-bridge (or kmod-br-netfilter with iptables-mod-nfqueue, or kmod-nft-netdev \
             with kmod-tun)",
            probe.reason()
        ),
    }
}
