//! Gateway and key server: what they say to each other, and what each makes of it.
//!
//! Nothing in here reads a clock, a file, a socket or a random number generator: time and
//! randomness come in as arguments, and what is to be sent or stored comes out as values. So a
//! simulation can drive any number of gateways and a server through years in seconds, with every
//! loss, delay and crash one can think of (`tests/simulation`).
//!
//! * [`policy`]: rules and the matcher that is the truth about them
//! * [`group`]: what an operator sets for a group
//! * [`message`]: what goes over the wire, and what a later version may say there
//! * [`timeline`]: how an epoch or a policy comes into force without losing a packet
//! * [`clock`]: the key server's time as a gateway knows it
//! * [`gateway`], [`server`]: the two state machines
//! * [`keys`], [`token`]: what names machines and lets them in

pub mod clock;
pub mod gateway;
pub mod group;
pub mod keys;
pub mod message;
pub mod policy;
pub mod server;
pub mod timeline;
pub mod token;
