//! The messages of nfnetlink_queue: set-up, packets, verdicts.

use crate::attach::ethernet::{Link, Tag, Vlans};
use crate::netlink::{Message, Request, flags};
use core::ops::Range;

const SUBSYSTEM: u16 = 3 << 8;
const PACKET: u16 = SUBSYSTEM;
const VERDICT: u16 = SUBSYSTEM | 1;
const CONFIG: u16 = SUBSYSTEM | 2;

/// The family of what a bridge forwards, NFPROTO_BRIDGE.
const BRIDGE: u8 = 7;

/// nfgenmsg: family, version, queue number in network order.
const FIXED: usize = 4;

const COPY_PACKET: u8 = 2;
const COPY_RANGE: u32 = 0xffff;
const BIND: u8 = 1;

const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// The request that binds queue `number`, with room for `waiting` packets.
pub(super) fn bind(number: u16, waiting: u32) -> Request {
    let mut request = Request::new(CONFIG, flags::REQUEST | flags::ACK, &fixed(number));
    let mut params = COPY_RANGE.to_be_bytes().to_vec();
    params.push(COPY_PACKET);
    // No flag is set: a full queue drops, the kernel cuts what is merged into segments,
    // neither conntrack nor owner is told.
    let all_flags = 0x1fu32.to_be_bytes();
    request
        .put(1, &[BIND, 0, 0, 0])
        .put(2, &params)
        .put(3, &waiting.to_be_bytes())
        .put(4, &all_flags[..])
        .put(5, &0u32.to_be_bytes());
    request
}

fn fixed(number: u16) -> [u8; FIXED] {
    let [high, low] = number.to_be_bytes();
    [libc::AF_UNSPEC as u8, 0, high, low]
}

/// A packet that waits for its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::attach) struct Queued {
    /// The kernel's number for it.
    pub(in crate::attach) id: u32,
    /// The port that it came in by, 0 if not told.
    pub(in crate::attach) from: u32,
    /// The port that it leaves by, 0 if not told.
    pub(in crate::attach) to: u32,
    /// Its mark.
    pub(in crate::attach) mark: u32,
    /// Its EtherType behind the tag that the kernel took off.
    pub(in crate::attach) ether_type: u16,
    /// Its Ethernet source address.
    pub(in crate::attach) hw_src: Option<[u8; 6]>,
    /// Its whole link header; the bridge family has it.
    pub(in crate::attach) link: Option<Link>,
    /// Its tags, where the kernel tells them.
    pub(in crate::attach) vlans: Vlans,
    /// It is from the bridge family and yet without a link header: cut from a merged packet.
    pub(in crate::attach) headless: bool,
    /// Where its bytes are in the buffer that was received.
    pub(in crate::attach) payload: Range<usize>,
}

impl Queued {
    /// Reads a message; `datagram` is the memory that it lies in. `None` if it is no packet.
    pub(super) fn parse(message: &Message<'_>, datagram: &[u8]) -> Option<Self> {
        if message.kind != PACKET {
            return None;
        }
        let mut queued = Self::default();
        let mut has_id = false;
        let (mut tag, mut addresses) = (None, None);
        let (mut in_port, mut out_port) = (0, 0);
        for (kind, value) in message.attributes(FIXED) {
            match kind {
                1 => {
                    queued.id = be32(value)?;
                    queued.ether_type = u16::from_be_bytes([*value.get(4)?, *value.get(5)?]);
                    has_id = true;
                }
                3 => queued.mark = be32(value)?,
                5 => in_port = be32(value)?,
                6 => out_port = be32(value)?,
                7 => queued.from = be32(value)?,
                8 => queued.to = be32(value)?,
                9 => queued.hw_src = value.get(4..10).and_then(|mac| mac.try_into().ok()),
                10 => queued.payload = range_in(datagram, value)?,
                19 => tag = vlan(value),
                20 => addresses = value.first_chunk::<12>().copied(),
                _ => {}
            }
        }
        // Without the kernel's bridge netfilter the bridge family names the ports themselves.
        if queued.from == 0 {
            queued.from = in_port;
        }
        if queued.to == 0 {
            queued.to = out_port;
        }
        if let Some(tag) = tag {
            queued.vlans.push(tag);
        }
        queued.link = addresses.map(|addresses| link(&addresses, queued.vlans));
        queued.headless = queued.link.is_none() && message.body.first() == Some(&BRIDGE);
        if queued.headless {
            // Older kernels take it from the IP header.
            queued.hw_src = None;
        }
        has_id.then_some(queued)
    }
}

fn link(addresses: &[u8; 12], vlans: Vlans) -> Link {
    let mut link = Link { dst: [0; 6], src: [0; 6], vlans };
    link.dst.copy_from_slice(&addresses[..6]);
    link.src.copy_from_slice(&addresses[6..]);
    link
}

