//! The flag `isolated` of bridge ports: isolated ports do not talk to each other.

use crate::attach::Ports;
use crate::netlink::{Family, Request, Socket, flags};
use anyhow::{Context as _, Result};

const SET_LINK: u16 = 19;
const PROTOCOL_INFO: u16 = 12;
const ISOLATED: u16 = 33;

/// Isolates the ports from each other: nothing crosses, and nothing goes from one LAN port to another either.
/// Gives those that it was done to; a port that is not there or in no bridge forwards nothing.
///
/// # Errors
/// The kernel refuses.
pub fn isolate(ports: &Ports) -> Result<Vec<&str>> {
    set_all(ports, true)
}

/// Lets the ports talk again that [`isolate`] has cut off. If the WAN port is not isolated somebody else may
/// have isolated the LAN ports, and they stay so.
///
/// # Errors
/// The kernel refuses.
pub fn unlock(ports: &Ports) -> Result<()> {
    let flag = std::fs::read_to_string(format!("/sys/class/net/{}/brport/isolated", ports.wan));
    if flag.is_ok_and(|flag| flag.trim() == "1") {
        set_all(ports, false)?;
    }
    Ok(())
}

fn set_all(ports: &Ports, isolated: bool) -> Result<Vec<&str>> {
    let mut socket = Socket::open(Family::Route)?;
    let mut done = Vec::new();
    for port in ports.all() {
        if set(&mut socket, port, isolated)? {
            done.push(port);
        }
    }
    Ok(done)
}

/// `false`: there is nothing to set.
fn set(socket: &mut Socket, port: &str, isolated: bool) -> Result<bool> {
    let Ok(ifindex) = nix::net::if_::if_nametoindex(port) else { return Ok(false) };
    // `struct ifinfomsg`.
    let mut fixed = [0; 16];
    fixed[0] = libc::AF_BRIDGE as u8;
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    let mut request = Request::new(SET_LINK, flags::REQUEST | flags::ACK, &fixed);
    request.nest(PROTOCOL_INFO, |info| {
        info.put(ISOLATED, &[u8::from(isolated)]);
    });
    match socket.request(&mut request) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODEV)) => {
            Ok(false)
        }
        Err(error) => Err(error).with_context(|| format!("cannot change the bridge port {port}")),
    }
}
