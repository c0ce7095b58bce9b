//! The arguments of `tsg tunnel`, and those that the predecessor's `main.py` had for it.

use super::{Command, Found, UsageError};
use crate::cli::Carry;
use crate::config::is_port_name;
use crate::group_keys;
use crate::tunnel::{Keys, Static, Tunnel};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use tsg_esp::crypto::Suite;

/// Options of the predecessor, which had one dash before a word.
const FORMER: [&str; 3] = ["-dst", "-tun", "-key"];

/// What the predecessor took for the size of a key.
const SIZES: [&str; 3] = ["128", "192", "256"];

/// The predecessor's options as they are written here.
pub(super) fn modern(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(word) if FORMER.contains(&word) => format!("-{word}").into(),
        _ => argument,
    }
}

/// Not where the tunnel is part of this program.
pub(super) const fn is_elsewhere(_: &[OsString]) -> bool {
    false
}

/// What every host takes whole (RFC 791 section 3.1), and more.
fn mtu(text: &str) -> Result<u16, UsageError> {
    let mtu = text.parse().ok().filter(|mtu| *mtu >= 576);
    mtu.ok_or_else(|| UsageError(format!("--mtu is between 576 and 65535, not {text:?}")))
}

/// Transport mode is for two addresses that both hosts know, and a route to one of them.
fn may_transport(peer: IpAddr) -> bool {
    let is_special = peer.is_unspecified() || peer.is_loopback() || peer.is_multicast();
    !is_special
        && match peer {
            IpAddr::V4(peer) => !peer.is_broadcast(),
            IpAddr::V6(peer) => !peer.is_unicast_link_local(),
        }
}

impl Found {
    fn tunnel(&mut self, words: &mut impl Iterator<Item = OsString>) -> Result<Tunnel, UsageError> {
        let needed = |what: Option<String>, name: &str| {
            what.ok_or_else(|| {
                UsageError(format!("`tsg tunnel` needs {name}; see `tsg help tunnel`"))
            })
        };
        let interface = words.next().map(super::text).transpose()?;
        let interface = needed(interface, "the interface that the other end is reached by")?;
        let peer = needed(self.value("dst"), "--dst ADDRESS")?;
        let peer: IpAddr = peer.parse().map_err(|_| {
            UsageError(format!("--dst is the address of the other end, not {peer:?}"))
        })?;
        let device = needed(self.value("tun"), "--tun NAME")?;
        if !is_port_name(&device) {
            return Err(UsageError(format!(
                "--tun is the name of a new interface, up to 15 letters and digits, not {device:?}"
            )));
        }
        if let Some(size) = self.value("key").filter(|size| !SIZES.contains(&size.as_str())) {
            return Err(UsageError(format!(
                "--key is 256 as ever, and means nothing any more, not {size:?}; the key is in a file: --key-file"
            )));
        }
        let socket = self.folders.tunnel_socket(&device);
        let mtu = self.value("mtu").map(|text| mtu(&text)).transpose()?;
        let (udp, keys) = (self.take("udp"), self.keys(&device)?);
        if matches!(keys, Keys::Static(_)) && peer.is_unspecified() {
            return Err(UsageError(
                "--static needs the address of the other end: keys come out of it".to_owned(),
            ));
        }
        let transport = self.take("transport");
        if transport && !may_transport(peer) {
            return Err(UsageError(format!(
                "--transport needs an address of the other end that is good on every interface, not {peer}"
            )));
        }
        Ok(Tunnel { interface, peer, device, keys, socket, transport, udp, mtu })
    }

    /// What the keys come out of.
    fn keys(&mut self, device: &str) -> Result<Keys, UsageError> {
        let (given, suite) = (self.value("key-file").map(PathBuf::from), self.suite()?);
        if self.take("group") {
            if given.is_some() || suite.is_some() {
                return Err(UsageError(
                    "--group has its keys from this host's gateway: no --key-file, no --static"
                        .to_owned(),
                ));
            }
            return Ok(Keys::Group(group_keys::path(&self.folders)));
        }
        let own = || self.folders.state.join(format!("tunnel-{device}.key"));
        let file = given.unwrap_or_else(own);
        Ok(match suite {
            None => Keys::File(file),
            Some(suite) => Keys::Static(Static { file, suite, cache: self.folders.cache() }),
        })
    }

    /// The cipher of static keys, if those are wanted.
    fn suite(&mut self) -> Result<Option<Suite>, UsageError> {
        let cipher = self.value("cipher");
        if !self.take("static") {
            return match cipher {
                Some(_) => Err(UsageError(
                    "--cipher goes with --static; else the ends agree on one".to_owned(),
                )),
                None => Ok(None),
            };
        }
        let Some(name) = cipher else { return Ok(Some(Suite::ChaCha20Poly1305)) };
        let known = || Suite::ALL.map(Suite::as_str).join(" or ");
        let suite = Suite::from_name(&name);
        suite.map(Some).ok_or_else(|| UsageError(format!("--cipher is {}, not {name:?}", known())))
    }

    /// `tsg tunnel`: to run it, or to print what the other end is made of.
    pub(super) fn tunnel_command(
        &mut self,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<Command, UsageError> {
        let tunnel = self.tunnel(words)?;
        match (self.take("xfrm"), tunnel.keys.clone()) {
            (false, _) => Ok(Command::Tunnel(Carry::Packets(tunnel))),
            (true, Keys::Static(how)) => Ok(Command::Tunnel(Carry::Xfrm(tunnel, how))),
            (true, Keys::File(_) | Keys::Group(_)) => Err(UsageError(
                "--xfrm goes with --static: the kernel does not agree on keys".to_owned(),
            )),
        }
    }
}
