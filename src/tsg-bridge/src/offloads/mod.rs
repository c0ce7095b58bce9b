//! What a network card, or the kernel for it, does to packets before the gateway sees them: GRO, LRO, TSO, GSO,
//! fraglist GRO and GRO of datagrams for others. Read and set for each port, as `ethtool -k` and `-K` do.
//!
//! What was there before is kept until the next boot (`keep`), and put back when nobody wants it changed any more.
//! Not here: why a gateway wants what (docs/ports.md).

mod keep;
mod sys;
#[cfg(test)]
mod tests;

pub(crate) use keep::{Wanted, Wish, apply, restore};

use std::collections::BTreeMap;
use std::io;

/// One of the offloads that UCI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Received packets of a flow are joined, so that they can be cut again as they were.
    Gro,
    /// The card joins received packets, and nobody can cut them again as they were.
    Lro,
    /// The card cuts TCP.
    Tso,
    /// The kernel cuts late, right before the driver.
    Gso,
    /// GRO of packets that go on, as lists of packets.
    RxGroList,
    /// GRO of datagrams that go on, which are cut again as they were.
    RxUdpGroForwarding,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Gro, Self::Lro, Self::Tso, Self::Gso, Self::RxGroList, Self::RxUdpGroForwarding];

    /// Its option in UCI, and its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gro => "gro",
            Self::Lro => "lro",
            Self::Tso => "tso",
            Self::Gso => "gso",
            Self::RxGroList => "rx_gro_list",
            Self::RxUdpGroForwarding => "rx_udp_gro_forwarding",
        }
    }

    /// The feature of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// Does the kernel's bit of that name belong to it? For TSO there are several, and newer kernels have more.
    fn has(self, bit: &str) -> bool {
        match self {
            Self::Gro => bit == "rx-gro",
            Self::Lro => bit == "rx-lro",
            Self::Tso => bit.starts_with("tx-tcp") && bit.ends_with("-segmentation"),
            Self::Gso => bit == "tx-generic-segmentation",
            Self::RxGroList => bit == "rx-gro-list",
            Self::RxUdpGroForwarding => bit == "rx-udp-gro-forwarding",
        }
    }

    /// Is that bit set, too, to switch the feature on? With mangled identifications packets would not be what the
    /// sender made of them.
    fn switches_on(bit: &str) -> bool {
        bit != "tx-tcp-mangleid-segmentation"
    }
}

/// How a feature stands on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// It is on.
    pub(crate) on: bool,
    /// Nobody can change it.
    pub(crate) fixed: bool,
}

/// The settings of one port. A kernel that does not know a feature has it off and fixed.
pub(crate) type Settings = BTreeMap<Feature, Setting>;

/// How the features of a port stand.
///
/// # Errors
/// There is no such port, or its kernel tells nothing of features.
pub(crate) fn read(port: &str) -> io::Result<Settings> {
    let bits = sys::Device::open(port)?.features()?;
    Ok(settings(&bits))
}

fn settings(bits: &[sys::Bit]) -> Settings {
    let of = |feature: Feature| {
        let own: Vec<&sys::Bit> = of_feature(bits, feature).collect();
        let setting = Setting {
            on: own.iter().any(|bit| bit.active),
            fixed: !own.iter().any(|bit| bit.changeable),
        };
        (feature, setting)
    };
    Feature::ALL.into_iter().map(of).collect()
}

fn of_feature(bits: &[sys::Bit], feature: Feature) -> impl Iterator<Item = &sys::Bit> {
    bits.iter().filter(move |bit| feature.has(&bit.name))
}
