//! Round trips, one after the other.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// As long as a Modbus request.
const PAYLOAD: usize = 64;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sends every datagram back where it came from, for ever.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn echo(bind: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(bind)?;
    crate::say(&json!({ "listening": bind }));
    let mut room = [0; 2_048];
    loop {
        let (len, from) = socket.recv_from(&mut room)?;
        socket.send_to(&room[..len], from)?;
    }
}

/// Asks `rate` times a second for `time`. A question waits for the answer to the one before.
///
/// # Errors
/// The address cannot be used.
pub(crate) fn measure(to: SocketAddr, rate: f64, time: Duration) -> Result<Value> {
    ensure!(rate > 0.0, "--rate must be above 0");
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (start, pause) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
    let (mut trips, mut lost, mut number) = (Vec::new(), 0u32, 0u64);
    while start.elapsed() < time {
        number += 1;
        let asked = Instant::now();
        match ask(&socket, number) {
            Ok(()) => trips.push(asked.elapsed().as_nanos() as f64 / 1_000.0),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                lost += 1;
            }
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(pause.saturating_sub(asked.elapsed()));
    }
    trips.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (trips.len() as f64 * share) as usize;
        trips.get(place.min(trips.len().saturating_sub(1))).copied()
    };
    Ok(
        json!({ "trips": trips.len(), "lost": lost, "p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999) }),
    )
}

/// Waits for the answer with this number; answers to earlier questions may still be under way.
fn ask(socket: &UdpSocket, number: u64) -> std::io::Result<()> {
    let mut payload = [0; PAYLOAD];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    socket.send(&payload)?;
    let mut answer = [0; 2_048];
    loop {
        let len = socket.recv(&mut answer)?;
        if len == PAYLOAD && answer[..8] == payload[..8] {
            return Ok(());
        }
    }
}
