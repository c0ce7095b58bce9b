//! Messages of the kernel, which carry bytes from the network and names that others chose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::netlink::{Messages, Request};

fuzz_target!(|datagram: &[u8]| {
    for message in Messages(datagram) {
        let _ = (message.error(), message.is_done());
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
