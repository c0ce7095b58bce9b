//! `tsg gate`: holds `closed` at boot, before there is a daemon (DESIGN section 12), and takes away what an
//! earlier run left if the gateway was switched off or is to go.
//!
//! Errors of the configuration do not stop it: the daemon will not start with them, so the ports that are
//! known are held all the same. No name is looked up: at boot nobody answers.

use crate::attach::{self, Ports};
use crate::config::Config;
use crate::folders::Folders;
use crate::gate::{self, Gate};
use crate::rules::Plan;
use crate::run::recall_policy;
use crate::uci;
use anyhow::{Context as _, Result};
use core::net::{IpAddr, SocketAddr};
use std::io::{self, Write};
use std::path::Path;
use tsg_control::group::Fail;
use tsg_control::policy::{Action, Policy};

use super::args::Gate as Wanted;
use super::{Options, Verdict};

pub(super) fn run(options: &Options, wanted: &Wanted, out: &mut dyn Write) -> Result<Verdict> {
    if let Wanted::Clear { ports: named } = wanted
        && !named.is_empty()
    {
        tsg_log::start(c"tsg", options.log, log::LevelFilter::Info)?;
        let mut verdict = Verdict::Good;
        for port in named {
            let done = Ports::alone(port).and_then(|port| removed(&port));
            tell(port, done, &mut verdict, out)?;
        }
        return Ok(verdict);
    }
    let folders = &options.folders;
    let (config, mut verdict) = configuration(&folders.config_file())?;
    tsg_log::start(c"tsg", options.log, config.log_level)?;
    // What made the server unreadable says nothing against there being one.
    let idle = !config.enabled || (config.is_idle() && verdict == Verdict::Good);
    let plan = plan(&config, folders);
    for bridge in &config.bridges {
        let ports = Ports::of(bridge);
        let done = match (idle, wanted, plan.fail) {
            (_, Wanted::Clear { .. }, _) => removed(&ports),
            (true, _, _) => {
                let why = if config.enabled { "no key server is set" } else { "switched off" };
                attach::clear(&ports).map(|()| format!("no gate: {why}"))
            }
            (false, Wanted::Isolate, _) => isolated(&ports),
            (false, Wanted::Hold, Fail::Open) => gate::unlock(&ports)
                .and_then(|()| attach::connect(&ports, &plan))
                .map(|()| "no gate: `fail` is open".to_owned()),
            (false, Wanted::Hold, Fail::Closed) => held(&ports, &plan),
        };
        tell(&ports.bridge, done, &mut verdict, out)?;
    }
    Ok(verdict)
}

fn tell(
    what: &str,
    done: Result<String>,
    verdict: &mut Verdict,
    out: &mut dyn Write,
) -> Result<()> {
    match done {
        Ok(done) => writeln!(out, "{what}: {done}")?,
        Err(error) => {
            super::complain(&format!("{what}: {error:#}"));
            *verdict = Verdict::Problems;
        }
    }
    Ok(())
}

fn removed(ports: &Ports) -> Result<String> {
    attach::remove(ports).map(|()| "no gate, no rules".to_owned())
}

/// As much of the configuration as is right; what is not is said.
fn configuration(path: &Path) -> Result<(Config, Verdict)> {
    let package = uci::read(path).with_context(|| {
        format!(
            "{} does not say which ports to hold; put it right or install it again",
            path.display()
        )
    })?;
    let (config, problems) = Config::from_package(path, &package);
    let mut verdict = Verdict::Good;
    for problem in problems {
        if problem.severity == crate::config::Severity::Error {
            writeln!(io::stderr().lock(), "tsg: {problem}")?;
            verdict = Verdict::Problems;
        }
    }
    Ok((config, verdict))
}

/// What the daemon would bring into force before the server has spoken.
fn plan(config: &Config, folders: &Folders) -> Plan {
    let stricter = config.rules.iter().filter(|rule| rule.action != Action::Bypass);
    let address = |host: &str| host.parse::<IpAddr>().ok();
    let servers = config.servers.iter();
    let plan = Plan {
        local: Policy::new(stricter.cloned().collect()),
        servers: servers
            .filter_map(|server| Some(SocketAddr::new(address(server.host())?, server.port())))
            .collect(),
        ..Plan::unknown(config.fail)
    };
    match recall_policy(folders) {
        None => plan,
        Some(kept) => Plan {
            policies: vec![kept.policy],
            mode: kept.mode,
            fail: kept.fail,
            non_ip: kept.non_ip,
            ..plan
        },
    }
}

fn held(ports: &Ports, plan: &Plan) -> Result<String> {
    Gate::new(ports).install(&[plan])?;
    attach::connect(ports, plan)?;
    gate::unlock(ports)?;
    let (there, missing): (Vec<&str>, Vec<&str>) =
        ports.all().partition(|port| nix::net::if_::if_nametoindex(*port).is_ok());
    let mut said = format!("the gate stands on {}", or_none(&there));
    if !missing.is_empty() {
        said += &format!("; not there yet: {}", missing.join(", "));
    }
    Ok(said)
}

fn isolated(ports: &Ports) -> Result<String> {
    Ok(format!("isolated: {}", or_none(&gate::isolate(ports)?)))
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "no port".to_owned() } else { names.join(", ") }
}
