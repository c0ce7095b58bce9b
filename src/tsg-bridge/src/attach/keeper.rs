//! Puts the rules into the kernel, and sees to it that they stay there.
//!
//! Whether something has changed is asked cheaply every second (a generation number, the size of a
//! table); only then the rules are read back and compared. Not here: what the rules say.

use super::stamp::Stamp;
use super::{Kind, Ports, sysctl};
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
        self.plan = Some(plan.clone());
        self.load()
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
            let now = fingerprint(self.kind)?;
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
                    let existing = Existing::parse(&saved(version)?);
                    let text =
                        rules::restore_text(plan, &self.ports, self.queues, version, &existing);
                    restore(version, &text)?;
                }
            }
        }
        let fingerprint = fingerprint(self.kind)?;
        self.loaded = Some(Loaded { stamp: Stamp::read(), fingerprint });
        Ok(())
    }

    /// Takes the rules away, and puts back what was changed for them.
    pub(super) fn withdraw(&mut self) -> Result<()> {
        self.plan = None;
        self.loaded = None;
        withdraw(self.kind)?;
        self.sysctls.restore();
        Ok(())
    }
}

/// Takes away what an attach of this kind may have left behind.
pub(super) fn withdraw(kind: Kind) -> Result<()> {
    match kind {
        Kind::NfqueueNft => nft("add table bridge tsg\ndelete table bridge tsg\n"),
        Kind::Ingress => nft("add table netdev tsg\ndelete table netdev tsg\n"),
        Kind::NfqueueIptables => {
            for version in [IpVersion::V4, IpVersion::V6] {
                let existing = Existing::parse(&saved(version)?);
                restore(version, &rules::withdraw_text(&existing))?;
            }
            Ok(())
        }
    }
}

/// The Ethernet addresses that the box itself has on this bridge.
fn own_addresses(ports: &Ports) -> Vec<[u8; 6]> {
    let mut list: Vec<[u8; 6]> = Vec::new();
    for name in core::iter::once(ports.bridge.as_str()).chain(ports.all()) {
        let text = std::fs::read_to_string(format!("/sys/class/net/{name}/address"));
        let mac = text.ok().and_then(|text| parse_mac(text.trim()));
        list.extend(mac.filter(|mac| !list.contains(mac)));
    }
    list
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
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
fn fingerprint(kind: Kind) -> Result<String> {
    let table = match kind {
        Kind::NfqueueNft => "bridge",
        Kind::Ingress => "netdev",
        Kind::NfqueueIptables => {
            let v4 = Existing::fingerprint(&saved(IpVersion::V4)?);
            return Ok(v4 + &Existing::fingerprint(&saved(IpVersion::V6)?));
        }
    };
    Ok(run("nft", &["-s", "list", "table", table, "tsg"], None).unwrap_or_default())
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
    let scratch = "TSG-probe";
    let text = format!(
        "*mangle\n:{scratch} - [0:0]\n-A {scratch} {physdev} -j RETURN\n-A {scratch} {ports} {queue}\nCOMMIT\n"
    );
    restore(version, &text)?;
    restore(version, &format!("*mangle\n-F {scratch}\n-X {scratch}\nCOMMIT\n"))
}
