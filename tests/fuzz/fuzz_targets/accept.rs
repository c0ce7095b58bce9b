//! What the other end of a key server's connection says, in the step of the handshake that the second byte names: a stranger, or
//! a gateway that wants to do harm.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tsg_zmtp::fuzzing::accept(bytes));
