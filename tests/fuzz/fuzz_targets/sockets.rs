//! Lines on root's socket of the key server, carried out one after the other, and on the gateway's status socket.
//! The first line is what a stranger calls itself: it must not reach an operator's terminal as anything but text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use tsg_control::keys::PublicKey;
use tsg_control::message::{Heartbeat, Register, ToServer};
use tsg_control::server::{Server, Stored};
use tsg_fuzz::{Counting, Folder};
use tsg_server::cli::fuzzing::shown;
use tsg_server::operations::fuzzing::Office;

const NOW: u64 = 1_700_000_000_000;
const MEMBER: PublicKey = PublicKey([1; 32]);
const STRANGER: PublicKey = PublicKey([2; 32]);
const MOST_LINES: usize = 12;

thread_local! {
    static OFFICE: RefCell<Office> = RefCell::new({
        let folder = Folder::new();
        Office::open(folder.path()).expect("the folder is ours")
    });
}

fuzz_target!(|text: &[u8]| {
    let mut lines = text.split(|byte| *byte == b'\n');
    let name = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    OFFICE.with_borrow_mut(|office| {
        office.clear().expect("it is in memory");
        server.add_group("plant", NOW).expect("there is none yet");
        server.approve(MEMBER, "plant", 0, NOW).expect("the group is there");
        for key in [MEMBER, STRANGER] {
            for message in introduction(&name) {
                server.handle_message(key, message, NOW);
            }
        }
        for (line, now) in lines.take(MOST_LINES).zip(NOW + 1..) {
            let _ = tsg_bridge::run::question(line);
            match office.ask(&mut server, line, now) {
                Ok(answer) => {
                    let text = shown(&answer).expect("programs can read it");
                    let control = |c: char| c.is_control() && c != '\n';
                    assert!(!text.contains(control), "{:?}", *text);
                }
                Err(refusal) => {
                    assert!(!refusal.message.starts_with("the daemon ends"), "{refusal}")
                }
            }
            server.handle_timeout(now);
            while server.poll_transmit().is_some() {}
            while server.poll_event().is_some() {}
        }
        let stored = office.stored().expect("what was written can be read");
        let mut again = Server::new(stored, Box::new(Counting(0)), NOW + 60_000);
        again.handle_timeout(NOW + 120_000);
    });
});

fn introduction(name: &str) -> [ToServer; 2] {
    let register = Register {
        request: 1,
        process: 1,
        name: name.to_owned(),
        version: name.to_owned(),
        token: None,
        aes: false,
        senders: 2,
        holds: Vec::new(),
    };
    let heartbeat =
        Heartbeat { request: 2, process: 1, alarms: vec![name.to_owned()], ..Heartbeat::default() };
    [ToServer::Register(register), ToServer::Heartbeat(heartbeat)]
}
