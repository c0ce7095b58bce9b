//! Filters of the sockets that carry ESP, in the kernel's classic BPF: what a worker hears is what was sealed for it, from
//! whom it is to come from.
//!
//! The SPIs of an agreement follow each other from a multiple of 16, one for each of the other end's workers. They and
//! hellos, whose SPI is such a multiple, thus find the same worker in each direction, and a flow stays with one.

use super::MOST_WORKERS;
use super::path::{Carrier, PORT};
use crate::attach::FilterStep;
use core::net::IpAddr;

/// Loads (linux/bpf_common.h): a word or half a word at a place, a word behind the index, and the length of an IPv4 header into
/// the index.
const WORD: u16 = 0x20;
const HALF: u16 = 0x28;
const WORD_BEHIND: u16 = 0x40;
const HEADER_LEN: u16 = 0xb1;

const AND: u16 = 0x54;
const MODULO: u16 = 0x94;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const RETURN_IT: u16 = 0x16;

/// Places count from the IP header (`SKF_NET_OFF`).
const NETWORK: u32 = 0xfff0_0000;

/// Where the address that a packet comes from is.
const SOURCE_V4: u32 = 12;
const SOURCE_V6: u32 = 8;

/// Takes nothing.
pub(super) const NOTHING: [FilterStep; 1] = [(RETURN, 0, 0, 0)];

/// A worker, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) number: u32,
    pub(super) of: u32,
}

/// What a worker's socket takes.
pub(super) fn heard(carrier: Carrier, only: Option<IpAddr>, share: Share) -> Vec<FilterStep> {
    let mut program = Program::default();
    match only {
        Some(IpAddr::V4(from)) => program.is(WORD, NETWORK + SOURCE_V4, u32::from(from)),
        Some(IpAddr::V6(from)) => {
            for (word, at) in from.octets().chunks_exact(4).zip((SOURCE_V6..).step_by(4)) {
                let word = word.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
                program.is(WORD, NETWORK + at, word);
            }
        }
        None => {}
    }
    match carrier.udp {
        // From there, and by the same port. Which of the sockets it is, is [chosen] already.
        true if only.is_some() => program.is(HALF, 0, u32::from(PORT)),
        true => {}
        false => {
            // A raw socket of IPv4 has the header in front.
            match carrier.v6 {
                false => program.0.extend([(HEADER_LEN, 0, 0, 0), (WORD_BEHIND, 0, 0, 0)]),
                true => program.0.push((WORD, 0, 0, 0)),
            }
            program.0.extend(worker_of_spi(share.of));
            program.ensure(share.number);
        }
    }
    program.end()
}

/// The number of the socket that gets a datagram, among those that share the port.
pub(super) fn chosen(workers: u32) -> Vec<FilterStep> {
    let mut steps = vec![(WORD, 0, 0, 0)];
    steps.extend(worker_of_spi(workers));
    steps.push((RETURN_IT, 0, 0, 0));
    steps
}

/// Makes a worker of an SPI.
const fn worker_of_spi(workers: u32) -> [FilterStep; 2] {
    [(AND, 0, 0, MOST_WORKERS - 1), (MODULO, 0, 0, workers)]
}

/// Steps that go on as long as all is as it should be.
#[derive(Default)]
struct Program(Vec<FilterStep>);

impl Program {
    /// There is that value at that place.
    fn is(&mut self, load: u16, at: u32, value: u32) {
        self.0.push((load, 0, 0, at));
        self.ensure(value);
    }

    /// What was loaded or computed is that value.
    fn ensure(&mut self, value: u32) {
        self.0.extend([(IF_EQUAL, 1, 0, value), (RETURN, 0, 0, 0)]);
    }

    fn end(mut self) -> Vec<FilterStep> {
        self.0.push((RETURN, 0, 0, u32::MAX));
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::sys;
    use super::*;
    use nix::sys::socket::{MsgFlags, recv};
    use std::net::UdpSocket;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    /// How many datagrams wait in each.
    fn heard(sockets: &[OwnedFd]) -> Vec<usize> {
        let all = |socket: &OwnedFd| {
            let next = || recv(socket.as_raw_fd(), &mut [0; 16], MsgFlags::MSG_DONTWAIT);
            std::iter::repeat_with(next).take_while(Result::is_ok).count()
        };
        sockets.iter().map(all).collect()
    }

    #[test]
    fn what_shares_a_port_is_told_apart_by_its_spi() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let carrier = Carrier { udp: true, v6: false };
        for (workers, expected) in [(1, vec![16]), (4, vec![4; 4]), (3, vec![6, 5, 5])] {
            let sockets = sys::wires(carrier, free.port(), workers, None, None).unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            for spi in 0x1234_5670_u32..0x1234_5680 {
                sender.send_to(&spi.to_be_bytes(), free).unwrap();
            }
            assert_eq!(heard(&sockets), expected);
            // What has no SPI.
            sender.send_to(&[0xff], free).unwrap();
            let mut first = vec![0; expected.len()];
            first[0] = 1;
            assert_eq!(heard(&sockets), first);
            assert!(sys::wires(carrier, free.port(), workers, None, None).is_err(), "it is taken");
        }
    }

    #[test]
    fn only_the_other_end_is_heard() {
        let carrier = Carrier { udp: true, v6: false };
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let only = "127.0.0.2".parse().unwrap();
        let sockets = sys::wires(carrier, free.port(), 1, None, Some(only)).unwrap();
        for (from, count) in [("127.0.0.2:4500", 1), ("127.0.0.2:0", 0), ("127.0.0.1:4500", 0)] {
            UdpSocket::bind(from).unwrap().send_to(&[0; 8], free).unwrap();
            assert_eq!(heard(&sockets), [count], "{from}");
        }
    }
}
