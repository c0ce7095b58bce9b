//! Frames with secrets over ZeroMQ, which by itself leaves what it sent and received in freed memory.
//!
//! * [`send`] gives libzmq a buffer that is zeroed as soon as libzmq is done with it.
//! * [`receive`] gives a [`Frame`] that is zeroed when it is dropped. libzmq decrypts in place, so
//!   there is no other copy.
//! * CURVE encrypts from a block of its own that it frees as it is: a program with this crate in it has
//!   an `operator delete` that overwrites it. [`wipes_freed_memory`] says whether libzmq takes that;
//!   docs/decisions/0010 has what was measured.
//!
//! Not for: what is in a frame (`tsg-control`), and sockets (the crate `zmq`).

mod frame;
mod sys;

pub use frame::{Frame, receive};
pub use sys::{give_up_unacknowledged, send, wipes_freed_memory};
