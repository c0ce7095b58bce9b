//! The sockets that gateways connect to: a ROUTER for everything, a PUB for announcements without
//! secrets. Both are CURVE servers with the server's identity (docs/protocol.md).
//!
//! Who sent a message is what the ZAP handler made of its connection, the message's `User-Id`;
//! routing ids only say where an answer goes. Nothing here blocks: what a slow peer does not take
//! is dropped, and the next state puts it right.

mod allowance;
#[cfg(fuzzing)]
pub mod fuzzing;
mod peers;
mod room;
mod roster;
mod strangers;
mod zap;

pub use roster::Roster;

use crate::identity::Identity;
use anyhow::{Context, Result, ensure};
use peers::{Envelope, Peers};
use room::Room;
use std::collections::BTreeMap;
use tsg_control::keys::PublicKey;
use tsg_control::message::{
    Announcement, DecodeError, MAX_FRAME_TO_SERVER, ToGateway, ToServer, encode, from_gateway,
};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// An address of this machine, or `*` for all.
    pub address: String,
    /// Port of the ROUTER; 0 for any that is free.
    pub port: u16,
    /// Port of the PUB; 0 for any that is free.
    pub pub_port: u16,
}

/// The open sockets.
pub struct Network {
    // Sockets close before the context ends.
    router: zmq::Socket,
    publisher: zmq::Socket,
    peers: Peers,
    dropped: BTreeMap<&'static str, u64>,
    listen: String,
    publish: String,
    zap: zap::Handler,
    roster: Roster,
    room: Room,
    files: u64,
}

/// So many messages wait for one connection. A state is whole, so losing one is no harm, and it can be
/// long.
const MOST_WAITING: i32 = 32;

/// What came of looking for a message.
pub enum Received {
    /// A message of the gateway with this key.
    Message(PublicKey, ToServer),
    /// One of the gateway with this key that cannot be read.
    Unreadable(PublicKey, DecodeError),
    /// One that was dropped.
    Dropped,
    /// There is none.
    Nothing,
}

impl Network {
    /// Opens both sockets. `files` is how many files and connections this process may have open.
    ///
    /// # Errors
    /// libzmq has no CURVE, or the addresses cannot be used.
    pub fn open(identity: &Identity, listen: &Listen, roster: &Roster, files: u64) -> Result<Self> {
        ensure!(
            zmq::has("curve") == Some(true),
            "this libzmq was built without CURVE: install one that has it (Debian's libzmq5 has)"
        );
        let context = zmq::Context::new();
        let room = Room::open(files, roster.members());
        let zap = zap::Handler::start(&context, roster.clone(), room.clone())?;
        let router = secured(&context, zmq::ROUTER, identity, zap::GATEWAYS)?;
        router.set_router_mandatory(true)?;
        router.set_maxmsgsize(MAX_FRAME_TO_SERVER as i64)?;
        let publisher = secured(&context, zmq::PUB, identity, zap::ANNOUNCEMENTS)?;
        // Subscriptions are group names, but the handshake counts too.
        publisher.set_maxmsgsize(4_096)?;
        let publish = bind(&publisher, &listen.address, listen.pub_port)?;
        let listen = bind(&router, &listen.address, listen.port)?;
        Ok(Self {
            router,
            publisher,
            peers: Peers::new(roster.clone()),
            dropped: BTreeMap::new(),
            listen,
            publish,
            zap,
            roster: roster.clone(),
            room,
            files,
        })
    }

    /// The ROUTER's address, `tcp://192.0.2.10:5555`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The PUB's address.
    pub fn publish(&self) -> &str {
        &self.publish
    }

