//! Gateways of another version, and what they say that this one does not know.

use super::{Gateway, STRANGER_GONE, Server};
use crate::keys::PublicKey;
use crate::message::{DecodeError, Refused, ToGateway, VERSION};

/// How long a gateway of another version waits before asking again, in seconds.
const RETRY: u32 = 60;

/// What was said last that could not be read, and when.
pub(super) struct Unreadable {
    error: DecodeError,
    at: u64,
}

impl Unreadable {
    /// It was of another version: over when something can be read.
    pub(super) const fn is_version(&self) -> bool {
        matches!(self.error, DecodeError::Version(_))
    }
}

impl Server {
    /// The gateway whose CURVE key is `from` said something that cannot be read.
    pub fn handle_unreadable(&mut self, from: PublicKey, error: DecodeError, now: u64) {
        self.latest = now;
        match error {
            DecodeError::Version(version) => {
                // In our version: every other can at least read that it is another.
                let refused = Refused {
                    request: 0,
                    reason: version_alarm(version),
                    revoked: false,
                    retry: RETRY,
                };
                self.transmits.push_back((from, ToGateway::Refused(refused)));
            }
            DecodeError::Kind(_) => {}
            // No version says that.
            DecodeError::TooLong(_) | DecodeError::Malformed(_) => return,
        }
        let mut name = "a stranger";
        let mut before = None;
        if let Some(gateway) = self.gateways.get_mut(&from) {
            let new = Unreadable { error: error.clone(), at: now };
            before = gateway.unreadable.replace(new).map(|before| before.error);
            name = &gateway.record.name;
        }
        if before.as_ref() != Some(&error) && self.unreadable.take(now) {
            let text = format!("{name} ({}): {error}", from.fingerprint());
            self.warn(text);
        }
    }
}

impl Gateway {
    /// The version that it speaks, if it is another, and it spoke lately.
    pub(super) fn other_version(&self, now: u64) -> Option<u16> {
        let unreadable = self.unreadable.as_ref().filter(|u| now < u.at + STRANGER_GONE)?;
        match unreadable.error {
            DecodeError::Version(version) => Some(version),
            DecodeError::TooLong(_) | DecodeError::Malformed(_) | DecodeError::Kind(_) => None,
        }
    }
}

pub(super) fn version_alarm(version: u16) -> String {
    let older = if version > VERSION { "key server" } else { "gateway" };
    format!(
        "the gateway speaks version {version} of the protocol, the key server version {VERSION}: \
         upgrade the {older}"
    )
}
