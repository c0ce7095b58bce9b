//! The connection to the key server: a ZeroMQ DEALER with CURVE, one server at a time.
//!
//! CURVE proves that the other end has the key server's secret key, so what arrives is the key
//! server's word. Nothing is queued for a server that is not there: the state machine asks again
//! by itself, and old questions would be of no use.

#[cfg(test)]
mod tests;

use crate::config::Endpoint;
use crate::identity::Identity;
use anyhow::{Context as _, Result, ensure};
use tsg_control::keys::PublicKey;
use tsg_control::message::{self, DecodeError, Heard, MAX_FRAME, ToServer};

/// Where libzmq tells of connections made and broken off; each socket has an address of its own.
const MONITOR: &str = "inproc://tsg-monitor";

/// No sign of life from the server's side of the connection for this long: it is made anew.
const DEAD_AFTER_MS: i32 = 15_000;

/// Reconnects begin after this, and back off to that, in milliseconds.
const RECONNECT_MS: (i32, i32) = (250, 10_000);

/// How long libzmq may be silent after it has lost a connection before another socket is made: at first, and, since
/// this doubles, at most. In milliseconds.
const GIVEN_UP_MS: (u64, u64) = (1_000, 16_000);

/// Frames that wait on either side.
const HIGH_WATER: i32 = 64;

/// More frames than this are not read at one wake-up.
const BATCH: usize = 64;

/// The way to one key server out of several.
pub struct Link {
    context: zmq::Context,
    servers: Vec<Endpoint>,
    at: usize,
    server_key: PublicKey,
    /// How many sockets were made.
    begun: u32,
    socket: zmq::Socket,
    monitor: zmq::Socket,
    /// The connection is lost since then, and libzmq has not said that it tries again. It gives up for good
    /// when it hears what the key server would not say, and one byte of somebody on the path is enough for that.
    lost: Option<u64>,
    patience: u64,
}

/// What came over the link.
#[derive(Debug, Default)]
pub struct Received {
    /// The connection was made anew.
    pub connected: bool,
    /// Connections since then that ended before the other end had shown that it is the key server: it
    /// closes them when it is not the one that the gateway has the key of.
    pub broken_off: u32,
    /// Messages in order.
    pub messages: Vec<Heard>,
    /// Why others are none.
    pub unreadable: Vec<DecodeError>,
}

impl Link {
    /// Begins to connect to the first of `servers`, of which there is at least one.
    ///
    /// # Errors
    /// libzmq has no CURVE, or does not take an address or a key.
    pub fn open(
        servers: Vec<Endpoint>,
        server_key: PublicKey,
        identity: &Identity,
    ) -> Result<Self> {
        ensure!(
            zmq::has("curve").unwrap_or(false),
            "libzmq was built without CURVE: install libzmq-curve instead of libzmq-nc"
        );
        let context = zmq::Context::new();
        let first = servers.first().context("no key server is set: uci set tsg.main.server=…")?;
        let (socket, monitor) = connect(&context, 0, first, &server_key, identity)?;
        Ok(Self {
            at: 0,
            server_key,
            begun: 1,
            socket,
            monitor,
            lost: None,
            patience: GIVEN_UP_MS.0,
            context,
            servers,
        })
    }

    /// The server that it talks to.
    pub fn server(&self) -> Option<&Endpoint> {
        self.servers.get(self.at)
    }

    /// Turns to the next server of the list, if there is another whose address libzmq takes.
    pub fn next_server(&mut self, identity: &Identity) -> bool {
        let mut others = (self.at + 1..self.servers.len()).chain(0..self.at);
        others.any(|at| self.turn_to(at, identity))
    }

    /// Makes the connection anew.
    ///
    /// # Errors
    /// libzmq does not take the address; the log says why.
    pub fn reconnect(&mut self, identity: &Identity) -> Result<()> {
        ensure!(self.turn_to(self.at, identity), "the connection cannot be made: see the log");
        Ok(())
    }

    fn turn_to(&mut self, at: usize, identity: &Identity) -> bool {
        let Some(server) = self.servers.get(at) else { return false };
        self.begun = self.begun.wrapping_add(1);
        match connect(&self.context, self.begun, server, &self.server_key, identity) {
            Ok((socket, monitor)) => {
                (self.socket, self.monitor, self.at, self.lost) = (socket, monitor, at, None);
                true
            }
            Err(error) => {
                log::error!("{error:#}");
                false
            }
        }
    }

    /// Begins anew what libzmq has given up. To be called every second, `now` is local time.
    pub fn keep_trying(&mut self, identity: &Identity, now: u64) {
        if self.lost.is_some_and(|at| now >= at + self.patience) {
            log::warn!("the connection to the key server was spoilt; making another one");
            self.lost = Some(now);
            self.patience = (self.patience * 2).min(GIVEN_UP_MS.1);
            self.turn_to(self.at, identity);
        }
    }

