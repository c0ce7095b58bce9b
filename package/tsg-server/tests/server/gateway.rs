//! A gateway for tests: the real state machine on a real CURVE socket.

use super::daemon::{Daemon, PATIENCE};
use std::collections::BTreeMap;
use std::time::Instant;
use tsg_control::gateway::{Gateway, Identity, Standing};
use tsg_control::keys::PublicKey;
use tsg_control::message::{Heartbeat, MAX_FRAME, ToGateway, ToServer, decode, encode};
use tsg_control::token::TokenSecret;

/// A gateway.
pub(super) struct TestGateway {
    name: String,
    pair: zmq::CurveKeyPair,
    pub(super) socket: zmq::Socket,
    /// Says when there is a new connection.
    monitor: zmq::Socket,
    pub(super) key: PublicKey,
    pub(super) machine: Gateway,
    pub(super) process: u64,
    started: Instant,
    /// Every TEK and sender number that it was ever given, by epoch.
    pub(super) given: BTreeMap<u64, ([u8; 32], Vec<u32>)>,
    /// The server comes back from an old copy: numbers of epochs may come again with other TEKs.
    pub(super) epochs_may_repeat: bool,
    /// What it was sent last, of every kind.
    pub(super) heard: Vec<ToGateway>,
}

/// A DEALER that talks CURVE with the server as `pair`.
pub(super) fn dealer(
    context: &zmq::Context,
    daemon: &Daemon,
    pair: &zmq::CurveKeyPair,
) -> zmq::Socket {
    let socket = context.socket(zmq::DEALER).unwrap();
    socket.set_curve_serverkey(&daemon.key.0).unwrap();
    socket.set_curve_publickey(&pair.public_key).unwrap();
    socket.set_curve_secretkey(&pair.secret_key).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_reconnect_ivl(20).unwrap();
    socket
}

/// A socket that is connecting, and one that hears of its connections.
fn connect(daemon: &Daemon, pair: &zmq::CurveKeyPair) -> (zmq::Socket, zmq::Socket) {
    let context = zmq::Context::new();
    let socket = dealer(&context, daemon, pair);
    let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32;
    socket.monitor("inproc://connections", events).unwrap();
    let monitor = context.socket(zmq::PAIR).unwrap();
    monitor.connect("inproc://connections").unwrap();
    socket.connect(&daemon.endpoint).unwrap();
    (socket, monitor)
}

impl TestGateway {
    pub(super) fn connect(daemon: &Daemon, name: &str, token: Option<TokenSecret>) -> Self {
        let pair = zmq::CurveKeyPair::new().unwrap();
        let (socket, monitor) = connect(daemon, &pair);
        let process = u64::from_be_bytes(pair.public_key[..8].try_into().unwrap());
        Self {
            name: name.to_owned(),
            socket,
            monitor,
            key: PublicKey(pair.public_key),
            pair,
            machine: Gateway::new(identity(name, token), process, 0),
            process,
            started: Instant::now(),
            given: BTreeMap::new(),
            epochs_may_repeat: false,
            heard: Vec::new(),
        }
    }

    /// The same box with a new process, which holds nothing.
    pub(super) fn restart(&mut self, daemon: &Daemon, token: Option<TokenSecret>) {
        (self.socket, self.monitor) = connect(daemon, &self.pair);
        self.process += 1;
        self.machine = Gateway::new(identity(&self.name, token), self.process, self.now());
    }

