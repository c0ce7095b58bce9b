//! Backups that are made while the server works, and what comes of them on another machine; of those that are torn, tampered with or somebody
//! else's nothing comes.

use super::backups::Uses;
use super::daemon::{Daemon, PATIENCE, PROGRAM, Pages, Place, alone};
use super::gateway::{TestGateway, members};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use tsg_control::gateway::Standing;

/// An identity in a file, and its recipient.
pub(super) struct Pair {
    pub(super) file: PathBuf,
    pub(super) recipient: String,
}

impl Pair {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        let made = alone(&["backup-key", file.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let recipient = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        assert!(recipient.starts_with("age1"), "{recipient}");
        Self { file, recipient }
    }
}

fn back_up(daemon: &Daemon, recipients: &[&Pair], to: &Path) -> Output {
    let mut words = vec!["backup", "--to", to.to_str().unwrap()];
    for pair in recipients {
        words.extend(["--recipient", pair.recipient.as_str()]);
    }
    daemon.command(&words)
}

/// A backup that must be made.
fn backup_of(daemon: &Daemon, recipients: &[&Pair]) -> PathBuf {
    let to = daemon.place.path().join("backup.age");
    let made = back_up(daemon, recipients, &to);
    assert!(made.status.success(), "{made:?}");
    to
}

pub(super) fn restore(
    backup: &Path,
    identity: &Path,
    data: &Path,
    also: &[&str],
) -> Result<String, String> {
    let [backup, identity, data] = [backup, identity, data].map(|path| path.to_str().unwrap());
    let words = ["restore", "--data", data, "--identity", identity, backup];
    let output = alone(&[&words[..], also].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

#[test]
fn a_lost_machine() {
    let place = Place::new();
    let seal = place.path().join("seal.key");
    assert!(alone(&["seal-key", seal.to_str().unwrap()]).status.success());
    let mut daemon =
        Daemon::start_with(place.with(&["--seal-key", seal.to_str().unwrap()]), Pages::Tls);
    let certificate = |daemon: &mut Daemon| {
        let line = daemon.wait_log("certificate SHA-256");
        line.rsplit("certificate").next().unwrap().to_owned()
    };
    let shown = certificate(&mut daemon);
    let key = daemon.key;
    let mut gateways = members(&daemon, "plant", &["pump", "press"]);
    daemon.ask(&["policy", "set", "plant", "--rule", "encrypt proto=tcp dest_port=502"]);
    daemon.ask_with(&["user", "add", "ann", "--role", "admin"], "correct horse battery\n");
    let mut uses = Uses::default();
    uses.note(&gateways);
    let [mine, safe] = ["mine", "safe"].map(|name| Pair::new(daemon.place.path(), name));
    let backup = backup_of(&daemon, &[&mine, &safe]);
    let trail = daemon.ask(&["audit", "--last", "1"]);
    assert_eq!(
        (trail[0]["action"].as_str(), trail[0]["outcome"].as_str()),
        (Some("backup"), Some("begun"))
    );
    assert_eq!(trail[0]["object"], format!("{} {}", mine.recipient, safe.recipient));
    // What comes after it is lost with the machine.
    daemon.ask(&["rekey", "plant"]);
    uses.until_new_epoch(&mut gateways);
    daemon.ask(&["group", "add", "later"]);

    let place = daemon.kill();
    fs::remove_dir_all(place.data()).unwrap();
    fs::remove_file(&seal).unwrap();
    // The identity is enough, without the old machine's seal key; the new machine has one of its own.
    let other = place.path().join("other.key");
    assert!(alone(&["seal-key", other.to_str().unwrap()]).status.success());
    let said =
        restore(&backup, &safe.file, &place.data(), &["--seal-key", other.to_str().unwrap()])
            .unwrap();
    assert!(said.contains(&key.fingerprint().to_string()), "{said}");
    assert!(
        said.contains("1 groups, 2 gateways, 1 users") && said.contains("sealed with key"),
        "{said}"
    );
    assert_eq!(names(&place.data()), ["seal", "server.key", "tsg.db", "web.pem"]);
    assert!(
        fs::read_to_string(place.data().join("server.key"))
            .unwrap()
            .starts_with("tsg-server sealed")
    );

    gateways.iter_mut().for_each(|gateway| gateway.epochs_may_repeat = true);
    let place = place.with(&["--seal-key", other.to_str().unwrap()]);
    let mut daemon = Daemon::start_with(place, Pages::Tls);
    assert_eq!((daemon.key, certificate(&mut daemon)), (key, shown));
    let epoch = uses.until_new_epoch(&mut gateways);
    assert!(gateways.iter().all(|gateway| *gateway.machine.standing() != Standing::Pending));
    let policy = daemon.ask(&["policy", "show", "plant"]);
    assert_eq!(policy["rules"][0]["dest_port"][0], "502");
    assert_eq!(daemon.ask(&["group", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(daemon.ask(&["user", "list"])[0]["name"], "ann");
    assert_eq!(daemon.ask(&["audit", "--verify"])["broken"], "");
    let trail = daemon.ask(&["audit", "--last", "2"]);
    assert_eq!(
        (trail[0]["action"].as_str(), trail[1]["action"].as_str()),
        (Some("restore"), Some("backup"))
    );
    // And it is one that a backup can be made of.
    fs::remove_file(&backup).unwrap();
    backup_of(&daemon, &[&mine]);
    println!("restored: epoch {epoch}");
}

/// Orders go on while it is made, and each backup is one that starts.
#[test]
fn a_backup_while_the_server_works() {
    let daemon = Daemon::start();
    let mut gateways: Vec<TestGateway> = members(&daemon, "plant", &["pump"]);
    let pair = Pair::new(daemon.place.path(), "identity");
    let mut uses = Uses::default();
    for round in 0..3 {
        let to = daemon.place.path().join(format!("{round}.age"));
        let (socket, file) = (daemon.place.socket(), to.to_str().unwrap());
        let words = ["backup", "--recipient", &pair.recipient, "--to", file];
        let child = Command::new(PROGRAM)
            .arg("--socket")
            .arg(socket)
            .args(words)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = child;
        for group in 0..20 {
            daemon.ask(&["group", "add", &format!("{round}-{group}")]);
        }
        daemon.ask(&["rekey", "plant"]);
        uses.until_new_epoch(&mut gateways);
        assert!(child.wait().unwrap().success());
        let data = daemon.place.path().join(format!("restored-{round}"));
        let said = restore(&to, &pair.file, &data, &["--json"]).unwrap();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let groups = said["groups"].as_u64().unwrap();
        assert!((1 + 20 * round..=21 + 20 * round).contains(&groups), "{said}");
        assert_eq!(said["secrets"], "in clear");
        assert_eq!(said["manifest"]["public_key"], daemon.key.to_string());
    }
    let key = daemon.key;
    let mut first = daemon.admin();
    let order = json!({"backup": {"recipients": [&pair.recipient]}});
    assert_eq!(first.ask(&order).unwrap()["ok"]["kind"], "backup");
    let to = daemon.place.path().join("second.age");
    let second = back_up(&daemon, &[&pair], &to);
    let complaint = String::from_utf8(second.stderr).unwrap();
    assert!(
        !second.status.success() && complaint.contains("another backup is being made"),
        "{complaint}"
    );
    assert!(!to.exists());
    // Whoever goes away does not keep the others waiting.
    drop(first);
    let mut daemon = daemon;
    daemon.wait_log("the backup was broken off");
    assert!(back_up(&daemon, &[&pair], &to).status.success());
    // Nothing is left beside the database.
    assert_eq!(names(&daemon.place.data()), ["server.key", "tsg.db", "tsg.db-shm", "tsg.db-wal"]);
    let out = daemon.command(&["backup", "--recipient", &pair.recipient, "--to", "-"]);
    assert!(out.status.success() && out.stdout.starts_with(b"age-encryption.org/v1\n"));
    // Nor is what a server that was killed in the middle has left.
    let place = daemon.kill();
    fs::write(place.data().join("tsg.db.copy"), "half").unwrap();
    let daemon = Daemon::start_in(place);
    assert!(daemon.key == key && !daemon.place.data().join("tsg.db.copy").exists());
}

#[test]
fn what_is_no_recipient_is_refused() {
    let daemon = Daemon::start();
    let pair = Pair::new(daemon.place.path(), "identity");
    let to = daemon.place.path().join("backup.age");
    let secret = fs::read_to_string(&pair.file).unwrap().lines().last().unwrap().to_owned();
    let mut typed = pair.recipient.clone();
    typed.replace_range(30..31, if &typed[30..31] == "q" { "p" } else { "q" });
    for (wrong, told) in
        [("somebody", "no recipient"), (&typed, "typing error"), (&secret, "is secret")]
    {
        let words = ["backup", "--recipient", wrong, "--to", to.to_str().unwrap()];
        let complaint = daemon.refused(&words);
        assert!(complaint.contains(told) && !complaint.contains(&secret[20..]), "{complaint}");
        assert!(!to.exists());
    }
    let trail = daemon.ask(&["audit"]).to_string();
    assert!(!trail.contains(&secret[20..]), "what is secret is in the audit trail");
    assert!(trail.contains("refused: ") && trail.matches("\"backup\"").count() == 3, "{trail}");
    fs::write(&to, "mine").unwrap();
    let complaint =
        daemon.refused(&["backup", "--recipient", &pair.recipient, "--to", to.to_str().unwrap()]);
    assert!(complaint.contains("backup.age") && fs::read(&to).unwrap() == b"mine", "{complaint}");
}

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
