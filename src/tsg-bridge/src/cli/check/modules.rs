//! Kernel modules that the gateway cannot do without, where it can be told that one is missing.

use anyhow::Result;

use super::report::Report;
use crate::{
    attach::Kind,
    config::Config,
    machine::{Machine, ModuleState},
};

/// A module, what it is for, and OpenWrt's package with it.
type Need = (&'static str, &'static str, &'static str);

/// The gate on each port.
const GATE: [Need; 2] = [
    ("sch_ingress", "the gate on the ports", "kmod-sched-core"),
    ("cls_bpf", "the gate on the ports", "kmod-sched-bpf"),
];

const NFQUEUE_NFT: [Need; 2] = [
    ("nfnetlink_queue", "the queue", "kmod-nft-queue"),
    ("nft_queue", "the queue", "kmod-nft-queue"),
];

const NFQUEUE_IPTABLES: [Need; 2] = [
    ("nfnetlink_queue", "the queue", "kmod-nfnetlink-queue"),
    ("xt_NFQUEUE", "the queue", "kmod-ipt-nfqueue"),
];

const INGRESS: [Need; 2] = [
    ("tun", "the attach ingress", "kmod-tun"),
    ("nft_fwd_netdev", "the attach ingress", "kmod-nft-netdev"),
];

const STANDALONE: [Need; 1] =
    [("nft_dup_netdev", "connecting standalone ports", "kmod-nft-netdev")];

const BOX: [Need; 1] = [("veth", "the box's own address", "kmod-veth")];

pub(super) fn check(
    config: &Config,
    kind: Option<Kind>,
    machine: &Machine,
    report: &mut Report<'_>,
) -> Result<()> {
    let mut needs: Vec<Need> = GATE.to_vec();
    match kind {
        Some(Kind::NfqueueNft) => needs.extend(NFQUEUE_NFT),
        Some(Kind::NfqueueIptables) => needs.extend(NFQUEUE_IPTABLES),
        Some(Kind::Ingress) => needs.extend(INGRESS),
        None => {}
    }
    if config.bridges.iter().any(|bridge| bridge.standalone) {
        needs.extend(STANDALONE);
    }
    if config.bridges.iter().any(|bridge| bridge.box_port.is_some()) {
        needs.extend(BOX);
    }
    let mut missing = 0;
    for (module, purpose, package) in &needs {
        if machine.module(module) == ModuleState::Missing {
            missing += 1;
            let text = format!("this kernel has no {module}, for {purpose}; install {package}");
            report.problem("modules", &text)?;
        }
    }
    if missing == 0 { report.good("modules", "none that is known to be missing") } else { Ok(()) }
}
