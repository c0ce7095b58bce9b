//! What later versions may write, in places where an upgrade would put it (docs/protocol.md, section 2.6).

use super::v0_1_0::{VERSION, gateway, member, state, to_gateway, to_server};
use previous::later::Message;
use previous::read;
use rmpv::Value;
use tsg_control::gateway::{Gateway, Standing};
use tsg_control::keys::PublicKey;
use tsg_control::message::*;
use tsg_control::server::{Random, Server, Stored};
use tsg_control::timeline::Stage;

const STATE: [&str; 2] = ["body", "state"];

fn recorded(name: &str) -> Message {
    Message::read(&read(VERSION, name))
}

fn text(word: &str) -> Value {
    Value::from(word)
}

fn map(name: &str, value: Value) -> Value {
    Value::Map(vec![(name.into(), value)])
}

/// The recorded state with another value at a place in it.
fn state_with(place: &[&str], value: Value) -> Heard {
    let changed = recorded("to_gateway/state").with(&[&STATE, place].concat(), value);
    from_server(&changed.frame()).unwrap()
}

fn state_of(heard: &Heard) -> &State {
    match &heard.message {
        Some(ToGateway::State(state)) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fields_that_nobody_knows_are_ignored() {
    let mut count = 0;
    for (name, expected) in to_server() {
        let (changed, fields) = recorded(&format!("to_server/{name}")).with_fields();
        assert_eq!(from_gateway(&changed.frame()), Ok(expected), "{name}");
        count += fields;
    }
    for (name, expected) in to_gateway() {
        let (changed, fields) = recorded(&format!("to_gateway/{name}")).with_fields();
        let heard = Heard { message: Some(expected), answer: None, unknown: Vec::new() };
        assert_eq!(from_server(&changed.frame()), Ok(heard), "{name}");
        count += fields;
    }
    let (saved, fields) = recorded("saved").with_fields();
    let plain: tsg_control::gateway::Saved = decode(&read(VERSION, "saved"), MAX_FRAME).unwrap();
    assert_eq!(decode(&saved.frame(), MAX_FRAME), Ok(plain));
    println!("{} fields", count + fields);
    assert!(count > 40, "{count}");
}

#[test]
fn a_counter_that_nobody_knows_is_one_more_line() {
    let place = ["body", "report", "counters"];
    let changed = recorded("to_server/report").with_field(&place, "drop_weather", 7.into());
    let Ok(ToServer::Report(report)) = from_gateway(&changed.frame()) else { panic!("no report") };
    assert_eq!(report.counters.get("drop_weather"), Some(&7));
}

#[test]
fn a_message_of_a_kind_that_nobody_knows_is_named() {
    for fields in [map("sunny", Value::Array(vec![true.into()])), Value::Nil] {
        let body = map("weather", fields);
        let up = recorded("to_server/done").with(&["body"], body.clone()).frame();
        let down = recorded("to_gateway/pulse").with(&["body"], body).frame();
        let error = DecodeError::Kind("weather".to_owned());
        assert!(error.to_string().contains("weather"), "{error}");
        assert_eq!(from_gateway(&up), Err(error.clone()));
        assert_eq!(from_server(&down), Err(error));
    }
    // One that is known and has not what it needs is a fault.
    let broken = recorded("to_gateway/pulse").with(&["body", "pulse"], map("request", 1.into()));
    assert!(matches!(from_server(&broken.frame()), Err(DecodeError::Malformed(_))));
    let broken = recorded("to_server/done").with(&["body", "done"], map("command", 1.into()));
    assert!(matches!(from_gateway(&broken.frame()), Err(DecodeError::Malformed(_))));
}

#[test]
fn a_command_that_nobody_knows_is_answered() {
    let kinds =
        [text("dance"), map("log_level", text("chatty")), map("update", map("url", text("x")))];
    for kind in kinds {
        let place = ["body", "command", "kind"];
        let frame = recorded("to_gateway/command_reboot").with(&place, kind.clone()).frame();
        let heard = from_server(&frame).unwrap();
        assert_eq!((&heard.message, heard.unknown.len()), (&None, 1), "{kind}");
        let mut gateway = member();
        while gateway.poll_transmit().is_some() {}
        gateway.handle_heard(heard, 3_000);
        let Some(ToServer::Done(done)) = gateway.poll_transmit() else { panic!("no answer") };
        assert_eq!((done.command, done.ok), (3, false));
        assert!(done.text.contains("does not know the command"), "{}", done.text);
        assert!(kind != text("dance") || done.text.contains("\"dance\""), "{}", done.text);
    }
}

#[test]
fn an_epoch_that_cannot_be_used_is_one_without_keys() {
    let cases = [
        ("suite", text("aegis-256"), "cipher \"aegis-256\""),
        ("suite", map("pair", text("x")), "cipher"),
        ("carriage", map("tcp", 4_253.into()), "carriage"),
        ("carriage", text("raw"), "carriage \"raw\""),
    ];
    for (field, value, said) in cases {
        let heard = state_with(&["epochs", "2", "keys", field], value);
        let found = state_of(&heard);
        assert_eq!(found.epochs[2].keys, None, "{said}");
        assert_eq!(
            (&found.epochs[..2], &found.policies),
            (&state().epochs[..2], &state().policies)
        );
        let [unknown] = heard.unknown.as_slice() else { panic!("{:?}", heard.unknown) };
        assert!(
            unknown.starts_with("epoch 8 cannot be used") && unknown.contains(said),
            "{unknown}"
        );
        assert!(unknown.ends_with("; upgrade this gateway") && unknown.len() < 200, "{unknown}");
    }
    let heard = state_with(&["epochs", "1", "stage"], text("frozen"));
    let epoch = &state_of(&heard).epochs[1];
    assert_eq!((epoch.stage, &epoch.keys), (Stage::Prepared, &state().epochs[1].keys));
    assert!(heard.unknown[0].starts_with("epoch 7 counts as prepared"), "{:?}", heard.unknown);
}

/// Places in a policy, what a later version might put there, and what is said of it.
fn later_policies() -> Vec<(Message, &'static str)> {
    let recorded = recorded("to_gateway/state");
    let policy = ["body", "state", "policies", "2"];
    let rule = ["body", "state", "policies", "2", "policy", "rules", "1"];
    let with = |place: &[&str], more: &[&str], value| recorded.with(&[place, more].concat(), value);
    vec![
        (with(&policy, &["mode"], text("quarantine")), "mode \"quarantine\""),
        (with(&policy, &["stage"], text("frozen")), "stage \"frozen\""),
        (with(&policy, &["fail"], text("slow")), "fail \"slow\""),
        (with(&policy, &["non_ip"], text("seal")), "non_ip \"seal\""),
        (with(&policy, &["non_ip"], map("seal", 1.into())), "non_ip"),
        (with(&policy, &["policy", "default_action"], text("log")), "default_action \"log\""),
        (with(&rule, &["action"], text("mirror")), "something in rule 2"),
        (with(&rule, &["proto"], Value::Array(vec![text("quic")])), "something in rule 2"),
        (recorded.with_field(&rule, "vlan", 7.into()), "something in rule 2"),
        (
            recorded.with_field(&[&policy[..], &["policy"]].concat(), "sets", Value::Nil),
            "beside rules",
        ),
    ]
}

#[test]
fn a_policy_is_understood_whole_or_not_at_all() {
    for (message, said) in later_policies() {
        let heard = from_server(&message.frame()).unwrap();
        let found = state_of(&heard);
        assert_eq!((&found.policies[..], &found.epochs), (&state().policies[..2], &state().epochs));
        let [unknown] = heard.unknown.as_slice() else { panic!("{:?}", heard.unknown) };
        let begins =
            "policy 5 is not followed, the last one stays in force: this version does not know";
        assert!(unknown.starts_with(begins) && unknown.contains(said), "{unknown}");
        assert!(unknown.len() < 200, "a key server shows no more: {unknown}");
    }
    println!("{} policies", later_policies().len());
}

/// What the server process of the recorded state says, unasked.
fn say(gateway: &mut Gateway, message: &Message, revision: u64, now: u64) {
    let place = |name| ["body", "state", name];
    let message =
        message.with(&place("revision"), revision.into()).with(&place("request"), 0.into());
    gateway.handle_heard(from_server(&message.frame()).unwrap(), now);
}

fn confirmed(gateway: &mut Gateway) -> u64 {
    let said = std::iter::from_fn(|| gateway.poll_transmit());
    let beats = said.filter_map(|message| match message {
        ToServer::Heartbeat(heartbeat) => Some(heartbeat.revision),
        ToServer::Register(_) | ToServer::Report(_) | ToServer::Done(_) => None,
    });
    beats.last().unwrap()
}

#[test]
fn the_last_policy_that_is_understood_stays_in_force() {
    let active = |gateway: &Gateway| gateway.active_policy().unwrap().version;
    for (message, said) in later_policies() {
        let mut gateway = member();
        assert_eq!((active(&gateway), gateway.not_understood().len()), (4, 0));
        // Prepared: 4 is in force, and that 5 will not be followed is said already.
        say(&mut gateway, &message, 13, 3_000);
        assert_eq!((active(&gateway), confirmed(&mut gateway)), (4, 13), "{said}");
        assert!(gateway.not_understood()[0].contains(said));
        // In force for the others.
        let policies = |at: &'static str, field| ["body", "state", "policies", at, field];
        let next = match said.contains("stage") {
            true => message.clone(),
            false => message.with(&policies("2", "stage"), text("active")),
        };
        let next = next.with(&policies("1", "stage"), text("retiring"));
        say(&mut gateway, &next, 14, 4_000);
        assert_eq!((active(&gateway), confirmed(&mut gateway)), (4, 14), "{said}");
        // And the one before is gone.
        let only = next.value(&["body", "state", "policies", "2"]);
        let gone = next.with(&["body", "state", "policies"], Value::Array(vec![only]));
        say(&mut gateway, &gone, 15, 5_000);
        assert_eq!((active(&gateway), confirmed(&mut gateway)), (4, 15), "{said}");
        assert_eq!(gateway.policies().len(), 1);
        assert_eq!(gateway.keys(5_000).len(), 2, "keys come whatever the policy is");
        // It goes on over a restart of the daemon.
        let saved = gateway.save().unwrap();
        let mut next_process = super::v0_1_0::gateway();
        next_process.restore(saved, 6_000);
        assert_eq!(active(&next_process), 4);
        // Until there is one that it understands.
        say(&mut gateway, &recorded("to_gateway/state"), 16, 6_000);
        assert_eq!(gateway.policies(), state().policies);
        assert!(gateway.not_understood().is_empty());
    }
}

#[test]
fn a_gateway_that_never_had_a_policy_has_none() {
    let mut gateway = gateway();
    gateway.handle_timeout(1_000);
    let Some(ToServer::Register(register)) = gateway.poll_transmit() else { panic!("it asks") };
    let policy = ["body", "state", "policies", "2"];
    let message = recorded("to_gateway/state");
    let message = message.with(&[&policy[..], &["mode"]].concat(), text("quarantine"));
    let only = message.value(&policy);
    let message = message
        .with(&["body", "state", "policies"], Value::Array(vec![only]))
        .with(&["body", "state", "request"], register.request.into());
    gateway.handle_heard(from_server(&message.frame()).unwrap(), 2_000);
    assert_eq!(*gateway.standing(), Standing::Member);
    assert!(gateway.policies().is_empty() && gateway.not_understood().len() == 1);
    // Thrown out, it is in no state that could not be understood.
    let refused = recorded("to_gateway/refused_revoked");
    gateway.handle_heard(from_server(&refused.frame()).unwrap(), 3_000);
    assert!(gateway.not_understood().is_empty());
}

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

const NOW: u64 = 1_700_000_000_000;

/// A key server with one member.
fn server() -> (Server, PublicKey) {
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    server.add_group("line1", NOW).unwrap();
    let member = PublicKey([1; 32]);
    server.approve(member, "line1", 0, NOW).unwrap();
    while server.poll_event().is_some() {}
    (server, member)
}

fn warnings(server: &mut Server) -> Vec<String> {
    std::iter::from_fn(|| server.poll_event()).map(|event| event.text).collect()
}

#[test]
fn another_version_is_refused_and_said_on_both_sides() {
    for (version, older) in [(2, "key server"), (0, "gateway")] {
        let up = recorded("to_server/register").with(&["v"], version.into()).frame();
        let down = recorded("to_gateway/state").with(&["v"], version.into()).frame();
        let error = from_gateway(&up).unwrap_err();
        assert_eq!(
            (&error, from_server(&down)),
            (&DecodeError::Version(version), Err(error.clone()))
        );

        let (mut server, member) = server();
        let stranger = PublicKey([2; 32]);
        for _ in 0..3 {
            for from in [member, stranger] {
                server.handle_unreadable(from, error.clone(), NOW);
                let Some((to, ToGateway::Refused(refused))) = server.poll_transmit() else {
                    panic!("it is not told")
                };
                assert_eq!((to, refused.revoked), (from, false));
                assert!(refused.reason.ends_with(&format!("upgrade the {older}")));
            }
        }
        let said = warnings(&mut server);
        let about_member = said.iter().filter(|line| line.starts_with("gateway-")).count();
        assert_eq!(about_member, 1, "once: {said:?}");
        assert!(said[0].contains(&format!("protocol version {version}")), "{said:?}");
        let alarms = |server: &Server, now| {
            let shown = server.gateways(now).into_iter().find(|g| g.key == member).unwrap();
            assert_eq!(shown.speaks.is_some(), !shown.alarms.is_empty());
            shown.alarms
        };
        let [alarm] = alarms(&server, NOW).try_into().unwrap();
        assert!(alarm.contains(&format!("speaks version {version}")), "{alarm}");
        assert!(alarms(&server, NOW + 61_000).is_empty(), "it is gone");
        let (_, register) = to_server().remove(0);
        server.handle_message(member, register, NOW);
        assert!(alarms(&server, NOW).is_empty(), "it was upgraded");
    }
}

#[test]
fn what_a_newer_gateway_says_is_logged_once_and_costs_it_nothing() {
    let (mut server, member) = server();
    let (_, register) = to_server().remove(0);
    server.handle_message(member, register, NOW);
    while server.poll_transmit().is_some() {}
    while server.poll_event().is_some() {}
    for _ in 0..100 {
        server.handle_unreadable(member, DecodeError::Kind("weather".to_owned()), NOW);
    }
    assert!(server.poll_transmit().is_none());
    let said = warnings(&mut server);
    assert!(said.len() == 1 && said[0].contains("\"weather\""), "{said:?}");
    let shown = &server.gateways(NOW)[0];
    assert_eq!((shown.speaks, shown.alarms.len()), (None, 0));
    for number in 0..1_000 {
        server.handle_unreadable(member, DecodeError::Kind(number.to_string()), NOW);
    }
    assert!(warnings(&mut server).len() < 30, "it cannot fill the log");
    server.handle_unreadable(member, DecodeError::Malformed("no".to_owned()), NOW);
    assert!(warnings(&mut server).is_empty());
}
