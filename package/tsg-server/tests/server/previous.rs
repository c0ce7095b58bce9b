//! Today's key server with gateways of 0.1.0, and with what later ones may say.

use super::daemon::{Daemon, PATIENCE};
use super::gateway::dealer;
use previous::later::Message;
use previous::v0_1_0::{Gateway, ToGateway, VERSION};
use rmpv::Value;
use std::time::Instant;
use tsg_control::keys::PublicKey;
use tsg_control::message::{MAX_FRAME, decode};

/// A gateway of 0.1.0 on a real CURVE socket.
struct Old {
    socket: zmq::Socket,
    key: PublicKey,
    gateway: Gateway,
}

impl Old {
    fn connect(daemon: &Daemon) -> Self {
        let pair = zmq::CurveKeyPair::new().unwrap();
        let socket = dealer(&zmq::Context::new(), daemon, &pair);
        socket.connect(&daemon.endpoint).unwrap();
        let mut gateway = Gateway::default();
        gateway.process = 42;
        Self { socket, key: PublicKey(pair.public_key), gateway }
    }

    fn say(&self, frame: &[u8]) {
        self.socket.send(frame, 0).unwrap();
    }

    /// The next frame, if there is one within `wait` milliseconds.
    fn next(&self, wait: i64) -> Option<Vec<u8>> {
        let ready = self.socket.poll(zmq::POLLIN, wait).unwrap();
        (ready > 0).then(|| self.socket.recv_bytes(0).unwrap())
    }

    /// Says what it has to, and hears, until something is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Gateway) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.gateway) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.gateway.heard.last());
            let Some(frame) = self.next(300) else {
                let again = match self.gateway.state {
                    Some(_) => self.gateway.heartbeat(),
                    None => self.gateway.register(),
                };
                self.say(&again);
                continue;
            };
            self.gateway.hear(&frame).iter().for_each(|answer| self.say(answer));
        }
    }

    /// It is let in and seals.
    fn join(daemon: &Daemon) -> Self {
        daemon.ask(&["group", "add", "plant"]);
        let rule = "encrypt name=modbus proto=tcp dest_port=502";
        daemon.ask(&["policy", "set", "plant", "--rule", rule]);
        let mut old = Self::connect(daemon);
        old.until("it waits", |g| matches!(g.heard.last(), Some(ToGateway::Pending { .. })));
        let fingerprint = old.key.fingerprint().to_string();
        daemon.ask(&["gateway", "approve", &fingerprint, "--group", "plant"]);
        old.until("it seals", |g| g.sealing().is_some() && g.policy().is_some());
        old
    }
}

#[test]
fn a_gateway_of_0_1_0_lives_with_todays_server() {
    let daemon = Daemon::start();
    let mut old = Old::join(&daemon);
    let policy = old.gateway.policy().unwrap();
    assert_eq!(policy.policy.rules[0].name, "modbus");
    assert_eq!((policy.mode.as_str(), policy.fail.as_str()), ("enforce", "closed"));

    // A rekey comes into force as soon as it has confirmed that: it is waited for, and heard.
    let before = old.gateway.sealing().unwrap().0;
    let asked = Instant::now();
    daemon.ask(&["rekey", "plant"]);
    old.until("the next epoch", |g| g.sealing().is_some_and(|(epoch, _)| epoch > before));
    assert!(asked.elapsed().as_secs() < 14, "not by the deadline");

    daemon.ask(&["policy", "set", "plant", "--rule", "bypass name=all"]);
    old.until("the next policy", |g| g.policy().is_some_and(|p| p.policy.rules[0].name == "all"));

    old.say(&old.gateway.report());
    let shown = || daemon.ask(&["gateway", "show", "old"]);
    old.until("what it reports", |_| shown()["counters"]["sealed"] == 1_234);
    let shown = shown();
    assert_eq!((&shown["version"], &shown["machines"][0]), (&VERSION.into(), &"192.0.2.7".into()));
    assert_eq!((shown["state"].as_str(), shown["current"].as_bool()), (Some("online"), Some(true)));

    daemon.ask(&["gateway", "command", "old", "diagnostics", "--wait", "0"]);
    old.until("the command", |g| matches!(g.heard.last(), Some(ToGateway::Command { .. })));
    daemon.ask(&["gateway", "revoke", "old", "--reason", "box died"]);
    old.until("it is thrown out", |g| g.state.is_none());
}

