//! Hears on the ports who is there: ARP, neighbour discovery and a sample of the rest.
//!
//! What it hears feeds the neighbour table (a queue does not tell VLAN tags) and the list of machines on the
//! LAN side, which the gateway reports to its key server. Not for: anything that must be seen whole.

use super::ethernet::{ARP, Header, IPV4, IPV6, Vlans};
use super::neighbours::{Place, addresses};
use super::running::Shared;
use super::sockets::Interfaces;
use super::{Ports, Side, Tag, sys};
use core::net::IpAddr;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sys::FilterStep;

/// A machine that was heard on the LAN side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its address.
    pub address: IpAddr,
    /// The Ethernet address that it was heard with: its own, or that of a router in front of it.
    pub mac: [u8; 6],
    /// The side; always the LAN side for now.
    pub side: Side,
}

/// Machines that were heard and not yet asked for. Bounded on both ends.
#[derive(Debug, Default)]
pub(super) struct Machines {
    reported: HashMap<IpAddr, ([u8; 6], Instant)>,
    waiting: Vec<Machine>,
}

/// Machines that are remembered, and that wait to be asked for.
const MOST: usize = 4_096;

/// A machine is told again after this time.
const AGAIN: Duration = Duration::from_secs(60);

impl Machines {
    pub(super) fn hear(&mut self, machine: Machine) {
        let now = Instant::now();
        if let Some((mac, at)) = self.reported.get(&machine.address) {
            if *mac == machine.mac && now.duration_since(*at) < AGAIN {
                return;
            }
        } else if self.reported.len() >= MOST {
            self.reported.clear();
        }
        if self.waiting.len() < MOST {
            self.reported.insert(machine.address, (machine.mac, now));
            self.waiting.push(machine);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Machine> {
        core::mem::take(&mut self.waiting)
    }
}

/// Bytes of a frame that are looked at.
const ENOUGH: u32 = 128;

/// ARP, neighbour discovery, and one in sixteen of the rest.
fn filter() -> [FilterStep; 13] {
    const ANCILLARY: u32 = 0xffff_f000;
    const PROTOCOL: u32 = ANCILLARY;
    const RANDOM: u32 = ANCILLARY + 56;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_WORD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const AT_LEAST: u16 = 0x35;
    const GREATER: u16 = 0x25;
    const AND: u16 = 0x54;
    const RETURN: u16 = 0x06;
    // The two numbers are how many steps to leap when the comparison holds and when it does not.
    [
        (LOAD_HALF, 0, 0, PROTOCOL),
        (EQUAL, 9, 0, ARP as u32),
        (EQUAL, 0, 5, IPV6 as u32),
        (LOAD_BYTE, 0, 0, 14 + 6),
        (EQUAL, 0, 3, 58),
        (LOAD_BYTE, 0, 0, 14 + 40),
        (AT_LEAST, 0, 1, 133),
        (GREATER, 0, 3, 137),
        (LOAD_WORD, 0, 0, RANDOM),
        (AND, 0, 0, 15),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ENOUGH),
        (RETURN, 0, 0, 0),
    ]
}

/// The thread's body: listens on every port until told to stop.
pub(super) fn run(shared: &Shared) {
    while !shared.stopping() {
        let sockets = shared.ears().follow(&shared.interfaces);
        // A port without a socket is tried again when the time is over.
        let mut waiting: Vec<_> = sockets.iter().map(|socket| sys::readable(&**socket)).collect();
        if sys::wait(&mut waiting, PATIENCE_MS).is_err() {
            // No memory, most likely, and that passes.
            std::thread::sleep(Duration::from_millis(u64::from(PATIENCE_MS)));
        }
        shared.listen();
        // Nobody waits for it, so it need not run for each frame.
        std::thread::sleep(PAUSE);
    }
}

const PATIENCE_MS: u16 = 250;

/// What waits meanwhile is less than a socket holds.
const PAUSE: Duration = Duration::from_millis(10);

/// The ears of all ports, LAN first.
#[derive(Debug)]
pub(super) struct Ears {
    list: Vec<Ear>,
    buffer: Vec<u8>,
}

/// The socket on one port.
#[derive(Debug)]
struct Ear {
    side: Side,
    lan_port: usize,
    ifindex: u32,
    socket: Option<Arc<OwnedFd>>,
}

impl Ears {
    pub(super) fn new(ports: &Ports) -> Self {
        let ear = |side, lan_port| Ear { side, lan_port, ifindex: 0, socket: None };
        let lan = (0..ports.lan.len()).map(|lan_port| ear(Side::Lan, lan_port));
        Self { list: lan.chain([ear(Side::Wan, 0)]).collect(), buffer: vec![0; 2_048] }
    }

    /// Opens what is not open, or was on a port of that name that is no more; gives what is open.
    pub(super) fn follow(&mut self, interfaces: &Interfaces) -> Vec<Arc<OwnedFd>> {
        for ear in &mut self.list {
            ear.follow(interfaces.towards(ear.side, ear.lan_port));
        }
        self.list.iter().filter_map(|ear| ear.socket.clone()).collect()
    }

