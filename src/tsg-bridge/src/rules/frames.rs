//! Random frames and plans for the tests that hold rules and gate against the matcher.

use super::{Plan, always};
use core::net::{IpAddr, SocketAddr};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::sync::Arc;
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::policy::{Action, Policy};

const LINK: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// Other frames and plans at each run; `PROPTEST_RNG_SEED` makes those of an earlier run again, whose seed it printed.
pub(crate) fn runner() -> TestRunner {
    let mut config = Config::default();
    if config.rng_seed == RngSeed::Random {
        let seed = any::<u64>().new_tree(&mut TestRunner::default()).unwrap().current();
        config.rng_seed = RngSeed::Fixed(seed);
    }
    println!("PROPTEST_RNG_SEED={}", config.rng_seed);
    TestRunner::new(config)
}

fn address(v4: bool) -> impl Strategy<Value = Vec<u8>> {
    (0..6u8).prop_map(move |n| match v4 {
        true => vec![10, 0, 0, n],
        false => {
            let mut octets = vec![0; 16];
            (octets[0], octets[15]) = (0xfd, n);
            octets
        }
    })
}

fn upper() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let port = prop_oneof![0..6u16, 66..70u16, 545..549u16, Just(4253), Just(5555)];
    let ports = (prop::sample::select(&[6u8, 17, 132]), port.clone(), port).prop_map(
        |(proto, src, dest)| {
            let mut bytes = src.to_be_bytes().to_vec();
            bytes.extend(dest.to_be_bytes());
            bytes.extend([0; 16]);
            (proto, bytes)
        },
    );
    let kinds = prop_oneof![3 => 0..13u8, 3 => 127..145u8, 1 => Just(always::ICMPV6_REDIRECT)];
    let icmp = (prop::sample::select(&[1u8, 58]), kinds)
        .prop_map(|(proto, kind)| (proto, vec![kind, 0, 0, 0, 0, 0, 0, 0]));
    let other = prop::sample::select(&[2u8, 47, 50, 51, 59, 253]);
    prop_oneof![4 => ports, 2 => icmp, 1 => other.prop_map(|proto| (proto, vec![7; 12]))]
}

