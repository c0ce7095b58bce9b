//! The filter of transport mode: between the two hosts' addresses nothing but what carries ESP comes in, and nothing else
//! goes out (RFC 4301 sections 4.4.1 and 5.2). It is a table of nftables for itself, and stays when the program is at its
//! end, however that came.

use crate::attach::{nft_generation, run_program};
use crate::netlink::{Family, Request, Socket, flags};
use crate::tunnel::path::{Carrier, PORT};
use anyhow::{Context as _, Result};
use core::fmt;
use core::fmt::Write as _;
use core::net::IpAddr;
use std::io;

/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_GETTABLE` (linux/netfilter/nf_tables.h).
const GET_TABLE: u16 = 10 << 8 | 1;
const INET: u8 = 1;
const TABLE_NAME: u16 = 1;

/// The filter for one pair of hosts.
pub(super) struct Guard {
    device: String,
    carrier: Carrier,
    own: IpAddr,
    peer: IpAddr,
    /// As it stands when all is well.
    set: Option<AsSet>,
}

/// How a table is when it was set.
struct AsSet {
    /// Of all rules, when it was looked at last: it changes whenever any of them do.
    generation: Option<u32>,
    /// As nft lists it.
    listed: String,
}

impl Guard {
    /// For what is routed into `device`.
    pub(super) fn of(device: &str, carrier: Carrier, own: IpAddr, peer: IpAddr) -> Self {
        Self { device: device.to_owned(), carrier, own, peer, set: None }
    }

    fn table(&self) -> String {
        table_of(&self.device)
    }

    /// The command that takes it away.
    pub(super) fn end(&self) -> String {
        format!("nft delete {self}")
    }

    /// Sets it, in the place of one that is there.
    ///
    /// # Errors
    /// `nft` is not there, or does not take it.
    pub(super) fn set(&mut self) -> Result<()> {
        let set = run_program("nft", &["-f", "-"], Some(&self.text()));
        set.with_context(|| format!("transport mode needs nftables: cannot set {self}"))?;
        let generation = nft_generation();
        self.set = Some(AsSet { generation, listed: self.list()? });
        Ok(())
    }

    fn list(&self) -> Result<String> {
        run_program("nft", &["list", "table", "inet", &self.table()], None)
    }

    /// Sets it again if it is gone, or another one than it was.
    pub(super) fn keep(&mut self) -> Result<()> {
        let now = nft_generation();
        if now.is_some() && self.set.as_ref().is_some_and(|set| set.generation == now) {
            return Ok(());
        }
        let is_there =
            is_there(&self.table()).with_context(|| format!("cannot look for {self}"))?;
        if is_there
            && let Ok(listed) = self.list()
            && let Some(set) = &mut self.set
            && set.listed == listed
        {
            set.generation = now;
            return Ok(());
        }
        self.set()?;
        match is_there {
            false => {
                log::warn!("{self} was gone, and is back: `nft flush ruleset` takes it away, too");
            }
            true => log::warn!("{self} was changed, and is as it was: it is not to be edited"),
        }
        Ok(())
    }

    /// The input of `nft -f`.
    fn text(&self) -> String {
        let Self { device, carrier, own, peer, .. } = self;
        let (ip, later) = match peer {
            IpAddr::V4(_) => ("ip", "ip frag-off & 0x1fff != 0"),
            IpAddr::V6(_) => ("ip6", "frag frag-off != 0"),
        };
        // Later fragments have no ports; without the first one nothing comes of them.
        let sealed = match carrier.udp {
            true => format!("    udp sport {PORT} udp dport {PORT} accept\n    {later} accept\n"),
            false => "    meta l4proto esp accept\n".to_owned(),
        };
        // Without these nobody would find the other on the wire (RFC 4861).
        let neighbours = match peer {
            IpAddr::V4(_) => "",
            IpAddr::V6(_) => "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n",
        };
        format!(
            "add {self}\ndelete {self}\n{self} {{\n\
             \x20 chain in {{\n    type filter hook prerouting priority raw; policy accept;\n\
             \x20   iifname != \"{device}\" {ip} saddr {peer} {ip} daddr {own} goto pair\n  }}\n\
             \x20 chain out {{\n    type filter hook output priority raw; policy accept;\n\
             \x20   oifname != \"{device}\" {ip} daddr {peer} goto pair\n  }}\n\
             \x20 chain pair {{\n{sealed}{neighbours}    drop\n  }}\n}}\n"
        )
    }
}

fn table_of(device: &str) -> String {
    let mut table = "tsg-transport-".to_owned();
    for byte in device.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => table.push(byte.into()),
            // The names of interfaces may have more than those of tables, but no slash.
            _ => {
                let _ = write!(table, "/{byte:02x}");
            }
        }
    }
    table
}

fn is_there(table: &str) -> io::Result<bool> {
    let mut request = Request::new(GET_TABLE, flags::REQUEST | flags::ACK, &[INET, 0, 0, 0]);
    request.put_str(TABLE_NAME, table);
    match Socket::open(Family::Netfilter)?.request(&mut request) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// In tunnel mode: says it if there is the filter of a former transport mode, which may keep out what carries ESP now.
pub(in crate::tunnel) fn warn_of_former(device: &str) {
    let table = table_of(device);
    if is_there(&table).unwrap_or(false) {
        log::warn!(
            "{device}: table inet {table} is left from transport mode, and keeps out what it does not know: \
             `nft delete table inet {table}` ends that"
        );
    }
}

/// As nft calls it.
impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table inet {}", self.table())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carrier_and_nothing_else_passes() {
        let v4 = [[192, 0, 2, 1], [192, 0, 2, 9]].map(IpAddr::from);
        let v6 = [1, 9].map(|last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]));
        for ([own, peer], udp) in [(v4, false), (v4, true), (v6, false), (v6, true)] {
            let carrier = Carrier { udp, v6: peer.is_ipv6() };
            let text = Guard::of("a.b@c-1", carrier, own, peer).text();
            assert!(text.starts_with("add table inet tsg-transport-a.b/40c-1\ndelete table "));
            let ip = if peer.is_ipv6() { "ip6" } else { "ip" };
            let both =
                format!("iifname != \"a.b@c-1\" {ip} saddr {peer} {ip} daddr {own} goto pair");
            assert!(text.contains(&both), "{text}");
            assert!(text.contains(&format!("oifname != \"a.b@c-1\" {ip} daddr {peer} goto pair")));
            assert!(text.ends_with("    drop\n  }\n}\n"));
            assert_eq!(text.contains("l4proto esp"), !udp);
            assert_eq!(text.contains("udp sport 4500"), udp);
            assert_eq!(text.contains("nd-neighbor"), peer.is_ipv6());
        }
    }
}
