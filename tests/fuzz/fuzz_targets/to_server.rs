//! Frames of gateways, members and strangers, as the key server reads and obeys them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_control::keys::PublicKey;
use tsg_control::message::{MAX_FRAME_TO_SERVER, ToServer, decode, encode};
use tsg_control::server::{Server, Stored};
use tsg_fuzz::Counting;

const NOW: u64 = 1_700_000_000_000;

fuzz_target!(|frame: &[u8]| {
    let Ok(message) = decode::<ToServer>(frame, MAX_FRAME_TO_SERVER) else { return };
    let again = decode::<ToServer>(&encode(&message), MAX_FRAME_TO_SERVER * 2);
    assert_eq!(again.as_ref(), Ok(&message));
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    server.add_group("plant", NOW).expect("there is none yet");
    let [member, stranger] = [PublicKey([1; 32]), PublicKey([2; 32])];
    server.approve(member, "plant", 0, NOW).expect("the group is there");
    for now in [NOW, NOW + 1, NOW + 20_000] {
        for from in [member, stranger] {
            server.handle_message(from, message.clone(), now);
        }
        server.handle_timeout(now);
        let sent = std::iter::from_fn(|| server.poll_transmit()).count();
        assert!(sent <= 16, "{sent} messages for two");
        while server.poll_record().is_some() {}
        assert!(server.groups(now).iter().all(|group| group.epochs.len() <= 3));
        for view in server.gateways(now) {
            assert!(view.machines.len() <= 512 && view.alarms.len() <= 16);
            assert!(!view.name.contains(char::is_control));
        }
    }
});
