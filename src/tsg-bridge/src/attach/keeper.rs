//! Puts the rules into the kernel, and sees to it that they stay there.
//!
//! Whether something has changed is asked cheaply every second (a generation number, the size of a
//! table); only then the rules are read back and compared. Not here: what the rules say.

use super::programs::run;
use super::stamp::Stamp;
use super::{Kind, Ports, ingress, links, nfqueue, sockets, sysctl};
use crate::interface;
use crate::rules::{self, BoxPort, Existing, Hooks, IpVersion, Plan, Queues};
use anyhow::{Context as _, Result, bail};
use core::net::IpAddr;
use std::io;

/// Once in so many looks the rules are read back whatever the stamp says.
const FULL_LOOK: u32 = 60;

/// How often it is tried to load rules and read them back without somebody changing rules in between.
const ATTEMPTS: u32 = 3;

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
    /// What the rules say of the interfaces beside their names.
    place: Place,
}

/// The ports, the box's own Ethernet addresses, and the port to it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    ports: Vec<u32>,
    own: Vec<[u8; 6]>,
    box_port: Option<PlaceOfBox>,
}

/// The number of the box's port, the Ethernet address of its other end, and the IP addresses of the box.
#[derive(Debug, PartialEq, Eq)]
struct PlaceOfBox {
    number: u32,
    peer: Option<[u8; 6]>,
    addresses: Vec<IpAddr>,
}

/// More addresses than this no box has.
const MOST_ADDRESSES: usize = 256;

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

    pub(super) const fn is_installed(&self) -> bool {
        self.plan.is_some()
    }

    /// The rules are as they were loaded; if not they are loaded again, and the answer is `true`.
    pub(super) fn verify(&mut self) -> Result<bool> {
        if self.plan.is_none() {
            return Ok(false);
        }
        self.looks = (self.looks + 1) % FULL_LOOK;
        ingress::keep_up(&self.taps, self.queues.count)?;
        set_up(&self.ports, interface::hear_all)?;
        let settings_kept = self.kind != Kind::NfqueueIptables || self.sysctls.verify()?;
        let place = self.place()?;
        let kept = |loaded: &&mut Loaded| settings_kept && loaded.place == place;
        if let Some(loaded) = self.loaded.as_mut().filter(kept) {
            let stamp = Stamp::read();
            if stamp == loaded.stamp && self.looks != 0 {
                return Ok(false);
            }
            let now = read_back(self.kind, &self.ports);
            if now.is_ok_and(|now| now == loaded.fingerprint) {
                loaded.stamp = stamp;
                return Ok(false);
            }
        }
        self.load()?;
        Ok(true)
    }

    /// The packets go into other queues and TAPs from the next look on.
    pub(super) fn serve(&mut self, queues: Queues, taps: Vec<String>) {
        self.queues = queues;
        self.taps = taps;
        self.doubt();
    }

    /// What the kernel dropped, as the daemon did not take it in time.
    pub(super) fn overruns(&self) -> u64 {
        match self.kind {
            Kind::NfqueueNft | Kind::NfqueueIptables => nfqueue::dropped(self.queues),
            Kind::Ingress => ingress::dropped(&self.taps),
        }
    }

    /// Forgets what was loaded, so that the next look loads again: a port has another number now.
    pub(super) fn doubt(&mut self) {
        self.loaded = None;
    }

    fn load(&mut self) -> Result<()> {
        let Some(plan) = self.plan.clone() else { return Ok(()) };
        self.loaded = None;
        for _ in 0..ATTEMPTS {
            let place = self.place()?;
            let read = match self.kind {
                Kind::NfqueueNft => {
                    self.load_table(&rules::bridge_text(&plan, &self.ports, self.queues))?
                }
                Kind::Ingress => {
                    set_up(&self.ports, interface::bring_up_for_all)?;
                    let hooks = hooks(&self.ports, &self.taps, &place);
                    self.load_table(&rules::netdev_text(&plan, &self.ports, &hooks))?
                }
                Kind::NfqueueIptables => {
                    self.sysctls.set()?;
                    self.load_chains(&plan)?
                }
            };
            if let Some((stamp, fingerprint)) = read {
                self.loaded = Some(Loaded { stamp, fingerprint, place });
                return Ok(());
            }
        }
        bail!("somebody else changes rules all the time; the next look loads them again")
    }

    /// Loads a table and reads it back: what is read is the truth from then on. `None` if somebody changed rules
    /// in between, so that it need not be what was loaded.
    fn load_table(&self, text: &str) -> Result<Option<(Stamp, String)>> {
        check(text)?;
        let before = Stamp::read();
        run("nft", &["-f", "-"], Some(text)).context("nft cannot load the rules")?;
        let stamp = Stamp::read();
        let Ok(fingerprint) = read_back(self.kind, &self.ports) else { return Ok(None) };
        let undisturbed = stamp.follows(&before) && Stamp::read() == stamp;
        Ok(undisturbed.then_some((stamp, fingerprint)))
    }

    /// As [`load_table`](Self::load_table), with the chains of iptables.
    fn load_chains(&self, plan: &Plan) -> Result<Option<(Stamp, String)>> {
        let mut rules = 0;
        for version in [IpVersion::V4, IpVersion::V6] {
            let existing = Existing::parse(&saved(version)?, &self.ports);
            let text = rules::restore_text(plan, &self.ports, self.queues, version, &existing);
            restore(version, &text)?;
            rules += rules::rules_in(&text);
        }
        let stamp = Stamp::read();
        let Ok(fingerprint) = read_back(self.kind, &self.ports) else { return Ok(None) };
        let whole = fingerprint.lines().count() == rules && rules::is_first(&fingerprint);
        Ok((whole && Stamp::read() == stamp).then_some((stamp, fingerprint)))
    }

    /// For the ingress attach alone.
    fn place(&self) -> Result<Place> {
        match self.kind {
            Kind::Ingress => Place::of(&self.ports),
            Kind::NfqueueNft | Kind::NfqueueIptables => Ok(Place::default()),
        }
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

impl Place {
    /// Looks at the ports.
    ///
    /// # Errors
    /// One of them is in a bridge, which would forward besides us.
    fn of(ports: &Ports) -> Result<Self> {
        let mut place = Self::default();
        for name in ports.all() {
            place.ports.push(sockets::number(name));
            let port = links::link(sockets::number(name));
            let bridge = port.as_ref().and_then(|port| links::link(port.master));
            if ports.standalone && bridge.is_some() {
                bail!(
                    "{name} is in a bridge, and `standalone` says that it is in none: take it out, or set that to 0"
                );
            }
            for link in [port, bridge].into_iter().flatten() {
                place.own.extend(link.address.filter(|mac| !place.own.contains(mac)));
            }
        }
        if let Some(number) = ports.box_port.as_deref().map(sockets::number)
            && let Some(port) = links::link(number)
        {
            let peer = links::link(port.peer).and_then(|peer| peer.address);
            place.box_port = Some(PlaceOfBox { number, peer, addresses: own_addresses()? });
        }
        Ok(place)
    }
}

/// The IP addresses of the box, on whatever interface.
fn own_addresses() -> Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs().context("cannot read the box's addresses")?;
    let mut addresses: Vec<IpAddr> = all
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|address| !address.is_loopback())
        // The rules have these as a block.
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    Ok(addresses)
}

