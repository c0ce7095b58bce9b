//! The key server's disk: records are put in one after the other, and a crash leaves a part.

use tsg_control::server::{Record, Stored};

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) stored: Stored,
}

impl Disk {
    pub(crate) fn put(&mut self, record: Record) {
        let Stored { gateways, groups, tokens } = &mut self.stored;
        match record {
            Record::Gateway(new) => {
                gateways.retain(|old| old.key != new.key);
                gateways.push(new);
            }
            Record::GatewayGone(key) => gateways.retain(|old| old.key != key),
            Record::Group(new) => {
                groups.retain(|old| old.name != new.name);
                groups.push(new);
            }
            Record::GroupGone(name) => groups.retain(|old| old.name != name),
            Record::Token(new) => {
                tokens.retain(|old| old.id != new.id);
                tokens.push(new);
            }
            Record::TokenGone(id) => tokens.retain(|old| old.id != id),
        }
    }
}
