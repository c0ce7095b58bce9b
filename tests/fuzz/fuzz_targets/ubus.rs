//! What a broker on ubus, and callers through it, send to the gateway's object: in the state that the first byte names.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tsg_bridge::ubus::fuzzing::hear(bytes));
