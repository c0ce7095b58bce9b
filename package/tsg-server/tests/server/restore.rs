//! Backups that are made while the server works, and what comes of them on another machine.

mod refused;

use super::backups::Uses;
use super::daemon::{Daemon, PROGRAM, Pages, Place, alone};
use super::gateway::{TestGateway, members};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
        Daemon::start_with(place.and(&["--seal-key", seal.to_str().unwrap()]), Pages::Tls);
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
    let place = place.and(&["--seal-key", other.to_str().unwrap()]);
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
