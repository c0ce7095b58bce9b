//! What somebody wants: the ports' roles and the box's address, checked as far as that goes without a machine.

use crate::arguments::{Arguments, Kind, Parameter};
use anyhow::{Context as _, Result, anyhow, ensure};
use std::net::IpAddr;

/// The box's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// What the box has on these ports, it keeps.
    Keep,
    /// From a DHCP server in the plant network.
    Dhcp,
    /// None on these ports.
    None,
    /// This one, with the length of its prefix.
    Fixed(String),
}

/// What a set-up is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) lan: Vec<String>,
    pub(crate) wan: String,
    pub(crate) address: Address,
    /// The address is in this VLAN.
    pub(crate) vlan: Option<u16>,
    /// No bridge, whatever the ports are.
    pub(crate) standalone: bool,
}

impl Request {
    /// All ports, LAN first.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &str> {
        self.lan.iter().chain([&self.wan]).map(String::as_str)
    }

    /// What the method `setup` takes.
    pub(crate) const PARAMETERS: [Parameter; 5] = [
        Parameter::required("lan", Kind::Texts),
        Parameter::required("wan", Kind::Text),
        Parameter::optional("address", Kind::Text),
        Parameter::optional("vlan", Kind::Number),
        Parameter::optional("standalone", Kind::Flag),
    ];

    /// Its arguments.
    ///
    /// # Errors
    /// Names what is wrong.
    pub(crate) fn from_arguments(arguments: &Arguments) -> Result<Self> {
        let owned = |name: &str| arguments.text(name).map(str::to_owned);
        let vlan = arguments.number("vlan").map(u16::try_from).transpose();
        Self {
            lan: arguments.texts("lan").into_iter().map(str::to_owned).collect(),
            wan: owned("wan").unwrap_or_default(),
            address: owned("address").as_deref().unwrap_or("keep").parse()?,
            vlan: vlan.context("VLANs are 1 to 4094")?,
            standalone: arguments.flag("standalone") == Some(true),
        }
        .checked()
    }

    /// Looks at what can be told without a machine.
    pub(crate) fn checked(self) -> Result<Self> {
        ensure!(
            !self.lan.is_empty(),
            "no LAN port is named: which one leads to the protected machines?"
        );
        ensure!(self.lan.len() <= MOST_LAN, "more than {MOST_LAN} LAN ports");
        for (at, port) in self.ports().enumerate() {
            ensure!(is_name(port), "{port:?} is not the name of a port; `ip link` shows them");
            ensure!(self.ports().take(at).all(|other| other != port), "{port} is named twice");
        }
        if let Some(vlan) = self.vlan {
            ensure!((1..=4094).contains(&vlan), "VLAN {vlan}: there are 1 to 4094");
            ensure!(
                self.address != Address::None,
                "a VLAN is for the box's address, and it should have none"
            );
        }
        Ok(self)
    }
}

const MOST_LAN: usize = 16;

impl std::str::FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "keep" => Ok(Self::Keep),
            "dhcp" => Ok(Self::Dhcp),
            "none" => Ok(Self::None),
            cidr => fixed(cidr).map(Self::Fixed).ok_or_else(|| {
                anyhow!("address {cidr:?}: allowed are keep, dhcp, none, or one like 192.0.2.5/24")
            }),
        }
    }
}

/// A host's address with its prefix, as it is written best.
fn fixed(text: &str) -> Option<String> {
    let (address, len) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let len: u8 = len.parse().ok()?;
    let (bits, value) = match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    if address.is_unspecified()
        || address.is_multicast()
        || address.is_loopback()
        || !(1..=bits).contains(&len)
    {
        return None;
    }
    // The first and last address of an IPv4 subnet are nobody's.
    let host = (1u128 << (bits - len)).wrapping_sub(1);
    let is_host = bits == 128 || len >= 31 || (value & host != 0 && value & host != host);
    is_host.then(|| format!("{address}/{len}"))
}

/// As `config bridge` takes it.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=15).contains(&name.len())
        && name.bytes().all(plain)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}
