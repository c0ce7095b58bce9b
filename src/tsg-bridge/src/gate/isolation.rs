//! The flag `isolated` of bridge ports: isolated ports do not talk to each other.

use crate::attach::Ports;
use crate::netlink::{Family, Request, Socket, flags};
use anyhow::{Context as _, Result};

const SET_LINK: u16 = 19;
const PROTOCOL_INFO: u16 = 12;
const ISOLATED: u16 = 33;

/// Isolates the ports from each other, or lets them talk again. Does nothing with several LAN ports, which would
/// be cut off from each other too.
///
/// # Errors
/// A port is missing, or is in no bridge.
pub fn isolate(ports: &Ports, isolated: bool) -> Result<()> {
    if ports.lan.len() > 1 {
        return Ok(());
    }
    let mut socket = Socket::open(Family::Route)?;
    for port in ports.all() {
        let ifindex = nix::net::if_::if_nametoindex(port)
            .with_context(|| format!("config bridge: there is no interface {port}"))?;
        // `struct ifinfomsg`.
        let mut fixed = [0; 16];
        fixed[0] = libc::AF_BRIDGE as u8;
        fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        let mut request = Request::new(SET_LINK, flags::REQUEST | flags::ACK, &fixed);
        request.nest(PROTOCOL_INFO, |info| {
            info.put(ISOLATED, &[u8::from(isolated)]);
        });
        socket.request(&mut request).with_context(|| {
            format!("cannot change port {port}: is it in bridge {}?", ports.bridge)
        })?;
    }
    Ok(())
}
