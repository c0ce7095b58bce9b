//! Backups that are torn, tampered with, somebody else's or made up, and folders that are not empty: nothing comes of them.

use super::{Pair, backup_of, names, restore};
use crate::daemon::{Daemon, PATIENCE, PROGRAM};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A backup of a server with a group, and who opens it.
fn small() -> (Daemon, Pair, PathBuf) {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    let pair = Pair::new(daemon.place.path(), "identity");
    let backup = backup_of(&daemon, &[&pair]);
    (daemon, pair, backup)
}

#[test]
fn torn_tampered_and_others_backups_leave_nothing() {
    let (daemon, pair, backup) = small();
    let data = daemon.place.path().join("new");
    let refused = |backup: &Path, identity: &Path, told: &str| {
        let error = restore(backup, identity, &data, &[]).unwrap_err();
        assert!(error.contains(told) && error.lines().count() == 1, "{told:?} is not in {error}");
        assert!(names(&data).is_empty(), "{:?}", names(&data));
    };
    let other = Pair::new(daemon.place.path(), "other");
    refused(&backup, &other.file, "not made out to this identity");
    let none = daemon.place.path().join("server.pub");
    fs::write(&none, format!("{}\n", pair.recipient)).unwrap();
    fs::set_permissions(&none, PermissionsExt::from_mode(0o600)).unwrap();
    refused(&backup, &none, "server.pub holds no identity");
    let good = fs::read(&backup).unwrap();
    let broken = daemon.place.path().join("broken.age");
    let mut cases = 0;
    for part in 0..10 {
        fs::write(&broken, &good[..good.len() * part / 10]).unwrap();
        refused(&broken, &pair.file, "");
        let mut changed = good.clone();
        changed[good.len() * part / 10 + 30] ^= 1;
        fs::write(&broken, &changed).unwrap();
        refused(&broken, &pair.file, "");
        cases += 2;
    }
    fs::write(&broken, [&good[..], b"x"].concat()).unwrap();
    refused(&broken, &pair.file, "not authentic");
    fs::write(&broken, "").unwrap();
    refused(&broken, &pair.file, "no backup of a key server");
    restore(&backup, &pair.file, &data, &[]).unwrap();
    println!("{} backups refused", cases + 4);
}

