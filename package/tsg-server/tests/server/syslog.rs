//! A syslog collector that is there, away, slow, or somebody else.

use super::daemon::{Daemon, PATIENCE, Pages, Place};
use super::receivers::{Authority, Collector, frames, number};
use nix::poll::{PollFd, PollFlags, poll};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

fn place(kind: &str, port: u16, more: &[&str]) -> Place {
    let address = format!("{kind}://127.0.0.1:{port}");
    let mut place = Place::with(&["--syslog", &address]);
    place.more.extend(more.iter().map(|&word| word.to_owned()));
    place
}

fn audit(messages: &[String]) -> Vec<u64> {
    messages.iter().filter(|message| message.contains(" AUDIT [")).map(|one| number(one)).collect()
}

/// Until audit entry `last` is there; gives the numbers that came, in their order.
fn numbers_until(collector: &Collector, last: u64) -> Vec<u64> {
    let deadline = Instant::now() + PATIENCE;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        assert!(Instant::now() < deadline, "{numbers:?}");
        numbers.extend(audit(&[collector.next()]));
    }
    numbers
}

#[test]
fn datagrams_have_audit_trail_and_log_and_no_secret() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut daemon = Daemon::start_with(place("udp", port, &[]), Pages::Plain);
    let code = daemon.wait_log("set-up code").rsplit(' ').next().unwrap().to_owned();
    daemon.ask(&["group", "add", "plant"]);
    let hostile = "a\"]b\\\n<0>1 forged";
    daemon.admin().ask(&json!({"group_add": {"group": hostile}})).unwrap();
    let mut messages = Vec::new();
    while !messages.last().is_some_and(|last: &String| last.contains("outcome=\"refused")) {
        let mut bytes = [0; 2_000];
        let length = socket.recv(&mut bytes).unwrap();
        assert!(length <= 1_200, "{length}");
        messages.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
    }
    let of = |text: &str| messages.iter().find(|message| message.contains(text)).unwrap();
    let done = of("action=\"group add\" object=\"plant\"");
    assert!(
        done.starts_with("<85>1 2") && done.contains("Z ") && done.contains(" tsg-server "),
        "{done}"
    );
    assert!(
        done.contains(&format!(" {} AUDIT [audit@32473 id=\"1\" who=\"uid ", daemon.pid())),
        "{done}"
    );
    assert!(done.ends_with(": group add plant: done") && done.contains("] \u{feff}uid "), "{done}");
    let refused = messages.last().unwrap();
    assert!(refused.starts_with("<84>1 "), "{refused}");
    assert!(refused.contains(r#"object="a\"\]b\\<0>1 forged""#), "{refused}");
    let log = of("listens on tcp://");
    assert!(log.starts_with("<30>1 ") && log.contains(" LOG - \u{feff}tsg-server "), "{log}");
    // Nothing comes twice, and the code for the first administrator not at all.
    assert_eq!(messages.iter().filter(|message| message.contains("group add plant")).count(), 1);
    assert!(!messages.iter().any(|message| message.contains(&code)), "{messages:#?}");
}

#[test]
fn an_outage_of_collector_and_server_loses_no_audit_entry() {
    let collector = Collector::start(0, None);
    let port = collector.port();
    let mut daemon = Daemon::start_in(place("tcp", port, &[]));
    let order = |daemon: &Daemon, name: &str| drop(daemon.ask(&["group", "add", name]));
    order(&daemon, "first");
    assert_eq!(numbers_until(&collector, 1), [1]);
    drop(collector);
    daemon.wait_log("does not work");
    for name in ["second", "third", "fourth"] {
        order(&daemon, name);
    }
    let daemon = Daemon::start_in(daemon.kill());
    order(&daemon, "fifth");
    let collector = Collector::start(port, None);
    let came = numbers_until(&collector, 5);
    let new: Vec<_> = came.into_iter().filter(|&number| number > 1).collect();
    assert_eq!(new, [2, 3, 4, 5]);
    order(&daemon, "sixth");
    assert_eq!(numbers_until(&collector, 6), [6]);
    // After a stop in peace nothing comes twice.
    let daemon = Daemon::start_in(daemon.stop());
    order(&daemon, "seventh");
    assert_eq!(numbers_until(&collector, 7), [7]);
}

#[test]
fn what_a_collector_took_along_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = Daemon::start_in(place("tcp", port, &[]));
    // Whoever is slow to see it has seen it for good: then it is tried again with the next one.
    let last = (1..=10).find(|number| {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ordered = Instant::now();
        daemon.ask(&["group", "add", &format!("group-{number}")]);
        let mut peeked = vec![0; 65_536];
        // It gets everything, and dies without having read it.
        while !String::from_utf8_lossy(&peeked).contains(&format!("group add group-{number}: done"))
        {
            assert!(ordered.elapsed() < PATIENCE);
            let _ = stream.peek(&mut peeked);
        }
        drop(stream);
        ordered.elapsed() < Duration::from_secs(1)
    });
    let (sender, messages) = channel();
    let (stream, _) = listener.accept().unwrap();
    thread::spawn(move || frames(stream, &sender));
    let mut again = std::iter::from_fn(|| messages.recv_timeout(PATIENCE).ok());
    assert!(again.any(|message| message.contains(" AUDIT [") && Some(number(&message)) == last));
}

