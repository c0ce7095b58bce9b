//! Root's door.

use super::daemon::{Daemon, Place, signal};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

#[test]
fn one_json_object_a_line_each_way() {
    let daemon = Daemon::start();
    let mode = fs::metadata(daemon.place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mut client = daemon.admin();
    let key = client.ask(&json!({"key": {}})).unwrap();
    assert_eq!(key["ok"]["value"]["public_key"], daemon.key.to_string());
    for (line, expected) in [
        ("nonsense", "no operation"),
        ("{}", "no operation"),
        ("{\"key\":{\"more\":1}}", "no operation"),
        ("{\"shell\":{\"command\":\"reboot\"}}", "no operation"),
        ("{\"group_show\":{\"group\":\"none\"}}", "no group"),
    ] {
        client.send(format!("{line}\n").as_bytes()).unwrap();
        let answer = client.receive().unwrap().to_string();
        assert!(answer.contains("error") && answer.contains(expected), "{line}: {answer}");
    }
    assert!(client.ask(&json!({"status": {}})).unwrap()["ok"].is_object());
    // Too long: said, and cut off.
    client.send(&vec![b' '; 1 << 20]).unwrap();
    assert!(client.receive().unwrap()["error"]["message"].to_string().contains("at most"));
    assert!(client.receive().is_none());
    assert!(daemon.ask(&["status"]).is_object());
}

#[test]
fn slow_and_many_clients_keep_nobody_waiting() {
    let daemon = Daemon::start();
    let mut lazy: Vec<_> = (0..15).map(|_| daemon.admin()).collect();
    for client in &mut lazy {
        // Asks a lot, reads nothing.
        for _ in 0..50 {
            client.send(b"{\"status\":{}}\n").unwrap();
        }
    }
    assert!(daemon.ask(&["status"]).is_object());
    let mut more: Vec<_> =
        (0..20).map(|_| UnixStream::connect(daemon.place.socket()).unwrap()).collect();
    let mut answer = [0; 9];
    more.last_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"{\"error\":");
}

#[test]
fn a_second_server_is_turned_away() {
    let daemon = Daemon::start();
    let complaint = daemon.place.complaint();
    assert!(complaint.contains("is in use"), "{complaint}");
    assert!(daemon.ask(&["status"]).is_object());
}

#[test]
fn what_a_killed_server_left_is_no_obstacle() {
    let daemon = Daemon::start();
    let key = daemon.key;
    let place = daemon.kill();
    assert!(place.socket().exists());
    let daemon = Daemon::start_in(place);
    assert_eq!(daemon.key, key);
    let place = daemon.stop();
    fs::write(place.socket(), "mine").unwrap();
    assert!(place.complaint().contains("is no socket"));
    assert_eq!(fs::read(place.socket()).unwrap(), b"mine");
}

#[test]
fn without_a_server_the_command_line_says_so() {
    let place = Place::new();
    let mut command = std::process::Command::new(super::daemon::PROGRAM);
    command.arg("--socket").arg(place.socket()).arg("status");
    let output = command.output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.contains("is it running?"), "{complaint}");
}

#[test]
fn health_is_that_the_main_thread_answers() {
    let daemon = Daemon::start();
    let well = daemon.command(&["health"]);
    assert_eq!((well.status.code(), well.stdout.as_slice()), (Some(0), &b"well\n"[..]));
    signal(&daemon, "STOP");
    let complaint = daemon.refused(&["health"]);
    assert!(complaint.contains("takes too long"), "{complaint}");
    signal(&daemon, "CONT");
    assert!(daemon.command(&["health"]).status.success());
    let place = daemon.stop();
    let mut gone = std::process::Command::new(super::daemon::PROGRAM);
    let output = gone.arg("--socket").arg(place.socket()).arg("health").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
