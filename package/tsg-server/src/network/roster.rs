//! Which keys are let in and which are thrown out, for what comes before the state machine: who may connect, and the limits
//! on messages. It follows what is durable.

use std::collections::HashMap;
use tsg_control::keys::PublicKey;
use tsg_control::server::{Record, Stored};

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: it may ask to be let in.
    Stranger,
    /// It is let in.
    Member,
    /// It was thrown out.
    Revoked,
}

/// All keys that were ever let in and not removed.
#[derive(Debug, Default)]
pub struct Roster(HashMap<PublicKey, Standing>);

impl Roster {
    /// The list as it is on disk.
    pub fn new(stored: &Stored) -> Self {
        let mut roster = Self::default();
        for gateway in &stored.gateways {
            roster.note(&Record::Gateway(gateway.clone()));
        }
        roster
    }

    /// Takes over a change that is durable.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Gateway(gateway) => {
                let standing =
                    if gateway.revoked.is_some() { Standing::Revoked } else { Standing::Member };
                self.0.insert(gateway.key, standing);
            }
            Record::GatewayGone(key) => {
                self.0.remove(key);
            }
            Record::Group(_) | Record::GroupGone(_) | Record::Token(_) | Record::TokenGone(_) => {}
        }
    }

    pub(super) fn standing(&self, key: &PublicKey) -> Standing {
        self.0.get(key).copied().unwrap_or(Standing::Stranger)
    }
}
