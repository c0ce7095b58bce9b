//! Behind which port is which Ethernet address.
//!
//! The bridge knows it too, but frames that the hook takes never reach the bridge; so both are asked: what was
//! heard here, and the bridge's forwarding table.

use crate::attach::Side;
use crate::attach::sockets::Interfaces;
use crate::netlink::{Attributes, Family, Request, Socket, flags};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Addresses that are remembered; more start the table anew.
const MOST: usize = 4_096;

/// The bridge is asked at most so often.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What was heard is believed for as long as a bridge does.
const LIFETIME: Duration = Duration::from_secs(300);

const GET_NEIGHBOUR: u16 = 30;
const LINK_ADDRESS: u16 = 2;

/// The table.
#[derive(Debug, Default)]
pub(in crate::attach) struct Stations {
    places: HashMap<[u8; 6], (Side, usize, Instant)>,
    asked: Option<Instant>,
}

impl Stations {
    /// A frame from `mac` came in on this port.
    pub(super) fn hear(&mut self, mac: [u8; 6], side: Side, lan_port: usize, now: Instant) {
        if mac[0] & 1 == 1 {
            return;
        }
        if self.places.len() >= MOST && !self.places.contains_key(&mac) {
            self.places.clear();
        }
        self.places.insert(mac, (side, lan_port, now));
    }

    /// The port behind which `mac` is; asks the bridge if it was not heard here.
    pub(super) fn find(
        &mut self,
        mac: [u8; 6],
        interfaces: &Interfaces,
        now: Instant,
    ) -> Option<(Side, usize)> {
        if let Some(place) = self.known(mac, now) {
            return Some(place);
        }
        if self.asked.is_some_and(|asked| now.duration_since(asked) < ASK_EVERY) {
            return None;
        }
        self.asked = Some(now);
        for (mac, ifindex) in forwarding_table() {
            if let Some((side, lan_port)) = interfaces.side_of(ifindex)
                && self.known(mac, now).is_none()
            {
                self.hear(mac, side, lan_port, now);
            }
        }
        self.known(mac, now)
    }

    fn known(&self, mac: [u8; 6], now: Instant) -> Option<(Side, usize)> {
        let &(side, lan_port, heard) = self.places.get(&mac)?;
        (now.duration_since(heard) < LIFETIME).then_some((side, lan_port))
    }
}

/// Address and port number of every entry of the bridges' forwarding tables.
fn forwarding_table() -> Vec<([u8; 6], u32)> {
    let mut table = Vec::new();
    let mut fixed = [0; 12];
    fixed[0] = libc::AF_BRIDGE as u8;
    let mut request = Request::new(GET_NEIGHBOUR, flags::REQUEST | flags::DUMP, &fixed);
    let answer = Socket::open(Family::Route).and_then(|mut socket| {
        socket.query(&mut request, |_, body| {
            let number = body.get(4..8).and_then(|bytes| bytes.first_chunk::<4>());
            let mac = body.get(12..).and_then(|rest| Attributes(rest).find(LINK_ADDRESS));
            let mac = mac.and_then(|mac| <[u8; 6]>::try_from(mac).ok());
            table.extend(mac.zip(number.map(|bytes| u32::from_ne_bytes(*bytes))));
        })
    });
    if let Err(error) = answer {
        log::debug!("cannot read the bridge's forwarding table: {error}");
    }
    table.truncate(MOST / 2);
    table
}
