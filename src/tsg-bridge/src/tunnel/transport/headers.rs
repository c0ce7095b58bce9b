//! Headers in transport mode: taken off a packet that is to be sealed, and put back in front of what came in.

use super::gather::Gather;
use crate::pipeline::Reason;
use crate::tunnel::sys::Outer;
use core::net::IpAddr;
use tsg_esp::buffer::Packet;
use tsg_esp::inside::{self, Visible};
use tsg_esp::ip::{Malformed, Outline, hop_limit, traffic_class};

/// The hops of what came in, if the kernel does not say.
const HOPS: u8 = 64;

/// Flows that are told apart, by their ports.
const FLOWS: usize = 256;

/// One worker's packets between the two hosts.
pub(in crate::tunnel) struct Headers {
    own: IpAddr,
    peer: IpAddr,
    gather: Gather,
    /// A packet for the host.
    room: Vec<u8>,
    /// By flow, those of IPv4 that came last: what counts up can be joined.
    ids: [u16; FLOWS],
}

impl Headers {
    pub(super) fn between(own: IpAddr, peer: IpAddr) -> Self {
        let gather = Gather::default();
        Self { own, peer, gather, room: Vec::new(), ids: [0; FLOWS] }
    }

    /// What the header in front of the sealed packet says.
    pub(in crate::tunnel) fn outer(packet: &[u8]) -> Outer {
        Outer {
            class: traffic_class(packet).unwrap_or(0),
            hops: hop_limit(packet).ok().filter(|hops| *hops > 0),
        }
    }

    /// Takes a fragment; gives the packet once it was the last of it.
    pub(in crate::tunnel) fn gather(
        &mut self,
        fragment: &[u8],
        outline: &Outline,
    ) -> Result<Option<Vec<u8>>, Reason> {
        self.gather.take(fragment, outline)
    }

    /// Leaves of a packet what is to be sealed; gives its next header.
    pub(in crate::tunnel) fn enclose(
        &self,
        packet: &mut Packet<'_>,
        outline: &Outline,
    ) -> Result<u8, Reason> {
        if (outline.src, outline.dst) != (self.own, self.peer) {
            return Err(Reason::Policy);
        }
        inside::behind_header(packet, outline).map_err(|Malformed| Reason::Policy)
    }

    /// The packet with that payload, as it was sent.
    pub(in crate::tunnel) fn restore(
        &mut self,
        payload: &[u8],
        next_header: u8,
        outer: Outer,
    ) -> Result<&[u8], Reason> {
        let Outer { class, hops } = outer;
        let ports =
            payload.iter().take(4).fold(next_header, |flow, byte| flow.rotate_left(3) ^ byte);
        let id = &mut self.ids[usize::from(ports)];
        *id = id.wrapping_add(1);
        let (src, dst, hops) = (self.peer, self.own, hops.unwrap_or(HOPS));
        let visible = Visible { src, dst, class, hops, id: *id };
        self.room.clear();
        self.room.resize(visible.header_len(), 0);
        self.room.extend_from_slice(payload);
        visible.emit(&mut self.room, next_header)?;
        Ok(&self.room)
    }
}
