//! The rules as input of `iptables-restore --noflush` and `ip6tables-restore --noflush`: chains of our own in
//! table mangle, entered from FORWARD.
//!
//! iptables has no sets, and a chain cannot say "return from two chains", so the passes are written in
//! continuation: what a pass lets go jumps to the next pass, and every pass ends in a verdict. A condition
//! with several lists becomes a small ladder of chains, one rung a list.

use super::always;
use super::passes::{Class, Condition, Pass, Then, Version, passes};
use super::{Plan, Queues};
use crate::attach::Ports;
use core::fmt::Write as _;
use std::collections::BTreeSet;
use tsg_control::group::{Fail, Mode};
use tsg_control::policy::{Action, Block, Ports as Range, Proto};

/// Which of the two programs a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// `iptables-restore`.
    V4,
    /// `ip6tables-restore`.
    V6,
}

impl IpVersion {
    const fn version(self) -> Version {
        match self {
            Self::V4 => Version::V4,
            Self::V6 => Version::V6,
        }
    }
}

/// What the names of our chains begin with. Each gateway of a machine has its own chains, told apart by the
/// WAN port; no port's name has a slash.
fn prefix(ports: &Ports) -> String {
    format!("{ANY_PREFIX}{}/", ports.wan)
}

const ANY_PREFIX: &str = "TSG/";

// Names as they are written while a text is made; `@/` becomes the prefix at its end.
const TOP: &str = "@/top";
const OUT: &str = "@/out";
const IN: &str = "@/in";
const COMMON: &str = "@/common";
const DAEMON: &str = "@/daemon";

/// Values that `-m multiport` takes at most; a range counts twice.
const MULTIPORT: usize = 15;

/// What is in table mangle already, read from `iptables-save -t mangle`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    chains: Vec<String>,
    jumps: usize,
}

impl Existing {
    /// Finds the chains of the gateway on these ports, and the jumps to them, in the output of
    /// `iptables-save`.
    pub fn parse(saved: &str, ports: &Ports) -> Self {
        let (prefix, jump) = (prefix(ports), jump(ports));
        let chain = |line: &str| {
            let name = line.strip_prefix(':')?.split_whitespace().next()?;
            name.starts_with(&prefix).then(|| name.to_owned())
        };
        Self {
            chains: saved.lines().filter_map(chain).collect(),
            jumps: saved.lines().filter(|line| line.trim_end() == jump).count(),
        }
    }

    /// The lines of `iptables-save` that are ours, without counters: to see whether somebody changed them.
    pub fn fingerprint(saved: &str, ports: &Ports) -> String {
        let (own, jump) = (format!("-A {}", prefix(ports)), jump(ports));
        let mut lines = String::new();
        let mut first = true;
        for line in saved.lines().map(str::trim_end) {
            if line.starts_with(&own) || line == jump {
                // A rule in front of the jump could accept what we would catch.
                let place = if line == jump && !first { NOT_FIRST } else { "" };
                let _ = writeln!(lines, "{line}{place}");
            }
            first &= !line.starts_with("-A FORWARD ") || line.contains(ANY_PREFIX);
        }
        lines
    }

    fn unhook(&self, text: &mut String) {
        for _ in 0..self.jumps {
            let _ = writeln!(text, "-D FORWARD -j {TOP}");
        }
    }
}

const NOT_FIRST: &str = " # not first";

/// How many lines of a [fingerprint](Existing::fingerprint) a text leads to.
pub fn rules_in(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("-A ") || line.starts_with("-I ")).count()
}

/// In a [fingerprint](Existing::fingerprint), no rule of others stands in front of ours.
pub fn is_first(fingerprint: &str) -> bool {
    !fingerprint.contains(NOT_FIRST)
}

fn jump(ports: &Ports) -> String {
    format!("-A FORWARD -j {TOP}").replace("@/", &prefix(ports))
}

/// The text that brings `plan` into force in one transaction, whatever of ours was there before.
pub fn restore_text(
    plan: &Plan,
    ports: &Ports,
    queues: Queues,
    version: IpVersion,
    existing: &Existing,
) -> String {
    let mut chains = Chains::default();
    entrance(&mut chains, plan, ports, version);
    common(&mut chains, plan, version);
    let bypass = if may_bypass(plan) { " --queue-bypass" } else { "" };
    let numbers = match queues.count {
        0 | 1 => format!("--queue-num {}", queues.first),
        _ => format!("--queue-balance {}:{}", queues.first, queues.last()),
    };
    chains.add(DAEMON, &format!("-j NFQUEUE {numbers}{bypass}"));

    let mut text = String::from("*mangle\n");
    let prefix = prefix(ports);
    let written = existing.chains.iter().map(|name| name.replacen(&prefix, "@/", 1));
    let stale: BTreeSet<String> = written.filter(|name| !chains.has(name)).collect();
    for chain in chains.names().chain(stale.iter().map(String::as_str)) {
        let _ = writeln!(text, ":{chain} - [0:0]");
    }
    existing.unhook(&mut text);
    let _ = writeln!(text, "-I FORWARD 1 -j {TOP}");
    text.push_str(&chains.rules);
    for chain in &stale {
        let _ = writeln!(text, "-X {chain}");
    }
    text.push_str("COMMIT\n");
    text.replace("@/", &prefix)
}