#[test]
fn a_gateway_of_0_1_0_joins_by_a_token_of_today() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let created = daemon.ask(&["token", "create", "--group", "plant"]);
    let token = previous::v0_1_0::token(created["token"].as_str().unwrap()).unwrap();
    assert_eq!((token.group.as_str(), token.servers.len()), ("plant", 1));
    let mut old = Old::connect(&daemon);
    old.gateway.token = Some(token.secret);
    old.until("it is let in", |g| g.sealing().is_some());
}

#[test]
fn what_a_later_gateway_says_costs_it_nothing() {
    let mut daemon = Daemon::start();
    let mut later = Old::join(&daemon);
    // A kind of message that nobody knows: once in the log, and the connection stays.
    let weather = Value::Map(vec![("weather".into(), Value::Map(Vec::new()))]);
    let message = Message::read(&later.gateway.heartbeat()).with(&["body"], weather);
    (0..5).for_each(|_| later.say(&message.frame()));
    // Fields that nobody knows: answered as ever.
    let (beat, fields) = Message::read(&later.gateway.heartbeat()).with_fields();
    assert!(fields > 1);
    later.say(&beat.frame());
    let asked = beat.value(&["body", "heartbeat", "request"]);
    let answers = |heard: &ToGateway| matches!(heard, ToGateway::Pulse { request, .. } if asked == (*request).into());
    later.until("its answer", |g| g.heard.iter().any(answers));
    assert_eq!(daemon.ask(&["status"])["dropped"]["unknown message"], 5);
    daemon.wait_log("\"weather\", which this version does not know: ignored");
    let log = daemon.into_log();
    assert_eq!(log.iter().filter(|line| line.contains("weather")).count(), 1, "{log:#?}");
}

#[test]
fn a_gateway_of_another_version_is_told_so_and_the_operator_too() {
    let mut daemon = Daemon::start();
    let mut later = Old::join(&daemon);
    let other = |frame: Vec<u8>| Message::read(&frame).with(&["v"], 2.into()).frame();
    let message = other(later.gateway.register());
    later.say(&message);
    // In the server's version, which it can read as another.
    let refused = loop {
        let frame = later.next(20_000).expect("an answer");
        if let ToGateway::Refused { reason, .. } = previous::v0_1_0::read(&frame).unwrap() {
            assert_eq!(Message::read(&frame).value(&["v"]), Value::from(1));
            break reason;
        }
    };
    assert!(refused.contains("speaks version 2") && refused.contains("upgrade the key server"));
    daemon.wait_log("protocol version 2, this program speaks 1: upgrade the older side");
    let status = daemon.ask(&["status"]);
    let alarm = status["alarms"][0]["alarm"].as_str().unwrap();
    assert!(alarm.contains("speaks version 2 of the protocol"), "{alarm}");
    assert_eq!(status["dropped"]["other version"], 1);
    // A stranger is told, too, and does not wait for approval.
    let mut stranger = Old::connect(&daemon);
    let strange = other(stranger.gateway.register());
    stranger.say(&strange);
    let frame = stranger.next(20_000).expect("an answer");
    assert!(decode::<tsg_control::message::ToGateway>(&frame, MAX_FRAME).is_ok());
    assert_eq!(daemon.ask(&["status"])["pending"].as_array().unwrap().len(), 0);
    // A server that has never understood it knows it from its disk.
    let daemon = Daemon::start_in(daemon.stop());
    let deadline = Instant::now() + PATIENCE;
    while daemon.ask(&["status"])["alarms"][0]["alarm"].as_str() != Some(alarm) {
        assert!(Instant::now() < deadline);
        later.say(&message);
        later.next(200);
    }
    // Upgraded, it is back.
    let heard = later.gateway.heard.len();
    later.until("it is back", |g| g.heard.len() > heard && g.sealing().is_some());
    assert_eq!(daemon.ask(&["status"])["alarms"].as_array().unwrap().len(), 0);
}
