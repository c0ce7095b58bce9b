//! The control thread against a key server of libzmq's own.

use super::*;
use crate::ubus::Choice;
use std::path::Path;
use std::time::{Duration, Instant};

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
