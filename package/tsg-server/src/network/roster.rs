//! Which keys are let in and which are thrown out, for the two that ask before the state machine
//! does: the ZAP handler and the limits on messages. It follows what is durable.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
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

/// All keys that were ever let in and not removed. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<RwLock<HashMap<PublicKey, Standing>>>);

impl Roster {
    /// The list as it is on disk.
    pub fn new(stored: &Stored) -> Self {
        let roster = Self::default();
        for gateway in &stored.gateways {
            roster.note(&Record::Gateway(gateway.clone()));
        }
        roster
    }

    /// Takes over a change that is durable.
    pub fn note(&self, record: &Record) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match record {
            Record::Gateway(gateway) => {
                let standing =
                    if gateway.revoked.is_some() { Standing::Revoked } else { Standing::Member };
                list.insert(gateway.key, standing);
            }
            Record::GatewayGone(key) => {
                list.remove(key);
            }
            Record::Group(_) | Record::GroupGone(_) | Record::Token(_) | Record::TokenGone(_) => {}
        }
    }

    /// How many are let in.
    pub(super) fn members(&self) -> u64 {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.values().filter(|standing| **standing == Standing::Member).count() as u64
    }

    pub(super) fn standing(&self, key: &PublicKey) -> Standing {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.get(key).copied().unwrap_or(Standing::Stranger)
    }
}
