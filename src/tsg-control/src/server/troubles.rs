//! What is wrong with gateways and groups right now, for whoever follows it.

use super::group::Group;
use super::{Gateway, Server};
use crate::keys::PublicKey;

/// A new epoch may come into force so many milliseconds later than it should.
const LATE: u64 = 5_000;

/// Something that is wrong with a gateway or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The group.
    pub group: String,
    /// The gateway, its name and key, if it is one's.
    pub gateway: Option<(String, PublicKey)>,
    /// What kind of trouble it is.
    pub kind: TroubleKind,
    /// What is wrong, in words.
    pub text: String,
}

/// What may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The gateway says it of itself, or the server sees it: one of its alarms.
    Gateway,
    /// Nothing is heard of it.
    Silent,
    /// It is there and has not taken over the newest state of its group.
    Late,
    /// The group has no key, or none that comes after the one that ends.
    Keys,
}

impl Server {
    /// What is wrong with members and groups. Costs little when nothing is.
    pub fn troubles(&self, now: u64) -> Vec<Trouble> {
        let mut found = Vec::new();
        for group in self.groups.values() {
            if let Some(text) = keys_trouble(group, now) {
                let group = group.record.name.clone();
                found.push(Trouble { group, gateway: None, kind: TroubleKind::Keys, text });
            }
        }
        for gateway in self.gateways.values().filter(|gateway| gateway.record.revoked.is_none()) {
            self.troubles_of(gateway, now, &mut found);
        }
        found
    }

    fn troubles_of(&self, gateway: &Gateway, now: u64, found: &mut Vec<Trouble>) {
        let record = &gateway.record;
        let mut add = |kind, text| {
            let gateway = Some((record.name.clone(), record.key));
            found.push(Trouble { group: record.group.clone(), gateway, kind, text });
        };
        let online = gateway.online(now);
        if online.is_none() && gateway.other_version(now).is_none() {
            let heard = gateway.session.as_ref().map(|session| now.saturating_sub(session.heard));
            let text = heard.map_or_else(
                || "nothing was heard of it since the key server started".to_owned(),
                |ago| format!("nothing was heard of it for {} s", ago / 1000),
            );
            return add(TroubleKind::Silent, text);
        }
        let revision = self.groups.get(&record.group).map_or(0, |group| group.revision);
        if online.is_some_and(|session| session.acked < revision) {
            let text = "it is online and has not taken over the newest state of its group";
            add(TroubleKind::Late, text.to_owned());
        }
        for text in self.alarms(gateway, now) {
            add(TroubleKind::Gateway, text);
        }
    }
}

/// What is wrong with the keys of a group.
fn keys_trouble(group: &Group, now: u64) -> Option<String> {
    if group.members.is_empty() {
        return None;
    }
    let Some(active) = group.epochs.active() else {
        let none = group.epochs.prepared().is_none();
        return none.then(|| "the group has no key".to_owned());
    };
    let due = group.rekey_at()?.saturating_add(group.delay(false) + LATE);
    // Close to its end, whatever the settings are.
    let left = active.item.ends.saturating_sub(now) / 1000;
    (now >= due).then(|| format!("the keys end in {left} s and there are no new ones in force"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Settings;
    use crate::policy::Policy;
    use crate::server::{GatewayRecord, GroupRecord, PolicyRecord, Random, Stored};

    struct Same;

    impl Random for Same {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn server(revoked: Option<String>) -> Server {
        let policy = PolicyRecord {
            version: 1,
            policy: Policy::new(Vec::new()),
            mode: Settings::default().mode,
            non_ip: Settings::default().non_ip,
            fail: Settings::default().fail,
            retiring: false,
        };
        let group = GroupRecord {
            name: "plant".to_owned(),
            settings: Settings::default(),
            policy,
            previous: None,
            last_epoch: 0,
            epochs: Vec::new(),
        };
        let gateway = GatewayRecord {
            key: PublicKey([7; 32]),
            name: "pump".to_owned(),
            group: "plant".to_owned(),
            revoked,
            approved: 1,
            aes: false,
            machines: Vec::new(),
            pinned: Vec::new(),
            tags: Vec::new(),
        };
        let stored = Stored { gateways: vec![gateway], groups: vec![group], tokens: Vec::new() };
        Server::new(stored, Box::new(Same), 1_000_000)
    }

    #[test]
    fn a_member_that_was_not_heard_is_silent_and_one_that_was_revoked_is_not() {
        let server = server(None);
        let [silent] = &server.troubles(1_000_000)[..] else { panic!() };
        assert_eq!(silent.kind, TroubleKind::Silent);
        assert_eq!(silent.gateway, Some(("pump".to_owned(), PublicKey([7; 32]))));
        assert!(super::tests::server(Some("lost".to_owned())).troubles(1_000_000).is_empty());
    }

    #[test]
    fn keys_that_are_not_renewed_are_told_before_they_end() {
        let mut server = server(None);
        server.handle_timeout(1_000_000);
        // The epoch of the start comes into force without those who are not there.
        server.handle_timeout(1_100_000);
        let keys = |server: &Server, now| {
            server.troubles(now).into_iter().find(|trouble| trouble.kind == TroubleKind::Keys)
        };
        assert_eq!(keys(&server, 1_100_000), None);
        // Nobody moves the server on: as on a full disk.
        let ends = server.groups["plant"].epochs.active().map(|entry| entry.item.ends).unwrap();
        assert_eq!(keys(&server, ends - 300_000), None);
        let text = keys(&server, ends - 60_000).map(|trouble| trouble.text);
        assert_eq!(
            text.as_deref(),
            Some("the keys end in 60 s and there are no new ones in force")
        );
    }
}
