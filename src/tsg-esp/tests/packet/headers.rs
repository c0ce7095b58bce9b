//! The walk through the headers.

use proptest::prelude::*;
use tsg_esp::ip::{Fragment, Malformed, Outline, Upper, Version};

use crate::traffic::{cases, extended, fragmented, ipv4, ipv6, noise, packets};

fn upper(proto: u8, ports: Option<(u16, u16)>, offset: usize) -> Option<Upper> {
    Some(Upper { proto, ports, icmp_type: None, offset })
}

const PORTS: [u8; 8] = [0x01, 0xf6, 0xc0, 0x00, 0, 0, 0, 0];

fn outline(packet: &[u8]) -> Outline {
    Outline::parse(packet).unwrap()
}

#[test]
fn a_plain_ipv4_packet() {
    let packet = ipv4(6, &[], 0x1234, 0x4000, &PORTS);
    let expected = Outline {
        version: Version::V4,
        src: "10.0.0.1".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        total_len: 28,
        header_len: 20,
        next_header: 6,
        id: 0x1234,
        dont_fragment: true,
        fragment: None,
        upper: upper(6, Some((502, 0xc000)), 20),
        source_route: false,
        unparsed: false,
    };
    assert_eq!(outline(&packet), expected);
    let padded = [&packet[..], &[0; 18]].concat();
    assert_eq!(outline(&padded), expected, "Ethernet padding is not the packet's");
}

#[test]
fn a_plain_ipv6_packet() {
    let expected = Outline {
        version: Version::V6,
        src: "fd00::1".parse().unwrap(),
        dst: "fd00::2".parse().unwrap(),
        total_len: 48,
        header_len: 40,
        next_header: 17,
        id: 0,
        dont_fragment: true,
        fragment: None,
        upper: upper(17, Some((502, 0xc000)), 40),
        source_route: false,
        unparsed: false,
    };
    assert_eq!(outline(&ipv6(17, &PORTS)), expected);
}

#[test]
fn hop_by_hop_options_stay_outside_and_all_else_goes_inside() {
    let found = outline(&ipv6(0, &extended(60, 2, &extended(6, 0, &PORTS))));
    assert_eq!((found.header_len, found.next_header), (64, 60));
    assert_eq!(found.upper, upper(6, Some((502, 0xc000)), 72));
    assert!(!found.unparsed && !found.source_route);
}

#[test]
fn ports_of_the_protocols_that_have_them() {
    for proto in 0..=255 {
        let has = [6, 17, 33, 132, 136].contains(&proto).then_some((502, 0xc000));
        assert_eq!(outline(&ipv4(proto, &[], 1, 0, &PORTS)).upper.unwrap().ports, has);
        for len in 0..4 {
            assert_eq!(outline(&ipv4(proto, &[], 1, 0, &PORTS[..len])).upper.unwrap().ports, None);
        }
    }
    assert_eq!(outline(&ipv6(58, &[135, 0])).upper.unwrap().icmp_type, Some(135));
    assert_eq!(outline(&ipv4(1, &[], 1, 0, &[8, 0])).upper.unwrap().icmp_type, Some(8));
}

#[test]
fn fragments_show_ports_only_at_the_beginning() {
    let first = outline(&ipv4(17, &[], 9, 0x2000, &PORTS));
    let place = Fragment { offset: 0, more: true, id: 9, header_at: 0 };
    assert_eq!((first.fragment, first.upper), (Some(place), upper(17, Some((502, 0xc000)), 20)));
    let later = outline(&ipv4(17, &[], 9, 3, &PORTS));
    let place = Fragment { offset: 24, more: false, id: 9, header_at: 0 };
    assert_eq!((later.fragment, later.upper), (Some(place), upper(17, None, 20)));
    assert!(later.is_later_fragment() && !first.is_later_fragment());

    let first = outline(&ipv6(44, &fragmented(17, 0, true, 70_000, &PORTS)));
    let place = Fragment { offset: 0, more: true, id: 70_000, header_at: 40 };
    assert_eq!((first.fragment, first.upper), (Some(place), upper(17, Some((502, 0xc000)), 48)));
    let later = outline(&ipv6(44, &fragmented(17, 24, false, 70_000, &PORTS)));
    assert_eq!(later.upper, upper(17, None, 48));
    assert!(!later.unparsed);
    let hidden = outline(&ipv6(44, &fragmented(60, 24, false, 70_000, &PORTS)));
    assert_eq!((hidden.upper, hidden.unparsed), (None, true), "what is behind the options?");
}

