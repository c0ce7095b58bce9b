//! The disk is full, the database damaged, or of another version.

use super::daemon::{Daemon, PATIENCE, PROGRAM, Place, signal};
use super::gateway::members;
use super::receivers::WebServer;
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use tsg_control::message::{Heartbeat, ToGateway, ToServer};

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

/// Runs a shell that sees the server's data folder as the server does.
fn beside(daemon: &Daemon, script: &str) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &daemon.pid().to_string(), "--mount"]);
    if !is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.args(["sh", "-ec", script]).env("DATA", daemon.place.data());
    assert!(command.status().unwrap().success());
}

#[test]
fn on_a_full_disk_the_running_state_stays() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    let mount = "mount -t tmpfs -o size=20m,mode=0700 tmpfs \"$DATA\"";
    let command = with_mounts(&place, mount);
    let mut daemon = Daemon::start_by(place, command);
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let first = pump.until_sealing(1);

    // Little is left: for what the server stores by itself, not for orders.
    beside(&daemon, "head -c 8M /dev/zero > \"$DATA/filler\"");
    let complaint = daemon.refused(&["group", "add", "second"]);
    assert!(complaint.contains("tsg.db") && complaint.contains("KiB left"), "{complaint}");
    assert!(complaint.contains("nothing was changed"), "{complaint}");
    let nobody = "age1lhk4qxa0lgpn9xkdc2874yavxld8ujmuj34qc23622xcefehwacqmw86qg";
    let backup = daemon.place.path().join("backup.age");
    let to = backup.to_str().unwrap();
    let complaint = daemon.refused(&["backup", "--recipient", nobody, "--to", to]);
    assert!(complaint.contains("KiB left") && !backup.exists(), "{complaint}");
    signal(&daemon, "USR1");
    let second = pump.until_sealing(first + 1);

    // Nothing is left.
    beside(&daemon, "cat /dev/zero > \"$DATA/filler\" 2> /dev/null || true");
    signal(&daemon, "USR1");
    let line = daemon.wait_log("disk full");
    assert!(line.contains("error") && line.contains("delete something"), "{line}");
    for request in [1 << 40, 2 << 40] {
        pump.say(&ToServer::Heartbeat(Heartbeat { request, ..pump.heartbeat() }));
        pump.until("a pulse", |g| {
            g.heard.iter().any(|m| matches!(m, ToGateway::Pulse(p) if p.request == request))
        });
    }
    assert_eq!(pump.sealing(), second);
    assert_eq!(daemon.ask(&["group", "list"]).as_array().unwrap().len(), 1);
    assert!(daemon.refused(&["rekey", "plant"]).contains("nothing was changed"));

    beside(&daemon, "rm \"$DATA/filler\"");
    daemon.wait_log("there is room on the disk again");
    pump.reconnected();
    pump.until_sealing(second + 1);
    daemon.ask(&["group", "add", "second"]);
    let trail = daemon.ask(&["audit"]).to_string();
    assert_eq!(trail.matches("signal from uid").count(), 2, "{trail}");
}

/// As a kernel does that has found the file system damaged, or the disk gone.
#[test]
#[ignore = "needs root: a file system of its own"]
fn a_disk_that_becomes_read_only_ends_the_server_and_loses_nothing() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    let image = place.path().join("disk");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status().unwrap();
    assert!(made.success());
    let mount = format!(
        "mount -o loop '{}' \"$DATA\"; rm -rf \"$DATA/lost+found\"; chmod 700 \"$DATA\"",
        image.display()
    );
    let command = with_mounts(&place, &mount);
    let mut daemon = Daemon::start_by(place, command);
    let mut pump = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let epoch = pump.until_sealing(1);
    beside(&daemon, "mount -o remount,abort \"$DATA\"");

    let complaint = daemon.refused(&["group", "add", "second"]);
    assert!(complaint.contains("tsg.db"), "{complaint}");
    assert_eq!(daemon.wait_end().code(), Some(1));
    assert_eq!(pump.sealing(), epoch, "what it has goes on");

    let place = daemon.kill();
    let command = with_mounts(&place, &mount);
    let daemon = Daemon::start_by(place, command);
    assert_eq!(daemon.ask(&["group", "list"]).as_array().unwrap().len(), 1);
    pump.reconnected();
    pump.until_sealing(epoch + 1);
    daemon.ask(&["group", "add", "second"]);
}

