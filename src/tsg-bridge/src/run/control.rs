//! The control thread: key server, rules, status.

mod bypass;
mod commands;
mod key_server;
mod renewal;
#[cfg(test)]
mod tests;

use super::cache::Cache;
use super::data::Data;
use super::doors::Doors;
use super::links::Links;
use super::methods::{Fault, Finished, Run};
use super::offloads::Offloads;
use super::policy::{self, Policies};
use super::seen::Told;
use super::settings::Settings;
use super::status::Overview;
use super::sys;
use super::unreadable::Unreadable;
use super::wake::Wake;
use super::{memory, status};
use crate::boottime;
use crate::config::Config;
use crate::enrolment;
use crate::folders::Folders;
use crate::group_keys::Telling;
use crate::identity::Identity;
use crate::pipeline::{Leases, Note, Shared};
use crate::rules::Plan;
use crate::server::Link;
use anyhow::Result;
use bypass::Bypass;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use tsg_control::gateway::{Event, Gateway, Standing};
use tsg_control::group::Fail;
use tsg_control::message::PolicyVersion;

/// Rules and ports are looked after this often, in milliseconds.
const LOOK_AFTER: u64 = 1_000;

/// When a port has come or gone they are looked after at once, but not more often than this: each look
/// may cost a run of nft.
const LOOK_AGAIN: u64 = 20;

/// The workers get a new view at least this often: uncertainty about the time grows.
const RENEW_VIEW: u64 = 30_000;

/// A machine that was not heard for this long is not behind us any more.
const FORGET_MACHINE: u64 = 30 * 60_000;

/// A machine that no gateway reports is named in an alarm for this long.
const NAME_UNREACHED: u64 = 5 * 60_000;

/// Sender numbers beyond one for each thread.
const SPARES: usize = 2;

/// With `cache_keys`: power cuts without a key server for which there are sender numbers.
const POWER_CUTS: usize = 4;

/// More machines than this are not told apart.
const MOST_MACHINES: usize = 1_024;

/// Everything that the control thread has.
pub(super) struct Control {
    pub(super) config: Config,
    folders: Folders,
    pub(super) identity: Identity,
    pub(super) gateway: Gateway,
    link: Option<Link>,
    /// Connections that a key server broke off at their beginning, since one held.
    broken_off: u32,
    /// What tunnels of this host get.
    group_keys: Telling,
    /// Keys for after a power cut, if that is wanted.
    pub(super) cache: Option<Cache>,
    pub(super) unreadable: Unreadable,
    pub(super) data: Data,
    pub(super) shared: Arc<Shared>,
    pub(super) policies: Policies,
    plan: Option<Plan>,
    /// The policies that the workers judge by.
    judging: Vec<PolicyVersion>,
    machines: BTreeMap<IpAddr, u64>,
    unreached: BTreeMap<IpAddr, u64>,
    /// What the key server was told of what is seen.
    pub(super) seen: Told,
    pub(super) bypass: Bypass,
    lease_trouble: Option<String>,
    stale_view: bool,
    view_at: u64,
    looked_at: u64,
    turned_at: u64,
    pub(super) offloads: Offloads,
    pub(super) settings: Settings,
    /// Tells of ports that come and go.
    links: Links,
    signals: SignalFd,
    wake: Wake,
    pub(super) doors: Doors,
    /// What was last told on ubus.
    told: Option<Value>,
    running: bool,
    /// The configuration to begin anew with.
    again: Option<Config>,
}

/// What the next one begins with.
pub(super) struct Again {
    pub(super) config: Config,
    pub(super) doors: Doors,
}

