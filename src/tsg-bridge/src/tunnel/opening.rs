//! Opens what came in, and gives the host the packet that it was.

use super::device::Device;
use super::other::Other;
use super::peer::Heard;
use super::sys::Outer;
use super::transport::Transport;
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
pub(super) struct Opening<'e> {
    pub(super) peer: &'e mut Other,
    pub(super) device: &'e mut Device,
    pub(super) transport: Option<&'e mut Transport>,
    /// What is to be answered.
    pub(super) say: &'e mut Vec<Vec<u8>>,
    pub(super) now: u64,
}

impl Opening<'_> {
    /// Opens ESP that came in behind that header.
    pub(super) fn open(&mut self, esp: &mut [u8], outer: Outer) -> Result<Opened, Reason> {
        let whole = 0..esp.len();
        let mut packet = Packet::new(esp, whole).map_err(|NoRoom| Reason::Malformed)?;
        let next_header = match self.peer.hear(&mut packet, self.now, self.say)? {
            Heard::Hello => return Ok(Opened::Nothing),
            Heard::Now(None) => return Ok(Opened::Sign),
            Heard::Now(Some(next_header)) => next_header,
        };
        if let Some(transport) = &mut self.transport {
            self.device.push(transport.restore(packet.bytes(), next_header, outer)?);
            return Ok(Opened::Packet);
        }
        inside::packet_of(&mut packet, next_header)?;
        let own = traffic_class(packet.bytes()).map_err(|Malformed| DropReason::BadInner)?;
        let class = ecn::inner(own, outer.class).map_err(|_| DropReason::BadInner)?;
        if class != own {
            let set = set_traffic_class(packet.bytes_mut(), class);
            set.map_err(|Malformed| DropReason::BadInner)?;
        }
        self.device.push(packet.bytes());
        Ok(Opened::Packet)
    }
}
