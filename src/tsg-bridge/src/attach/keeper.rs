//! Puts the rules into the kernel, and sees to it that they stay there.
//!
//! Whether something has changed is asked cheaply every second (a generation number, the size of a
//! table); only then the rules are read back and compared. Not here: what the rules say.

use super::stamp::Stamp;
use super::{Kind, Ports, links, sockets, sysctl};
use crate::rules::{self, Existing, IpVersion, Plan, Queues};
use anyhow::{Context as _, Result, bail};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Once in so many looks the rules are read back whatever the stamp says.
const FULL_LOOK: u32 = 60;

/// The rules of one attach.
#[derive(Debug)]
pub(super) struct Keeper {
    kind: Kind,
    ports: Ports,
    queues: Queues,
    taps: Vec<String>,
    plan: Option<Plan>,
    loaded: Option<Loaded>,
    sysctls: sysctl::Changed,
    looks: u32,
}

/// What the kernel said right after loading.
#[derive(Debug, PartialEq, Eq)]
struct Loaded {
    stamp: Stamp,
    fingerprint: String,
}

impl Keeper {
    pub(super) fn new(kind: Kind, ports: Ports, queues: Queues, taps: Vec<String>) -> Self {
        Self {
            kind,
            ports,
            queues,
            taps,
            plan: None,
            loaded: None,
            sysctls: sysctl::Changed::default(),
            looks: 0,
        }
    }

    /// Brings `plan` into force, as one transaction for each IP version.
    pub(super) fn install(&mut self, plan: &Plan) -> Result<()> {
        let before = self.plan.replace(plan.clone());
        if let Err(error) = self.load() {
            self.plan = before;
            return Err(error);
        }
        if before.is_none() {
            // A daemon with another attach may have been here, and died: its rules would stop what ours let pass.
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != self.kind) {
                clear_leftovers(kind, &self.ports);
            }
        }
        Ok(())
    }

    /// The rules are as they were loaded; if not they are loaded again, and the answer is `true`.
    pub(super) fn verify(&mut self) -> Result<bool> {
        if self.plan.is_none() {
            return Ok(false);
        }
        self.looks = (self.looks + 1) % FULL_LOOK;
        let settings_kept = self.kind != Kind::NfqueueIptables || self.sysctls.verify()?;
        if let Some(loaded) = self.loaded.as_mut().filter(|_| settings_kept) {
            let stamp = Stamp::read();
            if stamp == loaded.stamp && self.looks != 0 {
                return Ok(false);
            }
            let now = fingerprint(self.kind, &self.ports)?;
            if now == loaded.fingerprint {
                loaded.stamp = stamp;
                return Ok(false);
            }
        }
        self.load()?;
        Ok(true)
    }

    /// Forgets what was loaded, so that the next look loads again: a port has another number now.
    pub(super) fn doubt(&mut self) {
        self.loaded = None;
    }

    fn load(&mut self) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        self.loaded = None;
        match self.kind {
            Kind::NfqueueNft => nft(&rules::bridge_text(plan, &self.ports, self.queues))?,
            Kind::Ingress => {
                let own = own_addresses(&self.ports);
                nft(&rules::netdev_text(plan, &self.ports, &self.taps, &own))?;
            }
            Kind::NfqueueIptables => {
                self.sysctls.set()?;
                for version in [IpVersion::V4, IpVersion::V6] {
                    let existing = Existing::parse(&saved(version)?, &self.ports);
                    let text =
                        rules::restore_text(plan, &self.ports, self.queues, version, &existing);
                    restore(version, &text)?;
                }
            }
        }
        let fingerprint = fingerprint(self.kind, &self.ports)?;
        self.loaded = Some(Loaded { stamp: Stamp::read(), fingerprint });
        Ok(())
    }

    /// Takes the rules away, and puts back what was changed for them.
    pub(super) fn withdraw(&mut self) -> Result<()> {
        self.plan = None;
        self.loaded = None;
        withdraw(self.kind, &self.ports)?;
        self.sysctls.restore();
        Ok(())
    }
}

