//! `bundle` of a key server that runs, hangs, is dead or has a damaged database.

use super::daemon::{Daemon, PROGRAM, Place, signal};
use super::gateway::members;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use tempfile::TempDir;
use tsg_control::keys::read_key;
use tsg_control::token::Token;

/// A bundle, unpacked by other programs.
struct Unpacked {
    folder: TempDir,
    bytes: Vec<u8>,
}

fn run(place: &Place, file: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("--socket").arg(place.socket()).args(["bundle", "--data"]).arg(place.data());
    command.arg(file).output().unwrap()
}

fn bundle(place: &Place) -> Unpacked {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.tar.gz");
    let ran = run(place, &file);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let tar = ["xzf", file.to_str().unwrap(), "--strip-components=1", "-C"];
    assert!(Command::new("tar").args(tar).arg(folder.path()).status().unwrap().success());
    let unzipped =
        Command::new("gzip").arg("-dc").arg(&file).stderr(Stdio::null()).output().unwrap();
    Unpacked { folder, bytes: unzipped.stdout }
}

impl Unpacked {
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn missed(&self) -> String {
        let readme = self.text("README.txt");
        readme.split("Not collected").nth(1).unwrap_or_default().to_owned()
    }
}

/// In bytes, hex, base64 and Z85.
fn is_in(secret: &[u8], text: &[u8]) -> bool {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut wanted = vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        zmq::z85_encode(secret).unwrap().into_bytes(),
    ];
    if let Ok(key) = secret.try_into() {
        let base64 = tsg_control::keys::key_text(key);
        wanted.push(base64.trim_end_matches('=').as_bytes().to_vec());
        wanted.push(base64.replace('+', "-").replace('/', "_").trim_end_matches('=').into());
    }
    wanted.iter().any(|form| text.windows(form.len()).any(|part| part == form.as_slice()))
}

fn key(text: &str) -> Vec<u8> {
    let mut key = [0; 32];
    read_key(text, &mut key).unwrap();
    key.to_vec()
}

/// What nobody but the server and its gateways may know.
fn secrets(daemon: &Daemon) -> Vec<Vec<u8>> {
    let identity = fs::read_to_string(daemon.place.data().join("server.key")).unwrap();
    let secret = identity.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
    let mut secrets = vec![key(secret)];
    let created = daemon.ask(&["token", "create", "--group", "plant"]);
    let token = Token::decode(created["token"].as_str().unwrap()).unwrap();
    secrets.push(token.secret.expose().to_vec());
    let revealed = daemon.ask(&["group", "keys", "plant", "--reveal"]);
    for epoch in revealed["epochs"].as_array().unwrap() {
        secrets.push(key(epoch["tek"].as_str().unwrap()));
    }
    assert!(secrets.len() >= 3);
    secrets
}

#[test]
fn a_server_that_runs_tells_all_but_its_secrets() {
    let daemon = Daemon::start();
    let gateways = members(&daemon, "plant", &["press", "pump"]);
    let secrets = secrets(&daemon);
    let mut bundle = bundle(&daemon.place);
    let missed = bundle.missed();
    for (file, expected) in [
        ("status.json", "\"plant\""),
        ("gateways.json", "\"press\""),
        ("groups.json", "\"key_lifetime\""),
        ("tokens.json", "\"expires\""),
        ("audit.json", "gateway approve"),
        ("database.txt", "== integrity\nok\n"),
        ("folders.txt", "server.key: file, mode 0600"),
        ("versions.txt", "SQLite 3."),
        ("processes.txt", "threads of"),
    ] {
        assert!(bundle.text(file).contains(expected), "{file}: {}", bundle.text(file));
        assert!(!missed.contains(file), "{missed}");
    }
    let key = gateways[0].key.to_string();
    assert!(bundle.text("gateways.json").contains(&key), "a public key may be seen");
    for secret in &secrets {
        assert!(!is_in(secret, &bundle.bytes), "a secret is in it");
        bundle.bytes.extend(secret);
        assert!(is_in(secret, &bundle.bytes), "the search finds nothing");
    }
    println!("{} secrets", secrets.len());
}

#[test]
fn a_server_that_hangs_or_is_dead_has_a_bundle() {
    let daemon = Daemon::start();
    daemon.ask(&["group", "add", "plant"]);
    signal(&daemon, "STOP");
    let hanging = bundle(&daemon.place);
    let missed = hanging.missed();
    assert!(
        missed.contains("status.json: not asked") && missed.contains("did not end within"),
        "{missed}"
    );
    assert!(hanging.text("processes.txt").contains("State:\tT (stopped)"));
    assert!(hanging.text("database.txt").contains("plant | "), "{}", hanging.text("database.txt"));
    signal(&daemon, "CONT");

    let place = daemon.kill();
    let dead = bundle(&place);
    assert!(dead.missed().contains("no key server answers"), "{}", dead.missed());
    assert!(dead.text("database.txt").contains("group add | plant | done"));
    let before: Vec<_> =
        fs::read_dir(place.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
    bundle(&place);
    let after: Vec<_> =
        fs::read_dir(place.data()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(before, after);
    Daemon::start_in(place).ask(&["group", "show", "plant"]);
}

#[test]
fn a_damaged_database_is_said() {
    let place = Daemon::start().stop();
    let path = place.data().join("tsg.db");
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[4_096..half].fill(0x55);
    fs::write(&path, bytes).unwrap();
    let bundle = bundle(&place);
    let found = bundle.text("database.txt");
    assert!(found.contains("malformed") || found.contains("cannot be read"), "{found}");
}

#[test]
fn many_ask_at_once() {
    let daemon = Daemon::start();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| bundle(&daemon.place))).collect();
        for bundle in asked {
            assert!(bundle.join().unwrap().text("status.json").contains("uptime"));
        }
    });
}