fn vlan(value: &[u8]) -> Option<Tag> {
    let word = |kind| {
        let value = crate::netlink::Attributes(value).find(kind)?;
        Some(u16::from_be_bytes(*value.first_chunk::<2>()?))
    };
    Some(Tag { tpid: word(1)?, tci: word(2)? })
}

fn be32(value: &[u8]) -> Option<u32> {
    value.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Where `part` lies in `whole`, of which it is a slice.
fn range_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let range = start..start.checked_add(part.len())?;
    (range.end <= whole.len()).then_some(range)
}

/// The verdict "drop" on packet `id` of queue `number`.
pub(super) fn drop(request: &mut Request, number: u16, id: u32) {
    verdict(request, number, id, DROP);
}

/// The verdict "goes on" with this mark; with `Some(length)` that many bytes of replaced packet are
/// sent behind the message.
pub(super) fn accept(request: &mut Request, number: u16, id: u32, mark: u32, new: Option<usize>) {
    verdict(request, number, id, ACCEPT);
    request.put(3, &mark.to_be_bytes());
    if let Some(len) = new {
        request.put_header(10, len);
    }
}

fn verdict(request: &mut Request, number: u16, id: u32, verdict: u32) {
    request.restart(VERDICT, flags::REQUEST, &fixed(number));
    let mut header = [0; 8];
    header[..4].copy_from_slice(&verdict.to_be_bytes());
    header[4..].copy_from_slice(&id.to_be_bytes());
    request.put(2, &header);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;

    #[test]
    fn a_packet_of_the_bridge_family_is_read() {
        let mut request = Request::new(PACKET, 0, &fixed(3));
        request
            .put(1, &[0, 0, 1, 2, 0x08, 0, 2])
            .put(7, &5u32.to_be_bytes())
            .put(8, &6u32.to_be_bytes())
            .put(9, &[0, 6, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0])
            .nest(19, |vlan| {
                vlan.put(2, &[0xa0, 5]).put(1, &[0x81, 0]);
            })
            .put(20, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0])
            .put(10, &[0x45, 7, 8]);
        let bytes = request.finish(0, 0).to_vec();
        let message = Messages(&bytes).next().unwrap();
        let queued = Queued::parse(&message, &bytes).unwrap();
        assert_eq!((queued.id, queued.from, queued.to), (0x102, 5, 6));
        assert_eq!((queued.ether_type, queued.hw_src), (0x0800, Some([2; 6])));
        assert_eq!(&bytes[queued.payload.clone()], [0x45, 7, 8]);
        let link = queued.link.unwrap();
        assert_eq!((link.dst, link.src), ([1; 6], [2; 6]));
        assert_eq!(link.vlans.tags(), [Tag { tpid: 0x8100, tci: 0xa005 }]);
    }

    #[test]
    fn without_a_header_it_is_a_piece_only_in_the_bridge_family() {
        let read = |family: u8, header: &[u8]| {
            let mut fixed = fixed(3);
            fixed[0] = family;
            let mut request = Request::new(PACKET, 0, &fixed);
            request
                .put(1, &[0, 0, 1, 2, 0x08, 0, 2])
                .put(9, &[0, 6, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0])
                .nest(19, |vlan| {
                    vlan.put(2, &[0xa0, 5]).put(1, &[0x81, 0]);
                })
                .put(20, header);
            let bytes = request.finish(0, 0).to_vec();
            let message = Messages(&bytes).next().unwrap();
            Queued::parse(&message, &bytes).unwrap()
        };
        let tags = [Tag { tpid: 0x8100, tci: 0xa005 }];
        for header in [&[][..], &[0xa0, 6, 8, 0]] {
            let piece = read(BRIDGE, header);
            assert!(piece.headless && piece.link.is_none() && piece.hw_src.is_none());
            assert_eq!(piece.vlans.tags(), tags);
        }
        assert!(!read(BRIDGE, &[2; 14]).headless);
        let routed = read(2, &[]);
        assert_eq!((routed.headless, routed.hw_src), (false, Some([2; 6])));
    }

    #[test]
    fn a_message_without_a_number_is_none() {
        let bytes = Request::new(PACKET, 0, &fixed(0)).put(10, &[1]).finish(0, 0).to_vec();
        let message = Messages(&bytes).next().unwrap();
        assert_eq!(Queued::parse(&message, &bytes), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_the_payload_lies_in_the_datagram(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 16..300),
            sound in proptest::prelude::any::<bool>(),
        ) {
            if sound {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_ne_bytes());
                bytes[4..6].copy_from_slice(&PACKET.to_ne_bytes());
            }
            for message in Messages(&bytes) {
                if let Some(queued) = Queued::parse(&message, &bytes) {
                    proptest::prop_assert!(bytes.get(queued.payload).is_some());
                }
            }
        }
    }
}
