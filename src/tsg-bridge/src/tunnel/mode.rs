//! Tunnel mode or transport mode: keys of their own, and what is said when the ends differ.

use super::settings::{Keys, Static, Tunnel};
use super::{Key, path};
use core::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tsg_esp::crypto::Spi;

impl Tunnel {
    /// The mode by name.
    pub(super) const fn mode(&self) -> &'static str {
        Self::name(self.transport)
    }

    const fn name(transport: bool) -> &'static str {
        if transport { "transport" } else { "tunnel" }
    }

    /// The key of this end's mode, out of that of the file.
    pub(super) fn key(&self, file: Key) -> Key {
        if self.transport { file.for_transport() } else { file }
    }
}

/// Notices the other end in the other mode, of which nothing can be opened.
pub(super) struct OtherMode {
    /// Where its packets, or its hellos, would be of this SPI.
    spi: Option<Spi>,
    transport: bool,
    said: AtomicBool,
}

impl OtherMode {
    /// With the key of the file.
    pub(super) fn of(tunnel: &Tunnel, file: &Key) -> Self {
        let own = match tunnel.transport {
            false => Some(file.for_transport()),
            true => None,
        };
        let key = own.as_ref().unwrap_or(file);
        let spi = match &tunnel.keys {
            Keys::File(_) | Keys::Group(_) => Some(key.hello_spi()),
            Keys::Static(Static { suite, .. }) => {
                let own = path::look(&tunnel.interface, tunnel.peer).ok();
                own.map(|(own, _): (IpAddr, _)| key.standing(*suite, tunnel.peer, own).0)
            }
        };
        Self { spi, transport: tunnel.transport, said: AtomicBool::new(false) }
    }

    /// Looks at ESP of an unknown SPI. Anybody may have sent it, so it is said once.
    pub(super) fn look(&self, esp: &[u8], device: &str) {
        let spi = esp.first_chunk().map(|spi| u32::from_be_bytes(*spi)).and_then(Spi::from_wire);
        let is_it = spi.is_some() && spi == self.spi;
        if is_it && !self.said.swap(true, Relaxed) {
            let [own, other] = [self.transport, !self.transport].map(Tunnel::name);
            log::warn!(
                "{device}: the other end is in {other} mode and this one in {own} mode: give both --transport, or neither"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_have_nothing_in_common() {
        tsg_sodium::init().unwrap();
        let file = Key::generate();
        let own = file.for_transport();
        assert_ne!(own.hello_spi(), file.hello_spi());
        assert_ne!(*own.text(), *file.text());
        assert_eq!(*own.text(), *file.for_transport().text(), "the same on both hosts");
    }
}
