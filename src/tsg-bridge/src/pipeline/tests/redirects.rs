//! Redirects of IPv6, which quote a packet in an option.

use super::*;

#[test]
fn a_redirect_follows_the_packet_in_its_option() {
    let (mut a, mut b) = pair(&[MODBUS]);
    let ipv6 = |next: u8, payload: &[u8]| {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], next, 255];
        packet.extend([[0xfd; 16], [0xfc; 16]].concat());
        packet.extend(payload);
        packet
    };
    let redirect = |options: &[u8]| {
        ipv6(58, &[&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 32], options].concat())
    };
    let quoting = |port: u16| {
        let plain = ipv6(6, &tcp(40_000, port, 1_000)[20..]);
        let units = u8::try_from(1 + plain.len().div_ceil(8)).unwrap();
        let mut option = [&[4, units, 0, 0, 0, 0, 0, 0], &plain[..]].concat();
        option.resize(usize::from(units) * 8, 0);
        redirect(&option)
    };
    let sealed = a.handle(Side::Lan, &quoting(502));
    assert_eq!(sealed.verdict, Verdict::Send);
    assert_eq!(b.handle(Side::Wan, &sealed.packet).packet, quoting(502));
    assert_eq!(b.handle(Side::Wan, &quoting(502)).verdict, Verdict::Drop);
    for packet in [quoting(80), redirect(&[]), redirect(&[2, 1, 2, 0, 0, 0, 0, 9])] {
        assert_eq!(a.handle(Side::Lan, &packet).verdict, Verdict::Pass);
        assert_eq!(b.handle(Side::Wan, &packet).verdict, Verdict::Pass);
    }
    assert_eq!(a.handle(Side::Lan, &redirect(&[4, 2, 0, 0, 0, 0, 0, 0])).verdict, Verdict::Drop);
    assert_eq!(a.dropped(Reason::BadQuote), 1);
}
