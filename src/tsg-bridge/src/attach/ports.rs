//! The ports that the gateway sits between.

use crate::config::Bridge;
use anyhow::{Result, bail};

/// The bridge and its ports, or ports that are in none, by interface name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// The bridge; of standalone ports the name of the WAN port.
    pub bridge: String,
    /// Towards the protected machines; at least one.
    pub lan: Vec<String>,
    /// Towards the plant network.
    pub wan: String,
    /// They are in no bridge, and the rules of the ingress attach connect them.
    pub standalone: bool,
    /// Standalone ports: one end of a pair of veth devices; the box's own address is on the other.
    pub box_port: Option<String>,
}

impl Ports {
    /// More LAN ports than this are refused.
    pub const MOST_LAN: usize = 32;

    /// Looks at the names: they go into rule text, so they are letters, digits and `. _ -` only.
    ///
    /// # Errors
    /// Names the option of `config bridge` that is wrong, and what would be right.
    pub fn check(&self) -> Result<()> {
        name("device", &self.bridge)?;
        name("wan", &self.wan)?;
        self.box_port.iter().try_for_each(|port| name("box", port))?;
        if self.lan.is_empty() || self.lan.len() > Self::MOST_LAN {
            bail!("config bridge: `list lan` needs 1 to {} ports", Self::MOST_LAN);
        }
        for (at, port) in self.lan.iter().enumerate() {
            name("lan", port)?;
            if *port == self.wan || self.lan[..at].contains(port) {
                bail!("config bridge: port {port} is named twice");
            }
        }
        Ok(())
    }

    /// The ports of a `config bridge`. A bridge that is not named is found through its WAN port; OpenWrt's usual
    /// one if that is in none yet.
    pub fn of(bridge: &Bridge) -> Self {
        let master = || std::fs::read_link(format!("/sys/class/net/{}/master", bridge.wan)).ok();
        let found = || Some(master()?.file_name()?.to_str()?.to_owned());
        let device = match bridge.standalone {
            true => bridge.wan.clone(),
            false => bridge.device.clone().or_else(found).unwrap_or_else(|| "br-lan".to_owned()),
        };
        Self {
            bridge: device,
            lan: bridge.lan.clone(),
            wan: bridge.wan.clone(),
            standalone: bridge.standalone,
            box_port: bridge.box_port.clone(),
        }
    }

    /// One port by itself, to take away what is on it.
    ///
    /// # Errors
    /// It is not the name of an interface.
    pub fn alone(port: &str) -> Result<Self> {
        name("wan", port)?;
        Ok(Self { bridge: port.to_owned(), wan: port.to_owned(), ..Self::default() })
    }

    /// All ports, LAN first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.lan.iter().chain([&self.wan]).map(String::as_str)
    }
}

fn name(option: &str, name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let sound =
        (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['-', '.']);
    match sound {
        true => Ok(()),
        false => bail!(
            "config bridge: {name:?} in `{option}` is not the name of an interface \
             (1 to 15 letters, digits, `.`, `_`, `-`)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_rule_text_are_refused() {
        let ports = |lan: &[&str], wan: &str| Ports {
            bridge: "br-tsg".into(),
            lan: lan.iter().map(ToString::to_string).collect(),
            wan: wan.into(),
            ..Ports::default()
        };
        assert!(ports(&["lan1", "eth0.2"], "wan_3").check().is_ok());
        let cases = [
            (&["lan1"][..], "wan\" drop", "not the name"),
            (&["lan1"], "", "not the name"),
            (&["lan1"], "-j", "not the name"),
            (&["lan1"], "wan@if3", "not the name"),
            (&["lan1"], "sixteen-letters-", "not the name"),
            (&[], "wan", "1 to 32"),
            (&["a", "a"], "wan", "twice"),
            (&["wan"], "wan", "twice"),
        ];
        for (lan, wan, expected) in cases {
            let error = ports(lan, wan).check().unwrap_err().to_string();
            assert!(error.contains(expected), "{lan:?} {wan:?}: {error}");
        }
    }
}
