//! Why a connection cannot go on.

use core::fmt;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The other end does not greet as ZeroMQ 3 or newer does.
    NoZmtp,
    /// It asks for another way to be sure of each other than CURVE.
    NoCurve(String),
    /// It refuses this client, with the reason that it gives.
    Refused(String),
    /// It is the server, but its socket is of another type than ROUTER.
    NoRouter(String),
    /// A frame is longer than is allowed here.
    TooLong(u64),
    /// Something has not the form that it must have.
    Malformed(&'static str),
    /// Something was not made with the server's key, or not for this connection.
    Unauthentic(&'static str),
    /// Something was said already.
    Repeated,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoZmtp => f.write_str("it does not speak ZeroMQ"),
            Self::NoCurve(other) => write!(f, "it speaks ZeroMQ without CURVE ({other:?})"),
            Self::Refused(reason) => write!(f, "it refuses this gateway ({reason:?})"),
            Self::NoRouter(other) => {
                write!(f, "it is a ZeroMQ socket of type {other:?}, not ROUTER")
            }
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Unauthentic(what) => write!(f, "not from the key server: {what}"),
            Self::Repeated => f.write_str("something was repeated on the way"),
        }
    }
}

impl core::error::Error for Error {}