#[test]
fn source_routes_are_seen() {
    for option in [131, 137] {
        let route = [1, option, 7, 4, 10, 0, 0, 9];
        assert!(outline(&ipv4(6, &route, 1, 0, &PORTS)).source_route);
        let hidden = [0, option, 7, 4, 10, 0, 0, 9];
        assert!(
            !outline(&ipv4(6, &hidden, 1, 0, &PORTS)).source_route,
            "behind the end of options"
        );
    }
    assert!(outline(&ipv6(43, &extended(6, 0, &PORTS))).source_route);
    assert!(outline(&ipv6(0, &extended(43, 0, &extended(6, 0, &PORTS)))).source_route);
    assert!(outline(&ipv6(60, &extended(43, 0, &extended(6, 0, &PORTS)))).source_route);
}

#[test]
fn what_cannot_be_read_to_the_end_is_unparsed() {
    for options in [&[7u8, 1, 1, 1][..], &[7, 0, 0, 0], &[7, 40, 4, 0], &[1, 1, 1, 7]] {
        let found = outline(&ipv4(6, options, 1, 0, &PORTS));
        assert!(found.unparsed, "{options:?}");
    }
    let chain = |headers: usize| {
        let mut rest = PORTS.to_vec();
        for n in 0..headers {
            rest = extended(if n == 0 { 6 } else { 60 }, 0, &rest);
        }
        outline(&ipv6(60, &rest))
    };
    assert!(!chain(7).unparsed);
    assert!(chain(8).unparsed && chain(100).unparsed);
    let truncated = ipv6(60, &[6, 1, 0, 0, 0, 0, 0, 0]);
    let late_hops = ipv6(60, &extended(0, 0, &extended(6, 0, &PORTS)));
    let twice = ipv6(44, &fragmented(44, 0, true, 1, &fragmented(6, 0, true, 1, &PORTS)));
    for packet in [truncated, late_hops, twice] {
        let found = outline(&packet);
        assert!(found.unparsed && found.upper.is_none());
    }
}

#[test]
fn contradictions_are_malformed() {
    let good = ipv4(6, &[], 1, 0, &PORTS);
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        Outline::parse(&packet)
    };
    assert!(with(3, 28).is_ok());
    for (at, value) in [(0, 0x55), (0, 0x44), (0, 0x48), (3, 19), (3, 29), (2, 1)] {
        assert_eq!(with(at, value), Err(Malformed), "byte {at} = {value:#x}");
    }
    assert_eq!(Outline::parse(&ipv4(6, &[], 1, 0x2000, &PORTS[..7])), Err(Malformed));
    assert_eq!(Outline::parse(&ipv4(6, &[], 1, 0x2000, &[])), Err(Malformed));
    assert_eq!(Outline::parse(&ipv4(6, &[], 1, 0x1fff, &PORTS)), Err(Malformed), "ping of death");
    let mut long = ipv6(6, &PORTS);
    long[5] = 9;
    assert_eq!(Outline::parse(&long), Err(Malformed));
    assert_eq!(Outline::parse(&ipv6(0, &[6, 1, 0, 0, 0, 0, 0, 0])), Err(Malformed));
    assert_eq!(Outline::parse(&ipv6(44, &fragmented(6, 8, true, 1, b"1234567"))), Err(Malformed));
    assert_eq!(Outline::parse(&[]), Err(Malformed));
}

fn icmp(v6: bool, kind: u8, quote: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0], quote].concat();
    if v6 { ipv6(58, &message) } else { ipv4(1, &[], 1, 0, &message) }
}