impl Control {
    pub(super) fn new(
        config: Config,
        folders: Folders,
        identity: Identity,
        signals: &SigSet,
        mut doors: Doors,
    ) -> Result<Self> {
        let now = boottime::now();
        let data = Data::new(&config);
        let leases = Leases::open(&folders.run)?;
        doors.open()?;
        let saved = memory::resume(&folders, &leases)?;
        let wake = Wake::new()?;
        let shared = Arc::new(Shared::new(data.workers(), leases, wake.bell()));
        let mut gateway = Gateway::new(about(&config, &folders, &data)?, random_number(), now);
        let mut cache = open_cache(&config, &folders, &identity, now);
        if let Some(saved) = saved {
            log::info!("going on with the keys of before the restart");
            gateway.restore(saved, now);
            if let Some(cache) = &mut cache {
                cache.forget_earlier();
            }
        }
        let machines = gateway.machines().iter().map(|&machine| (machine, now)).collect();
        let active = config.enabled && !config.servers.is_empty();
        let link = match (active, config.server_key) {
            (true, Some(key)) => Some(Link::open(&config.servers, key)?),
            (true, None) | (false, _) => None,
        };
        let group_keys = Telling::new(&folders);
        if link.is_none() {
            group_keys.forget()?;
            log::info!("idle: no key server is set, or the gateway is switched off");
        }
        Ok(Self {
            policies: Policies::recall(&folders),
            signals: SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            gateway,
            link,
            broken_off: 0,
            group_keys,
            cache,
            unreadable: Unreadable::default(),
            data,
            shared,
            plan: None,
            judging: Vec::new(),
            machines,
            unreached: BTreeMap::new(),
            seen: Told::default(),
            bypass: Bypass::default(),
            lease_trouble: None,
            stale_view: true,
            view_at: now,
            looked_at: 0,
            turned_at: now,
            offloads: Offloads::new(&config, &folders),
            settings: Settings::default(),
            links: Links::watch(),
            wake,
            doors,
            told: None,
            running: true,
            again: None,
            config,
            folders,
            identity,
        })
    }

    /// Until it is told to stop, or to begin anew.
    pub(super) fn run(mut self) -> Result<Option<Again>> {
        while self.running && self.again.is_none() {
            self.wait()?;
            let now = boottime::now();
            self.take_signals();
            self.links.take();
            self.take_notes(now);
            self.take_messages();
            if self.gateway.poll_timeout().is_some_and(|at| now >= at) && self.link.is_some() {
                self.gateway.handle_timeout(now);
            }
            self.take_up_cache(now);
            self.take_events(now);
            self.look_after_bypass(now);
            self.renew(now);
            self.look_after(now);
            self.answer(now);
            self.send();
            tsg_sodium::wipe_stack();
        }
        // Who is told to stop does not begin anew.
        let again = self.again.take().filter(|_| self.running);
        if let Some(new) = &again {
            self.forget_other_server(new);
        }
        self.stop();
        Ok(again.map(|config| Again { config, doors: self.doors }))
    }

    /// A key server is set, and the gateway is switched on.
    pub(super) fn is_active(&self) -> bool {
        self.link.is_some()
    }

