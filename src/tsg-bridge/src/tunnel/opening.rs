//! Opens what came in, and gives the host the packet that it was.

use super::device::Entry;
use super::other::Turn;
use super::peer::Heard;
use super::sys::Outer;
use super::transport::Headers;
use crate::pipeline::Reason;
use tsg_esp::buffer::{NoRoom, Packet};
use tsg_esp::ip::{Malformed, set_traffic_class, traffic_class};
use tsg_esp::{DropReason, ecn, inside};

/// What was in ESP that came in.
pub(super) enum Opened {
    /// A packet, which the device has now.
    Packet,
    /// Nothing but that the other end is there.
    Sign,
    /// Nothing at all.
    Nothing,
}

/// What it takes, for one batch.
pub(super) struct Opening<'w, 'o> {
    pub(super) turn: Turn<'o>,
    pub(super) entry: &'w mut Entry,
    /// In transport mode.
    pub(super) headers: Option<&'w mut Headers>,
    /// What is to be answered.
    pub(super) say: Vec<Vec<u8>>,
}

impl Opening<'_, '_> {
    /// Opens ESP that came in behind that header.
    pub(super) fn open(&mut self, esp: &mut [u8], outer: Outer) -> Result<Opened, Reason> {
        let whole = 0..esp.len();
        let mut packet = Packet::new(esp, whole).map_err(|NoRoom| Reason::Malformed)?;
        let next_header = match self.turn.hear(&mut packet, &mut self.say)? {
            Heard::Hello => return Ok(Opened::Nothing),
            Heard::Now(None) => return Ok(Opened::Sign),
            Heard::Now(Some(next_header)) => next_header,
        };
        if let Some(headers) = &mut self.headers {
            self.entry.push(headers.restore(packet.bytes(), next_header, outer)?);
            return Ok(Opened::Packet);
        }
        inside::packet_of(&mut packet, next_header)?;
        let own = traffic_class(packet.bytes()).map_err(|Malformed| DropReason::BadInner)?;
        let class = ecn::inner(own, outer.class).map_err(|_| DropReason::BadInner)?;
        if class != own {
            let set = set_traffic_class(packet.bytes_mut(), class);
            set.map_err(|Malformed| DropReason::BadInner)?;
        }
        self.entry.push(packet.bytes());
        Ok(Opened::Packet)
    }
}
