//! A message on its way: as bytes, or, as most of the time of a simulation would go into writing and
//! reading them, as it is.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tsg_control::message::{self, DecodeError};

/// One message in so many is written and read.
const WRITTEN: u64 = 8;

#[derive(Clone, Debug)]
pub(crate) enum Frame<M> {
    Bytes(Vec<u8>),
    Message(Box<M>),
}

impl<M: Clone + Serialize + DeserializeOwned> Frame<M> {
    /// The message with this number.
    pub(crate) fn of(message: &M, number: u64) -> Self {
        match number.is_multiple_of(WRITTEN) {
            true => Self::Bytes(message::encode(message).to_vec()),
            false => Self::Message(Box::new(message.clone())),
        }
    }

    pub(crate) fn read(self, limit: usize) -> Result<M, DecodeError> {
        match self {
            Self::Bytes(bytes) => message::decode(&bytes, limit),
            Self::Message(message) => Ok(*message),
        }
    }
}