    /// One more connection with its key.
    pub(super) fn again(&self, daemon: &Daemon) -> zmq::Socket {
        let socket = dealer(&zmq::Context::new(), daemon, &self.pair);
        socket.connect(&daemon.endpoint).unwrap();
        socket
    }

    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint().to_string()
    }

    /// A sign of life that says that all is well, so that it is answered by a pulse only.
    pub(super) fn heartbeat(&self) -> Heartbeat {
        let mut beat = Heartbeat { process: self.process, ..Heartbeat::default() };
        for message in &self.heard {
            if let ToGateway::State(state) = message {
                (beat.instance, beat.revision) = (state.instance, state.revision);
            }
            if let ToGateway::Map(map) = message {
                beat.map = map.revision;
            }
        }
        beat
    }

    pub(super) fn now(&self) -> u64 {
        self.started.elapsed().as_millis().try_into().unwrap()
    }

    /// It asks again at once, instead of in some seconds.
    pub(super) fn reconnected(&mut self) {
        let now = self.now();
        self.machine.handle_connected(now);
    }

    /// Goes on until `wanted`, and says what is missing if that does not come.
    pub(super) fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}, {:#?}",
                self.machine.standing(),
                self.heard.iter().rev().take(5).collect::<Vec<_>>()
            );
            self.turn();
        }
    }

    pub(super) fn until_member(&mut self) {
        self.until("let in", |gateway| *gateway.machine.standing() == Standing::Member);
    }

    /// Until it seals in an epoch of at least this number.
    pub(super) fn until_sealing(&mut self, epoch: u64) -> u64 {
        self.until("sealing", |gateway| gateway.sealing() >= epoch);
        self.sealing()
    }

    /// The newest epoch that it may seal in, 0 for none.
    pub(super) fn sealing(&self) -> u64 {
        let keys = self.machine.keys(self.now());
        keys.iter().filter(|key| key.sealing).map(|key| key.id).max().unwrap_or(0)
    }

    /// One round of sending and receiving, at most a twentieth of a second long.
    pub(super) fn turn(&mut self) {
        turn_all(std::slice::from_mut(self));
    }

    /// Sends what is due; gives how long nothing will be, in milliseconds.
    fn send_due(&mut self) -> u64 {
        let now = self.now();
        self.machine.handle_timeout(now);
        while self.machine.poll_event().is_some() {}
        while let Some(message) = self.machine.poll_transmit() {
            // Without a connection it is lost, as a gateway's are.
            let _ = self.socket.send(encode(&message).as_slice(), zmq::DONTWAIT);
        }
        self.machine.poll_timeout().unwrap_or(u64::MAX).saturating_sub(now)
    }

    fn receive_all(&mut self) {
        while self.monitor.recv_multipart(zmq::DONTWAIT).is_ok() {
            self.reconnected();
        }
        while let Ok(frames) = self.socket.recv_multipart(zmq::DONTWAIT) {
            let [frame] = frames.as_slice() else { panic!("{} frames", frames.len()) };
            let message = decode::<ToGateway>(frame, MAX_FRAME).unwrap();
            self.keep(&message);
            self.machine.handle_message(message, self.now());
        }
    }

    pub(super) fn say(&self, message: &ToServer) {
        self.socket.send(encode(message).as_slice(), 0).unwrap();
    }

    /// No epoch may ever come with another TEK, and no sender number twice from another process.
    fn keep(&mut self, message: &ToGateway) {
        self.heard.push(message.clone());
        let ToGateway::State(state) = message else { return };
        for epoch in &state.epochs {
            let Some(keys) = &epoch.keys else { continue };
            let tek = *keys.tek.0.expose();
            let (known, senders) = self.given.entry(epoch.id).or_insert((tek, Vec::new()));
            if self.epochs_may_repeat {
                *known = tek;
            }
            assert_eq!(*known, tek, "epoch {} came twice", epoch.id);
            senders.clone_from(&keys.senders);
        }
    }
}

/// One round of sending and receiving for all of them, at most a twentieth of a second long.
pub(super) fn turn_all(gateways: &mut [TestGateway]) {
    let due = gateways.iter_mut().map(TestGateway::send_due).min().unwrap_or(0);
    let sockets = gateways.iter().flat_map(|gateway| [&gateway.socket, &gateway.monitor]);
    let mut items: Vec<_> = sockets.map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
    zmq::poll(&mut items, due.min(50).try_into().unwrap()).unwrap();
    gateways.iter_mut().for_each(TestGateway::receive_all);
}

fn identity(name: &str, token: Option<TokenSecret>) -> Identity {
    let (name, version) = (name.to_owned(), "test".to_owned());
    Identity { name, version, aes: false, senders: 2, kept: 0, token }
}

/// A group with these gateways in it, all of them sealing.
pub(super) fn members(daemon: &Daemon, group: &str, names: &[&str]) -> Vec<TestGateway> {
    daemon.ask(&["group", "add", group]);
    daemon.ask(&["group", "set", group, "activation_delay=2", "revoke_delay=1"]);
    let mut gateways = Vec::new();
    for name in names {
        let mut gateway = TestGateway::connect(daemon, name, None);
        gateway.until("pending", |g| *g.machine.standing() == Standing::Pending);
        daemon.ask(&["gateway", "approve", &gateway.fingerprint(), "--group", group]);
        gateway.reconnected();
        gateway.until_member();
        gateways.push(gateway);
    }
    for gateway in &mut gateways {
        gateway.until_sealing(1);
    }
    gateways
}