    /// Sends a message, if there is a connection.
    pub fn send(&mut self, message: &ToServer) {
        match tsg_zmq::send(&mut self.socket, message.frame(), zmq::DONTWAIT) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => log::debug!("no connection to the key server"),
            Err(error) => log::warn!("to the key server: {error}"),
        }
    }

    /// What there is to be read, without waiting, at local time `now`.
    pub fn receive(&mut self, now: u64) -> Received {
        let mut received = self.events(now);
        for _ in 0..BATCH {
            let frame = match tsg_zmq::receive(&self.socket, zmq::DONTWAIT) {
                Ok(frame) => frame,
                Err(zmq::Error::EAGAIN) => break,
                Err(error) => {
                    log::warn!("from the key server: {error}");
                    break;
                }
            };
            if frame.more() {
                log::warn!("from the key server: a message of several frames");
                while tsg_zmq::receive(&self.socket, zmq::DONTWAIT).is_ok_and(|next| next.more()) {}
                continue;
            }
            match message::from_server(&frame) {
                Ok(heard) => received.messages.push(heard),
                Err(error) => received.unreadable.push(error),
            }
        }
        received
    }

    /// For [`zmq::poll`]: the two sockets.
    pub fn poll_items(&self) -> [zmq::PollItem<'_>; 2] {
        [self.socket.as_poll_item(zmq::POLLIN), self.monitor.as_poll_item(zmq::POLLIN)]
    }

    fn events(&mut self, now: u64) -> Received {
        const SUCCEEDED: u16 = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16;
        const DISCONNECTED: u16 = zmq::SocketEvent::DISCONNECTED as u16;
        const RETRIED: u16 = zmq::SocketEvent::CONNECT_RETRIED as u16;
        let mut received = Received::default();
        for _ in 0..BATCH {
            let Ok(event) = self.monitor.recv_multipart(zmq::DONTWAIT) else { break };
            let number = event.first().and_then(|frame| frame.first_chunk::<2>());
            match number.map(|bytes| u16::from_ne_bytes(*bytes)) {
                Some(SUCCEEDED) => {
                    (received.connected, received.broken_off) = (true, 0);
                    (self.lost, self.patience) = (None, GIVEN_UP_MS.0);
                }
                Some(DISCONNECTED) => self.lost = Some(now),
                Some(RETRIED) => self.lost = None,
                Some(_) => received.broken_off += 1,
                None => {}
            }
        }
        received
    }
}

fn connect(
    context: &zmq::Context,
    number: u32,
    server: &Endpoint,
    server_key: &PublicKey,
    identity: &Identity,
) -> Result<(zmq::Socket, zmq::Socket)> {
    let socket = context.socket(zmq::DEALER).context("a ZeroMQ socket")?;
    let set = || -> zmq::Result<()> {
        socket.set_curve_serverkey(&server_key.0)?;
        socket.set_curve_publickey(&identity.public().0)?;
        socket.set_curve_secretkey(identity.secret().bytes())?;
        socket.set_immediate(true)?;
        socket.set_linger(0)?;
        socket.set_ipv6(true)?;
        socket.set_sndhwm(HIGH_WATER)?;
        socket.set_rcvhwm(HIGH_WATER)?;
        socket.set_maxmsgsize(MAX_FRAME as i64)?;
        socket.set_reconnect_ivl(RECONNECT_MS.0)?;
        socket.set_reconnect_ivl_max(RECONNECT_MS.1)?;
        socket.set_connect_timeout(5_000)?;
        socket.set_handshake_ivl(10_000)?;
        socket.set_heartbeat_ivl(DEAD_AFTER_MS / 3)?;
        socket.set_heartbeat_timeout(DEAD_AFTER_MS)
    };
    set().context("libzmq refuses an option; it must be 4.2 or newer")?;
    // Not HANDSHAKE_FAILED_PROTOCOL: telling of a forged or repeated message, libzmq forgets that it was one, goes
    // deaf on that connection, and ends the process when the connection ends (seen with 4.3.4).
    let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32
        | zmq::SocketEvent::DISCONNECTED as i32
        | zmq::SocketEvent::CONNECT_RETRIED as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_AUTH as i32;
    let address = format!("{MONITOR}-{number}");
    socket.monitor(&address, events).context("a ZeroMQ monitor")?;
    let monitor = context.socket(zmq::PAIR).context("a ZeroMQ socket")?;
    monitor.connect(&address).context("a ZeroMQ monitor")?;
    socket
        .connect(&server.to_string())
        .with_context(|| format!("option server '{server}': libzmq cannot connect to it"))?;
    Ok((socket, monitor))
}