    /// Gives what was heard to `each`; a few frames of each port, so that all have their turn.
    pub(super) fn listen(&mut self, mut each: impl FnMut(IpAddr, Place)) {
        for ear in &self.list {
            let Some(socket) = &ear.socket else { continue };
            for _ in 0..BATCH {
                // No frame is left, or the port is down or gone; the keeper finds its new number.
                let Ok(frame) = sys::hear(socket, &mut self.buffer) else { break };
                if !frame.outgoing {
                    let bytes = &self.buffer[..frame.len];
                    heard(bytes, frame.tag, ear.side, &mut each);
                }
            }
        }
    }
}

const BATCH: usize = 32;

impl Ear {
    fn follow(&mut self, ifindex: u32) {
        if ifindex == self.ifindex && (self.socket.is_some() || ifindex == 0) {
            return;
        }
        self.ifindex = ifindex;
        self.socket = None;
        if ifindex != 0 {
            match sys::listener(ifindex, &filter()) {
                Ok(socket) => self.socket = Some(Arc::new(socket)),
                Err(error) => log::debug!("cannot listen on interface {ifindex}: {error}"),
            }
        }
    }
}

/// What a frame tells about who is where.
pub(super) fn heard(
    frame: &[u8],
    outer: Option<Tag>,
    side: Side,
    each: &mut impl FnMut(IpAddr, Place),
) {
    let Some(header) = Header::parse(frame) else { return };
    let mut vlans = Vlans::default();
    for tag in outer.iter().chain(header.link.vlans.tags()) {
        if !vlans.push(*tag) {
            return;
        }
    }
    let place = Place { mac: header.link.src, vlans: Some(vlans), side };
    let body = frame.get(header.len..).unwrap_or_default();
    let told = match header.ether_type {
        ARP => [arp_sender(body), None],
        IPV4 | IPV6 => [addresses(body).map(|(src, _)| src), advertised(body)],
        _ => [None, None],
    };
    for address in told.into_iter().flatten() {
        each(address, place);
    }
}

/// RFC 826, for Ethernet and IPv4.
fn arp_sender(body: &[u8]) -> Option<IpAddr> {
    body.starts_with(&[0, 1, 8, 0, 6, 4]).then_some(())?;
    let address: [u8; 4] = body.get(14..18)?.try_into().ok()?;
    Some(address.into())
}

/// The target of a neighbour advertisement (RFC 4861 section 4.4).
fn advertised(packet: &[u8]) -> Option<IpAddr> {
    let is_advertisement = packet.first()? >> 4 == 6 && packet.get(6) == Some(&58);
    (is_advertisement && packet.get(40) == Some(&136)).then_some(())?;
    let target: [u8; 16] = packet.get(48..64)?.try_into().ok()?;
    Some(target.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(frame: &[u8], tag: Option<Tag>) -> Vec<(String, usize)> {
        let mut list = Vec::new();
        heard(frame, tag, Side::Lan, &mut |address, place: Place| {
            list.push((address.to_string(), place.vlans.unwrap_or_default().tags().len()));
        });
        list
    }

    #[test]
    fn arp_and_advertisements_tell_who_is_there() {
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
        arp.extend([192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9]);
        let tag = Tag { tpid: 0x8100, tci: 5 };
        assert_eq!(told(&arp, None), [("192.0.2.7".to_owned(), 0)]);
        assert_eq!(told(&arp, Some(tag)), [("192.0.2.7".to_owned(), 1)]);
        for short in 0..arp.len() - 10 {
            assert_eq!(told(&arp[..short], None), []);
        }
        let mut advertisement = vec![2; 12];
        advertisement.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]);
        let address = |n| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];
        advertisement.extend(address(1));
        advertisement.extend(address(2));
        advertisement.extend([136, 0, 0, 0, 0, 0, 0, 0]);
        advertisement.extend(address(3));
        let expected = [("fd00::1".to_owned(), 0), ("fd00::3".to_owned(), 0)];
        assert_eq!(told(&advertisement, None), expected);
    }

    #[test]
    fn a_machine_is_told_once_until_it_moves() {
        let mut machines = Machines::default();
        let machine =
            |mac| Machine { address: [192, 0, 2, 1].into(), mac: [mac; 6], side: Side::Lan };
        machines.hear(machine(2));
        machines.hear(machine(2));
        assert_eq!(machines.take(), [machine(2)]);
        machines.hear(machine(2));
        assert_eq!(machines.take(), []);
        machines.hear(machine(4));
        assert_eq!(machines.take(), [machine(4)]);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_heard_nothing_breaks(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
            kind in proptest::sample::select(&[0x0806u16, 0x0800, 0x86dd, 0x8100]),
        ) {
            let mut frame = bytes;
            if let Some(field) = frame.get_mut(12..14) {
                field.copy_from_slice(&kind.to_be_bytes());
            }
            proptest::prop_assert!(told(&frame, None).len() <= 2);
        }
    }
}
