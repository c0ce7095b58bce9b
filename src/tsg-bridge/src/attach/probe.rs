//! Which attach this kernel can, found out by trying.

use super::{Kind, Ports, ingress, keeper, nfqueue, sysctl};
use crate::rules::IpVersion;
use anyhow::{Context as _, Result};

/// What was found out about one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// Why this kernel cannot; `None` if it can.
    pub refusal: Option<String>,
}

/// What this kernel can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// A finding for each kind, in the order in which `auto` prefers them.
    pub findings: Vec<Finding>,
}

impl Probe {
    /// The kind that `attach 'auto'` takes.
    pub fn choice(&self) -> Option<Kind> {
        self.findings.iter().find(|finding| finding.refusal.is_none()).map(|finding| finding.kind)
    }

    /// Can this kernel do `kind`?
    pub fn can(&self, kind: Kind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind && finding.refusal.is_none())
    }

    /// What was chosen and why, in a line.
    pub fn reason(&self) -> String {
        let refused = |kind| {
            let finding = self.findings.iter().find(|finding| finding.kind == kind)?;
            Some(format!("{kind} not: {}", finding.refusal.as_deref()?))
        };
        let refusals: Vec<String> = Kind::ALL.into_iter().map_while(refused).collect();
        match self.choice() {
            Some(kind) if refusals.is_empty() => format!("{kind}: the first choice works"),
            Some(kind) => format!("{kind} ({})", refusals.join("; ")),
            None => format!("no attach works ({})", refusals.join("; ")),
        }
    }
}

/// Tries each kind with scratch tables, a scratch queue and a scratch TAP, and takes them away again.
pub fn probe(ports: &Ports) -> Probe {
    let try_kind = |kind| {
        let tried = match kind {
            Kind::NfqueueNft => try_nft_queue(),
            Kind::NfqueueIptables => try_iptables(),
            Kind::Ingress => try_ingress(ports),
        };
        Finding { kind, refusal: tried.err().map(|error| format!("{error:#}")) }
    };
    Probe { findings: Kind::ALL.into_iter().map(try_kind).collect() }
}

fn try_nft_queue() -> Result<()> {
    nfqueue::try_bind()?;
    scratch(
        "bridge",
        "chain c {\n type filter hook forward priority 0\n iifname \"tsg-none\" queue to 25300-25301\n }",
    )
    .context("nftables cannot queue from a bridge (kmod-nft-bridge, kmod-nft-queue)")
}

fn try_iptables() -> Result<()> {
    nfqueue::try_bind()?;
    sysctl::there()?;
    for version in [IpVersion::V4, IpVersion::V6] {
        keeper::try_restore(version)
            .context("iptables cannot queue (iptables-mod-nfqueue, kmod-ipt-physdev)")?;
    }
    Ok(())
}

fn try_ingress(ports: &Ports) -> Result<()> {
    ports.check()?;
    const TAP: &str = "tsg-probe";
    let tap = ingress::try_tap(TAP)?;
    let tried = scratch(
        "netdev",
        &format!(
            "chain c {{\n type filter hook ingress device \"{TAP}\" priority 10\n \
             iifname \"tsg-none\" fwd to \"{TAP}\"\n }}"
        ),
    );
    drop(tap);
    tried.context("nftables cannot forward from an ingress hook (kmod-nft-netdev)")
}

/// Loads a table `tsg_probe`, and takes it away. It sleeps: its hook is never in the kernel's way, and when it goes no
/// queue is emptied.
fn scratch(family: &str, body: &str) -> Result<()> {
    keeper::nft(&format!("table {family} tsg_probe {{\n flags dormant\n {body}\n}}\n"))?;
    keeper::nft(&format!("delete table {family} tsg_probe\n"))
}
