//! The secrets in the data folder are sealed: by what, with what else nothing starts, and what a copy of the folder gives away.

use super::daemon::{Daemon, PROGRAM, Pages, Place, alone};
use super::gateway::members;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const WORDS: &str = "correct horse battery";

/// Everything in a data folder but the file that only holds it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// What a thief would look for, in every form.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = STANDARD.encode(secret);
    let z85 = zmq::z85_encode(secret).map_or(Vec::new(), String::into_bytes);
    let text = text.trim_end_matches('=').as_bytes().to_vec();
    let all = [secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), text, z85];
    all.into_iter().filter(|form| form.len() >= 16).collect()
}

/// The files that any of these is in.
fn found_in(folder: &Path, needles: &[Vec<u8>]) -> Vec<String> {
    let has = |content: &[u8]| {
        needles.iter().any(|needle| content.windows(needle.len()).any(|at| at == needle.as_slice()))
    };
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files(folder).iter().filter(|(_, content)| has(content)).map(|(path, _)| named(path)).collect()
}

/// The server's secret, and the key of its certificate, as they lie there in clear.
fn secrets(folder: &Path) -> Vec<Vec<u8>> {
    let key = fs::read_to_string(folder.join("server.key")).unwrap();
    let secret = key.lines().find_map(|line| line.strip_prefix("secret ")).unwrap();
    let pem = fs::read_to_string(folder.join("web.pem")).unwrap();
    let lines = pem.lines().skip_while(|line| !line.contains("BEGIN PRIVATE KEY")).skip(1);
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("---")).collect();
    let whole = STANDARD.decode(lines.concat()).unwrap();
    let mut needles = forms(&STANDARD.decode(secret).unwrap());
    needles.extend(lines.iter().map(|line| line.as_bytes().to_vec()));
    needles.push(whole);
    assert!(needles.len() >= 7 && needles.iter().all(|needle| needle.len() >= 16));
    needles
}

fn path(place: &Place, name: &str) -> String {
    place.path().join(name).to_str().unwrap().to_owned()
}

/// A key in a new file.
fn key_file(place: &Place, name: &str) -> String {
    let file = path(place, name);
    let made = alone(&["seal-key", &file]);
    assert!(made.status.success(), "{made:?}");
    file
}

