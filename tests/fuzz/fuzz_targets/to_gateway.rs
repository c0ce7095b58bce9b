//! Frames of a key server, as a gateway reads and obeys them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_control::message::{MAX_FRAME, ToGateway, decode, encode, from_server};

fuzz_target!(|frame: &[u8]| {
    let heard = from_server(frame);
    let Ok(message) = decode::<ToGateway>(frame, MAX_FRAME) else {
        // What is not understood may be said by a later version: it is obeyed as far as it is.
        if let Ok(heard) = heard {
            assert!(!heard.unknown.is_empty());
            tsg_fuzz::gateway().handle_heard(heard, 1_000);
        }
        return;
    };
    let again = decode::<ToGateway>(&encode(&message), MAX_FRAME * 2);
    assert_eq!(again.as_ref(), Ok(&message));
    // Its first request has number 2, so that inputs can answer it.
    let mut gateway = tsg_fuzz::gateway();
    gateway.handle_timeout(1_000);
    for now in [1_010, 1_020, 60_000] {
        gateway.handle_message(message.clone(), now);
        gateway.handle_timeout(now);
        for view in gateway.keys(now) {
            gateway.handle_authentic(view.id, now);
            if let Some(&sender) = view.senders.first() {
                gateway.handle_worn(view.id, sender, now);
                gateway.handle_exhausted(view.id, sender, now);
            }
        }
        gateway.handle_unknown_epoch(now);
        assert!(gateway.keys(now).len() <= 3);
        let said = std::iter::from_fn(|| gateway.poll_transmit()).count();
        assert!(said <= 16, "{said} messages");
        while gateway.poll_event().is_some() {}
        if let Some(saved) = gateway.save() {
            gateway.restore(saved, now);
        }
    }
});
