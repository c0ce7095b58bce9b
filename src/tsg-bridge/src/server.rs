//! The connection to the key server: a ZeroMQ DEALER with CURVE, one server at a time.
//!
//! CURVE proves that the other end has the key server's secret key, so what arrives is the key
//! server's word. Nothing is queued for a server that is not there: the state machine asks again
//! by itself, and old questions would be of no use.

use crate::config::Endpoint;
use crate::identity::Identity;
use anyhow::{Context as _, Result, ensure};
use tsg_control::keys::PublicKey;
use tsg_control::message::{self, MAX_FRAME, ToGateway, ToServer};

/// Where libzmq tells of connections made and lost.
const MONITOR: &str = "inproc://tsg-monitor";

/// No sign of life from the server's side of the connection for this long: it is made anew.
const DEAD_AFTER_MS: i32 = 15_000;

/// Reconnects begin after this, and back off to that, in milliseconds.
const RECONNECT_MS: (i32, i32) = (250, 10_000);

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
    socket: zmq::Socket,
    monitor: zmq::Socket,
}

/// What came over the link.
#[derive(Debug, Default)]
pub struct Received {
    /// The connection was made anew.
    pub connected: bool,
    /// Messages in order.
    pub messages: Vec<ToGateway>,
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
        let (socket, monitor) = connect(&context, first, &server_key, identity)?;
        Ok(Self { at: 0, server_key, socket, monitor, context, servers })
    }

    /// The server that it talks to.
    pub fn server(&self) -> Option<&Endpoint> {
        self.servers.get(self.at)
    }

    /// Turns to the next server of the list, if there is another.
    ///
    /// # Errors
    /// libzmq does not take its address.
    pub fn next_server(&mut self, identity: &Identity) -> Result<bool> {
        if self.servers.len() < 2 {
            return Ok(false);
        }
        self.at = (self.at + 1) % self.servers.len();
        let Some(server) = self.servers.get(self.at) else { return Ok(false) };
        // Two monitors cannot have one address: the old sockets go first.
        self.socket.monitor("", 0).ok();
        let _ = self.monitor.disconnect(MONITOR);
        let (socket, monitor) = connect(&self.context, server, &self.server_key, identity)?;
        self.socket = socket;
        self.monitor = monitor;
        Ok(true)
    }

    /// Sends a message, if there is a connection.
    pub fn send(&self, message: &ToServer) {
        let frame = message::encode(message);
        match self.socket.send(frame.as_slice(), zmq::DONTWAIT) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => log::debug!("no connection to the key server"),
            Err(error) => log::warn!("to the key server: {error}"),
        }
    }

    /// What there is to be read, without waiting.
    pub fn receive(&self) -> Received {
        let mut received = Received { connected: self.was_connected(), messages: Vec::new() };
        for _ in 0..BATCH {
            let frames = match self.socket.recv_multipart(zmq::DONTWAIT) {
                Ok(frames) => frames,
                Err(zmq::Error::EAGAIN) => break,
                Err(error) => {
                    log::warn!("from the key server: {error}");
                    break;
                }
            };
            let [frame] = frames.as_slice() else {
                log::warn!("from the key server: a message of {} frames", frames.len());
                continue;
            };
            match message::decode(frame, MAX_FRAME) {
                Ok(message) => received.messages.push(message),
                Err(error) => log::warn!("from the key server: {error}"),
            }
        }
        received
    }

    /// For [`zmq::poll`]: the two sockets.
    pub fn poll_items(&self) -> [zmq::PollItem<'_>; 2] {
        [self.socket.as_poll_item(zmq::POLLIN), self.monitor.as_poll_item(zmq::POLLIN)]
    }

    fn was_connected(&self) -> bool {
        let mut connected = false;
        for _ in 0..BATCH {
            let Ok(event) = self.monitor.recv_multipart(zmq::DONTWAIT) else { break };
            let number = event.first().and_then(|frame| frame.first_chunk::<2>());
            let number = number.map(|bytes| u16::from_ne_bytes(*bytes));
            connected |= number == Some(zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16);
        }
        connected
    }
}

fn connect(
    context: &zmq::Context,
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
    let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32;
    socket.monitor(MONITOR, events).context("a ZeroMQ monitor")?;
    let monitor = context.socket(zmq::PAIR).context("a ZeroMQ socket")?;
    monitor.connect(MONITOR).context("a ZeroMQ monitor")?;
    socket
        .connect(&server.to_string())
        .with_context(|| format!("option server '{server}': libzmq cannot connect to it"))?;
    Ok((socket, monitor))
}
