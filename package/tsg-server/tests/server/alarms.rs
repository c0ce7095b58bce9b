//! Alarms by webhook and mail, to receivers that are there, away, slow or rude.

use super::daemon::{Daemon, Place};
use super::gateway::{TestGateway, members};
use super::receivers::{Authority, Collector, MailServer, Mute, WebServer};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tsg_control::keys::PublicKey;
use tsg_control::message::{Heartbeat, ToServer};

const SECRET: &str = "correct horse battery staple";

/// A server that tells alarms after a second.
fn place(words: &[&str]) -> Place {
    let mut place = Place::with(&["--alarm-after", "1"]);
    place.more.extend(words.iter().map(|&word| word.to_owned()));
    place
}

/// A file that only its owner may read.
fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Lets one in that never was there.
fn silent(daemon: &Daemon, number: u8) -> String {
    let key = PublicKey([number; 32]).to_string();
    let approved = daemon.ask(&["gateway", "approve", &key, "--group", "plant"]);
    approved["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_webhook_is_told_once_whatever_is_restarted() {
    let server = WebServer::start(&[], None);
    let folder = tempfile::tempdir().unwrap();
    let key = secret(folder.path(), "secret", SECRET);
    let url = format!("http://127.0.0.1:{}/hook?token=hidden", server.port());
    let words = ["--alarm-webhook", &url, "--alarm-webhook-secret", key.to_str().unwrap()];
    let daemon = Daemon::start_in(place(&words));
    daemon.ask(&["group", "add", "plant"]);
    let first = silent(&daemon, 7);
    let posted = server.next();
    assert_eq!(posted.path, "/hook?token=hidden");
    let told = posted.json();
    assert_eq!(
        (&told["kind"], &told["state"], &told["severity"], &told["gateway"], &told["group"]),
        (&json!("silent"), &json!("raised"), &json!("warning"), &json!(first), &json!("plant"))
    );
    assert!(told["text"].as_str().unwrap().starts_with("nothing was heard of it"), "{told}");
    assert!(told["since"].as_u64() <= told["at"].as_u64() && told["version"] == 1, "{told}");
    let signed = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag: String = ring::hmac::sign(&signed, &posted.body)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert!(posted.head.contains(&format!("x-tsg-signature: sha256={tag}\r\n")), "{}", posted.head);
    let listed = daemon.ask(&["alarms"]);
    assert_eq!(
        (&listed["alarms"][0]["id"], &listed["alarms"][0]["raised"]),
        (&told["id"], &json!(true))
    );
    assert_eq!(listed["channels"][0]["to"], format!("http://127.0.0.1:{}", server.port()));
    // A restart tells nothing twice.
    let daemon = Daemon::start_in(daemon.stop());
    let second = silent(&daemon, 8);
    let again = server.next().json();
    assert_eq!(again["gateway"], json!(second), "{again}");
    // What is over while the server is away is told when it is back.
    daemon.ask(&["gateway", "remove", &first]);
    let daemon = Daemon::start_in(daemon.stop());
    let over = server.next().json();
    assert_eq!((&over["id"], &over["state"]), (&told["id"], &json!("over")));
    assert_eq!(over["since"], told["since"]);
    let log = daemon.into_log().join("\n");
    assert!(!log.contains("hidden") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_webhook_that_fails_is_tried_again_and_leads_nowhere_else() {
    let other = WebServer::start(&[], None);
    let elsewhere = format!("302 Found\r\nlocation: http://127.0.0.1:{}/\r\n", other.port());
    let server = WebServer::start(&["503 Busy\r\n", &elsewhere], None);
    let url = format!("http://127.0.0.1:{}/", server.port());
    let mut daemon = Daemon::start_in(place(&["--alarm-webhook", &url]));
    daemon.ask(&["group", "add", "plant"]);
    silent(&daemon, 7);
    let told: Vec<Value> = (0..3).map(|_| server.next().json()).collect();
    assert!(told[0] == told[1] && told[1] == told[2], "{told:?}");
    daemon.wait_log("works again");
    let line = daemon.wait_log("does not work");
    assert!(line.contains("HTTP 503"), "{line}");
    let channel = &daemon.ask(&["alarms"])["channels"][0];
    assert!(channel["sent"].as_u64() >= Some(1) && channel["failed"] == 2, "{channel}");
    assert_eq!((&channel["lost"], &channel["failing"]), (&json!(0), &Value::Null));
    assert_eq!(other.so_far(), 0);
}

#[test]
fn what_waits_for_a_receiver_survives_a_kill() {
    let gone = WebServer::start(&[], None).port();
    let url = format!("http://127.0.0.1:{gone}/");
    let mut daemon = Daemon::start_in(place(&["--alarm-webhook", &url]));
    daemon.ask(&["group", "add", "plant"]);
    let name = silent(&daemon, 7);
    daemon.wait_log("does not work");
    let mut place = daemon.kill();
    let server = WebServer::start(&[], None);
    *place.more.last_mut().unwrap() = format!("http://127.0.0.1:{}/", server.port());
    let _daemon = Daemon::start_in(place);
    assert_eq!(server.next().json()["gateway"], json!(name));
}

#[test]
fn a_webhook_that_never_answers_keeps_nobody_waiting() {
    let mute = Mute::start();
    let url = format!("http://127.0.0.1:{}/", mute.port());
    let collector = Collector::start(0, None);
    let syslog = format!("tcp://127.0.0.1:{}", collector.port());
    let mut daemon = Daemon::start_in(place(&["--alarm-webhook", &url, "--syslog", &syslog]));
    daemon.ask(&["group", "add", "plant"]);
    let name = silent(&daemon, 7);
    let message = collector.until(" ALARM [alarm@32473 id=\"");
    assert!(
        message.starts_with("<28>1 ") && message.contains("state=\"raised\" kind=\"silent\""),
        "{message}"
    );
    assert!(
        message.contains(&format!(
            "gateway=\"{name}\"] \u{feff}alarm raised: plant / {name}: nothing"
        ))
    );
    daemon.ask(&["status"]);
    daemon.wait_log("webhook to http://127.0.0.1:");
    // Who still gets something is told that somebody else does not.
    let message = collector.until("kind=\"channel\"");
    assert!(
        message.contains("webhook to http://127.0.0.1:") && message.contains("timeout"),
        "{message}"
    );
    daemon.stop();
}

#[test]
fn mails_are_plain_whatever_a_gateway_says() {
    let server = MailServer::start(None);
    let smtp = format!("smtp://127.0.0.1:{}", server.port());
    let daemon = Daemon::start_in(place(&[
        "--alarm-mail",
        "ops@example.com,night@example.com",
        "--alarm-mail-from",
        "tsg@example.com",
        "--smtp",
        &smtp,
    ]));
    let mut pump: TestGateway = members(&daemon, "plant", &["pump"]).pop().unwrap();
    let hostile = "no key\u{202e}\r\n.\r\nBcc: everybody@example.com";
    let beat = |pump: &TestGateway, alarms: Vec<String>| {
        pump.say(&ToServer::Heartbeat(Heartbeat { request: 1 << 40, alarms, ..pump.heartbeat() }));
    };
    beat(&pump, vec![hostile.to_owned()]);
    let mail = server.until("no key");
    assert_eq!(
        mail.envelope,
        ["MAIL FROM:<tsg@example.com>", "RCPT TO:<ops@example.com>", "RCPT TO:<night@example.com>"]
    );
    let (head, body) = mail.text.split_once("\r\n\r\n").unwrap();
    assert!(
        !head.to_lowercase().contains("\r\nbcc:") && head.contains("\r\nSubject: [TSG "),
        "{head}"
    );
    assert!(!body.lines().any(|line| line.starts_with("Bcc")) && body.contains("pump"), "{body}");
    // It is over.
    beat(&pump, Vec::new());
    pump.turn();
    let over = server.until("OVER: plant / pump");
    assert!(over.text.contains("no key"), "{}", over.text);
}

#[test]
fn a_test_alarm_says_who_got_it() {
    let (authority, mails) = (Authority::new(), tempfile::tempdir().unwrap());
    let mail = MailServer::start(Some(authority.server.clone()));
    let web = WebServer::start(&[], Some(authority.server.clone()));
    let (url, smtp) = (
        format!("https://127.0.0.1:{}/", web.port()),
        format!("smtps://127.0.0.1:{}", mail.port()),
    );
    let (good, ca) = (secret(mails.path(), "good", "correct horse"), authority.file());
    let all = |password: &Path, syslog: &str| {
        place(&[
            "--alarm-webhook",
            &url,
            "--alarm-mail",
            "ops@example.com",
            "--smtp",
            &smtp,
            "--smtp-user",
            "user",
            "--smtp-password-file",
            password.to_str().unwrap(),
            "--alarm-mail-from",
            "tsg@example.com",
            "--ca-file",
            ca.to_str().unwrap(),
            "--syslog",
            syslog,
        ])
    };
    let collector = Collector::start(0, Some(authority.server.clone()));
    let daemon = Daemon::start_in(all(&good, &format!("tls://127.0.0.1:{}", collector.port())));
    let told = daemon.ask(&["alarms", "--test"]);
    let of = |channel: &str| {
        told.as_array().unwrap().iter().find(|one| one["channel"] == channel).unwrap().clone()
    };
    assert_eq!(
        (&of("webhook")["arrived"], &of("webhook")["text"]),
        (&json!(true), &json!("HTTP 200 OK"))
    );
    assert_eq!(of("mail")["text"], "250 2.0.0 queued as 4711");
    assert_eq!(of("syslog")["text"], "the collector's machine has it");
    assert_eq!(web.next().json()["kind"], "test");
    mail.until("this is a test");
    // By a connection of its own.
    let [_, ordered] = collector.until_all(["kind=\"test\"", "action=\"alarm test\""]);
    assert!(ordered.contains("object=\"all channels\" outcome=\"ordered\""), "{ordered}");
    // Away, and with a wrong password.
    let wrong = secret(mails.path(), "wrong", "another");
    drop(daemon);
    drop(collector);
    let gone = WebServer::start(&[], None).port();
    let daemon = Daemon::start_in(all(&wrong, &format!("tcp://127.0.0.1:{gone}")));
    let output = daemon.command(&["alarms", "--test"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |channel: &str| text.lines().find(|line| line.starts_with(channel)).unwrap();
    assert!(line("webhook").contains("  yes  "), "{text}");
    assert!(line("mail").contains("  NO  ") && line("mail").contains("530"), "{text}");
    assert!(line("syslog").contains("  NO  ") && line("syslog").contains("refused"), "{text}");
    assert!(!text.contains("another"), "{text}");
}

#[test]
fn without_a_channel_there_is_nothing_to_try() {
    let daemon = Daemon::start_in(place(&[]));
    let complaint = daemon.refused(&["alarms", "--test"]);
    assert!(complaint.contains("--alarm-webhook"), "{complaint}");
    let output = daemon.command(&["alarms"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "no alarms\n");
}

#[test]
fn what_is_wrong_is_said_at_the_start() {
    for (words, said) in [
        (&["--alarm-webhook", "http://example.com/key"][..], "goes to this machine only"),
        (&["--alarm-mail", "ops@example.com"][..], "--alarm-mail needs a mail server"),
        (&["--alarm-mail", "ops", "--smtp", "smtp://127.0.0.1"][..], "\"ops\" is no mail address"),
        (
            &["--syslog", "tls://127.0.0.1", "--ca-file", "/dev/null"][..],
            "no certificate of an authority in /dev/null",
        ),
    ] {
        let complaint = place(words).complaint();
        assert!(complaint.contains(said) && !complaint.contains("/key"), "{complaint}");
    }
}
