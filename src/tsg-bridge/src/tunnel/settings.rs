//! What a tunnel is told with its command.

use super::MOST_WORKERS;
use super::path::Carrier;
use core::net::IpAddr;
use core::num::NonZero;
use std::path::PathBuf;
use tsg_esp::crypto::Suite;

/// What is told to the two ends with the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The interface that ESP goes out of.
    pub interface: String,
    /// The other end. The address that stands for none (0.0.0.0 or ::): whoever has the key, from wherever.
    pub peer: IpAddr,
    /// The name of the TUN device.
    pub device: String,
    /// What the keys of packets come out of.
    pub keys: Keys,
    /// Where it says how it is.
    pub socket: PathBuf,
    /// Transport mode: what the two hosts have for each other, under their own addresses.
    pub transport: bool,
    /// In UDP on port 4500 instead of IP protocol 50: for paths that do not take that.
    pub udp: bool,
    /// The most that the device takes, in bytes, where the path's own MTU is more than gets through.
    pub mtu: Option<u16>,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Agreed on under the key of a file, which is made if there is none.
    File(PathBuf),
    /// Agreed on under those of a group, which the gateway of this host leaves there.
    Group(PathBuf),
    /// Static: out of the key of a file alone.
    Static(Static),
}

/// Static keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Static {
    /// The file of the key; made if there is none.
    pub file: PathBuf,
    /// Their cipher.
    pub suite: Suite,
    /// Where sequence numbers are leased: no backup copies it.
    pub cache: PathBuf,
}

impl Keys {
    /// The file of the key, if there is one.
    pub(super) const fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(file) | Self::Static(Static { file, .. }) => Some(file),
            Self::Group(_) => None,
        }
    }
}

impl Tunnel {
    /// The address of the other end, if it was given.
    pub(super) fn fixed(&self) -> Option<IpAddr> {
        Some(self.peer).filter(|peer| !peer.is_unspecified())
    }

    /// One for each processor. Static keys are one worker's: what they seal has one row of sequence numbers.
    pub(super) fn workers(&self) -> u8 {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        match self.keys {
            Keys::Static(_) => 1,
            Keys::File(_) | Keys::Group(_) => processors.min(MOST_WORKERS as usize) as u8,
        }
    }

    pub(super) const fn carrier(&self) -> Carrier {
        Carrier { udp: self.udp, v6: self.peer.is_ipv6() }
    }
}
