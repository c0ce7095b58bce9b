//! How gateways come in, and how they are put out.

use super::daemon::Daemon;
use super::gateway::{TestGateway, dealer, members};
use tsg_control::gateway::Standing;
use tsg_control::message::ToGateway;
use tsg_control::token::Token;

#[test]
fn pending_then_approved() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let mut gateway = TestGateway::connect(&daemon, "pump", None);
    gateway.until("pending", |g| *g.machine.standing() == Standing::Pending);

    let listed = daemon.ask(&["gateway", "list"]);
    assert_eq!(listed[0]["state"], "pending");
    assert_eq!(listed[0]["name"], "pump");
    assert_eq!(listed[0]["fingerprint"], gateway.fingerprint());
    assert_eq!(daemon.ask(&["status"])["pending"][0]["name"], "pump");

    let other = "0000-0000-0000-0000-0000-0000-0000-0000";
    let words = ["gateway", "approve", "pump", "--group", "plant", "--fingerprint", other];
    let complaint = daemon.refused(&words);
    assert!(complaint.contains(&gateway.fingerprint()), "{complaint}");
    assert_eq!(daemon.ask(&["gateway", "list"])[0]["state"], "pending");

    let print = gateway.fingerprint();
    let words = ["gateway", "approve", "pump", "--group", "plant", "--fingerprint", &print];
    assert_eq!(daemon.ask(&words)["name"], "pump");
    gateway.reconnected();
    gateway.until_member();
    assert_eq!(gateway.until_sealing(1), 1);
    let shown = daemon.ask(&["gateway", "show", &print[..9]]);
    assert_eq!(shown["state"], "online");
    assert_eq!(shown["group"], "plant");
}

#[test]
fn a_token_lets_one_in_and_no_second() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let created = daemon.ask(&["token", "create", "--group", "plant"]);
    let token = Token::decode(created["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.servers, std::slice::from_ref(&daemon.endpoint));
    assert_eq!(token.server_key, daemon.key);

    let mut first = TestGateway::connect(&daemon, "press", Some(token.secret.clone()));
    first.until_member();
    let mut second = TestGateway::connect(&daemon, "thief", Some(token.secret.clone()));
    second.until("refused", |g| matches!(g.machine.standing(), Standing::Refused(_)));
    let Standing::Refused(reason) = second.machine.standing() else { panic!() };
    assert!(reason.contains("used already"), "{reason}");
    assert_eq!(daemon.ask(&["token", "list"])[0]["used_by"], first.key.to_string());

    // Also not after a restart; and who came in by it is still in.
    let daemon = Daemon::start_in(daemon.stop());
    let mut third = TestGateway::connect(&daemon, "thief", Some(token.secret));
    third.until("refused", |g| matches!(g.machine.standing(), Standing::Refused(_)));
    assert_eq!(daemon.ask(&["gateway", "show", "press"])["group"], "plant");
    let trail = daemon.ask(&["audit"]).to_string();
    assert!(trail.contains("enrol") && trail.contains(&first.fingerprint()), "{trail}");
}

#[test]
fn who_is_revoked_is_told_and_cannot_come_back() {
    let daemon = Daemon::start();
    let mut both = members(&daemon, "plant", &["stays", "goes"]);
    let mut goes = both.pop().unwrap();
    let mut stays = both.pop().unwrap();
    daemon.ask(&["gateway", "revoke", "goes", "--reason", "stolen"]);
    goes.until("revoked", |g| *g.machine.standing() == Standing::Revoked("stolen".to_owned()));
    let before = stays.sealing();
    stays.until_sealing(before + 1);
    assert_eq!(goes.sealing(), 0);
    // Over the connection that it still has, it is told again and nothing else.
    goes.heard.clear();
    goes.reconnected();
    let refused = |m: &ToGateway| matches!(m, ToGateway::Refused(r) if r.revoked && r.request != 0);
    goes.until("told again", |g| g.heard.iter().any(refused));
    let known = |m: &ToGateway| matches!(m, ToGateway::Refused(_) | ToGateway::Unknown(_));
    assert!(goes.heard.iter().all(known), "{:?}", goes.heard);
}

#[test]
fn a_revoked_key_cannot_even_connect() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let pair = zmq::CurveKeyPair::new().unwrap();
    let key = tsg_control::keys::PublicKey(pair.public_key).to_string();
    let outcome = |what: &str| {
        let context = zmq::Context::new();
        let socket = dealer(&context, &daemon, &pair);
        let events = i32::from(zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL.to_raw())
            | i32::from(zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw());
        socket.monitor("inproc://watch", events).unwrap();
        let watch = context.socket(zmq::PAIR).unwrap();
        watch.connect("inproc://watch").unwrap();
        watch.set_rcvtimeo(20_000).unwrap();
        socket.connect(&daemon.endpoint).unwrap();
        let frames = watch.recv_multipart(0).expect(what);
        zmq::SocketEvent::from_raw(u16::from_ne_bytes([frames[0][0], frames[0][1]]))
    };
    assert_eq!(outcome("a stranger"), zmq::SocketEvent::HANDSHAKE_SUCCEEDED);
    daemon.ask(&["gateway", "approve", &key, "--group", "plant"]);
    assert_eq!(outcome("a member"), zmq::SocketEvent::HANDSHAKE_SUCCEEDED);
    daemon.ask(&["gateway", "revoke", &key, "--reason", "lost"]);
    // Without a word: libzmq goes on trying, for it may be let in again.
    assert_eq!(outcome("a revoked one"), zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL);
    daemon.ask(&["gateway", "approve", &key, "--group", "plant"]);
    assert_eq!(outcome("let in again"), zmq::SocketEvent::HANDSHAKE_SUCCEEDED);
}

#[test]
fn who_is_let_in_again_comes_by_itself() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump", "press"]).remove(0);
    daemon.ask(&["gateway", "revoke", "pump", "--reason", "lost"]);
    pump.until("thrown out", |g| matches!(g.machine.standing(), Standing::Revoked(_)));
    // A new connection, which is refused.
    let mut daemon = Daemon::start_in(daemon.stop());
    daemon.wait_log("Revoked, refused");
    let before = pump.heard.len();
    daemon.ask(&["gateway", "approve", "pump", "--group", "plant"]);
    pump.until("a state", |g| g.heard[before..].iter().any(|m| matches!(m, ToGateway::State(_))));
}

#[test]
fn one_that_waits_is_in_nobodys_way() {
    let daemon = Daemon::start();
    let pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    for name in ["pump", pump.fingerprint().as_str()] {
        let mut namesake = TestGateway::connect(&daemon, name, None);
        namesake.until("pending", |g| *g.machine.standing() == Standing::Pending);
    }
    daemon.ask(&["gateway", "pin", "pump", "192.0.2.7"]);
    assert_eq!(daemon.ask(&["gateway", "show", &pump.fingerprint()])["name"], "pump");
    daemon.ask(&["gateway", "command", &pump.fingerprint(), "diagnostics", "--wait", "0"]);
    daemon.ask(&["gateway", "rename", "pump", "pumpe"]);
    daemon.ask(&["gateway", "revoke", "pumpe", "--reason", "lost"]);
}