#[test]
fn the_alarm_of_a_full_disk_is_told_although_nothing_can_be_stored() {
    let server = WebServer::start(&[], None);
    let url = format!("http://127.0.0.1:{}/", server.port());
    let place = Place::with(&["--alarm-after", "1", "--alarm-webhook", &url]);
    fs::create_dir(place.data()).unwrap();
    let mount = "mount -t tmpfs -o size=20m,mode=0700 tmpfs \"$DATA\"";
    let command = with_mounts(&place, mount);
    let mut daemon = Daemon::start_by(place, command);
    beside(&daemon, "cat /dev/zero > \"$DATA/filler\" 2> /dev/null || true");
    let told = server.next().json();
    assert_eq!(
        (&told["kind"], &told["state"], &told["severity"], &told["gateway"]),
        (&json!("disk"), &json!("raised"), &json!("critical"), &json!(null))
    );
    daemon.wait_log("some alarms may be told twice");
    beside(&daemon, "rm \"$DATA/filler\"");
    let over = server.next().json();
    assert_eq!((&over["kind"], &over["state"]), (&json!("disk"), &json!("over")));
}

/// A data folder with a group in it, whose server has ended.
fn place_with_group() -> Place {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    daemon.stop()
}

/// The server does not start, says all of this, and leaves the file alone.
fn refuses(place: &Place, said: &[&str]) {
    let file = place.data().join("tsg.db");
    let before = fs::read(&file).unwrap();
    let complaint = place.complaint();
    for text in said.iter().chain(&["tsg.db"]) {
        assert!(complaint.contains(text), "{text:?} is not in {complaint}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

fn change(place: &Place, sql: &str) {
    Connection::open(place.data().join("tsg.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let place = place_with_group();
    let file = place.data().join("tsg.db");
    let good = fs::read(&file).unwrap();
    let mut damaged = good.clone();
    for byte in damaged.iter_mut().skip(4096 + 8).step_by(7) {
        *byte ^= 0x55;
    }
    let other = "no database at all, but long enough to have a header".repeat(100);
    for bad in [damaged.as_slice(), &good[..good.len() / 2], other.as_bytes()] {
        fs::write(&file, bad).unwrap();
        refuses(&place, &["damaged", "restore it from a backup"]);
    }
    fs::write(&file, &good).unwrap();
    let daemon = Daemon::start_in(place);
    assert_eq!(daemon.ask(&["group", "list"])[0]["name"], "plant");
}

#[test]
fn a_newer_schema_is_left_alone() {
    let place = place_with_group();
    change(&place, "PRAGMA user_version = 99");
    refuses(&place, &["newer tsg-server (schema 99", "install that version again"]);
}

#[test]
fn another_programs_database_is_left_alone() {
    let place = place_with_group();
    fs::remove_file(place.data().join("tsg.db")).unwrap();
    change(&place, "CREATE TABLE other (x)");
    refuses(&place, &["no database of tsg-server", "move it away"]);
}

#[test]
fn a_missing_table_is_named() {
    for table in ["groups", "gateways", "tokens", "policy_history", "audit"] {
        let place = place_with_group();
        change(&place, &format!("PRAGMA foreign_keys = off; DROP TABLE {table}"));
        refuses(&place, &[&format!("table {table} is missing"), "restore it from a backup"]);
    }
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    let place = place_with_group();
    change(&place, "UPDATE groups SET settings = '{'");
    refuses(&place, &["table groups, row \"plant\"", "column settings"]);
}

#[test]
fn wrong_file_modes_are_named() {
    let place = place_with_group();
    let mode = |file: &str, mode| {
        let path = place.data().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("tsg.db", 0o666);
    refuses(&place, &["others can write", "0666", "chmod 600"]);
    mode("tsg.db", 0o600);
    mode("server.key", 0o644);
    assert!(place.complaint().contains("server.key (mode 0644)"));
    mode("server.key", 0o600);
    mode("", 0o770);
    let complaint = place.complaint();
    assert!(complaint.contains("chmod go-w") && complaint.contains("/data"), "{complaint}");
    mode("", 0o700);
    drop(Daemon::start_in(place));
}

/// Root can mount without a user namespace, which nobody can make in a chroot.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs the server with other mounts than the rest of the machine; `$DATA` is its data folder.
fn with_mounts(place: &Place, script: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("{script}; exec \"$0\" \"$@\"");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-ec", &script, PROGRAM]);
    command.env("DATA", place.data());
    command
}

#[test]
fn a_read_only_file_is_named() {
    for (read_only, named) in [("$DATA/tsg.db", "tsg.db"), ("$DATA", "/data/lock")] {
        let place = place_with_group();
        let script = format!(
            "mount --bind \"{read_only}\" \"{read_only}\" && \
             mount -o remount,ro,bind \"{read_only}\""
        );
        let limit = PATIENCE.as_secs().to_string();
        let mut command = Command::new("timeout");
        let inner = with_mounts(&place, &script);
        command.arg(limit).arg(inner.get_program()).args(inner.get_args());
        command.env("DATA", place.data()).args(place.arguments());
        let output = command.output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        let read = complaint.to_lowercase();
        assert!(complaint.contains(named) && read.contains("read-only"), "{complaint}");
        drop(Daemon::start_in(place));
    }
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