#[test]
fn a_collector_that_never_reads_keeps_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Small buffers are full soon.
    nix::sys::socket::setsockopt(&listener, nix::sys::socket::sockopt::RcvBuf, &8_192).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut daemon = Daemon::start_in(place("tcp", port, &[]));
    let (unread, _) = listener.accept().unwrap();
    let mut client = daemon.admin();
    // Much text for the collector, and little for the disk.
    let long = "\u{1f512}".repeat(990);
    let mut ordered = 0;
    while ordered < 500 {
        let group = format!("{ordered:08} {long}");
        let answer = client.ask(&json!({"group_add": {"group": group}})).unwrap();
        assert!(answer["error"].is_object());
        ordered += 1;
    }
    // What has to wait for ten seconds, twice at the most, ends the connection.
    let mut waits = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut waits, 60_000_u16), Ok(1), "no other connection");
    daemon.wait_log("does not work");
    let (stream, _) = listener.accept().unwrap();
    let (sender, messages) = channel();
    // Neither is lost what the first connection has.
    let first = sender.clone();
    thread::spawn(move || frames(unread, &first));
    thread::spawn(move || frames(stream, &sender));
    let mut missing: BTreeSet<u64> = (1..=ordered).collect();
    let deadline = Instant::now() + 3 * PATIENCE;
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "{} are missing: {missing:?}", missing.len());
        if let Ok(message) = messages.recv_timeout(Duration::from_millis(100)) {
            for number in audit(&[message]) {
                missing.remove(&number);
            }
        }
    }
    println!("{ordered} entries");
}

#[test]
fn tls_is_for_the_collector_that_the_authority_knows() {
    let (authority, other) = (Authority::new(), Authority::new());
    let collector = Collector::start(0, Some(authority.server.clone()));
    let file = |authority: &Authority| authority.file().to_str().unwrap().to_owned();
    let mut daemon =
        Daemon::start_in(place("tls", collector.port(), &["--ca-file", &file(&other)]));
    daemon.ask(&["group", "add", "plant"]);
    let line = daemon.wait_log("does not work");
    assert!(line.contains("tls://127.0.0.1:") && line.contains("certificate"), "{line}");
    assert_eq!(collector.so_far(), Vec::<String>::new());
    let mut place = daemon.stop();
    *place.more.last_mut().unwrap() = file(&authority);
    let mut daemon = Daemon::start_in(place);
    assert_eq!(number(&collector.until(" AUDIT [")), 1);
    // It comes back by itself.
    let port = collector.port();
    drop(collector);
    daemon.wait_log("does not work");
    daemon.ask(&["group", "add", "second"]);
    let collector = Collector::start(port, Some(authority.server.clone()));
    collector.until("object=\"second\"");
    daemon.wait_log("works again");
    daemon.stop();
    let last = collector.until(" LOG - \u{feff}ending");
    assert!(last.starts_with("<30>1 "), "{last}");
}

#[test]
fn what_is_no_collector_is_refused_at_the_start() {
    for (address, said) in [
        (
            "collector:514",
            "--syslog: this is no address: give udp://HOST:514 or tcp://HOST:601 or tls://HOST:6514",
        ),
        ("udp://u:hunter2@collector", "and nothing more"),
    ] {
        let complaint = Place::with(&["--syslog", address]).complaint();
        assert!(complaint.contains(said) && !complaint.contains("hunter2"), "{complaint}");
    }
}
