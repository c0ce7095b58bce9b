//! New keys: on demand, by signal, after a restart.

use super::daemon::{Daemon, signal};
use super::gateway::members;
use serde_json::json;
use tsg_control::message::{CommandKind, Done, ToGateway, ToServer};

#[test]
fn on_demand_and_by_signal() {
    let mut daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump"]);
    let pump = &mut gateways[0];
    let first = pump.until_sealing(1);

    let asked = daemon.ask(&["rekey", "plant"]);
    assert_eq!(asked["epoch"], first + 1);
    pump.until_sealing(first + 1);

    signal(&daemon, "USR1");
    pump.until_sealing(first + 2);
    daemon.wait_log("epoch 3 is in force");
    let trail = daemon.ask(&["audit"]).to_string();
    assert!(trail.contains("signal from uid"), "{trail}");
    // SIGHUP is nothing to die of.
    signal(&daemon, "HUP");
    assert_eq!(daemon.ask(&["status"])["groups"][0]["epoch"], first + 2);
}

#[test]
fn a_restart_makes_a_new_epoch_and_no_number_comes_twice() {
    let daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump", "press"]);
    let before = gateways[0].until_sealing(1);
    let daemon = Daemon::start_in(daemon.stop());
    for gateway in &mut gateways {
        let now = gateway.until_sealing(before + 1);
        assert_eq!(now, before + 1);
    }
    let [pump, press] = gateways.as_slice() else { panic!() };
    for (epoch, (_, senders)) in &pump.given {
        let Some((_, others)) = press.given.get(epoch) else { continue };
        assert!(senders.iter().all(|sender| !others.contains(sender)), "epoch {epoch}");
    }
    drop(daemon);
}

#[test]
fn keys_are_revealed_on_purpose_only() {
    let daemon = Daemon::start();
    let mut gateways = members(&daemon, "plant", &["pump"]);
    let epoch = gateways[0].until_sealing(1);
    let complaint = daemon.refused(&["group", "keys", "plant"]);
    assert!(complaint.contains("--reveal") && complaint.contains("audit"), "{complaint}");
    let revealed = daemon.ask(&["group", "keys", "plant", "--reveal"]);
    let (tek, senders) = &gateways[0].given[&epoch];
    let shown = &revealed["epochs"][0];
    assert_eq!(shown["id"], epoch);
    assert_eq!(shown["tek"], tsg_control::keys::key_text(tek));
    assert_eq!(shown["cipher"], "chacha20-poly1305");
    assert_eq!(shown["last_sender"], u64::from(*senders.iter().max().unwrap()));
    assert_eq!(shown["senders"][0]["spi"], "0x01000001");
    assert_eq!(shown["senders"][0]["key"].as_str().unwrap().len(), 64);
    let some = daemon.ask(&["group", "keys", "plant", "--reveal", "--senders", "2..2"]);
    assert_eq!(some["epochs"][0]["senders"][0]["spi"], "0x01000002");
    let trail = daemon.ask(&["audit"]).to_string();
    assert!(trail.contains("group keys") && trail.contains("refused"), "{trail}");
}

#[test]
fn commands_are_answered() {
    let daemon = Daemon::start();
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let words = ["gateway", "command", "pump", "diagnostics", "--wait", "0"];
    let command = daemon.ask(&words)["command"].as_u64().unwrap();
    let is_it = |m: &ToGateway| {
        matches!(m, ToGateway::Command(c)
            if c.command == command && c.kind == CommandKind::Diagnostics)
    };
    pump.until("the command", |g| g.heard.iter().any(is_it));
    let text = "never asked".to_owned();
    pump.say(&ToServer::Done(Done { command: command + 1, ok: true, text }));
    let text = "kernel 6.12".to_owned();
    pump.say(&ToServer::Done(Done { command, ok: true, text }));
    let mut client = daemon.admin();
    let ask = json!({"gateway_outcome": {"command": command}});
    let mut outcome = json!(null);
    while outcome["answered"] != true {
        pump.turn();
        outcome = client.ask(&ask).unwrap()["ok"]["value"].clone();
    }
    assert_eq!(outcome["text"], "kernel 6.12");
    let complaint = daemon.refused(&["gateway", "command", "press", "reboot"]);
    assert!(complaint.contains("no gateway"), "{complaint}");
    let log = daemon.into_log();
    assert!(log.iter().any(|line| line.contains("kernel 6.12")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("never asked")), "{log:#?}");
}
