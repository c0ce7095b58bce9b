//! The gateway's settings, typed: `/etc/config/tsg` parsed once, at the edge.
//!
//! For: `config tsg 'main'`, `config bridge`, `config port` and `config rule` (docs: files/etc/config/tsg). Every wrong
//! value is reported, not only the first; unknown options are warnings, since the file may come from an
//! older or newer package; those of a port are errors, since a misspelt one would leave an offload on. Not for: what the group decides (mode, cipher, lifetimes): the key server sends
//! that ([`tsg_control::group`]).

mod bridge;
mod endpoint;
mod main_section;
mod options;
mod port;
mod problem;
mod rule;

pub use bridge::Bridge;
pub(crate) use bridge::is_port_name;
pub use endpoint::{DEFAULT_PORT, Endpoint};
pub use main_section::{Attach, Oversize};
pub use port::Port;
pub use problem::{Problem, Problems, Severity};

use std::path::Path;

use anyhow::{Result, ensure};
use log::LevelFilter;
use tsg_control::{
    group::Fail,
    keys::PublicKey,
    policy::{MAX_RULES, Rule},
};

use crate::uci::{self, Package};
use options::Findings;

/// More bridges than this are refused; each costs threads and queues.
const MAX_BRIDGES: usize = 16;

/// More ports than these bridges have are refused.
const MAX_PORTS: usize = 300;

/// Everything that `/etc/config/tsg` sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Off: no rules, no connection.
    pub enabled: bool,
    /// Key servers, in the order in which they are tried. None: idle, no rules.
    pub servers: Vec<Endpoint>,
    /// The key server's CURVE key; always there if there is a server.
    pub server_key: Option<PublicKey>,
    /// What people call this gateway; the host name if not set.
    pub name: Option<String>,
    /// How to get at packets.
    pub attach: Attach,
    /// What to do with packets that are too big once sealed.
    pub oversize: Oversize,
    /// Largest IP packet on the WAN side in bytes; the WAN port's MTU if not set.
    pub path_mtu: Option<u16>,
    /// Keep keys on flash, to start sealed without the key server after a power cut.
    pub cache_keys: bool,
    /// A member of its group for the sake of tunnels: it needs no bridge.
    pub routed: bool,
    /// How much to log.
    pub log_level: LevelFilter,
    /// What happens without a key, until the key server has said.
    pub fail: Fail,
    /// The port pairs to work on.
    pub bridges: Vec<Bridge>,
    /// The offloads that are wanted on ports.
    pub ports: Vec<Port>,
    /// Local rules, before the server's.
    pub rules: Vec<Rule>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            servers: Vec::new(),
            server_key: None,
            name: None,
            attach: Attach::Auto,
            oversize: Oversize::Icmp,
            path_mtu: None,
            cache_keys: false,
            routed: false,
            log_level: LevelFilter::Info,
            fail: Fail::Closed,
            bridges: Vec::new(),
            ports: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks the file. The warnings are for the log.
    ///
    /// # Errors
    /// The file cannot be read or is no UCI file, or a [`Problems`] with everything that is wrong.
    pub fn load(path: &Path) -> Result<(Self, Vec<Problem>)> {
        ensure!(
            path.exists(),
            "cannot read {}: there is none; install the package again, or copy its etc/config/tsg",
            path.display()
        );
        let package = uci::read(path)?;
        let (config, problems) = Self::from_package(path, &package);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(|problem| problem.severity == Severity::Error);
        if errors.is_empty() { Ok((config, warnings)) } else { Err(Problems(errors).into()) }
    }

    /// The settings as far as they are right, and everything that is not. `path` is for the messages.
    pub fn from_package(path: &Path, package: &Package) -> (Self, Vec<Problem>) {
        let mut config = Self::default();
        let mut found = Findings::new(path);
        for section in &package.sections {
            let label = found.enter(section);
            match section.kind.as_str() {
                "tsg" if label == "main" => main_section::read(section, &mut config, &mut found),
                "bridge" => config.bridges.extend(bridge::read(section, label, &mut found)),
                "port" => config.ports.extend(port::read(section, label, &mut found)),
                "rule" => config.rules.extend(rule::read(section, &mut found)),
                _ => found.whole(
                    Severity::Warning,
                    &format!("`config {}` is not known", section.kind),
                    "There are `config tsg 'main'`, `config bridge`, `config port` and `config rule`",
                ),
            }
        }
        found.about(None);
        if package.named("tsg", "main").is_none() {
            found.whole(
                Severity::Error,
                "section `config tsg 'main'` is missing",
                "Write it into the file, or install the package's file again",
            );
        }
        config.check_as_a_whole(package.of_kind("bridge").next().is_some(), &mut found);
        (config, found.problems)
    }

    /// Can a gateway with this configuration go over to `new` while it runs? The key server stays the same one, perhaps
    /// at another address, and so do bridges and attach.
    pub fn goes_over_to(&self, new: &Self) -> bool {
        let before = Self {
            servers: new.servers.clone(),
            name: new.name.clone(),
            oversize: new.oversize,
            path_mtu: new.path_mtu,
            log_level: new.log_level,
            fail: new.fail,
            ports: new.ports.clone(),
            rules: new.rules.clone(),
            ..self.clone()
        };
        before == *new && self.is_idle() == new.is_idle()
    }

    /// Is there anything to do? Without a server the gateway is idle and puts up no rules.
    pub fn is_idle(&self) -> bool {
        !self.enabled || self.servers.is_empty()
    }

    /// The name that people see: `name`, or the host's.
    pub fn gateway_name(&self) -> String {
        let host = || nix::unistd::gethostname().ok()?.into_string().ok();
        self.name.clone().or_else(host).unwrap_or_else(|| "gateway".to_owned())
    }

    fn check_as_a_whole(&self, has_bridge: bool, found: &mut Findings<'_>) {
        if !self.servers.is_empty() && !has_bridge && !self.routed {
            found.whole(
                Severity::Error,
                "there is a server, but no `config bridge` that says which ports to work on",
                "Add one with `list lan` for the protected machine's port and `option wan`, or `option routed '1'` in \
                 `config tsg 'main'` if this box is there for tunnels alone",
            );
        }
        if self.bridges.len() > MAX_BRIDGES {
            let allowed = format!("there are more than {MAX_BRIDGES} bridges");
            found.whole(Severity::Error, &allowed, "Remove some");
        }
        if self.ports.len() > MAX_PORTS {
            let allowed = format!("there are more than {MAX_PORTS} sections `config port`");
            found.whole(Severity::Error, &allowed, "Remove some");
        }
        if self.rules.len() > MAX_RULES {
            let allowed = format!("there are more than {MAX_RULES} rules");
            let advice = "Join rules that differ in one value; an option takes a list";
            found.whole(Severity::Error, &allowed, advice);
        }
        bridge::check_ports_once(&self.bridges, found);
        bridge::check_standalone(&self.bridges, self.attach, found);
        port::check(&self.ports, &self.bridges, found);
    }
}