#[test]
fn errors_show_the_packet_they_quote() {
    let about_v4 = ipv4(6, &[], 1, 0, &[&PORTS[..], &noise(900, 1)].concat());
    let about_v6 = ipv6(0, &extended(6, 0, &[&PORTS[..], &noise(900, 1)].concat()));
    for (v6, kinds, about) in
        [(false, vec![3, 4, 5, 11, 12], &about_v4), (true, vec![1, 2, 3, 4, 100], &about_v6)]
    {
        // A redirect of IPv6 quotes in an option.
        for kind in (0..=255).filter(|kind| !v6 || *kind != 137) {
            let packet = icmp(v6, kind, &about[..about.len().min(520)]);
            let outer = outline(&packet);
            let quoted = outer.quoted(&packet).unwrap();
            let expected = if v6 { kind < 128 } else { kinds.contains(&kind) };
            assert_eq!((quoted.is_some(), outer.is_icmp_error()), (expected, expected), "{kind}");
            if let Some(quoted) = quoted {
                assert_eq!(quoted.upper, outline(about).upper);
                assert_eq!((quoted.src, quoted.dst), (outer.src, outer.dst));
                assert_eq!(quoted.total_len, 520);
            }
        }
        let shortest = outline(about).upper.unwrap().offset + 4;
        for len in 0..60 {
            let packet = icmp(v6, kinds[0], &about[..len]);
            let ports = match outline(&packet).quoted(&packet) {
                Ok(quoted) => quoted.unwrap().upper.and_then(|upper| upper.ports),
                Err(Malformed) => None,
            };
            assert_eq!(ports.is_some(), len >= shortest);
        }
    }
}

/// A redirect (RFC 4861 section 4.5) with these options.
fn redirect(options: &[u8]) -> Vec<u8> {
    icmp(true, 137, &[&[0xfd; 32], options].concat())
}

/// The option that quotes a packet (RFC 4861 section 4.6.3).
fn redirected(quote: &[u8]) -> Vec<u8> {
    let units = u8::try_from(1 + quote.len().div_ceil(8)).unwrap();
    let mut option = [&[4, units, 0, 0, 0, 0, 0, 0], quote].concat();
    option.resize(usize::from(units) * 8, 0);
    option
}

#[test]
fn a_redirect_shows_the_packet_in_its_option() {
    const TARGET: [u8; 8] = [2, 1, 2, 0, 0, 0, 0, 9];
    let about = ipv6(0, &extended(6, 0, &[&PORTS[..], &noise(900, 1)].concat()));
    let quotes = |options: &[u8]| {
        let packet = redirect(options);
        let outer = outline(&packet);
        assert!(outer.is_icmp_error());
        outer.quoted(&packet)
    };
    let option = redirected(&about[..600]);
    for options in
        [option.clone(), [&TARGET[..], &option].concat(), [&option[..], &TARGET].concat()]
    {
        let quoted = quotes(&options).unwrap().unwrap();
        assert_eq!(quoted.upper, outline(&about).upper);
        assert_eq!(quoted.total_len, 600);
    }
    for options in [&[][..], &TARGET, &TARGET.repeat(4)] {
        assert_eq!(quotes(options), Ok(None), "{options:?}");
    }
    let v4 = redirected(&ipv4(6, &[], 1, 0, &PORTS));
    let bad: [&[u8]; 7] = [
        &redirected(&[]),
        &redirected(&about[..39]),
        &v4,
        &option[..option.len() - 8],
        &[4, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &TARGET.repeat(5),
    ];
    for options in bad {
        assert_eq!(quotes(options), Err(Malformed), "{options:?}");
    }
    let short = icmp(true, 137, &[0xfd; 31]);
    assert_eq!(outline(&short).quoted(&short), Err(Malformed));
    // What is in the second fragment nobody sees in the first.
    let message = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 32]].concat();
    let first = ipv6(44, &fragmented(58, 0, true, 1, &message));
    assert_eq!(outline(&first).quoted(&first), Err(Malformed));
}

#[test]
fn a_quote_of_the_other_version_is_malformed() {
    let packet = icmp(false, 3, &ipv6(6, &PORTS));
    assert_eq!(outline(&packet).quoted(&packet), Err(Malformed));
    let packet = icmp(true, 1, &ipv4(6, &[], 1, 0, &PORTS));
    assert_eq!(outline(&packet).quoted(&packet), Err(Malformed));
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn garbage_is_an_error_and_an_outline_is_consistent(
        mut packet in packets(200),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        for (at, value) in changes {
            let at = at.index(packet.len().min(80));
            packet[at] = value;
        }
        packet.truncate(len.index(packet.len() + 1));
        let Ok(found) = Outline::parse(&packet) else { return Ok(()) };
        prop_assert!(found.header_len <= found.total_len && found.total_len <= packet.len());
        prop_assert!(found.upper.is_none_or(|upper| upper.offset <= found.total_len));
        prop_assert!(found.upper.is_some() || found.unparsed);
        let quoted = found.quoted(&packet);
        prop_assert!(found.is_icmp_error() || quoted == Ok(None));
    }
}
