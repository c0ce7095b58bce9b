//! The disk is full, the database damaged, or of another version.

use super::daemon::{Daemon, PROGRAM};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::process::Command;

#[test]
fn a_full_disk_is_said_and_nothing_is_half_done() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "first"]);
    let place = daemon.stop();
    // A file may grow to 512 blocks of 512 bytes: the write fails as on a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\"", PROGRAM]);
    let mut daemon = Daemon::start_by(place, command);
    let mut client = daemon.admin();
    let mut done = Vec::new();
    let complaint = loop {
        let name = format!("group-{}", done.len());
        let answer = client.ask(&json!({"group_add": {"group": name}})).unwrap();
        match answer.get("error") {
            Some(error) => break error["message"].as_str().unwrap().to_owned(),
            None => done.push(name),
        }
        assert!(done.len() < 10_000);
    };
    assert!(complaint.contains("tsg.db") && complaint.contains("disk full"), "{complaint}");
    assert_eq!(daemon.wait_end().code(), Some(1));
    let daemon = Daemon::start_in(daemon.kill());
    let groups = daemon.ask(&["group", "list"]).to_string();
    assert!(groups.contains("\"first\""));
    for name in &done {
        assert!(groups.contains(&format!("\"{name}\"")), "{name} is lost");
    }
    assert!(!groups.contains(&format!("\"group-{}\"", done.len())), "half done");
    println!("{} groups fitted", done.len());
}

#[test]
fn a_database_that_cannot_be_used_is_named_and_left_alone() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let place = daemon.stop();
    let file = place.data().join("tsg.db");
    let good = fs::read(&file).unwrap();

    let mut damaged = good.clone();
    for byte in damaged.iter_mut().skip(4096 + 8).step_by(7) {
        *byte ^= 0x55;
    }
    fs::write(&file, &damaged).unwrap();
    let complaint = place.complaint();
    assert!(complaint.contains("tsg.db") && complaint.contains("damaged"), "{complaint}");

    fs::write(&file, "no database at all, but long enough to have a header".repeat(100)).unwrap();
    let complaint = place.complaint();
    assert!(complaint.contains("tsg.db") && complaint.contains("damaged"), "{complaint}");

    fs::write(&file, &good).unwrap();
    Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let complaint = place.complaint();
    assert!(complaint.contains("newer tsg-server (schema 99"), "{complaint}");

    fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    let complaint = place.complaint();
    assert!(complaint.contains("no database of tsg-server"), "{complaint}");

    fs::write(&file, &good).unwrap();
    Connection::open(&file).unwrap().execute_batch("UPDATE groups SET settings = '{'").unwrap();
    let complaint = place.complaint();
    assert!(complaint.contains("table groups, row \"plant\""), "{complaint}");
    assert!(complaint.contains("column settings"), "{complaint}");

    fs::write(&file, &good).unwrap();
    let daemon = Daemon::start_in(place);
    assert_eq!(daemon.ask(&["group", "list"])[0]["name"], "plant");
}

#[test]
fn the_audit_trail_cannot_be_rewritten() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let place = daemon.stop();
    let database = Connection::open(place.data().join("tsg.db")).unwrap();
    for sql in ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit"] {
        let error = database.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
}
