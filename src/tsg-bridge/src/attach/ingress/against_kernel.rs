//! Cutting and joining against the kernel, which cuts in software what leaves by a port that cannot.

use crate::attach::batch::Exit as _;
use crate::attach::sockets::number;
use crate::attach::sys::{self, Sendings};
use crate::attach::virtio::{Header, LEN};
use crate::rules::frames;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};
use tsg_esp::buffer::Packet;
use tsg_esp::checksum::{self, Sum};
use tsg_esp::ip::Outline;
use tsg_esp::join::{Added, Joined, Shape};
use tsg_esp::segment::{Cut, Kind, Offload, Partial};

const ETHERNET: usize = 14;

/// A packet that is several.
#[derive(Clone, Debug)]
struct Uncut {
    v6: bool,
    kind: Kind,
    flags: u8,
    options: usize,
    sequence: u32,
    id: u16,
    may_be_cut: bool,
    size: u16,
    body: Vec<u8>,
}

fn uncut() -> impl Strategy<Value = Uncut> {
    let kind = prop_oneof![Just(Kind::Tcp), Just(Kind::Udp)];
    let size = prop_oneof![1u16..40, 100u16..600, Just(1_000u16)];
    let places = (any::<u8>(), 0usize..=10, any::<u32>(), any::<u16>(), any::<bool>());
    let shape = (any::<bool>(), kind, places, size, 2usize..50, 0usize..1_000);
    shape.prop_flat_map(|(v6, kind, places, size, count, short)| {
        let (flags, options, sequence, id, may_be_cut) = places;
        // Into smaller ones the kernel does not cut TCP, and nobody asks it to.
        let size = if kind == Kind::Tcp { size.max(8) } else { size };
        let len = usize::from(size) * count - short.min(usize::from(size) - 1);
        proptest::collection::vec(any::<u8>(), len).prop_map(move |body| Uncut {
            v6,
            kind,
            // No RST, SYN or URG: nobody leaves such to a network card.
            flags: flags & 0xd9 | 0x10,
            options: 4 * options,
            sequence,
            id,
            may_be_cut,
            size,
            body,
        })
    })
}

impl Uncut {
    /// The packet, and what is left to be done to it.
    fn packet(&self) -> (Vec<u8>, Offload) {
        let (proto, offset) = match self.kind {
            Kind::Tcp => (6, 16),
            Kind::Udp => (17, 6),
        };
        let mut upper = match self.kind {
            Kind::Tcp => {
                let mut header = vec![0x13, 0x88, 0x01, 0xf6];
                header.extend(self.sequence.to_be_bytes());
                let words = 5 + (self.options / 4) as u8;
                header.extend([0, 0, 0, 7, words << 4, self.flags, 0x20, 0, 0, 0, 0, 0]);
                header.resize(20 + self.options, 1);
                header
            }
            Kind::Udp => {
                let [high, low] = (self.body.len() as u16 + 8).to_be_bytes();
                vec![0x4e, 0x20, 0x4e, 0x21, high, low, 0, 0]
            }
        };
        upper.extend(&self.body);
        let len = upper.len() as u16;
        let mut packet = match self.v6 {
            false => {
                let mut header = vec![0x45, 0];
                header.extend((20 + len).to_be_bytes());
                header.extend(self.id.to_be_bytes());
                header.extend([if self.may_be_cut { 0 } else { 0x40 }, 0, 64, proto, 0, 0]);
                header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
                let sum = checksum::of(&header).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
                header
            }
            true => {
                let mut header = vec![0x60, 0, 0, 0];
                header.extend(len.to_be_bytes());
                header.extend([proto, 64]);
                for last in [1, 2] {
                    header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
                }
                header
            }
        };
        let start = packet.len();
        packet.extend(upper);
        let outline = Outline::parse(&packet).unwrap();
        let sum = Sum::pseudo_header(outline.src, outline.dst, proto, usize::from(len));
        let partial = !sum.finish();
        packet[start + offset..start + offset + 2].copy_from_slice(&partial.to_be_bytes());
        let checksum = Some(Partial { start, offset });
        (packet, Offload { checksum, cut: Some((self.kind, self.size)) })
    }

    fn head(&self) -> usize {
        let ip = if self.v6 { 40 } else { 20 };
        ip + if self.kind == Kind::Tcp { 20 + self.options } else { 8 }
    }
}

/// A cable whose near end cuts nothing in hardware.
struct Cable {
    near: u32,
    listener: OwnedFd,
    sendings: Sendings,
}

