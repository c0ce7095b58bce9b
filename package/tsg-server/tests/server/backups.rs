//! An old copy of the database comes back: the group goes on in a new epoch, and no sender number
//! comes twice under one TEK.

use super::daemon::{Daemon, Place};
use super::gateway::{TestGateway, members, turn_all};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;
use tsg_control::gateway::Standing;
use tsg_control::keys::PublicKey;

/// Who could use which sender number under which TEK.
#[derive(Default)]
pub(super) struct Uses {
    owners: BTreeMap<([u8; 32], u32), PublicKey>,
    epochs: BTreeSet<u64>,
}

impl Uses {
    pub(super) fn note(&mut self, gateways: &[TestGateway]) {
        for gateway in gateways {
            for key in gateway.machine.keys(gateway.now()) {
                self.epochs.insert(key.id);
                for sender in key.senders {
                    let owner = self.owners.entry((*key.tek.expose(), sender));
                    assert_eq!(*owner.or_insert(gateway.key), gateway.key, "sender {sender}");
                }
            }
        }
    }

    /// Until all seal in one epoch that was not known before.
    pub(super) fn until_new_epoch(&mut self, gateways: &mut [TestGateway]) -> u64 {
        let known = self.epochs.last().copied().unwrap_or(0);
        let deadline = Instant::now() + 2 * super::daemon::PATIENCE;
        loop {
            turn_all(gateways);
            self.note(gateways);
            let sealing: BTreeSet<_> = gateways.iter().map(TestGateway::sealing).collect();
            if let Some(&epoch) = sealing.first().filter(|e| sealing.len() == 1 && **e > known) {
                return epoch;
            }
            assert!(Instant::now() < deadline, "they seal in {sealing:?}, known is {known}");
        }
    }
}

/// Much happens after the copy was made; then the copy comes back.
fn goes_on_from(copy: &Path, daemon: Daemon, mut gateways: Vec<TestGateway>, mut uses: Uses) {
    uses.note(&gateways);
    for _ in 0..3 {
        daemon.ask(&["rekey", "plant"]);
        uses.until_new_epoch(&mut gateways);
    }
    daemon.ask(&["policy", "set", "plant", "--rule", "encrypt proto=tcp dest_port=502"]);
    let mut late = TestGateway::connect(&daemon, "late", None);
    daemon.ask(&["gateway", "approve", &late.key.to_string(), "--group", "plant"]);
    late.reconnected();
    late.until_sealing(1);
    uses.note(std::slice::from_ref(&late));

    let place = daemon.kill();
    restore(copy, &place);
    // Numbers of epochs may come again, for as long as it takes to notice; TEKs do not.
    gateways.iter_mut().chain([&mut late]).for_each(|gateway| gateway.epochs_may_repeat = true);
    let daemon = Daemon::start_in(place);
    let epoch = uses.until_new_epoch(&mut gateways);
    let shown = daemon.ask(&["group", "show", "plant"]);
    assert_eq!(shown["epochs"].as_array().unwrap().last().unwrap()["id"], epoch);
    assert_eq!(shown["policy"]["rules"].as_array().unwrap().len(), 0);
    // Whoever came after the copy was made has to be let in again.
    late.until("pending", |g| *g.machine.standing() == Standing::Pending);
    daemon.ask(&["gateway", "approve", &late.fingerprint(), "--group", "plant"]);
    late.reconnected();
    gateways.push(late);
    daemon.ask(&["rekey", "plant"]);
    let newest = uses.until_new_epoch(&mut gateways);
    println!("restored: epoch {epoch}, then {newest}, {} sender numbers", uses.owners.len());
}

fn restore(copy: &Path, place: &Place) {
    for file in ["tsg.db-wal", "tsg.db-shm"] {
        let _ = fs::remove_file(place.data().join(file));
    }
    fs::copy(copy, place.data().join("tsg.db")).unwrap();
}

#[test]
fn a_copy_of_a_stopped_server() {
    let daemon = Daemon::start();
    let gateways = members(&daemon, "plant", &["pump", "press"]);
    let mut uses = Uses::default();
    uses.note(&gateways);
    let place = daemon.stop();
    let copy = place.path().join("copy");
    fs::copy(place.data().join("tsg.db"), &copy).unwrap();
    let daemon = Daemon::start_in(place);
    goes_on_from(&copy, daemon, gateways, uses);
}

#[test]
fn a_copy_of_a_running_server() {
    let daemon = Daemon::start();
    let gateways = members(&daemon, "plant", &["pump", "press"]);
    daemon.ask(&["rekey", "plant"]);
    let copy = daemon.place.path().join("copy");
    let running = Connection::open(daemon.place.data().join("tsg.db")).unwrap();
    running.backup(rusqlite::MAIN_DB, &copy, None::<fn(_)>).unwrap();
    drop(running);
    goes_on_from(&copy, daemon, gateways, Uses::default());
}