fn clear_leftovers(kind: Kind, ports: &Ports) {
    if fingerprint(kind, ports).is_ok_and(|left| !left.is_empty()) {
        match withdraw(kind, ports) {
            Ok(()) => log::info!("took away what an attach {kind} had left behind"),
            Err(error) => log::warn!("cannot take away the rules of an attach {kind}: {error:#}"),
        }
    }
}

/// Takes away what an attach of this kind may have left behind.
fn withdraw(kind: Kind, ports: &Ports) -> Result<()> {
    match kind {
        Kind::NfqueueNft => nft(&rules::withdraw_table("bridge", ports)),
        Kind::Ingress => nft(&rules::withdraw_table("netdev", ports)),
        Kind::NfqueueIptables => {
            for version in [IpVersion::V4, IpVersion::V6] {
                let existing = Existing::parse(&saved(version)?, ports);
                restore(version, &rules::withdraw_text(&existing, ports))?;
            }
            Ok(())
        }
    }
}

/// The Ethernet addresses that the box itself has here: those of the ports and of the bridge that they are in.
fn own_addresses(ports: &Ports) -> Vec<[u8; 6]> {
    let mut list: Vec<[u8; 6]> = Vec::new();
    for name in ports.all() {
        let port = links::link(sockets::number(name));
        let bridge = port.as_ref().and_then(|port| links::link(port.master));
        for link in [port, bridge].into_iter().flatten() {
            list.extend(link.address.filter(|mac| !list.contains(mac)));
        }
    }
    list
}

/// Checks and loads a text with nft.
pub(super) fn nft(text: &str) -> Result<()> {
    run("nft", &["-c", "-f", "-"], Some(text)).context("the kernel or nft refuses the rules")?;
    run("nft", &["-f", "-"], Some(text)).context("nft cannot load the rules")?;
    Ok(())
}

pub(super) fn restore(version: IpVersion, text: &str) -> Result<()> {
    let program = match version {
        IpVersion::V4 => "iptables-restore",
        IpVersion::V6 => "ip6tables-restore",
    };
    run(program, &["-w", "5", "--noflush", "--test"], Some(text))
        .with_context(|| format!("{program} refuses the rules"))?;
    run(program, &["-w", "5", "--noflush"], Some(text))
        .with_context(|| format!("{program} cannot load the rules"))?;
    Ok(())
}

pub(super) fn saved(version: IpVersion) -> Result<String> {
    let program = match version {
        IpVersion::V4 => "iptables-save",
        IpVersion::V6 => "ip6tables-save",
    };
    run(program, &["-t", "mangle"], None).context("cannot read table mangle")
}

/// Our rules as the kernel has them now; empty if they are gone.
fn fingerprint(kind: Kind, ports: &Ports) -> Result<String> {
    let table = match kind {
        Kind::NfqueueNft => "bridge",
        Kind::Ingress => "netdev",
        Kind::NfqueueIptables => {
            let v4 = Existing::fingerprint(&saved(IpVersion::V4)?, ports);
            return Ok(v4 + &Existing::fingerprint(&saved(IpVersion::V6)?, ports));
        }
    };
    let name = rules::table_name(ports);
    Ok(run("nft", &["-s", "list", "table", table, &name], None).unwrap_or_default())
}

/// Runs a program with `input`, and gives its output.
fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`: is it installed?"))?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that ends early says why on its error output.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("{program} does not end"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} says: {}", said.lines().take(4).collect::<Vec<_>>().join(" / "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Loads a scratch chain with every match and target that the rules need, and takes it away.
pub(super) fn try_restore(version: IpVersion) -> Result<()> {
    let physdev = "-m physdev --physdev-is-bridged --physdev-in tsg-a --physdev-out tsg-b";
    let ports = "-p tcp -m multiport --dports 0:65535";
    let queue = "-j NFQUEUE --queue-balance 25300:25301";
    let scratch = "TSG/probe";
    let text = format!(
        "*mangle\n:{scratch} - [0:0]\n-A {scratch} {physdev} -j RETURN\n-A {scratch} {ports} {queue}\nCOMMIT\n"
    );
    restore(version, &text)?;
    restore(version, &format!("*mangle\n-F {scratch}\n-X {scratch}\nCOMMIT\n"))
}
