//! What the way to the other end is like: the address that packets leave with, and how long they may be.

use super::sys;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::ip::{protocol, v4, v6};

/// The port of ESP in UDP (RFC 3948).
pub(super) const PORT: u16 = 4_500;

/// The least MTU that IPv6 works with (RFC 8200 section 5).
pub(super) const V6_LEAST: u16 = 1_280;

/// What carries ESP to the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    /// In UDP on port 4500, instead of IP protocol 50.
    pub(super) udp: bool,
    /// Over IPv6.
    pub(super) v6: bool,
}

impl Carrier {
    /// As an operator knows it.
    pub(super) const fn name(self) -> &'static str {
        match self.udp {
            true => "UDP port 4500",
            false => "IP protocol 50",
        }
    }

    /// Where ESP goes to at a host.
    pub(super) const fn at(self, host: IpAddr) -> SocketAddr {
        // IP protocol 50 has no ports.
        SocketAddr::new(host, if self.udp { PORT } else { 0 })
    }

    /// The longest payload, on a path that takes packets of that length: in tunnel mode that is a packet.
    pub(super) fn longest_inside(self, path_mtu: u16) -> Option<u16> {
        let most = self.form().largest_payload(self.header_len(), path_mtu);
        most.and_then(|most| u16::try_from(most).ok())
    }

    /// The longest packet that transport mode takes, on a path that takes packets of that length: a header and a payload.
    pub(super) fn longest_with_header(self, path_mtu: u16) -> Option<u16> {
        let payload = usize::from(self.longest_inside(path_mtu)?);
        u16::try_from(self.header_len() + payload).ok()
    }

    const fn header_len(self) -> usize {
        if self.v6 { v6::HEADER_LEN } else { v4::HEADER_LEN }
    }

    const fn form(self) -> Form {
        let encap = match self.udp {
            true => Encap::Udp { port: PORT },
            false => Encap::Protocol(protocol::ESP),
        };
        Form { encap, aad: Aad::Rfc4303 }
    }
}

/// The address that the kernel sends from to `peer` out of `interface`, and the longest packet that goes there.
/// Nothing is sent.
pub(super) fn look(interface: &str, peer: IpAddr) -> io::Result<(IpAddr, u16)> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    setsockopt(&socket, BindToDevice, &interface.into())?;
    socket.connect((peer, PORT))?;
    let own = socket.local_addr()?.ip();
    Ok((own, sys::path_mtu(&OwnedFd::from(socket), peer.is_ipv6())?))
}
