//! The control thread against a key server of libzmq's own.

use super::*;
use crate::server::Received;
use crate::ubus::Choice;
use std::path::Path;
use std::time::{Duration, Instant};
use tsg_control::group::{Carriage, Settings};
use tsg_control::keys::make_tek;
use tsg_control::message::{
    Epoch, EpochKeys, GroupSettings, Reading, Register, State, TekField, ToGateway, ToServer,
};
use tsg_control::timeline::Stage;
use tsg_esp::crypto::Suite;

fn control(folder: &Path, server: &str, key: &Identity) -> Control {
    let folders =
        Folders { config: folder.to_owned(), state: folder.join("state"), run: folder.to_owned() };
    let config = Config {
        servers: vec![server.parse().unwrap()],
        server_key: Some(*key.public()),
        ..Config::default()
    };
    let doors = Doors::new(&folders, &Choice::None).unwrap();
    let identity = Identity::generate().unwrap();
    Control::new(config, folders, identity, &SigSet::empty(), doors).unwrap()
}

#[test]
fn a_wrong_key_of_the_key_server_is_named_with_its_file() {
    tsg_sodium::init().unwrap();
    let [key, other] = [(); 2].map(|()| Identity::generate().unwrap());
    let server = zmq::Context::new().socket(zmq::ROUTER).unwrap();
    server.set_curve_server(true).unwrap();
    server.set_curve_secretkey(key.secret().bytes()).unwrap();
    server.bind("tcp://127.0.0.1:*").unwrap();
    let address = server.get_last_endpoint().unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut control = control(folder.path(), &address, &other);
    let option = format!("option server_key of {}", folder.path().join("tsg").display());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !control.overview(0).alarms.iter().any(|alarm| alarm.contains(&option)) {
        assert!(Instant::now() < deadline, "{:?}", control.overview(0).alarms);
        control.wait().unwrap();
        control.take_messages();
    }
    // A connection that holds ends it.
    control.note_handshakes(&Received { connected: true, ..Received::default() });
    assert_eq!(control.key_trouble(), None);
    // One that is broken off may be a key server that just stops.
    control.note_handshakes(&Received { broken_off: 1, ..Received::default() });
    assert_eq!(control.key_trouble(), None);
}

/// A gateway with this configuration, a member with a key.
fn member(folder: &Path, options: &str) -> Control {
    tsg_sodium::init().unwrap();
    configure(folder, options);
    let folders = Folders {
        config: folder.to_owned(),
        state: folder.join("identity"),
        run: folder.to_owned(),
    };
    let (config, _) = Config::load(&folders.config_file()).unwrap();
    let doors = Doors::new(&folders, &Choice::None).unwrap();
    let identity = Identity::generate().unwrap();
    let mut control = Control::new(config, folders, identity, &SigSet::empty(), doors).unwrap();
    let now = boottime::now();
    control.gateway.handle_timeout(now);
    let register = register(&mut control);
    let keys = EpochKeys {
        tek: TekField(make_tek(|tek| tek.fill(5))),
        suite: Suite::ChaCha20Poly1305,
        carriage: Carriage::Protocol(253),
        clock: 1,
        origin: 0,
        ends: u64::MAX / 2,
        senders: vec![1, 2],
        highest_sender: 256,
    };
    let state = State {
        request: register.request,
        instance: 1,
        revision: 1,
        time: Reading { clock: 1, now: 1_000_000 },
        group: "plant".to_owned(),
        name: "press".to_owned(),
        epochs: vec![Epoch { id: 1, stage: Stage::Active, revokes: false, keys: Some(keys) }],
        policies: Vec::new(),
        settings: GroupSettings::from(&Settings::default()),
    };
    control.gateway.handle_message(ToGateway::State(state.into()), now);
    while control.gateway.poll_transmit().is_some() {}
    assert_eq!(control.described(now)["state"], "sealing");
    control
}

fn configure(folder: &Path, options: &str) {
    let ports = "config bridge\n\tlist lan 'nolan'\n\toption wan 'nowan'\n";
    std::fs::write(folder.join("tsg"), format!("config tsg 'main'\n{options}\n{ports}")).unwrap();
}

fn server(address: &str, key: u8) -> String {
    let key = tsg_control::keys::key_text(&[key; 32]);
    format!("\tlist server 'tcp://{address}'\n\toption server_key '{key}'\n")
}

fn register(control: &mut Control) -> Register {
    let mut said = std::iter::from_fn(|| control.gateway.poll_transmit());
    let register = said.find_map(|message| {
        if let ToServer::Register(register) = message { Some(register) } else { None }
    });
    register.unwrap()
}

#[test]
fn what_concerns_the_same_key_server_is_taken_over_with_the_keys_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = member(folder.path(), &server("127.0.0.1:9", 7));
    let rule = "config rule\n\toption action 'drop'\nconfig port\n\toption device 'nolan'\n\toption gro '0'\n";
    let more = format!(
        "{}\toption name 'mill'\n\toption path_mtu '1400'\n\toption fail 'open'\n{rule}",
        server("127.0.0.1:19", 7)
    );
    configure(folder.path(), &more);
    control.reload().unwrap();
    assert!(control.again.is_none(), "it would begin anew");
    assert_eq!(control.link.as_ref().unwrap().server().unwrap().port(), 19);
    assert_eq!((control.config.path_mtu, control.config.rules.len()), (Some(1_400), 1));
    assert_eq!(control.config.ports.len(), 1);
    assert_eq!(control.described(boottime::now())["state"], "sealing");
    control.gateway.handle_timeout(boottime::now());
    assert_eq!(register(&mut control).name, "mill");
    // A token that waits is handed in, too; nothing else is asked for.
    enrolment::store(&control.folders, &tsg_control::token::TokenSecret::make(|it| it.fill(1)))
        .unwrap();
    control.reload().unwrap();
    control.gateway.handle_timeout(boottime::now());
    assert!(register(&mut control).token.is_some());
    assert_eq!(control.described(boottime::now())["state"], "sealing");
}

#[test]
fn what_is_wrong_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut control = member(folder.path(), &server("127.0.0.1:9", 7));
    let before = control.config.clone();
    configure(folder.path(), &format!("{}\toption fail 'x'\n", server("127.0.0.1:19", 8)));
    let error = control.reload().unwrap_err();
    assert!(format!("{error:#}").contains("option fail"), "{error:#}");
    assert_eq!((control.config, control.again), (before, None));
}

#[test]
fn another_key_server_begins_anew_without_the_keys_of_the_one_before() {
    let cases = [
        (server("127.0.0.1:9", 8), false),
        (format!("{}\toption enabled '0'\n", server("127.0.0.1:9", 7)), true),
        (format!("{}\toption attach 'ingress'\n", server("127.0.0.1:9", 7)), true),
        (String::new(), false),
    ];
    for (options, keeps) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut control = member(folder.path(), &server("127.0.0.1:9", 7));
        configure(folder.path(), &options);
        control.reload().unwrap();
        let Some(Again { config, .. }) = control.run().unwrap() else {
            panic!("{options}: it stopped")
        };
        let (new, _) = Config::load(&folder.path().join("tsg")).unwrap();
        assert_eq!(config, new);
        let kept =
            crate::run::kept_teks(&Folders { run: folder.path().to_owned(), ..Folders::default() });
        assert_eq!(kept.len(), usize::from(keeps), "{options}");
    }
}
