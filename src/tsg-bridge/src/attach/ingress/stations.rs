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
    let answer = Socket::open(Family::Route)
        .and_then(|mut socket| socket.query(&mut request, |_, body| table.extend(entry(body))));
    if let Err(error) = answer {
        log::debug!("cannot read the bridge's forwarding table: {error}");
    }
    table.truncate(MOST / 2);
    table
}

/// Reads an entry from this `struct ndmsg` and what follows it.
pub(in crate::attach) fn entry(body: &[u8]) -> Option<([u8; 6], u32)> {
    let number = body.get(4..)?.first_chunk::<4>()?;
    let mac = Attributes(body.get(12..)?).find(LINK_ADDRESS)?;
    Some((mac.try_into().ok()?, u32::from_ne_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mac(n: u8) -> [u8; 6] {
        [2, 0, 0, 0, 0, n]
    }

    #[test]
    fn the_newest_place_counts_for_as_long_as_a_bridge_believes_it() {
        let now = Instant::now();
        let mut stations = Stations::default();
        stations.hear(mac(1), Side::Lan, 1, now);
        stations.hear(mac(1), Side::Wan, 0, now);
        stations.hear([1, 0, 0x5e, 0, 0, 1], Side::Lan, 0, now);
        assert_eq!(stations.known(mac(1), now), Some((Side::Wan, 0)));
        assert_eq!(stations.known(mac(1), now + LIFETIME), None);
        assert_eq!(stations.known([1, 0, 0x5e, 0, 0, 1], now), None);
    }

    #[test]
    fn a_flood_of_addresses_has_bounds() {
        let now = Instant::now();
        let mut stations = Stations::default();
        for n in 0..3 * MOST {
            let [a, b, c, d] = u32::try_from(n).unwrap().to_be_bytes();
            stations.hear([2, 0, a, b, c, d], Side::Wan, 0, now);
        }
        assert!(stations.places.len() <= MOST);
    }
}
