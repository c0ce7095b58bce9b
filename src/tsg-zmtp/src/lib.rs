//! ZeroMQ's wire protocol as a client: ZMTP 3.1 with CURVE, the connection of a DEALER to a ROUTER.
//!
//! * [`Connection`] is fed what was read from a TCP connection, and says what is to be written: no
//!   socket, no clock, no thread. Whoever has the socket decides how long to wait for what.
//! * A message is one frame. What has been decrypted is zeroed when it goes; what is encrypted is
//!   not copied on the way.
//! * Any fault ends the connection, and the next one begins with new keys. What was heard before
//!   [`Event::Open`] proves nothing about who said it; everything after is the word of whoever has the
//!   secret half of the server's key.
//!
//! Not for: servers, other socket types and mechanisms, messages of several frames (libzmq, by way
//! of `tsg-zmq`). docs/decisions/0014 says why gateways have this instead of libzmq.
//!
//! The protocols: <https://rfc.zeromq.org/spec/37/> and <https://rfc.zeromq.org/spec/26/>.

mod connection;
mod curve;
mod error;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod peer;
#[cfg(test)]
mod tests;

pub use connection::{Connection, Event};
pub use curve::Keys;
pub use error::Error;
