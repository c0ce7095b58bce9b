//! Messages of the kernel, which carry bytes from the network and names that others chose, and what is read from the
//! bodies of its answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::netlink::{Messages, Request};
use tsg_bridge::{attach, gate};

fuzz_target!(|datagram: &[u8]| {
    for message in Messages(datagram) {
        let _ = (message.error(), message.is_done());
        let _ = (attach::fuzzing::answers(message.body), gate::fuzzing::answers(message.body));
        for fixed in [0, 3, 4, 16] {
            for (kind, value) in message.attributes(fixed) {
                let inside = message.attributes(fixed).find(kind);
                assert!(inside.is_some_and(|first| first.len() <= message.body.len()));
                // As an attribute of ours it reads back.
                let mut request = Request::new(message.kind, 0, &[]);
                request.put(kind, value);
                let bytes = request.finish(1, 0).to_vec();
                let again = Messages(&bytes).next().expect("our own message");
                assert_eq!(again.attributes(0).next(), Some((kind, value)));
            }
        }
    }
});
