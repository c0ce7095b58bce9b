//! What is wanted is brought about, and what was there before is kept in the run folder and put back when nobody wants
//! anything else any more. A port that has gone and come back is a new one: it has what its driver gave it.

use super::{Feature, of_feature, read, sys};
use crate::config::{Attach, Bridge, Config};
use crate::folders::Folders;
use crate::identity::{Replace, prepare_folder, write_secret_file};
use crate::interface;
use anyhow::{Context as _, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// A second, and not more: the daemon has other things to do.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A longer file is none of ours.
const MAX_BYTES: u64 = 256 * 1024;

/// On or off, and how much that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Where it cannot be, somebody has to know.
    Must(bool),
    /// It is faster so. Where it cannot be, nothing is wrong.
    Rather(bool),
}

impl Wish {
    pub(crate) const fn on(self) -> bool {
        match self {
            Self::Must(on) | Self::Rather(on) => on,
        }
    }
}

/// What is wanted of one port.
type Wishes = BTreeMap<Feature, Wish>;

/// What each port should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted(pub(crate) BTreeMap<String, Wishes>);

impl Wanted {
    /// What a configuration asks for, and what a gateway wants by itself.
    pub(crate) fn of(config: &Config) -> Self {
        let mut wanted = Self::default();
        let at_work = |standalone: bool| standalone || !config.is_idle();
        for bridge in config.bridges.iter().filter(|bridge| at_work(bridge.standalone)) {
            wanted.add_needs(bridge);
        }
        let ingress = |bridge: &&Bridge| bridge.standalone || config.attach == Attach::Ingress;
        for bridge in config.bridges.iter().filter(|_| !config.is_idle()).filter(ingress) {
            wanted.add_speed(bridge);
        }
        for port in config.ports.iter().filter(|_| config.enabled) {
            let offloads = port.offloads.iter().map(|(&feature, &on)| (feature, Wish::Must(on)));
            wanted.port(&port.device).extend(offloads);
        }
        wanted
    }

    /// What stays when the daemon goes: its rules still connect standalone ports.
    pub(crate) fn after(config: &Config) -> Self {
        let mut wanted = Self::default();
        config.bridges.iter().filter(|bridge| bridge.standalone).for_each(|b| wanted.add_needs(b));
        wanted
    }

    fn port(&mut self, name: &str) -> &mut Wishes {
        self.0.entry(name.to_owned()).or_default()
    }

    /// No LRO, since nobody can cut again as they were what that has joined. A bridge sees to that, too; nobody else
    /// does for standalone ports, which are connected even while the gateway is idle.
    fn add_needs(&mut self, bridge: &Bridge) {
        for port in bridge.ports() {
            self.port(port).insert(Feature::Lro, Wish::Must(false));
        }
    }

    /// The attach `ingress` takes what GRO has joined, and nothing that is a list. Of datagrams those from the WAN are
    /// joined, which are sealed ones that the other gateway had joined; for hosts' own there is no need.
    fn add_speed(&mut self, bridge: &Bridge) {
        for port in bridge.ports() {
            self.port(port).insert(Feature::RxGroList, Wish::Rather(false));
        }
        self.port(&bridge.wan).insert(Feature::RxUdpGroForwarding, Wish::Rather(true));
    }

    /// The ports that something is wanted of, and the numbers of those that are there.
    pub(crate) fn ports(&self) -> Vec<(&str, Option<u32>)> {
        self.0.keys().map(|port| (port.as_str(), interface::index(port))).collect()
    }
}

/// What the features were that have been changed: by port, by the kernel's name of the bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Originals {
    boot: String,
    ports: BTreeMap<String, Original>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Original {
    number: u32,
    bits: BTreeMap<String, bool>,
}

/// Brings about what is wanted, and puts back what is not wanted any more. Gives what could not be done, for people.
/// What is so already costs a question for each port.
///
/// # Errors
/// The run folder cannot be used. What was there before could not be kept then, so nothing is changed.
pub(crate) fn apply(folders: &Folders, wanted: &Wanted) -> Result<Vec<String>> {
    if wanted.0.is_empty() && !path(folders).exists() {
        return Ok(Vec::new());
    }
    prepare_folder(&folders.run)?;
    let _one_at_a_time = lock(folders)?;
    let mut originals = Originals::load(folders)?;
    originals.ports.retain(|port, original| interface::index(port) == Some(original.number));
    let ports: BTreeSet<String> = originals.ports.keys().chain(wanted.0.keys()).cloned().collect();
    let nothing = BTreeMap::new();
    let mut troubles = Vec::new();
    for port in &ports {
        let wanted = wanted.0.get(port).unwrap_or(&nothing);
        if let Err(error) = one(folders, &mut originals, port, wanted, &mut troubles) {
            troubles.push(format!("{port}: {error:#}"));
        }
    }
    originals.save(folders)?;
    Ok(troubles)
}