/// Standalone ports take frames for others, as in a bridge. Up they are when rules are loaded; who sets one down later
/// means it.
fn set_up(ports: &Ports, set: fn(&str) -> io::Result<()>) -> Result<()> {
    for port in ports.all().filter(|port| ports.standalone && sockets::number(port) != 0) {
        set(port).with_context(|| format!("cannot set up {port}"))?;
    }
    Ok(())
}

/// The ports that are there, each with its TAP, and what else the rules have to know.
fn hooks<'a>(ports: &'a Ports, taps: &'a [String], place: &Place) -> Hooks<'a> {
    let of_ports = taps.iter().map(|tap| Some(tap.as_str())).chain(std::iter::repeat(None));
    let there = ports.all().zip(of_ports).filter(|(port, _)| sockets::number(port) != 0);
    let box_port = place.box_port.as_ref().zip(ports.box_port.as_deref());
    Hooks {
        ports: there.collect(),
        taps: taps.iter().map(String::as_str).collect(),
        own: place.own.clone(),
        box_port: box_port.map(|(place, name)| BoxPort {
            name,
            peer: place.peer,
            addresses: place.addresses.clone(),
        }),
    }
}

/// Takes away what an attach of this kind may have left behind.
pub(super) fn clear_leftovers(kind: Kind, ports: &Ports) {
    if stands(kind, ports) {
        match withdraw(kind, ports) {
            Ok(()) => log::info!("took away what an attach {kind} had left behind"),
            Err(error) => log::warn!("cannot take away the rules of an attach {kind}: {error:#}"),
        }
    }
}

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

/// Checks and loads a text with nft.
pub(super) fn nft(text: &str) -> Result<()> {
    check(text)?;
    run("nft", &["-f", "-"], Some(text)).context("nft cannot load the rules")?;
    Ok(())
}

fn check(text: &str) -> Result<()> {
    run("nft", &["-c", "-f", "-"], Some(text)).context("the kernel or nft refuses the rules")?;
    Ok(())
}

pub(super) fn restore(version: IpVersion, text: &str) -> Result<()> {
    let program = match version {
        IpVersion::V4 => "iptables-restore",
        IpVersion::V6 => "ip6tables-restore",
    };
    run(program, &["-w", "1", "--noflush", "--test"], Some(text))
        .with_context(|| format!("{program} refuses the rules"))?;
    run(program, &["-w", "1", "--noflush"], Some(text))
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

/// There are rules that a daemon has loaded for its TAPs.
pub(super) fn is_served(ports: &Ports) -> bool {
    read_back(Kind::Ingress, ports).is_ok_and(|rules| rules.contains(ingress::TAP_NAME))
}

/// There are rules of ours.
fn stands(kind: Kind, ports: &Ports) -> bool {
    read_back(kind, ports).is_ok()
}

/// Our rules as the kernel has them now. It is an error if they are gone.
fn read_back(kind: Kind, ports: &Ports) -> Result<String> {
    let rules = match kind {
        Kind::NfqueueNft => table("bridge", ports)?,
        Kind::Ingress => table("netdev", ports)?,
        Kind::NfqueueIptables => chains(IpVersion::V4, ports)? + &chains(IpVersion::V6, ports)?,
    };
    if rules.is_empty() {
        bail!("the kernel has no rules of ours");
    }
    Ok(rules)
}

fn table(family: &str, ports: &Ports) -> Result<String> {
    run("nft", &["-s", "-t", "list", "table", family, &rules::table_name(ports)], None)
        .context("cannot read the rules back")
}

fn chains(version: IpVersion, ports: &Ports) -> Result<String> {
    Ok(Existing::fingerprint(&saved(version)?, ports))
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