fn v4(depth: u8) -> BoxedStrategy<Vec<u8>> {
    let fragment =
        prop_oneof![4 => Just(0x4000u16), 1 => Just(0x2000), 1 => Just(0x2003), 1 => Just(3)];
    (address(true), address(true), upper(), fragment, 5..8u8, quote(true, depth))
        .prop_map(|(src, dest, (proto, mut body), fragment, ihl, quote)| {
            if proto == 1 {
                body.extend(quote);
            }
            body.resize(body.len().next_multiple_of(8), 0);
            let len = u16::try_from(usize::from(ihl) * 4 + body.len()).unwrap();
            let mut packet = vec![0x40 | ihl, 0];
            packet.extend(len.to_be_bytes());
            packet.extend([0, 9]);
            packet.extend(fragment.to_be_bytes());
            packet.extend([64, proto, 0, 0]);
            packet.extend(src);
            packet.extend(dest);
            packet.resize(usize::from(ihl) * 4, 1);
            let sum = checksum(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet.extend(body);
            packet
        })
        .boxed()
}

fn v6(depth: u8) -> BoxedStrategy<Vec<u8>> {
    let extensions = prop::collection::vec(
        (prop::sample::select(&[0u8, 43, 60, 60, 60, 44, 51]), 0..3u8, 0..4u16),
        0..3,
    );
    let extensions = prop_oneof![
        6 => Just(Vec::new()),
        4 => extensions,
        1 => Just(vec![(60u8, 0, 0); 7]),
        1 => Just(vec![(60u8, 0, 0); 8]),
        1 => Just(vec![(60u8, 0, 0); 9])
    ];
    let options = prop::collection::vec((prop::sample::select(&[1u8, 2, 4, 4]), 0..4u8), 0..6);
    (address(false), address(false), upper(), extensions, quote(false, depth), options)
        .prop_map(|(src, dest, (proto, mut body), extensions, quote, options)| {
            match (proto, body[0]) {
                (58, always::ICMPV6_REDIRECT) => body.extend(redirect(&options, &quote)),
                (58, _) => body.extend(quote),
                _ => {}
            }
            body.resize(body.len().next_multiple_of(8), 0);
            let mut next = proto;
            for (kind, units, flags) in extensions.into_iter().rev() {
                let mut header = match kind {
                    44 => {
                        let field = [0u16, 1, 8, 9][usize::from(flags)].to_be_bytes();
                        vec![next, 0, field[0], field[1], 0, 0, 0, 1]
                    }
                    _ => vec![next, units],
                };
                if kind != 44 {
                    header.resize((usize::from(units) + 1) * 8, 0);
                }
                header.extend(body);
                (next, body) = (kind, header);
            }
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            packet.extend([next, 64]);
            packet.extend(src);
            packet.extend(dest);
            packet.extend(body);
            packet
        })
        .boxed()
}

/// The rest of a redirect with these options: kind and length, which is 0 now and then.
fn redirect(options: &[(u8, u8)], quote: &[u8]) -> Vec<u8> {
    let mut rest = vec![0; 32];
    for &(kind, units) in options {
        let at = rest.len();
        rest.extend([kind, units, 0, 0, 0, 0, 0, 0]);
        if kind == 4 {
            rest.extend(quote);
            rest.resize(rest.len().next_multiple_of(8), 0);
        } else {
            rest.resize(at + 8 * usize::from(units.max(1)), 0);
        }
        if kind == 4 && units > 0 {
            rest[at + 1] = u8::try_from((rest.len() - at) / 8).unwrap();
        }
    }
    rest
}

/// What an ICMP error quotes: a packet, perhaps cut off.
fn quote(version4: bool, depth: u8) -> BoxedStrategy<Vec<u8>> {
    if depth == 0 {
        return Just(vec![0; 8]).boxed();
    }
    let inner = if version4 { v4(depth - 1) } else { v6(depth - 1) };
    (inner, prop_oneof![3 => Just(2_000usize), 1 => 0..60usize])
        .prop_map(|(mut packet, cut)| {
            packet.truncate(cut);
            packet
        })
        .boxed()
}

/// A frame; some go on behind their packet, and some are cut off before its end.
pub(crate) fn frame() -> impl Strategy<Value = Vec<u8>> {
    let ip = prop_oneof![
        v4(1).prop_map(|packet| (0x0800u16, packet)),
        v6(1).prop_map(|packet| (0x86dd, packet)),
    ];
    let other = prop::sample::select(&[0x0806u16, 0x8892, 0x88b8, 0x88cc, 0x0026, 0x8100])
        .prop_map(|kind| (kind, vec![0; 50]));
    let tags = prop_oneof![3 => Just(0), 1 => Just(1), 1 => Just(2)];
    let ends = prop_oneof![8 => Just(None), 1 => (0..40usize).prop_map(Some)];
    (prop_oneof![9 => ip, 1 => other], tags, any::<bool>(), any::<bool>(), ends).prop_map(
        |((kind, mut body), tags, group, swapped, end)| {
            match end {
                Some(more) if group => body.resize(body.len() + more, 1),
                Some(less) => body.truncate(body.len() - less.min(body.len() - 1)),
                None => {}
            }
            let mut frame = LINK.to_vec();
            if group {
                frame[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, 0x0e]);
            }
            for n in 0..tags {
                let tpid = if n == 0 && tags == 2 { 0x88a8u16 } else { 0x8100 };
                frame.extend(tpid.to_be_bytes());
                frame.extend([0, 5 + n]);
            }
            // Now and then an EtherType that lies about the packet.
            let kind = if swapped && group { kind ^ 0x8edd } else { kind };
            frame.extend(kind.to_be_bytes());
            frame.extend(body);
            frame.resize(frame.len().max(60), 0);
            frame
        },
    )
}