    fn wait(&self) -> Result<()> {
        let now = boottime::now();
        let asked = self.gateway.poll_timeout().filter(|_| self.is_active());
        let next = [
            Some(self.next_look()),
            asked,
            self.wake.pause(now),
            self.doors.due(),
            self.bypass.until(),
            self.link.as_ref().map(Link::due),
        ];
        let next = next.into_iter().flatten().min().filter(|_| !self.doors.is_asked());
        let next = next.unwrap_or(now);
        let timeout = next.saturating_sub(now).min(1_000);
        let descriptors = [self.signals.as_raw_fd()]
            .into_iter()
            .chain(self.wake.descriptor(now))
            .chain(self.links.descriptor())
            .map(|fd| (fd, false))
            .chain(self.doors.descriptors(now));
        let link = self.link.as_ref().and_then(Link::descriptor);
        let link = link.map(|(fd, writes)| [Some((fd, false)), writes.then_some((fd, true))]);
        let descriptors = descriptors.chain(link.into_iter().flatten().flatten());
        sys::wait(descriptors, timeout)
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGHUP) => self.reload_or_say(),
                _ => self.running = false,
            }
        }
    }

    fn take_notes(&mut self, now: u64) {
        if !self.wake.take(now) {
            return;
        }
        for note in self.shared.take_notes() {
            match note {
                Note::UnknownEpoch => self.gateway.handle_unknown_epoch(now),
                Note::Authentic { epoch } => self.gateway.handle_authentic(epoch, now),
                Note::Later { epoch, time } => self.gateway.handle_later(epoch, time, now),
                Note::Worn { epoch, sender } => {
                    if self.gateway.handle_worn(epoch, sender, now) {
                        log::info!("epoch {epoch}: sender number {sender} is almost used up");
                    }
                }
                Note::Exhausted { epoch, sender } => {
                    log::info!("epoch {epoch}: sender number {sender} is used up");
                    self.gateway.handle_exhausted(epoch, sender, now);
                }
                Note::Machine(address) => self.hear(address, now),
                Note::Downstream(address) => {
                    log::info!("{address} has its own gateway behind this one");
                    self.machines.remove(&address);
                }
                Note::Unreached(address) => {
                    if self.unreached.len() < MOST_MACHINES || self.unreached.contains_key(&address)
                    {
                        self.unreached.insert(address, now);
                    }
                }
            }
        }
    }

    fn hear(&mut self, address: IpAddr, now: u64) {
        if self.machines.len() < MOST_MACHINES || self.machines.contains_key(&address) {
            self.machines.insert(address, now);
        }
    }

    fn take_events(&mut self, now: u64) {
        let mut save = false;
        while let Some(event) = self.gateway.poll_event() {
            match event {
                Event::Keys | Event::Machines => self.stale_view = true,
                Event::Policy => {
                    self.stale_view = true;
                    self.policies.follow(&self.folders, self.gateway.policies(), now);
                }
                Event::Standing => self.say_standing(),
                Event::Save => save = true,
                Event::TokenSpent => {
                    report(enrolment::forget(&self.folders), "the token is used up");
                }
                Event::Command(command) => self.carry_out(command),
            }
        }
        if save {
            let kept = memory::keep(&self.folders, self.gateway.save().as_ref());
            report(kept, "the keys do not survive a restart of the daemon");
            if let Some(cache) = &mut self.cache {
                cache.follow(&self.gateway, now);
            }
        }
        if self.is_active() && now >= self.view_at + RENEW_VIEW {
            self.stale_view = true;
        }
    }

    fn take_up_cache(&mut self, now: u64) {
        // Who breaks connections off is there, and may do so because this gateway was thrown out.
        let is_silent = self.link.is_some() && self.broken_off == 0;
        if let (Some(cache), true) = (&mut self.cache, is_silent) {
            cache.take_up(&mut self.gateway, self.data.workers(), now);
        }
    }

    fn say_standing(&self) {
        match self.gateway.standing() {
            Standing::Searching => log::info!("looking for the key server"),
            Standing::Pending => log::warn!(
                "waiting for approval on the key server; compare the fingerprint there: {}",
                self.identity.public().fingerprint()
            ),
            Standing::Refused(reason) => log::error!("the key server refuses: {reason}"),
            Standing::Member => {
                let (group, name) = self.gateway.names().unwrap_or_default();
                log::info!("member {name} of group {group}");
            }
            Standing::Island(_) => {
                log::warn!("the key server does not answer; going on with the keys at hand")
            }
            Standing::Revoked(reason) => log::error!("thrown out of the group: {reason}"),
        }
    }

    fn next_look(&self) -> u64 {
        self.looked_at + if self.links.moved() { LOOK_AGAIN } else { LOOK_AFTER }
    }

    fn look_after(&mut self, now: u64) {
        if now < self.next_look() {
            return;
        }
        let moved = self.links.settle();
        self.looked_at = now;
        self.offloads.verify(now);
        self.settings.look_after(&self.folders.config_file());
        if !self.is_active() {
            self.data.idle();
            let overview = self.overview(now);
            return self.tell(&overview, now);
        }
        // The WAN port may have another MTU.
        self.stale_view |= moved;
        if let Some(plan) = &self.plan {
            self.stale_view |= plan.servers != self.server_addresses();
            self.data.verify(plan, &self.shared);
        }
        self.look_after_leases(now);
        self.policies.look_after(&self.folders, now);
        if let Some(cache) = &mut self.cache {
            cache.keep_times(&self.gateway, now);
        }
        for address in self.data.machines() {
            self.hear(address, now);
        }
        let downstream = self.shared.downstream(now);
        self.machines
            .retain(|address, at| now < *at + FORGET_MACHINE && !downstream.contains(address));
        let others = &self.gateway.map().others;
        self.unreached
            .retain(|address, at| now < *at + NAME_UNREACHED && !others.contains(address));
        self.gateway.handle_machines(self.machines.keys().copied().collect(), now);
        let overview = self.overview(now);
        self.tell(&overview, now);
        self.gateway.handle_counters(overview.counters, overview.alarms);
        // Only once for each report: it takes a look at every port.
        if self.gateway.wants_seen(now + 2 * LOOK_AFTER) {
            self.look_around(now);
        }
        self.turn_to_next_server(now);
    }

    fn look_after_leases(&mut self, now: u64) {
        let trouble = self.shared.lease_trouble(now);
        if trouble.is_some() != self.lease_trouble.is_some() {
            match &trouble {
                Some(why) => log::error!(
                    "{why}; the sequence numbers cannot be stored, so nothing is sealed; is the \
                     file system full or read-only?"
                ),
                None => log::info!("the sequence numbers are stored again"),
            }
        }
        self.lease_trouble = trouble;
    }

    fn overview(&self, now: u64) -> Overview {
        let unreached = self.unreached().copied().collect();
        status::overview(self, unreached, self.lease_trouble.is_some(), now)
    }

    pub(super) fn described(&self, now: u64) -> Value {
        self.overview(now).json
    }

    /// Machines that no gateway reports.
    pub(super) fn unreached(&self) -> impl Iterator<Item = &IpAddr> {
        self.unreached.keys()
    }

    /// The key server's policies or, without its word, the last one.
    pub(super) fn known_policies(&self) -> &[PolicyVersion] {
        self.policies.known(self.gateway.policies())
    }

    /// The one of them that decides.
    pub(super) fn policy_in_force(&self) -> Option<&PolicyVersion> {
        policy::in_force(self.known_policies())
    }

    fn answer(&mut self, now: u64) {
        for (asker, question) in self.doors.questions(now) {
            match question {
                Ok((method, arguments)) => match method.run {
                    Run::Now(run) => {
                        let answer = run(self, &arguments, now).map_err(Fault::Failed);
                        self.doors.answer(asker, answer, now);
                    }
                    Run::Aside(work, then) => {
                        let work = Box::new(move |folders: &_| work(folders, &arguments));
                        self.doors.put_aside(asker, work, then, now);
                    }
                    Run::AsideOf(work) => {
                        let status = self.described(now);
                        let work = Box::new(move |folders: &_| work(folders, &status));
                        self.doors.put_aside(asker, work, None, now);
                    }
                },
                Err(fault) => self.doors.answer(asker, Err(fault), now),
            }
        }
        for Finished { asker, answer, then } in self.doors.finished() {
            let then = then.filter(|_| answer.is_ok());
            self.doors.answer(asker, answer.map_err(Fault::Failed), now);
            if let Some(then) = then {
                then(self);
            }
        }
    }

    /// Tells on ubus what has changed, once it has.
    fn tell(&mut self, overview: &Overview, now: u64) {
        let state = overview.summary();
        if self.told.as_ref() != Some(&state) && self.doors.notify("state", &overview.news(), now) {
            self.told = Some(state);
        }
    }

    fn stop(&mut self) {
        if self.bypass.is_on() {
            self.end_bypass("the gateway stops");
            self.renew(boottime::now());
        }
        let fail = self.plan.as_ref().map_or(self.config.fail, |plan| plan.fail);
        self.data.leave(fail);
        // What begins anew changes only what it wants otherwise: for some cards a change is a new link.
        if !self.running {
            self.offloads.leave(&self.config);
        }
        let kept = memory::keep(&self.folders, self.gateway.save().as_ref());
        report(kept, "the keys do not survive a restart of the daemon");
        if let Some(cache) = &mut self.cache {
            cache.close(&self.gateway, boottime::now());
        }
        let done = if self.running { "beginning anew" } else { "stopped" };
        let fate = match fail {
            Fail::Closed => "is stopped",
            Fail::Open => "goes in clear",
        };
        log::info!("{done}; what the rules match {fate} meanwhile, as `fail` says");
    }
}

fn about(
    config: &Config,
    folders: &Folders,
    data: &Data,
) -> Result<tsg_control::gateway::Identity> {
    let kept = if config.cache_keys { POWER_CUTS * data.workers() } else { 0 };
    Ok(tsg_control::gateway::Identity {
        name: config.gateway_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        aes: tsg_sodium::aes_available(),
        senders: u8::try_from(data.workers() + SPARES).unwrap_or(u8::MAX),
        kept: u8::try_from(kept).unwrap_or(u8::MAX),
        token: enrolment::pending(folders)?,
    })
}

fn open_cache(config: &Config, folders: &Folders, identity: &Identity, now: u64) -> Option<Cache> {
    if !config.cache_keys {
        report(
            Cache::clear(folders),
            "option cache_keys is off, and what it left cannot be deleted",
        );
        return None;
    }
    let wan = config.bridges.iter().map(|bridge| bridge.wan.clone()).collect();
    Some(Cache::open(folders, identity, wan, now))
}

fn random_number() -> u64 {
    let mut bytes = [0; 8];
    tsg_sodium::random(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn report(done: Result<()>, what: &str) {
    if let Err(error) = done {
        log::error!("{what}: {error:#}");
    }
}
