//! What a handler is given, and what it answers.

use super::{Link, Outbox};
use tsg_esp::buffer::Packet;
use tsg_esp::ip::{Outline, Version};

/// A side of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The machines that this gateway protects.
    Lan,
    /// The plant network.
    Wan,
}

impl Side {
    /// The opposite side.
    pub const fn other(self) -> Self {
        match self {
            Self::Lan => Self::Wan,
            Self::Wan => Self::Lan,
        }
    }
}

/// One packet that a rule caught on its way from one side to the other.
///
/// `packet` starts at the IP header and has at least [`HEAD_ROOM`](tsg_esp::buffer::HEAD_ROOM) bytes free
/// in front and [`TAIL_ROOM`](tsg_esp::buffer::TAIL_ROOM) behind. It may still carry Ethernet padding, may
/// be larger than the MTU (a defragmenting kernel), and is otherwise as it came: nothing in it is checked.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The packet, from its IP header on.
    pub packet: Packet<'a>,
    /// What its EtherType says it is. Who receives the frame goes by that, whatever the packet says.
    pub version: Version,
    /// Where it came from.
    pub from: Side,
    /// What is known of its Ethernet header; `None` on the iptables side as long as no
    /// neighbour table knows it. A verdict needs no link, further pieces do.
    pub link: Option<Link>,
    /// Index into [`Ports::lan`](super::Ports::lan) of the LAN port that it came from or leaves through;
    /// 0 where that is not known.
    pub lan_port: usize,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it came; what the handler did to its bytes is not looked at where the kernel
    /// still has them, so do not write into a packet that passes.
    Pass,
    /// `frame.packet` goes on to the other side.
    Send,
    /// It goes nowhere. What is in the outbox still goes.
    Drop,
}

/// Takes the packets of one thread. Each thread has its own.
pub trait Handler: Send {
    /// Called once before all frames, if a frame from the WAN that several LAN ports get comes once for each of them.
    fn expect_copies(&mut self) {}

    /// Called once before all frames, if a UDP checksum of zero is filled in when a packet for the WAN is sent.
    fn leave_sums(&mut self) {}

    /// Called before each batch of frames.
    fn begin(&mut self) {}

    /// Decides on one frame. Further packets go into `out`.
    fn handle(&mut self, frame: &mut Frame<'_>, out: &mut Outbox) -> Verdict;

    /// The longest packet, in bytes, that can go on in one piece: TCP that is cut here is cut to that.
    /// `outline` is of the uncut packet, which comes from that side.
    fn largest(&mut self, _from: Side, _outline: &Outline) -> usize {
        usize::MAX
    }

    /// Called after each batch of frames, and at least every 250 ms.
    fn idle(&mut self);
}
