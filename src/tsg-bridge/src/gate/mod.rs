//! The gate: holds `closed` when nftables does not (DESIGN section 7).
//!
//! An eBPF filter on the egress of each port, made from the policy, which the kernel keeps whatever becomes of
//! the daemon and of the netfilter rules. Towards the WAN nothing leaves that a rule matches and that is not
//! sealed; towards the LAN nothing that a rule matches and that came in by anything but a LAN port without
//! having been through the daemon, which marks what it passes. LAN to LAN and the box's own
//! traffic are not looked at; what comes out of the box's own port is its own, as the rules there see to it. Frames that are not IP obey `non_ip` here too, since iptables never sees them.
//!
//! The other half of the boot is [`isolate`]: bridge ports that do not talk to each other until the gate
//! stands. `tsg gate` puts up both before there is a daemon.
//!
//! Not here: what is matched exactly ([`tsg_control::policy`]); the daemon decides with that.

mod asm;
#[cfg(fuzzing)]
pub mod fuzzing;
mod isolation;
mod policy;
mod program;
#[cfg(any(test, fuzzing))]
pub(crate) mod reference;
mod sys;
mod tc;

pub use isolation::{isolate, unlock};

use crate::attach::Ports;
use crate::rules::Plan;
use anyhow::{Context as _, Result, ensure};
use program::Exit;
use std::collections::BTreeMap;

/// The filters on the ports of one bridge.
#[derive(Debug)]
pub struct Gate {
    ports: Ports,
    standing: Vec<Standing>,
    /// What the kernel has counted at each port when it was asked last.
    counted: BTreeMap<u32, u32>,
    stopped: u64,
}

/// A filter as it was put up.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ifindex: u32,
    id: u32,
    exit: Exit,
}

impl Gate {
    /// No filter yet; those that another process left behind stand until
    /// [`install`](Self::install) replaces them.
    pub fn new(ports: &Ports) -> Self {
        Self { ports: ports.clone(), standing: Vec::new(), counted: BTreeMap::new(), stopped: 0 }
    }

    /// Puts the gate up on all ports that there are, each in one step in place of the one before. With several
    /// plans it stops only what all of them stop.
    ///
    /// # Errors
    /// This kernel or these rights do not suffice for it, or the policy is too large. Of a port where it cannot
    /// be put up, what stood before stands; the other ports have it.
    pub fn install(&mut self, plans: &[&Plan]) -> Result<()> {
        let mut done = Ok(());
        self.standing.clear();
        for (ifindex, exit) in self.exits() {
            match put_up(plans, ifindex, &exit) {
                Ok(id) => self.standing.push(Standing { ifindex, id, exit }),
                Err(error) => done = done.and(Err(error)),
            }
        }
        self.count();
        done
    }

    /// Frames that it has stopped since it was first put up here, as of the last [`install`](Self::install) or
    /// [`verify`](Self::verify). A frame for several ports counts at each.
    pub const fn stopped(&self) -> u64 {
        self.stopped
    }

    fn count(&mut self) {
        let drops = match tc::drops() {
            Ok(drops) => drops,
            Err(error) => return log::debug!("{error:#}"),
        };
        let standing = |ifindex| self.standing.iter().any(|filter| filter.ifindex == ifindex);
        let now: BTreeMap<u32, u32> =
            drops.into_iter().filter(|&(ifindex, _)| standing(ifindex)).collect();
        for (ifindex, now) in &now {
            // The first time tells what was before us. Less than before: the hook was made anew.
            let new = self.counted.get(ifindex).map(|was| now.checked_sub(*was).unwrap_or(*now));
            self.stopped += u64::from(new.unwrap_or(0));
        }
        self.counted = now;
    }

    /// All filters are there and are ours; if not they are put up again, and the answer is `true`.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    pub fn verify(&mut self, plans: &[&Plan]) -> Result<bool> {
        if self.stands()? {
            self.count();
            return Ok(false);
        }
        self.install(plans)?;
        Ok(true)
    }

    /// Takes the filters away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&mut self) -> Result<()> {
        self.standing.clear();
        for port in self.ports.all() {
            let ifindex = number(port);
            if ifindex != 0 {
                tc::detach(ifindex)?;
            }
        }
        Ok(())
    }

    fn stands(&self) -> Result<bool> {
        let exits = self.exits();
        if exits.len() != self.standing.len() {
            return Ok(false);
        }
        for ((ifindex, exit), standing) in exits.iter().zip(&self.standing) {
            let same = *ifindex == standing.ifindex && *exit == standing.exit;
            if !same || tc::attached(*ifindex)? != Some(standing.id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The number of each port that is there, and what leaves there.
    fn exits(&self) -> Vec<(u32, Exit)> {
        let there = |port: &String| Some(number(port)).filter(|ifindex| *ifindex != 0);
        let lan: Vec<u32> = self.ports.lan.iter().filter_map(there).collect();
        let own: Vec<u32> = self.ports.box_port.iter().filter_map(there).collect();
        let exit = |ifindex: &u32| (*ifindex, Exit::Lan { apart: [&lan[..], &own].concat() });
        let mut exits: Vec<(u32, Exit)> = lan.iter().map(exit).collect();
        exits.extend(there(&self.ports.wan).map(|wan| (wan, Exit::Wan { apart: own.clone() })));
        exits
    }
}

/// The number of the program that is our filter on a port, if it stands there.
///
/// # Errors
/// There is no such port, or the kernel does not tell.
pub fn filter_on(port: &str) -> Result<Option<u32>> {
    let ifindex = number(port);
    ensure!(ifindex != 0, "there is no such port");
    tc::attached(ifindex)
}

fn put_up(plans: &[&Plan], ifindex: u32, exit: &Exit) -> Result<u32> {
    let program = program::assemble(plans, exit)?;
    let program = sys::load(&program).context(
        "cannot load the gate: the kernel needs CONFIG_BPF_SYSCALL and \
         CONFIG_NET_CLS_BPF, the daemon CAP_BPF or CAP_SYS_ADMIN",
    )?;
    tc::attach(ifindex, &program)
}

fn number(port: &str) -> u32 {
    nix::net::if_::if_nametoindex(port).unwrap_or(0)
}