impl Cable {
    /// The far end comes up first: the near one then has its carrier from the start. The other way round the kernel
    /// gives it one a little later, and silently drops what is sent until then.
    fn lay() -> Self {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let line = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
            ip link add near type veth peer name far
            ethtool -K near tso off gso off tx-udp-segmentation off tx off
            ethtool -K far gro off
            ip link set far up; ip link set near up";
        let output = Command::new("sh").args(["-ec", line]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self {
            near: number("near"),
            listener: sys::listener(number("far"), &[(0x06, 0, 0, 0xffff)]).unwrap(),
            sendings: Sendings::new().unwrap(),
        }
    }

    fn send(&mut self, packet: &[u8], offload: Offload, head: usize) {
        let is_v6 = packet[0] >> 4 == 6;
        let header = Header::of(offload, ETHERNET, head, is_v6).emit();
        assert_eq!(header.len(), LEN);
        let mut link = [2; ETHERNET];
        link[12..].copy_from_slice(&if is_v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let parts = [&header[..], &link, packet].into_iter();
        let failed = self.sendings.send(core::iter::once((self.near, parts)));
        assert_eq!(failed, 0);
    }

    /// As many packets as are expected.
    fn hear(&self, count: usize) -> Vec<Vec<u8>> {
        let (mut heard, mut room) = (Vec::new(), vec![0; 65_536]);
        let deadline = Instant::now() + Duration::from_secs(5);
        while heard.len() < count && Instant::now() < deadline {
            match sys::hear(&self.listener, &mut room) {
                Ok(frame) => heard.push(room[ETHERNET..frame.len].to_vec()),
                Err(_) => sys::wait(&mut [sys::readable(&self.listener)], 100).unwrap(),
            }
        }
        heard
    }
}

fn cut(packet: &[u8], offload: Offload) -> Vec<Vec<u8>> {
    let outline = Outline::parse(packet).unwrap();
    let (kind, size) = offload.cut.unwrap();
    let cut = Cut::plan(packet, &outline, kind, usize::from(size), true).unwrap();
    let piece = |number| {
        let mut room = vec![0; 50 + cut.longest()];
        let mut piece = Packet::new(&mut room, 50..50).unwrap();
        cut.write(number, &mut piece).unwrap();
        piece.bytes().to_vec()
    };
    (0..cut.count()).map(piece).collect()
}

/// The pieces joined where they can be, each with what is left to be done to it and the length of its headers.
fn join(pieces: &[Vec<u8>]) -> Vec<(Vec<u8>, Offload, usize)> {
    let mut groups = Vec::new();
    let mut rest = pieces;
    while let [first, others @ ..] = rest {
        rest = others;
        let Some(shape) = Shape::of(first, false) else {
            groups.push((first.clone(), Offload::default(), 0));
            continue;
        };
        let (mut joined, mut whole) = (Joined::new(shape), first.clone());
        while let [next, others @ ..] = rest {
            let Some(shape) = Shape::of(next, false) else { break };
            if joined.add(first, next, &shape) != Added::Behind {
                break;
            }
            whole.extend(&next[shape.head()..]);
            rest = others;
        }
        let offload = joined.finish(&mut whole).unwrap();
        groups.push((whole, offload, joined.head()));
    }
    groups
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_kernel_cuts_as_we_do_and_what_we_join_to_what_it_was() {
    let mut cable = Cable::lay();
    let mut runner = frames::runner();
    let (mut all, mut joined) = (0, 0);
    for _ in 0..400 {
        let uncut = uncut().new_tree(&mut runner).unwrap().current();
        let (packet, offload) = uncut.packet();
        let ours = cut(&packet, offload);
        cable.send(&packet, offload, uncut.head());
        assert_eq!(cable.hear(ours.len()), ours, "{uncut:02x?}");
        let groups = join(&ours);
        let mut rest = &ours[..];
        for (packet, offload, head) in &groups {
            let count = offload
                .cut
                .map_or(1, |(_, size)| (packet.len() - head).div_ceil(usize::from(size)));
            let (pieces, others) = rest.split_at(count);
            cable.send(packet, *offload, *head);
            // One at a time: the kernel keeps the order of what one processor sends.
            assert_eq!(cable.hear(count), pieces, "{uncut:02x?}");
            rest = others;
        }
        assert!(rest.is_empty(), "{uncut:02x?}");
        all += ours.len();
        joined += ours.len() - groups.len();
    }
    println!("{all} pieces, {joined} of them joined to the one before");
    assert!(joined > all / 2, "too little was joined to say something");
}
