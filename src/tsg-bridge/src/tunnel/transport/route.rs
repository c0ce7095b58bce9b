//! The route that leads what goes to the other end into the device: to that host alone, from this host's address. The
//! socket of ESP is bound to the interface, and so takes the route that was there before.

use crate::interface;
use crate::netlink::{Family, Request, Socket, flags};
use anyhow::{Context as _, Result, bail};
use core::net::IpAddr;
use std::io;

/// Kinds of messages and attributes of linux/rtnetlink.h.
const NEW: u16 = 24;
const DELETE: u16 = 25;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;

const MAIN_TABLE: u8 = 254;
const BY_AN_ADMINISTRATOR: u8 = 4;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;

/// Before what others put there: IPv6 takes 0 for 1,024.
const FIRST_V4: u32 = 0;
const FIRST_V6: u32 = 1;

/// The route.
pub(super) struct Route {
    device: String,
    own: IpAddr,
    peer: IpAddr,
}

impl Route {
    pub(super) fn new(device: &str, own: IpAddr, peer: IpAddr) -> Self {
        Self { device: device.to_owned(), own, peer }
    }

    /// Sets it, in the place of one that an earlier run has left.
    ///
    /// # Errors
    /// Somebody has another route to this one host, which the carrier might need.
    pub(super) fn renew(&self) -> Result<()> {
        let Self { device, peer, .. } = self;
        // There is none, most of the time.
        let _ = self.ask(DELETE, 0);
        match self.ask(NEW, flags::CREATE | flags::EXCL) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "there is a route to {peer} alone already (`ip route show {peer}`): give it `metric 100`, so that \
                 the one by {device} comes first"
            ),
            Err(error) => Err(error).with_context(|| format!("cannot route {peer} into {device}")),
        }
    }

    /// Sets it again if it is gone, as it is when the address was gone for a moment.
    pub(super) fn keep(&self) {
        let Self { device, peer, .. } = self;
        match self.ask(NEW, flags::CREATE | flags::EXCL) {
            Ok(()) => log::info!("{device}: the route to {peer} was gone, and is back"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Without the address there is no route from it, and the filter holds.
            Err(error) => log::debug!("{device}: no route to {peer}: {error}"),
        }
    }

    fn ask(&self, kind: u16, how: u16) -> io::Result<()> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let (family, bits, first) = match self.peer {
            IpAddr::V4(_) => (libc::AF_INET, 32_u8, FIRST_V4),
            IpAddr::V6(_) => (libc::AF_INET6, 128, FIRST_V6),
        };
        let number = interface::index(&self.device).ok_or(io::ErrorKind::NotFound)?;
        let mut fixed = [0; 12];
        fixed[..2].copy_from_slice(&[family as u8, bits]);
        fixed[4..8].copy_from_slice(&[MAIN_TABLE, BY_AN_ADMINISTRATOR, SCOPE_LINK, UNICAST]);
        let mut request = Request::new(kind, flags::REQUEST | flags::ACK | how, &fixed);
        request
            .put(DESTINATION, &octets(self.peer))
            .put(SOURCE, &octets(self.own))
            .put(INTERFACE, &number.to_ne_bytes())
            .put(PRIORITY, &first.to_ne_bytes());
        Socket::open(Family::Route)?.request(&mut request)
    }
}
