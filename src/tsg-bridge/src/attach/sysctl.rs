//! The settings of br_netfilter that the iptables queue needs; they belong to the network namespace.

use anyhow::{Context as _, Result};
use std::fs;

const FOLDER: &str = "/proc/sys/net/bridge";

/// Bridged IPv4 and IPv6 reach iptables, and tagged frames too: those would slip by.
const WANTED: [&str; 3] =
    ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-filter-vlan-tagged"];

/// What was changed, with the value that it had.
#[derive(Debug, Default)]
pub(super) struct Changed(Vec<(&'static str, String)>);

impl Changed {
    /// Sets all of them, and remembers what they were the first time.
    pub(super) fn set(&mut self) -> Result<()> {
        for name in WANTED {
            let path = format!("{FOLDER}/{name}");
            let now = read(&path)?;
            if now != "1" {
                fs::write(&path, "1").with_context(|| format!("cannot set {path}"))?;
                if !self.0.iter().any(|(known, _)| *known == name) {
                    self.0.push((name, now));
                }
            }
        }
        Ok(())
    }

    /// All of them are as they must be.
    pub(super) fn verify(&self) -> Result<bool> {
        for name in WANTED {
            if read(&format!("{FOLDER}/{name}"))? != "1" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts back what was there.
    pub(super) fn restore(&mut self) {
        for (name, value) in self.0.drain(..) {
            if let Err(error) = fs::write(format!("{FOLDER}/{name}"), value) {
                log::warn!("cannot put {name} back: {error}");
            }
        }
    }
}

fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("cannot read {path}: load the kernel module br_netfilter (kmod-br-netfilter)")
    })?;
    Ok(text.trim().to_owned())
}

/// Is br_netfilter there?
pub(super) fn there() -> Result<()> {
    WANTED.iter().try_for_each(|name| read(&format!("{FOLDER}/{name}")).map(drop))
}
