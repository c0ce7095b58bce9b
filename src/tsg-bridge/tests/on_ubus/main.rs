//! The gateway on ubus: `tsg run` as it is, and the broker of the crate `ubusd`, which is held against OpenWrt's own.
#![allow(unreachable_pub, missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

mod bus;
mod daemon;

use bus::{Bus, client};
use daemon::{Gateway, IDLE, TO_NOWHERE, own_network, token, wait_for};
use serde_json::{Value, json};
use std::fs;
use ubus::UbusError;

const METHODS: [&str; 12] = [
    "status",
    "counters",
    "peers",
    "policy",
    "flows",
    "preflight",
    "ports",
    "setup",
    "bypass",
    "reconnect",
    "reload",
    "enrol",
];

fn status_of(answer: Result<Value, UbusError>) -> i32 {
    match answer {
        Err(UbusError::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_listed_with_its_methods_and_their_types() {
    let bus = Bus::start();
    let _gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    let found = client.wait_for_object("tsg.run");
    let listed = client.signature(&found);
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, METHODS);
    for (name, parameters) in &listed {
        // Types of blobmsg: 1 is a list, 3 a text, 5 a whole number, 7 yes or no.
        let expected = match name.as_str() {
            "enrol" => vec![("token", 3)],
            "bypass" => vec![("seconds", 5)],
            "setup" => {
                vec![("lan", 1), ("wan", 3), ("address", 3), ("vlan", 5), ("standalone", 7)]
            }
            _ => vec![],
        };
        let parameters: Vec<(&str, _)> =
            parameters.iter().map(|(parameter, kind)| (parameter.as_str(), *kind)).collect();
        assert_eq!(parameters, expected, "{name}");
    }
}

#[test]
fn both_doors_answer_the_same() {
    let bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    client.wait_for_object("tsg.run");
    let session = json!({ "ubus_rpc_session": "00000000000000000000000000000000", "more": [1] });
    let mut cases = 0;
    let needy = ["enrol", "bypass", "setup"];
    for method in METHODS.into_iter().filter(|method| !needy.contains(method)) {
        let mut there = client.call("tsg.run", method, &session).unwrap();
        let mut here = gateway.ask(&json!({ "method": method, "args": session }));
        for answer in [&mut there, &mut here] {
            // What is free changes in between.
            let checks = answer.get_mut("checks").and_then(Value::as_array_mut);
            for check in checks.into_iter().flatten() {
                if ["memory", "flash"].iter().any(|what| check["what"] == *what) {
                    check["text"].take();
                }
            }
            // It counts on in between.
            assert!(
                answer.as_object_mut().unwrap().remove("uptime_s").is_some()
                    == (method == "status")
            );
        }
        assert_eq!(there, here, "{method}");
        cases += 1;
    }
    let nobody = json!({ "lan": ["nolan"], "wan": "nowan", "vlan": 5, "standalone": true });
    let there = client.call("tsg.run", "setup", &nobody).unwrap();
    assert_eq!(there, gateway.ask(&json!({ "method": "setup", "args": nobody })));
    assert_eq!(there["ok"], false, "{there}");
    let status = client.call("tsg.run", "status", &json!({})).unwrap();
    let expected = json!({
        "state": "idle", "enabled": true, "attach_wanted": "auto", "since_server_s": null, "next_rekey_s": null,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(status.get(field), Some(value), "{field}");
    }
    assert_eq!(client.call("tsg.run", "counters", &json!({})).unwrap()["sealed"], 0);
    let peers = client.call("tsg.run", "peers", &json!({})).unwrap();
    let expected =
        json!({ "mine": [], "others": [], "others_more": 0, "unreached": [], "senders_known": 0 });
    assert_eq!(peers, expected);
    let policy = client.call("tsg.run", "policy", &json!({})).unwrap();
    assert_eq!(policy["versions"], json!([]));
    assert_eq!(policy["local"][0]["dest_port"], json!(["23"]));
    let idle = client.call("tsg.run", "reconnect", &json!({})).unwrap();
    assert_eq!(idle["ok"], false);
    assert!(idle["error"].as_str().unwrap().contains("no key server is set"), "{idle}");
    println!("ubus: {cases} methods answer the same on both doors");
}

#[test]
fn what_is_wrong_has_its_status() {
    let bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    client.wait_for_object("tsg.run");
    assert_eq!(status_of(client.call("tsg.run", "dance", &json!({}))), 3);
    for arguments in [
        json!({}),
        json!({ "token": 1 }),
        json!({ "token": true }),
        json!({ "token": ["tsg1-x"] }),
        json!({ "token": { "a": "tsg1-x" } }),
        json!({ "token": null }),
    ] {
        assert_eq!(status_of(client.call("tsg.run", "enrol", &arguments)), 2, "{arguments}");
        let answer = gateway.ask(&json!({ "method": "enrol", "args": arguments }));
        assert_eq!(answer["ok"], false, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("argument token"), "{answer}");
    }
    let answer = client.call("tsg.run", "enrol", &json!({ "token": "tsg1-nonsense" })).unwrap();
    assert_eq!(answer["ok"], false);
    assert!(answer["error"].as_str().unwrap().contains("not an enrolment token"), "{answer}");
    assert!(!gateway.log().contains("nonsense"));
}

#[test]
#[ignore = "needs root"]
fn a_token_is_taken_over_at_once_and_leaves_no_trace() {
    own_network();
    let bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    client.wait_for_object("tsg.run");
    let pid = gateway.pid();
    let token = token(&["tcp://127.0.0.1:9"]);
    let text = token.encode();
    let answer = client.call("tsg.run", "enrol", &json!({ "token": text.as_str() })).unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(answer["group"], "plant");
    assert_eq!(answer["servers"], json!(["tcp://127.0.0.1:9"]));
    assert_eq!(answer["expired"], false);
    let state = || gateway.ask(&json!({ "method": "status" }))["state"].clone();
    wait_for("it looks for the server", || state() == "searching");
    let status = client.call("tsg.run", "status", &json!({})).unwrap();
    assert_eq!(status["servers"], json!(["tcp://127.0.0.1:9"]));
    assert_eq!(status["fingerprint"], answer["fingerprint"]);
    assert_eq!((gateway.pid(), gateway.is_running()), (pid, true), "it began anew in place");
    let config = fs::read_to_string(gateway.path("config/tsg")).unwrap();
    assert!(config.contains("option server 'tcp://127.0.0.1:9'"), "{config}");
    assert_eq!(client.call("tsg.run", "reconnect", &json!({})).unwrap()["ok"], true);
    // Neither in the log nor in memory; the secret that it holds waits for the key server.
    let end = &text.as_str()[text.len() - 40..];
    assert!(!gateway.log().contains(end), "{}", gateway.log());
    assert_eq!(gateway.count_in_memory(end.as_bytes()), 0, "in memory");
    assert!(gateway.count_in_memory(b"tsg.run") > 0, "the search finds nothing at all");
    gateway.stop();
}

#[test]
fn a_token_without_ports_is_kept_and_said() {
    let bus = Bus::start();
    let gateway = Gateway::start("config tsg 'main'\n", &bus);
    let mut client = client(&bus);
    client.wait_for_object("tsg.run");
    let text = token(&["tcp://127.0.0.1:9"]).encode();
    let answer = client.call("tsg.run", "enrol", &json!({ "token": text.as_str() })).unwrap();
    assert_eq!(answer["ok"], false, "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("the token is taken") && error.contains("config bridge"), "{error}");
    assert!(gateway.path("state/token").exists() && gateway.is_running());
}

#[test]
#[ignore = "needs root"]
fn who_has_subscribed_is_told_what_changes() {
    own_network();
    let bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    let object = client.wait_for_object("tsg.run").id;
    client.subscribe(object);
    gateway.configure(TO_NOWHERE);
    assert_eq!(gateway.ask(&json!({ "method": "reload" }))["ok"], true);
    let (what, news) = client.notification(|news| news["state"] == "searching");
    assert_eq!((what.as_str(), &news["connected"]), ("state", &json!(false)));
    let alarms = news["alarms"].as_array().unwrap();
    let no_answer = "no answer of the key server yet: Network is unreachable";
    assert!(alarms.iter().any(|alarm| alarm == no_answer), "{news}");
    gateway.configure(IDLE);
    assert_eq!(gateway.ask(&json!({ "method": "reload" }))["ok"], true);
    client.notification(|news| news["state"] == "idle" && news["alarms"] == json!([]));
}

#[test]
fn it_comes_back_with_the_broker_and_is_no_worse_without() {
    let mut bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    for round in 0..3 {
        let mut caller = client(&bus);
        caller.wait_for_object("tsg.run");
        assert_eq!(caller.call("tsg.run", "status", &json!({})).unwrap()["state"], "idle");
        // In the middle of a question, too.
        if round == 1 {
            caller.begin_call("tsg.run", "status");
        }
        bus.stop();
        assert_eq!(gateway.ask(&json!({ "method": "status" }))["state"], "idle");
        bus.restart();
    }
    client(&bus).wait_for_object("tsg.run");
    gateway.stop();
}

#[test]
fn it_begins_anew_in_place_and_the_doors_stay_open() {
    let bus = Bus::start();
    let gateway = Gateway::start(IDLE, &bus);
    let mut client = client(&bus);
    let object = client.wait_for_object("tsg.run").id;
    let pid = gateway.pid();
    for (round, enabled) in [false, true, false].into_iter().enumerate() {
        let word = if enabled { "1" } else { "0" };
        gateway.configure(&IDLE.replace("'main'", &format!("'main'\n\toption enabled '{word}'")));
        if round == 1 {
            assert_eq!(
                client.call("tsg.run", "reload", &json!({})).unwrap(),
                json!({ "ok": true })
            );
        } else {
            gateway.signal_to_reload();
        }
        wait_for("it has changed", || {
            client.call("tsg.run", "status", &json!({})).unwrap()["enabled"] == enabled
        });
    }
    assert_eq!((gateway.pid(), gateway.is_running()), (pid, true));
    assert_eq!(client.wait_for_object("tsg.run").id, object);
    assert_eq!(gateway.log().matches("beginning anew").count(), 3, "{}", gateway.log());
    gateway.configure("config tsg 'main'\n\toption fail 'x'\n");
    let wrong = client.call("tsg.run", "reload", &json!({})).unwrap();
    assert!(wrong["error"].as_str().unwrap().contains("option fail"), "{wrong}");
    gateway.stop();
}

#[test]
fn two_gateways_have_two_objects() {
    let bus = Bus::start();
    let first = Gateway::start(IDLE, &bus);
    let second = Gateway::start_with_run(IDLE, &bus, "press");
    let mut client = client(&bus);
    for (object, gateway) in [("tsg.run", &first), ("tsg.press", &second)] {
        client.wait_for_object(object);
        let here = gateway.ask(&json!({ "method": "status" }));
        let there = client.call(object, "status", &json!({})).unwrap();
        assert_eq!(here["fingerprint"], there["fingerprint"]);
    }
}

#[test]
fn a_garbling_broker_harms_nothing() {
    for garbage in [vec![0xff; 4_096], vec![0; 4_096], b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ubus.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let gateway = Gateway::start_at(IDLE, &path, "run");
        // It comes again, after a pause.
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Write::write_all(&mut stream, &garbage);
        }
        assert_eq!(gateway.ask(&json!({ "method": "status" }))["state"], "idle");
        gateway.stop();
    }
}
