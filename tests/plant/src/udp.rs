//! A datagram protocol: a server that echoes, and a poller that numbers what it sends.
//!
//! The payload is `TSGP`, a run number, a poll number (8 bytes, big endian), then bytes that
//! follow from the poll number, so that any change on the way is seen.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use crate::{
    clock::unix_ms,
    report::{Tally, print_line},
    schedule::{Event, Schedule},
};

const KIND: &str = "udp";
const MAX_DATAGRAM: usize = 65_535;

#[derive(Serialize)]
struct Listening {
    listening: SocketAddr,
}

/// Echoes until it is killed. Says on standard output when it listens.
pub(crate) async fn serve(bind: SocketAddr, groups: &[IpAddr]) -> Result<()> {
    let socket = UdpSocket::bind(bind).await.with_context(|| format!("--bind {bind}"))?;
    for group in groups {
        match group {
            IpAddr::V4(group) => socket.join_multicast_v4(*group, Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(group) => socket.join_multicast_v6(group, 0),
        }
        .with_context(|| format!("--join {group} (is there a route for it?)"))?;
    }
    print_line(&Listening { listening: socket.local_addr()? })?;
    let mut datagram = vec![0; MAX_DATAGRAM];
    loop {
        // Errors here are ICMP answers to earlier echoes; they concern nobody who still waits.
        if let Ok((length, peer)) = socket.recv_from(&mut datagram).await {
            let _unreachable = socket.send_to(&datagram[..length], peer).await;
        }
    }
}

/// Polls until the schedule ends and the last answer came or is lost, then prints the numbers.
pub(crate) async fn poll(
    target: SocketAddr,
    size: usize,
    answers: u16,
    mut schedule: Schedule,
) -> Result<()> {
    let name = target.to_string();
    let unspecified: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((unspecified, 0)).await?;
    // A server on this machine that is in the group too does not count.
    if target.is_ipv4() {
        socket.set_multicast_loop_v4(false)?;
    } else {
        socket.set_multicast_loop_v6(false)?;
    }
    let mut poller = Poller {
        socket,
        target,
        answers,
        payload: Payload { run: unix_ms() as u32, size },
        timeout: schedule.timeout,
        waiting: BTreeMap::new(),
        tally: Tally::default(),
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut stopped = false;
    while !(stopped && poller.waiting.is_empty()) {
        let deadline = poller.deadline();
        tokio::select! {
            event = schedule.next(), if !stopped => match event {
                Event::Stop => stopped = true,
                Event::Report => poller.tally.print(KIND, &name, false)?,
                Event::Poll => poller.send().await,
            },
            received = poller.socket.recv_from(&mut buffer) => match received {
                Ok((length, source)) => poller.receive(&buffer[..length], source),
                Err(error) => poller.tally.last_error = Some(error.to_string()),
            },
            () = sleep_until(deadline) => poller.expire(Instant::now()),
        }
    }
    poller.tally.print(KIND, &name, true)
}

struct Poller {
    socket: UdpSocket,
    target: SocketAddr,
    answers: u16,
    payload: Payload,
    timeout: Duration,
    /// Polls under way, by number. Numbers and times grow together.
    waiting: BTreeMap<u64, Waiting>,
    tally: Tally,
}

struct Waiting {
    sent: Instant,
    missing: u16,
}

impl Poller {
    async fn send(&mut self) {
        let number = self.tally.sent;
        self.tally.sent += 1;
        let sent = Instant::now();
        match self.socket.send_to(&self.payload.bytes(number), self.target).await {
            Ok(_) => {
                self.waiting.insert(number, Waiting { sent, missing: self.answers });
            }
            Err(error) => self.tally.lose(error),
        }
    }

    fn receive(&mut self, datagram: &[u8], source: SocketAddr) {
        if !self.target.ip().is_multicast() && source.ip() != self.target.ip() {
            return;
        }
        let Some(number) = self.payload.number(datagram).filter(|n| *n < self.tally.sent) else {
            self.tally.wrong += 1;
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&number) else {
            self.tally.duplicates += 1;
            return;
        };
        waiting.missing = waiting.missing.saturating_sub(1);
        if waiting.missing == 0 {
            let latency = waiting.sent.elapsed();
            self.waiting.remove(&number);
            self.tally.answer(source.ip(), latency);
        } else {
            self.tally.hear(source.ip());
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.waiting.first_entry() {
            if now < oldest.get().sent + self.timeout {
                break;
            }
            let number = *oldest.key();
            oldest.remove();
            self.tally.lose(format!("no answer in time to poll {number}"));
        }
    }

    fn deadline(&self) -> Instant {
        self.waiting
            .first_key_value()
            .map_or_else(|| Instant::now() + self.timeout, |(_, oldest)| oldest.sent + self.timeout)
    }
}

/// How a poll looks on the wire.
#[derive(Clone, Copy)]
struct Payload {
    run: u32,
    size: usize,
}

impl Payload {
    fn bytes(self, number: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size);
        bytes.extend_from_slice(b"TSGP");
        bytes.extend_from_slice(&self.run.to_be_bytes());
        bytes.extend_from_slice(&number.to_be_bytes());
        let start = number as u8;
        bytes.extend((bytes.len()..self.size).map(|at| start.wrapping_add(at as u8)));
        bytes
    }

    /// The poll's number, if the datagram is an unchanged one of this run.
    fn number(self, datagram: &[u8]) -> Option<u64> {
        let number = u64::from_be_bytes(datagram.get(8..16)?.try_into().ok()?);
        (datagram == self.bytes(number)).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_cut_datagram_has_no_number() {
        let payload = Payload { run: 9, size: 40 };
        let bytes = payload.bytes(300);
        assert_eq!(payload.number(&bytes), Some(300));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(payload.number(&changed), Some(300), "byte {at}");
        }
        assert_eq!(payload.number(&bytes[..39]), None);
        assert_eq!(Payload { run: 8, size: 40 }.number(&bytes), None);
    }
}