fn rule() -> impl Strategy<Value = String> {
    let pick = |name: &'static str, values: &'static [&'static str]| {
        prop::option::of(prop::sample::select(values))
            .prop_map(move |v| v.map_or(String::new(), |v| format!(" {name}={v}")))
    };
    let addresses = &["10.0.0.1", "10.0.0.0/30", "10.0.0.2,fd00::1", "fd00::/126", "0.0.0.0/0"];
    let ports = &["1", "2", "1-3", "2,4", "0-65535"];
    (
        prop::sample::select(&["encrypt", "drop", "bypass"]),
        pick("src_ip", addresses),
        pick("dest_ip", addresses),
        prop_oneof![
            pick("proto", &["icmp", "47", "tcp", "253", "icmpv6,icmp"]),
            (pick("src_port", ports), pick("dest_port", ports))
                .prop_map(|(s, d)| format!(" proto=tcp,udp{s}{d}")),
        ],
    )
        .prop_map(|(action, src, dest, rest)| format!("{action}{src}{dest}{rest}"))
}

/// The policy as it is, or with nothing to do.
fn idle_if(idle: bool, mut policy: Policy) -> Policy {
    if idle {
        policy.default_action = Action::Bypass;
        Arc::make_mut(&mut policy.rules).iter_mut().for_each(|rule| rule.action = Action::Bypass);
    }
    policy
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let policy = (
        prop::collection::vec(rule().prop_map(|r| r.parse().unwrap()), 0..6),
        prop::sample::select(&[Action::Bypass, Action::Bypass, Action::Drop]),
    )
        .prop_map(|(rules, default_action)| Policy { default_action, ..Policy::new(rules) })
        .boxed();
    let local =
        policy.clone().prop_map(|policy| Policy { default_action: Action::Bypass, ..policy });
    let policies = prop_oneof![1 => Just(Vec::new()), 5 => policy.prop_map(|policy| vec![policy])];
    let mode = prop::sample::select(&[Mode::Enforce, Mode::Enforce, Mode::Migrate, Mode::Learn]);
    let fail = prop::sample::select(&[Fail::Closed, Fail::Closed, Fail::Open]);
    let non_ip = prop_oneof![Just(NonIp::Pass), Just(NonIp::Drop), Just(NonIp::Only(vec![0x8892]))];
    let parts = (policies, local, mode, fail, non_ip, any::<bool>(), prop::bool::weighted(0.2));
    parts.prop_map(|(policies, local, mode, fail, non_ip, udp, idle)| Plan {
        policies: policies.into_iter().map(|policy| idle_if(idle, policy)).collect(),
        prepared: Vec::new(),
        local: idle_if(idle, local),
        mode,
        fail,
        carriages: match udp {
            true => vec![Carriage::Udp(4253), Carriage::Protocol(50)],
            false => vec![Carriage::Protocol(253)],
        },
        servers: vec![
            SocketAddr::new(IpAddr::from([10, 0, 0, 3]), 5555),
            "[fd00::3]:5555".parse().unwrap(),
        ],
        non_ip,
        bypassed: false,
    })
}

/// RFC 791's, over a header whose own field is zero.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

/// Gives a frame's packet a number: IPv4's identification, IPv6's flow label.
pub(crate) fn number(frame: &mut [u8], packet_at: usize, number: u16) {
    let packet = &mut frame[packet_at..];
    if packet[0] >> 4 == 4 {
        let len = usize::from(packet[0] & 0xf) * 4;
        packet[4..6].copy_from_slice(&number.to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum(&packet[..len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        packet[2..4].copy_from_slice(&number.to_be_bytes());
    }
}

/// The number of a packet.
pub(crate) fn number_of(packet: &[u8]) -> u16 {
    let at = if packet[0] >> 4 == 4 { 4 } else { 2 };
    u16::from_be_bytes([packet[at], packet[at + 1]])
}
