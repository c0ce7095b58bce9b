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

/// Where libzmq tells of connections made and broken off; each socket has an address of its own.
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
    /// How many connections were begun.
    begun: u32,
    socket: zmq::Socket,
    monitor: zmq::Socket,
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
        let (socket, monitor) = connect(&context, 0, first, &server_key, identity)?;
        Ok(Self { at: 0, server_key, begun: 1, socket, monitor, context, servers })
    }

    /// The server that it talks to.
    pub fn server(&self) -> Option<&Endpoint> {
        self.servers.get(self.at)
    }

    /// Turns to the next server of the list, if there is another whose address libzmq takes.
    pub fn next_server(&mut self, identity: &Identity) -> bool {
        let others: Vec<usize> = (self.at + 1..self.servers.len()).chain(0..self.at).collect();
        for at in others {
            let Some(server) = self.servers.get(at) else { continue };
            self.begun = self.begun.wrapping_add(1);
            match connect(&self.context, self.begun, server, &self.server_key, identity) {
                Ok((socket, monitor)) => {
                    (self.socket, self.monitor, self.at) = (socket, monitor, at);
                    return true;
                }
                Err(error) => log::error!("{error:#}"),
            }
        }
        false
    }

    /// Sends a message, if there is a connection.
    pub fn send(&mut self, message: &ToServer) {
        match tsg_zmq::send(&mut self.socket, message.frame(), zmq::DONTWAIT) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => log::debug!("no connection to the key server"),
            Err(error) => log::warn!("to the key server: {error}"),
        }
    }

    /// What there is to be read, without waiting.
    pub fn receive(&self) -> Received {
        let mut received = self.handshakes();
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
            match message::decode(&frame, MAX_FRAME) {
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

    fn handshakes(&self) -> Received {
        let mut received = Received::default();
        for _ in 0..BATCH {
            let Ok(event) = self.monitor.recv_multipart(zmq::DONTWAIT) else { break };
            let number = event.first().and_then(|frame| frame.first_chunk::<2>());
            let Some(number) = number.map(|bytes| u16::from_ne_bytes(*bytes)) else { continue };
            if number == zmq::SocketEvent::HANDSHAKE_SUCCEEDED as u16 {
                (received.connected, received.broken_off) = (true, 0);
            } else {
                received.broken_off += 1;
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
    let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
        | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL as i32
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};
    use tsg_control::message::Done;

    /// A key server that answers nothing, and where it listens.
    fn server(context: &zmq::Context, identity: &Identity) -> (zmq::Socket, Endpoint) {
        let socket = context.socket(zmq::ROUTER).unwrap();
        socket.set_curve_server(true).unwrap();
        socket.set_curve_secretkey(identity.secret().bytes()).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let address = socket.get_last_endpoint().unwrap().unwrap();
        (socket, address.parse().unwrap())
    }

    /// Waits until the handshake is done.
    fn connects(link: &Link) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            zmq::poll(&mut link.poll_items(), 1_000).unwrap();
            if link.receive().connected {
                return true;
            }
        }
        false
    }

    #[test]
    fn it_goes_round_the_servers() {
        tsg_sodium::init().unwrap();
        let (gateway, key) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let context = zmq::Context::new();
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent: Endpoint = silent.local_addr().unwrap().to_string().parse().unwrap();
        let (one, first) = server(&context, &key);
        let (two, second) = server(&context, &key);
        let servers = vec![silent, first.clone(), second.clone()];
        let mut link = Link::open(servers, *key.public(), &gateway).unwrap();
        for (socket, endpoint) in [(&one, &first), (&two, &second)] {
            assert!(link.next_server(&gateway));
            assert_eq!(link.server(), Some(endpoint));
            assert!(connects(&link), "{endpoint}");
            link.send(&ToServer::Done(Done { command: 1, ok: true, text: String::new() }));
            socket.set_rcvtimeo(10_000).unwrap();
            assert_eq!(socket.recv_multipart(0).unwrap().len(), 2, "{endpoint}");
        }
        assert!(link.next_server(&gateway) && link.next_server(&gateway));
        assert!(connects(&link), "the first that answers, again");
    }

    #[test]
    fn a_server_with_another_key_breaks_off() {
        tsg_sodium::init().unwrap();
        let [gateway, key, other] = [(); 3].map(|()| Identity::generate().unwrap());
        let context = zmq::Context::new();
        let (_socket, endpoint) = server(&context, &key);
        let link = Link::open(vec![endpoint], *other.public(), &gateway).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut broken_off = 0;
        while broken_off < 2 {
            assert!(Instant::now() < deadline, "{broken_off} handshakes failed");
            zmq::poll(&mut link.poll_items(), 1_000).unwrap();
            let received = link.receive();
            assert!(!received.connected);
            broken_off += received.broken_off;
        }
    }

    #[test]
    fn one_server_alone_stays() {
        tsg_sodium::init().unwrap();
        let identity = Identity::generate().unwrap();
        let server: Endpoint = "tcp://127.0.0.1:1".parse().unwrap();
        let mut link = Link::open(vec![server], *identity.public(), &identity).unwrap();
        assert!(!link.next_server(&identity));
    }
}
