//! The state file of an earlier daemon, torn or tampered with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_control::gateway::Saved;
use tsg_control::message::{decode, encode};

fuzz_target!(|file: &[u8]| {
    let Ok(saved) = decode::<Saved>(file, 1 << 20) else { return };
    assert_eq!(decode::<Saved>(&encode(&saved), 1 << 21).as_ref(), Ok(&saved));
    let mut gateway = tsg_fuzz::gateway();
    gateway.restore(saved, 1_000);
    for now in [1_000, 5_000, 1 << 40] {
        gateway.handle_timeout(now);
        for view in gateway.keys(now) {
            gateway.handle_authentic(view.id, now);
        }
        assert!(gateway.keys(now).len() <= 3, "more epochs than may live");
        while gateway.poll_transmit().is_some() {}
        while gateway.poll_event().is_some() {}
    }
});
