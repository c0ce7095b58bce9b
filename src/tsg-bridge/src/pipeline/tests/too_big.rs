//! What somebody on the path says about the size of sealed packets.

use super::*;

const PROTOCOL_253: Carriage = Carriage::Protocol(253);
const UDP: Carriage = Carriage::Udp(4_253);

fn gateway(carriage: Carriage) -> Gateway {
    let keys = KeyView { carriage, ..key(1) };
    let epochs = EpochView::new(keys).into_iter().collect();
    Gateway::new(View { epochs, ..view(1, Mode::Enforce, &[MODBUS]) })
}

/// "Fragmentation needed", with the front of a packet.
fn too_big(mtu: u16, quote: &[u8]) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let mut icmp = vec![3, 4, 0, 0, 0, 0, high, low];
    icmp.extend(quote);
    ipv4(1, false, &icmp)
}

/// What the sender of a large packet is told, if it is not sealed.
fn told(gateway: &mut Gateway) -> Option<u16> {
    let made = gateway.handle(Side::Lan, &tcp(40_000, 502, 1_300));
    match made.verdict {
        Verdict::Send => None,
        Verdict::Pass => panic!("in clear"),
        Verdict::Drop => {
            let [(Side::Lan, answer)] = &made.extra[..] else { panic!("no answer: {made:?}") };
            Some(u16::from_be_bytes([answer[26], answer[27]]))
        }
    }
}

#[test]
fn the_sender_is_told_what_a_narrow_path_leaves_to_him() {
    for (carriage, quoted) in [(PROTOCOL_253, 28), (UDP, 36)] {
        let mut a = gateway(carriage);
        let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 1_300)).packet;
        assert_eq!(told(&mut a), None);
        let made = a.handle(Side::Wan, &too_big(1_000, &sealed[..quoted]));
        assert_eq!(
            (made.verdict, made.extra),
            (Verdict::Drop, Vec::new()),
            "the host gets none of it"
        );
        assert_eq!(a.worker.shared.counters().path_mtu_lowered, 1);
        let form = Form { encap: Encap::Protocol(253), ..Form::TRANSPARENT };
        let form =
            if carriage == UDP { Form { encap: Encap::Udp { port: 4_253 }, ..form } } else { form };
        assert_eq!(told(&mut a), form.plain_mtu(Version::V4, 1_000));
        let outline = Outline::parse(&tcp(40_000, 502, 1_300)).unwrap();
        assert_eq!(Some(a.worker.largest(Side::Lan, &outline)), told(&mut a).map(usize::from));
    }
}

#[test]
fn what_is_not_about_a_packet_of_this_gateway_is_not_heeded() {
    let mut a = gateway(PROTOCOL_253);
    let sealed = a.handle(Side::Lan, &tcp(40_000, 502, 100)).packet;
    let mut of_another = sealed.clone();
    of_another[23] ^= 2;
    let mut of_another_epoch = sealed.clone();
    of_another_epoch[20] ^= 1;
    let unreachable = {
        let mut message = too_big(1_000, &sealed[..28]);
        message[21] = 1;
        message
    };
    for message in [
        too_big(1_000, &of_another[..28]),
        too_big(1_000, &of_another_epoch[..28]),
        too_big(1_000, &sealed[..23]),
        too_big(1_500, &sealed[..28]),
        too_big(1_000, &tcp(40_000, 502, 100)[..28]),
        unreachable,
    ] {
        assert_eq!(a.handle(Side::Wan, &message).verdict, Verdict::Drop);
        assert_eq!(a.worker.shared.counters().path_mtu_lowered, 0, "{message:02x?}");
    }
    assert_eq!(told(&mut a), None);
}
