//! Why a connection cannot go on.

use core::fmt;

use tsg_sodium::WeakKey;

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
    /// It has the right key, but its socket is of another type than belongs to this end's.
    OtherSocket {
        /// What it says.
        is: String,
        /// What belongs here.
        wanted: &'static str,
    },
    /// A frame is longer than is allowed here.
    TooLong(u64),
    /// Something has not the form that it must have.
    Malformed(&'static str),
    /// Something was not made with the other end's key, or not for this connection.
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
            Self::OtherSocket { is, wanted } => {
                write!(f, "it is a ZeroMQ socket of type {is:?}, not {wanted}")
            }
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Unauthentic(what) => write!(f, "not made with the right key: {what}"),
            Self::Repeated => f.write_str("something was repeated on the way"),
        }
    }
}

impl core::error::Error for Error {}

impl From<WeakKey> for Error {
    fn from(_: WeakKey) -> Self {
        Self::Unauthentic("a key that nobody has the other half of")
    }
}
