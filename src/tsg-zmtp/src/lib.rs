//! ZeroMQ's wire protocol: ZMTP 3.1 with CURVE, both ends.
//!
//! * [`client::Client`] is the connection of a DEALER to a ROUTER, [`server::Server`] one that a ROUTER or a PUB has
//!   accepted. They are fed what was read from a TCP connection, and say what is to be written: no
//!   socket, no clock, no thread. Whoever has the socket decides how long to wait for what.
//! * What has been decrypted is zeroed when it goes; what is encrypted is not copied on the way.
//! * Any fault ends the connection, and the next one begins with new keys. What was heard before
//!   [`client::Event::Open`] or [`server::Event::Asks`] proves nothing about who said it; everything after is the
//!   word of whoever has the secret half of the other end's key.
//!
//! Not for: other socket types and mechanisms, and reading messages of several frames, which are left out.
//! docs/decisions/0014 and 0019 say why not libzmq.
//!
//! The protocols: <https://rfc.zeromq.org/spec/37/> and <https://rfc.zeromq.org/spec/26/>.

pub mod client;
mod curve;
mod error;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(any(test, fuzzing))]
mod peer;
pub mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use curve::Keys;
pub use error::Error;