#[test]
fn only_an_empty_folder_is_restored_into() {
    let (daemon, pair, backup) = small();
    let error = restore(&backup, &pair.file, &daemon.place.data(), &[]).unwrap_err();
    assert!(error.contains("in use"), "{error}");
    let place = daemon.stop();
    let before = names(&place.data());
    let database = fs::read(place.data().join("tsg.db")).unwrap();
    let error = restore(&backup, &pair.file, &place.data(), &[]).unwrap_err();
    assert!(error.contains("is not empty") && error.contains("move it away"), "{error}");
    assert_eq!(names(&place.data()), before);
    assert!(fs::read(place.data().join("tsg.db")).unwrap() == database);
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes.txt"), "mine").unwrap();
    let error = restore(&backup, &pair.file, &other, &[]).unwrap_err();
    assert!(error.contains("notes.txt"), "{error}");
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_that_starts() {
    let (daemon, pair, backup) = small();
    let mut client = daemon.admin();
    // So many that the database is well under way before the end has come.
    for group in 0..300 {
        client.ask(&json!({"group_add": {"group": format!("group-{group}")}})).unwrap();
    }
    drop(client);
    fs::remove_file(&backup).unwrap();
    backup_of(&daemon, &[&pair]);
    let key = daemon.key;
    let place = daemon.stop();
    fs::remove_dir_all(place.data()).unwrap();
    let good = fs::read(&backup).unwrap();
    let [data, identity] = [place.data(), pair.file.clone()];
    let mut child = Command::new(PROGRAM)
        .args(["restore", "--data", data.to_str().unwrap(), "--identity"])
        .args([identity.to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // All but the end: it waits for that.
    let mut input = child.stdin.take().unwrap();
    input.write_all(&good[..good.len() - 100]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !data.join("restoring/tsg.db").exists() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let complaint = place.complaint();
    assert!(
        complaint.contains("was broken off") && complaint.contains("tsg-server restore"),
        "{complaint}"
    );
    // Nor when everything was moved up but for the last step.
    restore(&backup, &identity, &data, &[]).unwrap();
    fs::create_dir(data.join("restoring")).unwrap();
    assert!(place.complaint().contains("was broken off"));
    restore(&backup, &identity, &data, &[]).unwrap();
    assert_eq!(names(&data), ["server.key", "tsg.db"]);
    assert_eq!(Daemon::start_in(place).key, key);
}

/// The parts of a backup, by other programs: age and tar.
fn unpack(backup: &Path, pair: &Pair, to: &Path) {
    fs::create_dir(to).unwrap();
    let script = "age -d -i \"$ID\" \"$FILE\" | tar xf - -C \"$TO\"";
    run(script, &[("ID", &pair.file), ("FILE", backup), ("TO", to)]);
}

fn run(script: &str, paths: &[(&str, &Path)]) {
    let mut command = Command::new("sh");
    let output = command.args(["-ec", script]).envs(paths.iter().copied()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{script}: {output:?}");
}

/// What is done to the parts of a backup.
#[derive(Debug)]
enum Change {
    Sh(String),
    Sql(&'static str),
}
use Change::{Sh, Sql};

#[test]
fn other_programs_open_it_and_what_they_made_up_is_refused() {
    let (daemon, pair, backup) = small();
    let folder = daemon.place.path().to_owned();
    let parts = folder.join("parts");
    unpack(&backup, &pair, &parts);
    assert_eq!(names(&parts), ["manifest.json", "server.key", "tsg.db"]);
    let count: i64 = Connection::open(parts.join("tsg.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM groups", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);

    let data = folder.join("new");
    let made = folder.join("made.age");
    let all = "manifest.json server.key tsg.db";
    // What is done to the parts, which of them go in, and what is said of it.
    let identity = pair.file.display();
    let cases = [
        (Sh("true".to_owned()), all, ""),
        (Sh("true".to_owned()), "server.key manifest.json tsg.db", "where manifest.json is to be"),
        (Sh("true".to_owned()), "manifest.json server.key", "it has no database"),
        (
            Sh("touch more".to_owned()),
            "manifest.json server.key tsg.db more",
            "which no backup has",
        ),
        (
            Sh("mkdir x; cp tsg.db x".to_owned()),
            "manifest.json server.key x/tsg.db",
            "where tsg.db is to be",
        ),
        (
            Sh("true".to_owned()),
            "manifest.json -P --transform=s,server,../server, server.key tsg.db",
            "where server.key is to be",
        ),
        (Sh("mv tsg.db d; ln -s d tsg.db".to_owned()), all, "what no backup has"),
        (Sh("mkfifo f; mv f server.key".to_owned()), all, "what no backup has"),
        (Sh("head -c 100000 /dev/zero > manifest.json".to_owned()), all, "are the most"),
        (Sh("echo '{\"format\":1}' > manifest.json".to_owned()), all, "manifest is damaged"),
        (
            Sh("sed -i 's/\"format\": 1/\"format\": 2/' manifest.json".to_owned()),
            all,
            "does not know",
        ),
        (
            Sh(format!("sed -i 's/^public .*/public {}=/' server.key", "A".repeat(43))),
            all,
            "do not belong together",
        ),
        (
            Sh(format!("cp '{identity}' web.pem")),
            "manifest.json server.key web.pem tsg.db",
            "web.pem is damaged",
        ),
        (Sh("head -c 6000 tsg.db > t; mv t tsg.db".to_owned()), all, "damaged"),
        (Sh("echo hello > tsg.db".to_owned()), all, "damaged"),
        (Sql("PRAGMA user_version = 99"), all, "newer tsg-server"),
        (Sql("CREATE TABLE more (x)"), all, "its tables are not those of tsg-server"),
        (
            Sql("CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM groups; END"),
            all,
            "its tables are not those",
        ),
        (Sql("CREATE VIEW v AS SELECT 1"), all, "its tables are not those"),
        (
            Sql("DROP TRIGGER audit_is_not_changed; UPDATE audit SET who = 'nobody'; \
                 CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN \
                 SELECT RAISE (ABORT, 'the audit trail is append-only'); END"),
            all,
            "audit trail was changed",
        ),
        (Sql("UPDATE groups SET settings = '{'"), all, "table groups"),
    ];
    let count = cases.len();
    for (change, which, told) in cases {
        let work = folder.join("work");
        run("rm -rf \"$W\"; cp -r \"$P\" \"$W\"", &[("P", &parts), ("W", &work)]);
        match &change {
            Sh(script) => run(&format!("cd \"$W\"; {script}"), &[("W", &work)]),
            Sql(text) => {
                Connection::open(work.join("tsg.db")).unwrap().execute_batch(text).unwrap()
            }
        }
        let script = format!(
            "cd \"$W\"; tar cf - -b1 --format=ustar --mode=600 {which} 2> tar | age -r {} > \"$M\"",
            pair.recipient
        );
        run(&script, &[("W", &work), ("M", &made)]);
        let outcome = restore(&made, &pair.file, &data, &[]);
        if told.is_empty() {
            outcome.unwrap();
            fs::remove_dir_all(&data).unwrap();
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(error.contains(told), "{change:?}: {told:?} is not in {error}");
        assert!(names(&data).is_empty(), "{change:?}: {:?}", names(&data));
        assert!(!folder.join("server.key").exists());
    }
    println!("{count} archives by tar and age");
}