fn words_file(place: &Place, name: &str, words: &str) -> String {
    let file = path(place, name);
    let mut made = File::create(&file).unwrap();
    made.write_all(words.as_bytes()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    made.set_permissions(mode).unwrap();
    file
}

/// It does not start, says all of this, and changes nothing.
fn refuses(place: &Place, said: &[&str]) {
    let before = files(&place.data());
    let complaint = place.complaint();
    for text in said {
        assert!(complaint.contains(text), "{text:?} is not in {complaint}");
    }
    assert!(files(&place.data()) == before, "something was changed: {complaint}");
}

#[test]
fn a_copy_of_the_folder_gives_nothing_away() {
    let mut daemon = Daemon::start_with(Place::new(), Pages::Tls);
    let data = daemon.place.data();
    assert!(daemon.ask(&["status"])["secrets"] == "in clear");
    daemon.wait_log("are in clear: whoever copies that folder is this key server");
    let certificate = daemon.wait_log("certificate SHA-256");
    let mut known = secrets(&data);
    let gateways = members(&daemon, "plant", &["pump"]);
    let key = daemon.key;
    let old = daemon.stop();
    // As they lie there they are found: the search works.
    assert_eq!(found_in(&data, &known), ["server.key", "web.pem"]);
    // What a crash may have left of the first start.
    fs::copy(data.join("server.key"), data.join("server.new")).unwrap();
    let mut before =
        ["server.key", "server.new", "web.pem"].map(|name| File::open(data.join(name)).unwrap());

    let file = key_file(&old, "key");
    let mut daemon = Daemon::start_in(old.and(&["--seal-key", &file]));
    assert_eq!(daemon.key, key);
    let again = daemon.wait_log("certificate SHA-256");
    let fingerprint = |line: &str| line.rsplit("certificate").next().unwrap().to_owned();
    assert_eq!(fingerprint(&again), fingerprint(&certificate));
    let state = daemon.ask(&["status"])["secrets"].as_str().unwrap().to_owned();
    let name = fs::read_to_string(&file).unwrap();
    let name = name.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert_eq!(state, format!("sealed with key {name}"));
    // Its TEKs, too: they are in memory only.
    let keys = daemon.ask(&["group", "keys", "plant", "--reveal"]);
    let keys = keys["epochs"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let tek = STANDARD.decode(key["tek"].as_str().unwrap()).unwrap();
        assert_eq!(tek.len(), 32);
        known.extend(forms(&tek));
    }
    assert_eq!(found_in(&data, &known), [""; 0], "while it runs");
    drop(gateways);
    let _place = daemon.stop();
    assert_eq!(found_in(&data, &known), [""; 0], "when it has ended");
    // What the files were is overwritten.
    for file in &mut before {
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        assert!(content.len() > 100 && content.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn each_source_of_the_key_opens_it_and_nothing_else_does() {
    let credentials = |place: &Place| {
        let folder = place.path().join("credentials");
        fs::create_dir_all(&folder).unwrap();
        key_file(place, "credentials/tsg-server.seal-key");
        folder
    };
    // What to start by, and with.
    type Source = fn(&Place) -> (Command, Vec<String>);
    let plain = || Command::new(PROGRAM);
    let sources: [(&str, Source, &str); 4] = [
        (
            "a key",
            |place| (Command::new(PROGRAM), vec!["--seal-key".to_owned(), key_file(place, "key")]),
            "--seal-key",
        ),
        ("a credential", |_| (Command::new(PROGRAM), Vec::new()), "--seal-key"),
        (
            "a passphrase",
            |place| {
                let file = words_file(place, "words", &format!("{WORDS}\n"));
                (Command::new(PROGRAM), vec!["--seal-passphrase".to_owned(), file])
            },
            "--seal-passphrase",
        ),
        (
            "a descriptor",
            |place| {
                let mut shell = Command::new("sh");
                let file = words_file(place, "words", WORDS);
                shell.args(["-ec", "exec \"$0\" \"$@\" 3< \"$WORDS\"", PROGRAM]).env("WORDS", file);
                (shell, vec!["--seal-passphrase".to_owned(), "/dev/fd/3".to_owned()])
            },
            "--seal-passphrase",
        ),
    ];
    for (what, source, option) in sources {
        let place = Place::new();
        let (mut command, also) = source(&place);
        if what == "a credential" {
            command.env("CREDENTIALS_DIRECTORY", credentials(&place));
        }
        let also: Vec<_> = also.iter().map(String::as_str).collect();
        let daemon = Daemon::start_by(place.and(&also), command);
        let key = daemon.key;
        assert!(daemon.ask(&["status"])["secrets"].as_str().unwrap().starts_with("sealed with"));
        let place = daemon.stop();

        let place = place.and(&[]);
        refuses(&place, &["the secrets in", "are sealed with", option]);
        let other = key_file(&place, "other");
        let place = place.and(&["--seal-key", &other]);
        refuses(&place, &["are sealed with", "/other", option]);
        let wrong = words_file(&place, "wrong", "wrong horse battery");
        let place = place.and(&["--seal-passphrase", &wrong]);
        refuses(&place, &["sealed with", "/wrong", option]);

        let mut command = plain();
        if what == "a credential" {
            command.env("CREDENTIALS_DIRECTORY", place.path().join("credentials"));
        }
        let place = match what {
            "a key" => {
                let file = path(&place, "key");
                place.and(&["--seal-key", &file])
            }
            "a credential" => place.and(&[]),
            _ => {
                let file = path(&place, "words");
                place.and(&["--seal-passphrase", &file])
            }
        };
        assert_eq!(Daemon::start_by(place, command).key, key, "{what}");
    }
}

/// As systemd has them for a service that is not root's.
#[test]
fn other_secrets_may_be_credentials_too() {
    let place = Daemon::start_with(Place::new(), Pages::Tls).stop();
    let folder = place.path().join("credentials");
    fs::create_dir(&folder).unwrap();
    fs::copy(place.data().join("web.pem"), folder.join("web.key")).unwrap();
    for name in ["password", "secret"] {
        fs::write(folder.join(name), "correct horse battery\n").unwrap();
    }
    for name in ["web.key", "password", "secret"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o440);
        fs::set_permissions(folder.join(name), mode).unwrap();
    }
    let [key, password, secret] =
        ["web.key", "password", "secret"].map(|name| path(&place, &format!("credentials/{name}")));
    let web = ["--web-cert", &key, "--web-key", &key];
    let mail = [
        "--alarm-mail",
        "ops@example.com",
        "--alarm-mail-from",
        "tsg@example.com",
        "--smtp",
        "smtp://127.0.0.1:1",
        "--smtp-user",
        "tsg",
        "--smtp-password-file",
        &password,
    ];
    let hook = ["--alarm-webhook", "http://127.0.0.1:1/", "--alarm-webhook-secret", &secret];
    let mut place = place;
    for (option, words) in [("web.key", &web[..]), ("password", &mail), ("secret", &hook)] {
        place = place.and(words);
        // The same file is nothing that systemd has seen to.
        refuses(&place, &["others can read", option, "chmod 600"]);
        let mut command = Command::new(PROGRAM);
        command.env("CREDENTIALS_DIRECTORY", &folder);
        place = Daemon::start_by(place, command).stop();
    }
}

fn reseal(place: &Place, words: &[&str], input: &str) -> Result<String, String> {
    let data = place.data();
    let mut child = Command::new(PROGRAM)
        .env_clear()
        .args(["reseal", "--data", data.to_str().unwrap()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses before it asks does not read what is typed.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn another_key_changes_one_file() {
    let place = Place::new();
    let [one, two] = ["one", "two"].map(|name| key_file(&place, name));
    let daemon = Daemon::start_in(place.and(&["--seal-key", &one]));
    let key = daemon.key;
    let error =
        reseal(&daemon.place, &["--seal-key", &one, "--new-seal-key", &two], "").unwrap_err();
    assert!(error.contains("in use"), "{error}");
    let place = daemon.stop();

    let before = files(&place.data());
    let unchanged = |place: &Place, words: &[&str], told: &str| {
        let error = reseal(place, words, "short\n").unwrap_err();
        assert!(error.contains(told), "{told:?} is not in {error}");
        assert!(files(&place.data()) == before, "{words:?}");
    };
    unchanged(
        &place,
        &["--seal-key", &two, "--new-seal-key", &two],
        "give the file of that key by --seal-key",
    );
    unchanged(&place, &["--new-seal-key", &two], "by --seal-key");
    unchanged(&place, &["--seal-key", &one, "--new-seal-passphrase", "-"], "too short");
    unchanged(&place, &["--seal-key", &one], "--unseal");

    let said = reseal(&place, &["--seal-key", &one, "--new-seal-key", &two], "").unwrap();
    assert!(said.contains("sealed with key"), "{said}");
    let changed: Vec<_> = files(&place.data())
        .into_iter()
        .filter(|(path, content)| before.get(path) != Some(content))
        .map(|(path, _)| path.file_name().unwrap().to_owned())
        .collect();
    assert_eq!(changed, ["seal"]);
    let place = place.and(&["--seal-key", &one]);
    refuses(&place, &["give the file of that key by --seal-key"]);

    reseal(&place, &["--seal-key", &two, "--new-seal-passphrase", "-"], &format!("{WORDS}\n"))
        .unwrap();
    let place = place.and(&["--seal-key", &two]);
    refuses(&place, &["--seal-passphrase", "is a key"]);
    let words = words_file(&place, "words", WORDS);
    let daemon = Daemon::start_in(place.and(&["--seal-passphrase", &words]));
    assert_eq!(daemon.key, key);
    let place = daemon.stop();

    // And back: nothing is sealed.
    let said =
        reseal(&place, &["--seal-passphrase", "-", "--unseal"], &format!("{WORDS}\n")).unwrap();
    assert!(said.contains("in clear now"), "{said}");
    assert!(!place.data().join("seal").exists());
    let daemon = Daemon::start_in(place.and(&[]));
    assert_eq!(daemon.key, key);
    let place = daemon.stop();
    let error = reseal(&place, &["--unseal"], "").unwrap_err();
    assert!(error.contains("in clear already"), "{error}");
    let error = reseal(&place, &["--seal-key", &one, "--new-seal-key", &two], "").unwrap_err();
    assert!(error.contains("are in clear: leave --seal-key"), "{error}");
    reseal(&place, &["--new-seal-key", &one], "").unwrap();
    assert_eq!(Daemon::start_in(place.and(&["--seal-key", &one])).key, key);
}

#[test]
fn a_seal_that_is_lost_or_another_one_is_told() {
    let place = Place::new();
    let file = key_file(&place, "key");
    let daemon = Daemon::start_with(place.and(&["--seal-key", &file]), Pages::Tls);
    let key = daemon.key;
    let place = daemon.stop();
    let (seal, server, web) =
        (place.data().join("seal"), place.data().join("server.key"), place.data().join("web.pem"));
    let good = [&seal, &server, &web].map(|path| fs::read(path).unwrap());

    fs::remove_file(&seal).unwrap();
    refuses(&place, &["server.key is sealed", "/seal is gone", "restore a backup"]);
    let place = place.and(&[]);
    refuses(&place, &["server.key is sealed", "/seal is gone"]);
    let place = place.and(&["--seal-key", &file]);
    // Of another folder, with the same key.
    let other = Daemon::start_in(Place::new().and(&["--seal-key", &file])).stop();
    let write = |path: &Path, content: &[u8]| {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write(&seal, &fs::read(other.data().join("seal")).unwrap());
    refuses(&place, &["server.key is damaged, or was sealed with another data key", "/seal"]);
    for damage in ["", "{", "{\"version\":1}", "\0\0\0"] {
        write(&seal, damage.as_bytes());
        refuses(&place, &["/seal is damaged"]);
    }
    write(
        &seal,
        &String::from_utf8_lossy(&good[0]).replace("\"version\": 1", "\"version\": 2").into_bytes(),
    );
    refuses(&place, &["newer tsg-server (version 2)"]);
    let text = String::from_utf8(good[0].clone()).unwrap();
    let at = text.find("\"data_key\": \"").unwrap() + 20;
    let changed = if &text[at..=at] == "A" { "B" } else { "A" };
    write(&seal, format!("{}{changed}{}", &text[..at], &text[at + 1..]).as_bytes());
    refuses(&place, &["/seal is damaged"]);
    write(&seal, &good[0]);
    // One sealed file in the other's place.
    write(&server, &good[2]);
    refuses(&place, &["server.key is damaged, or was sealed with another data key"]);
    write(&server, &good[1][..good[1].len() - 9]);
    refuses(&place, &["server.key is damaged"]);
    write(&server, &good[1]);
    assert_eq!(Daemon::start_in(place).key, key);
}

#[test]
fn the_first_start_with_a_key_may_be_killed_at_any_moment() {
    let daemon = Daemon::start_with(Place::new(), Pages::Tls);
    let (key, data) = (daemon.key, daemon.place.data());
    let place = daemon.stop();
    let known = secrets(&data);
    let file = key_file(&place, "key");
    let clear =
        ["server.key", "web.pem"].map(|name| (data.join(name), fs::read(data.join(name)).unwrap()));
    let mut place = place.and(&["--seal-key", &file]);
    let mut whole = 0;
    for moment in 0..12 {
        let _ = fs::remove_file(data.join("seal"));
        for (path, content) in &clear {
            fs::write(path, content).unwrap();
        }
        Daemon::cut_short(&place, Duration::from_millis(4 * moment));
        whole += u32::from(found_in(&data, &known).is_empty());
        let daemon = Daemon::start_in(place);
        assert_eq!(daemon.key, key, "moment {moment}");
        assert_eq!(found_in(&data, &known), [""; 0], "moment {moment}");
        place = daemon.stop();
    }
    println!("12 kills, {whole} came when everything was sealed already");
    // And with one file sealed, the other not yet.
    fs::write(&clear[1].0, &clear[1].1).unwrap();
    let daemon = Daemon::start_in(place);
    assert_eq!((daemon.key, found_in(&data, &known).len()), (key, 0));
    let place = daemon.stop().and(&[]);
    refuses(&place, &["by --seal-key"]);
}

#[test]
fn offline_commands_go_on() {
    let place = Place::new();
    let file = key_file(&place, "key");
    let daemon = Daemon::start_in(place.and(&["--seal-key", &file]));
    daemon.ask(&["group", "add", "plant"]);
    assert_eq!(daemon.ask(&["audit", "--verify"])["broken"], "");
    let place = daemon.stop();
    let (data, bundle) = (place.data(), path(&place, "bundle.tar.gz"));
    let made = alone(&["bundle", "--data", data.to_str().unwrap(), &bundle]);
    assert!(made.status.success(), "{made:?}");
    let tar = Command::new("tar")
        .args(["xzO", "--wildcards", "*/database.txt", "-f", &bundle])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&tar.stdout).contains("plant"), "{tar:?}");
}

#[test]
fn key_files_are_made_once_and_for_their_owner() {
    let place = Place::new();
    for command in ["seal-key", "backup-key"] {
        let file = path(&place, command);
        assert!(alone(&[command, &file]).status.success());
        let meta = fs::metadata(&file).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o7777, 0o600);
        let content = fs::read(&file).unwrap();
        let again = alone(&[command, &file]);
        assert!(
            !again.status.success() && String::from_utf8_lossy(&again.stderr).contains(command)
        );
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}