/// The text that takes everything of ours away.
pub fn withdraw_text(existing: &Existing, ports: &Ports) -> String {
    let mut text = String::from("*mangle\n");
    existing.unhook(&mut text);
    for chain in &existing.chains {
        let _ = writeln!(text, "-F {chain}");
    }
    for chain in &existing.chains {
        let _ = writeln!(text, "-X {chain}");
    }
    text.push_str("COMMIT\n");
    text.replace("@/", &prefix(ports))
}

/// When nobody serves the queue its packets pass instead of being dropped.
pub(super) fn may_bypass(plan: &Plan) -> bool {
    plan.fail == Fail::Open || !matches!(plan.mode, Mode::Enforce | Mode::Migrate)
}

/// Chains as they are written.
#[derive(Default)]
struct Chains {
    names: Vec<String>,
    rules: String,
    rungs: usize,
}

impl Chains {
    fn add(&mut self, chain: &str, rule: &str) {
        if !self.has(chain) {
            self.names.push(chain.to_owned());
        }
        let _ = writeln!(self.rules, "-A {chain} {rule}");
    }

    fn has(&self, chain: &str) -> bool {
        self.names.iter().any(|name| name == chain)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// `-A chain … -j verdict` for every combination of the values of these lists.
    fn ladder(&mut self, chain: &str, lists: &[Vec<String>], verdict: &str) {
        let (single, several): (Vec<_>, Vec<_>) = lists.iter().partition(|list| list.len() == 1);
        let mut fixed = String::new();
        for list in single {
            let _ = write!(fixed, "{} ", list[0]);
        }
        self.rungs_from(chain, &fixed, &several, verdict);
    }

    fn rungs_from(&mut self, chain: &str, fixed: &str, lists: &[&Vec<String>], verdict: &str) {
        let Some((list, rest)) = lists.split_first() else {
            return self.add(chain, &format!("{fixed}-j {verdict}"));
        };
        let target = if rest.is_empty() {
            verdict.to_owned()
        } else {
            self.rungs += 1;
            format!("@/l{}", self.rungs)
        };
        for value in list.iter() {
            self.add(chain, &format!("{fixed}{value} -j {target}"));
        }
        if !rest.is_empty() {
            self.rungs_from(&target, "", rest, verdict);
        }
    }
}

/// From FORWARD by direction: sealed packets first.
fn entrance(chains: &mut Chains, plan: &Plan, ports: &Ports, version: IpVersion) {
    for lan in &ports.lan {
        let wan = &ports.wan;
        let bridged = "-m physdev --physdev-is-bridged";
        chains.add(TOP, &format!("{bridged} --physdev-in {lan} --physdev-out {wan} -g {OUT}"));
        chains.add(TOP, &format!("{bridged} --physdev-in {wan} --physdev-out {lan} -g {IN}"));
    }
    for (chain, sealed) in [(OUT, "-j ACCEPT"), (IN, "-j @/daemon")] {
        for protocol in plan.protocols() {
            chains.add(chain, &format!("-p {protocol} {sealed}"));
        }
        for port in plan.udp_ports() {
            chains.add(chain, &format!("-p udp -m udp --sport {port} --dport {port} {sealed}"));
        }
        always_pass(chains, chain, plan, version);
        chains.add(chain, &format!("-g {COMMON}"));
    }
}

fn always_pass(chains: &mut Chains, chain: &str, plan: &Plan, version: IpVersion) {
    let range = |[low, high]: [u16; 2]| format!("--sport {low}:{high} --dport {low}:{high}");
    match version {
        IpVersion::V4 => {
            chains.add(chain, &format!("-p {} ! -f -j ACCEPT", always::IGMP));
            let dhcp = range(always::DHCP);
            chains.add(chain, &format!("-p udp -m udp {dhcp} -j ACCEPT"));
        }
        IpVersion::V6 => {
            let (first, last) = always::ND;
            for kind in always::MLD.into_iter().chain(first..=last) {
                let icmp = format!("-p icmpv6 -m icmp6 --icmpv6-type {kind}");
                chains.add(chain, &format!("{icmp} -j ACCEPT"));
            }
            let dhcp = range(always::DHCPV6);
            chains.add(chain, &format!("-p udp -m udp {dhcp} -j ACCEPT"));
        }
    }
    for server in plan.servers_of(version == IpVersion::V4) {
        let (address, port) = (server.ip(), server.port());
        chains.add(chain, &format!("-d {address} -p tcp -m tcp --dport {port} -j ACCEPT"));
        chains.add(chain, &format!("-s {address} -p tcp -m tcp --sport {port} -j ACCEPT"));
    }
}

/// What both directions share: ICMP errors, then the passes for what can be seen of the packet.
fn common(chains: &mut Chains, plan: &Plan, version: IpVersion) {
    if plan.mode == Mode::Learn {
        return chains.add(COMMON, &format!("-j {DAEMON}"));
    }
    if !plan.acts() {
        return chains.add(COMMON, "-j ACCEPT");
    }
    match version {
        IpVersion::V4 => {
            for kind in always::ICMP_ERRORS {
                let icmp = format!("-p icmp -m icmp --icmp-type {kind}");
                chains.add(COMMON, &format!("{icmp} -j {DAEMON}"));
            }
        }
        IpVersion::V6 => {
            // There is no range of types: what is not an echo is left to the daemon.
            for kind in [128, 129] {
                let icmp = format!("-p icmpv6 -m icmp6 --icmpv6-type {kind}");
                chains.add(COMMON, &format!("{icmp} -g {}", first(Class::Known)));
            }
            chains.add(COMMON, &format!("-p icmpv6 -j {DAEMON}"));
        }
    }
    for class in [Class::Known, Class::NoPorts, Class::Unknown] {
        write_passes(chains, class, &passes(&plan.effective(), version.version(), class));
    }
    for proto in [Proto::TCP, Proto::UDP, Proto::SCTP] {
        let proto = proto.0;
        // Does not hold where the ports do not show, whatever they are.
        let shown = format!("-p {proto} -m multiport --dports 0:65535");
        chains.add(COMMON, &format!("{shown} -g {}", first(Class::Known)));
        chains.add(COMMON, &format!("-p {proto} -g {}", first(Class::NoPorts)));
    }
    // Any protocol at all: does not hold where the chain of headers cannot be walked.
    chains.add(COMMON, &format!("! -p tcp -g {}", first(Class::Known)));
    chains.add(COMMON, &format!("-g {}", first(Class::Unknown)));
}

const fn letter(class: Class) -> char {
    match class {
        Class::Known => 'k',
        Class::NoPorts => 'n',
        Class::Unknown => 'u',
    }
}

fn first(class: Class) -> String {
    format!("@/{}0", letter(class))
}

fn write_passes(chains: &mut Chains, class: Class, passes: &[Pass]) {
    let chain_of = |at| format!("@/{}{at}", letter(class));
    for (at, pass) in passes.iter().enumerate() {
        let verdict = match pass.action {
            Action::Drop => "DROP",
            Action::Encrypt => DAEMON,
            Action::Bypass => "ACCEPT",
        };
        let (chain, next) = (chain_of(at), chain_of(at + 1));
        for (condition, then) in &pass.lines {
            let target = if *then == Then::Act { verdict } else { &next };
            chains.ladder(&chain, &lists(condition), target);
        }
        let target = if pass.end == Then::Act { verdict } else { &next };
        chains.add(&chain, &format!("-j {target}"));
    }
    chains.add(&chain_of(passes.len()), "-j ACCEPT");
}

/// The condition's lists, each value as iptables writes it. Protocol and ports go together.
fn lists(condition: &Condition) -> Vec<Vec<String>> {
    let blocks = |option: &str, blocks: &[Block]| {
        blocks.iter().map(|block| format!("{option} {block}")).collect::<Vec<_>>()
    };
    let mut lists = vec![blocks("-s", &condition.src), blocks("-d", &condition.dest)];
    let sources = multiports("--sports", &condition.src_port);
    let dests = multiports("--dports", &condition.dest_port);
    let mut upper = Vec::new();
    for proto in &condition.proto {
        for source in &sources {
            for dest in &dests {
                upper.push(format!("-p {}{source}{dest}", proto.0));
            }
        }
    }
    lists.push(upper);
    lists.retain(|list| !list.is_empty());
    lists
}

/// `-m multiport` for all of the ranges, in as many pieces as it takes; no ranges are one empty piece.
fn multiports(option: &str, ranges: &[Range]) -> Vec<String> {
    if ranges.is_empty() {
        return vec![String::new()];
    }
    let mut pieces: Vec<(usize, String)> = Vec::new();
    for range in ranges {
        let Range { first, last } = range;
        let (cost, text) = match first == last {
            true => (1, first.to_string()),
            false => (2, format!("{first}:{last}")),
        };
        match pieces.last_mut().filter(|(used, _)| used + cost <= MULTIPORT) {
            Some((used, piece)) => {
                *used += cost;
                let _ = write!(piece, ",{text}");
            }
            None => pieces.push((cost, format!(" -m multiport {option} {text}"))),
        }
    }
    pieces.into_iter().map(|(_, piece)| piece).collect()
}