    /// Messages that were not taken, by reason.
    pub const fn dropped(&self) -> &BTreeMap<&'static str, u64> {
        &self.dropped
    }

    /// Peers whose messages can be answered.
    pub fn connections(&self) -> u64 {
        self.peers.count()
    }

    /// For polling.
    pub const fn router(&self) -> &zmq::Socket {
        &self.router
    }

    /// Looks for the next message. `now` is any time in milliseconds that only runs.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn receive(&mut self, now: u64) -> Result<Received> {
        let route = match tsg_zmq::receive(&self.router, zmq::DONTWAIT) {
            Ok(route) => route,
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(Received::Nothing),
            Err(error) => return Err(error).context("cannot receive from gateways"),
        };
        if !route.more() {
            return Ok(self.drop("no frame"));
        }
        let mut frame = tsg_zmq::receive(&self.router, zmq::DONTWAIT)
            .context("cannot receive from gateways")?;
        if frame.more() {
            self.skip_rest()?;
            return Ok(self.drop("several frames"));
        }
        let Some(from) = frame.property("User-Id").and_then(|id| id.parse::<PublicKey>().ok())
        else {
            return Ok(self.drop("no key"));
        };
        let bytes = frame.len();
        let address = frame.property("Peer-Address").unwrap_or_default();
        let envelope = Envelope { from, route: &route, address, bytes };
        if let Err(reason) = self.peers.hear(&envelope, now, |route| is_alive(&self.router, route))
        {
            return Ok(self.drop(reason));
        }
        match from_gateway(&frame) {
            Ok(message) => {
                let registers = matches!(message, ToServer::Register(_));
                match registers.then(|| self.peers.hear_registration(&from, now)) {
                    Some(Err(reason)) => Ok(self.drop(reason)),
                    Some(Ok(())) | None => Ok(Received::Message(from, message)),
                }
            }
            Err(error) => {
                self.drop(match &error {
                    DecodeError::TooLong(_) => "too long",
                    DecodeError::Malformed(_) => "malformed",
                    DecodeError::Version(_) => "other version",
                    DecodeError::Kind(_) => "unknown message",
                });
                Ok(Received::Unreadable(from, error))
            }
        }
    }

    fn skip_rest(&self) -> Result<()> {
        while tsg_zmq::receive(&self.router, zmq::DONTWAIT)
            .context("cannot receive from gateways")?
            .more()
        {}
        Ok(())
    }

    fn drop(&mut self, reason: &'static str) -> Received {
        *self.dropped.entry(reason).or_insert(0) += 1;
        Received::Dropped
    }

    /// Sends a message if the gateway can take it now.
    pub fn send(&mut self, to: PublicKey, message: &ToGateway) {
        let Some(route) = self.peers.route(&to) else {
            self.drop("not connected");
            return;
        };
        let routed = self.router.send(route, zmq::SNDMORE | zmq::DONTWAIT);
        let sent =
            routed.and_then(|()| tsg_zmq::send(&mut self.router, message.frame(), zmq::DONTWAIT));
        match sent {
            Ok(()) => {}
            Err(zmq::Error::EHOSTUNREACH) => {
                self.peers.forget_route(&to);
                self.drop("not connected");
            }
            Err(zmq::Error::EAGAIN) => {
                self.drop("slow reader");
            }
            Err(error) => {
                log::warn!("cannot send to {}: {error}", to.fingerprint());
                self.drop("not sent");
            }
        }
    }

    /// Publishes an announcement: the group's name, then the message.
    pub fn announce(&mut self, announcement: &Announcement) {
        let frames = [announcement.group.as_bytes(), &encode(announcement)];
        if let Err(error) = self.publisher.send_multipart(frames, zmq::DONTWAIT) {
            log::debug!("cannot publish: {error}");
            self.drop("not published");
        }
    }

    /// Forgets peers that are silent, and counts how many strangers may still connect; call it
    /// once a second, with the time of [`Self::receive`].
    ///
    /// # Errors
    /// Nobody can connect any more: the server must be started again.
    pub fn look_around(&mut self, now: u64) -> Result<()> {
        ensure!(!self.zap.has_ended(), "the thread that admits connections has ended");
        self.peers.forget_silent(now, |route| is_alive(&self.router, route));
        self.room.look(self.files, self.roster.members().saturating_sub(self.peers.members()));
        Ok(())
    }

    /// Closes the sockets.
    pub fn close(self) {
        let Self { router, publisher, zap, .. } = self;
        drop((router, publisher));
        zap.end();
    }
}

/// Is this connection still there? libzmq has no other way to find out than to send something.
fn is_alive(router: &zmq::Socket, route: &[u8]) -> bool {
    match router.send(route, zmq::SNDMORE | zmq::DONTWAIT) {
        Ok(()) => {
            let _ = router.send("", zmq::DONTWAIT);
            true
        }
        Err(error) => error != zmq::Error::EHOSTUNREACH,
    }
}

fn secured(
    context: &zmq::Context,
    kind: zmq::SocketType,
    identity: &Identity,
    domain: &str,
) -> Result<zmq::Socket> {
    let mut socket = context.socket(kind).context("cannot make a ZeroMQ socket")?;
    let set_up = |socket: &mut zmq::Socket| -> zmq::Result<()> {
        socket.set_curve_server(true)?;
        socket.set_curve_secretkey(identity.secret())?;
        socket.set_zap_domain(domain)?;
        socket.set_linger(0)?;
        socket.set_backlog(4_096)?;
        socket.set_sndhwm(MOST_WAITING)?;
        socket.set_rcvhwm(128)?;
        // Who connects and does not get through the handshake, or is refused, is cut off.
        socket.set_handshake_ivl(5_000)?;
        // A peer that is gone without a word is noticed, by the kernel: libzmq's heartbeats cost it a look at all timers
        // whenever one is answered, which many thousand connections cannot afford.
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(20)?;
        socket.set_tcp_keepalive_intvl(10)?;
        socket.set_tcp_keepalive_cnt(4)?;
        tsg_zmq::give_up_unacknowledged(socket, 60_000)
    };
    set_up(&mut socket).context("cannot set up a ZeroMQ socket")?;
    Ok(socket)
}

/// Gives the address that it came to.
fn bind(socket: &zmq::Socket, address: &str, port: u16) -> Result<String> {
    let bare_v6 = address.contains(':') && !address.starts_with('[');
    let host = if bare_v6 { format!("[{address}]") } else { address.to_owned() };
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    let endpoint = format!("tcp://{host}:{port}");
    socket.set_ipv6(address == "*" || address.contains(':'))?;
    let mut bound = socket.bind(&endpoint);
    if address == "*" && bound.is_err_and(|error| error != zmq::Error::EADDRINUSE) {
        // Not every machine has IPv6.
        socket.set_ipv6(false)?;
        bound = socket.bind(&endpoint);
    }
    bound.with_context(|| {
        format!("cannot listen on {endpoint}: is another server running, or the address wrong?")
    })?;
    let came_to = socket.get_last_endpoint()?;
    Ok(came_to.unwrap_or(endpoint))
}
