//! What the other end of a gateway's connection says, in the step of the handshake that the first byte names: a stranger, or
//! a key server that wants to do harm.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tsg_zmtp::fuzzing::hear(bytes));