/// Puts back everything.
///
/// # Errors
/// As [`apply`].
pub(crate) fn restore(folders: &Folders) -> Result<Vec<String>> {
    apply(folders, &Wanted::default())
}

/// Brings one port to what is wanted of it. One that is not there has its turn when it comes.
fn one(
    folders: &Folders,
    originals: &mut Originals,
    port: &str,
    wanted: &Wishes,
    troubles: &mut Vec<String>,
) -> Result<()> {
    let Some(number) = interface::index(port) else { return Ok(()) };
    let device = sys::Device::open(port)?;
    let bits = device.features().context("its features cannot be read")?;
    let mut targets: Vec<(String, bool)> = Vec::new();
    let mut before =
        originals.ports.remove(port).unwrap_or(Original { number, bits: BTreeMap::new() });
    for (&feature, wish) in wanted {
        let on = wish.on();
        for bit in of_feature(&bits, feature).filter(|bit| bit.changeable) {
            if bit.requested != on && (!on || Feature::switches_on(&bit.name)) {
                before.bits.entry(bit.name.clone()).or_insert(bit.requested);
                targets.push((bit.name.clone(), on));
            }
        }
    }
    let is_wanted = |bit: &str| wanted.keys().any(|feature| feature.has(bit));
    let (kept, put_back): (BTreeMap<_, _>, BTreeMap<_, _>) =
        before.bits.clone().into_iter().partition(|(bit, _)| is_wanted(bit));
    targets.extend(put_back);
    // Kept before anything changes: whoever comes after a crash knows what was there.
    if !before.bits.is_empty() {
        originals.ports.insert(port.to_owned(), before);
    }
    if !targets.is_empty() {
        originals.save(folders)?;
        device.request(&targets).context("its offloads cannot be changed; that takes root")?;
        match originals.ports.get_mut(port) {
            Some(original) if !kept.is_empty() => original.bits = kept,
            Some(_) | None => drop(originals.ports.remove(port)),
        }
    }
    troubles.extend(disobeyed(port, wanted)?);
    Ok(())
}

/// What stayed as it was all the same, and must not.
fn disobeyed(port: &str, wanted: &Wishes) -> Result<Vec<String>> {
    let now = read(port)?;
    let differs = wanted.iter().filter_map(|(feature, wish)| {
        let Wish::Must(on) = *wish else { return None };
        let setting = now.get(feature).filter(|setting| setting.on != on)?;
        let (is, name) = (if setting.on { "on" } else { "off" }, feature.name());
        Some(match setting.fixed {
            true => format!("{port}: {name} is {is}, and its driver lets nobody change that"),
            false => format!("{port}: {name} stays {is}; something that it needs is missing"),
        })
    });
    Ok(differs.collect())
}

impl Originals {
    /// What is kept; nothing of an earlier boot.
    fn load(folders: &Folders) -> Result<Self> {
        let (path, boot) = (path(folders), boot());
        let nothing = Self { boot: boot.clone(), ports: BTreeMap::new() };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nothing),
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        };
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text)?;
        match serde_json::from_slice::<Self>(&text) {
            Ok(kept) if kept.boot == boot => Ok(kept),
            Ok(_) => Ok(nothing),
            Err(error) => {
                log::warn!(
                    "{} is damaged ({error}): offloads changed before stay changed until the next boot",
                    path.display()
                );
                Ok(nothing)
            }
        }
    }

    fn save(&self, folders: &Folders) -> Result<()> {
        let path = path(folders);
        if self.ports.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot delete {}", path.display()))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        write_secret_file(&path, &serde_json::to_vec(self)?, Replace::Allow)
    }
}

fn path(folders: &Folders) -> PathBuf {
    folders.run.join("offloads.json")
}

/// Daemon, hotplug script and operator may come at the same moment.
fn lock(folders: &Folders) -> Result<Flock<File>> {
    let path = folders.run.join("offloads.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let mut file = file;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((unlocked, nix::Error::EWOULDBLOCK)) => file = unlocked,
            Err((_, error)) => return Err(anyhow!("cannot lock {}: {error}", path.display())),
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(anyhow!("somebody else is changing offloads all the time; is a `tsg offloads` hanging?"))
}

/// Which boot this is; a run folder may be on a disk.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
