//! Boots, one after the other, on the same flash.

use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use tsg_control::gateway::Identity as Member;
use tsg_control::gateway::pseudo_time;
use tsg_control::group::Carriage;
use tsg_control::message::{
    Epoch, EpochKeys, GroupSettings, Pending, Reading, Refused, State, TekField, ToGateway,
    ToServer,
};
use tsg_control::timeline::Stage;
use tsg_esp::crypto::{Suite, Tek};

const SERVER: u64 = 1_700_000_000_000;

/// A box with its flash.
struct Box {
    _flash: TempDir,
    folders: Folders,
    identity: Identity,
}

/// What runs on it from one power cut to the next.
struct Boot {
    cache: Cache,
    gateway: Gateway,
    now: u64,
}

impl Box {
    fn new() -> Self {
        tsg_sodium::init().unwrap();
        let flash = tempfile::tempdir().unwrap();
        let folders = Folders { state: flash.path().join("tsg"), ..Folders::default() };
        Self { _flash: flash, folders, identity: Identity::generate().unwrap() }
    }

    fn boot(&self) -> Boot {
        let now = 30_000;
        let cache = Cache::open(&self.folders, &self.identity, vec!["lo".to_owned()], now);
        let member = Member {
            name: String::new(),
            version: String::new(),
            aes: false,
            senders: 2,
            kept: 4,
            token: None,
        };
        Boot { cache, gateway: Gateway::new(member, 42, now), now }
    }

    fn keys(&self) -> PathBuf {
        self.folders.cache().join("keys")
    }
}

impl Boot {
    /// A second for the gateway and one for the cache, as often as that.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1_000;
            self.gateway.handle_timeout(self.now);
            self.cache.take_up(&mut self.gateway, 2, self.now);
            self.turn();
            self.cache.keep_times(&self.gateway, self.now);
        }
    }

    fn turn(&mut self) {
        while self.gateway.poll_event().is_some() {}
        self.cache.follow(&self.gateway, self.now);
    }

    fn request(&mut self) -> u64 {
        let said = std::iter::from_fn(|| self.gateway.poll_transmit());
        let asked = said.filter_map(|message| match message {
            ToServer::Register(register) => Some(register.request),
            ToServer::Heartbeat(_) | ToServer::Report(_) | ToServer::Done(_) => None,
        });
        asked.last().unwrap()
    }

    fn let_in(mut self, senders: std::ops::Range<u32>) -> Self {
        self.gateway.handle_timeout(self.now);
        let request = self.request();
        let keys = EpochKeys {
            tek: TekField(Tek::new([9; 32]).into()),
            suite: Suite::ChaCha20Poly1305,
            carriage: Carriage::Protocol(253),
            clock: 7,
            origin: SERVER,
            ends: SERVER + 86_400_000,
            senders: senders.collect(),
            highest_sender: 256,
        };
        let epoch = Epoch { id: 1, stage: Stage::Active, revokes: false, keys: Some(keys) };
        let state = State {
            request,
            instance: 9,
            revision: 1,
            time: Reading { clock: 7, now: SERVER + self.now },
            group: "plant".to_owned(),
            name: "press".to_owned(),
            epochs: vec![epoch],
            policies: Vec::new(),
            settings: GroupSettings {
                replay_window: 4,
                island_time: 86_400,
                local_bypass: false,
                timed_bypass: true,
            },
        };
        self.gateway.handle_message(ToGateway::State(state.into()), self.now);
        self.turn();
        self
    }

    fn senders(&self) -> Vec<u32> {
        self.gateway.keys(self.now).iter().flat_map(|key| key.senders.clone()).collect()
    }
}

#[test]
fn a_power_cut_without_a_key_server_costs_two_numbers_and_ten_seconds() {
    let this = Box::new();
    let first = this.boot().let_in(1..7);
    let mut used: BTreeSet<u32> = first.senders().into_iter().collect();
    drop(first);
    for left in [2, 0] {
        let mut boot = this.boot();
        boot.wait(9);
        assert_eq!(boot.senders(), [0; 0], "the key server has its time to answer");
        boot.wait(1);
        let senders = boot.senders();
        assert_eq!(senders.len(), 2);
        assert!(senders.iter().all(|number| used.insert(*number)), "{senders:?}");
        let (kept, _) = boot.cache.read().unwrap().unwrap();
        assert_eq!(kept.senders(), (0, left));
    }
    let mut boot = this.boot();
    boot.wait(20);
    assert_eq!((boot.gateway.keys(boot.now).len(), boot.senders().len()), (1, 0));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(this.folders.cache()), mode(this.keys())), (0o700, 0o600));
}

#[test]
fn an_answer_of_the_key_server_comes_before_old_keys() {
    let this = Box::new();
    drop(this.boot().let_in(1..7));
    let mut pending = this.boot();
    pending.gateway.handle_timeout(pending.now);
    let request = pending.request();
    pending.gateway.handle_message(ToGateway::Pending(Pending { request, retry: 5 }), pending.now);
    pending.wait(30);
    assert_eq!(pending.senders(), [0; 0]);
    let mut revoked = this.boot().let_in(7..13);
    let reason = "box stolen".to_owned();
    let refused = Refused { request: 0, reason, revoked: true, retry: 60 };
    revoked.gateway.handle_message(ToGateway::Refused(refused), revoked.now);
    revoked.turn();
    assert!(!this.keys().exists());
    let mut boot = this.boot();
    boot.wait(30);
    assert!(boot.gateway.keys(boot.now).is_empty());
}

#[test]
fn the_times_on_flash_never_run_out() {
    let this = Box::new();
    let mut boot = this.boot().let_in(1..7);
    let mut writes = 0;
    let mut before = Vec::new();
    for _ in 0..600 {
        boot.wait(1);
        let text = fs::read(this.folders.cache().join("times")).unwrap();
        writes += u32::from(text != before);
        before = text;
        let (mut keys, times) = boot.cache.read().unwrap().unwrap();
        keys.begin_boot(&times, 1);
        let mut later = this.boot();
        later.gateway.restore(keys, 0);
        let [view] = &later.gateway.keys(0)[..] else { panic!("no epoch") };
        // What could have been opened in this very second.
        let opened = (boot.now + 4_000) as u32;
        assert!(view.floor.wrapping_sub(opened) as i32 >= 0, "{} {opened}", view.floor);
    }
    assert!((15..=17).contains(&writes), "{writes} writes in ten minutes");
    boot.cache.close(&boot.gateway, boot.now);
    let (_, times) = boot.cache.read().unwrap().unwrap();
    assert_eq!(times, boot.gateway.times(0, boot.now), "after a stop in good order no wait");
}

#[test]
fn what_was_opened_after_others_told_the_time_is_not_opened_after_the_next_power_cut() {
    let this = Box::new();
    let first = this.boot().let_in(1..7);
    let hour = 3_600_000 + first.now as u32;
    drop(first);
    let mut boot = this.boot();
    boot.wait(11);
    // Others are an hour further on.
    boot.gateway.handle_later(1, hour, boot.now);
    boot.turn();
    drop(boot);
    let mut next = this.boot();
    next.wait(11);
    let [view] = &next.gateway.keys(next.now)[..] else { panic!("no epoch") };
    assert!(view.open && view.floor.wrapping_sub(hour) as i32 > 0, "{} {hour}", view.floor);
}

#[test]
fn a_lease_that_others_shorten_is_kept_anew_in_time() {
    let this = Box::new();
    drop(this.boot().let_in(1..7));
    let mut boot = this.boot();
    boot.wait(11);
    let least = boot.gateway.times(0, boot.now);
    // They are further on, by less than what the lease is good for.
    let [view] = &boot.gateway.keys(boot.now)[..] else { panic!("no epoch") };
    let later = pseudo_time(boot.now + 50_000, view.origin.unwrap());
    boot.gateway.handle_later(1, later, boot.now);
    boot.turn();
    assert_ne!(least, boot.gateway.times(0, boot.now), "the time was raised");
    // Nothing happens but that time goes by.
    for second in 0..120 {
        boot.now += 1_000;
        boot.cache.keep_times(&boot.gateway, boot.now);
        let (_, times) = boot.cache.read().unwrap().unwrap();
        assert!(times.cover(&boot.gateway.times(0, boot.now)), "not after {second} s");
    }
}

#[test]
fn numbers_that_cannot_be_taken_out_of_the_file_are_not_used() {
    let this = Box::new();
    drop(this.boot().let_in(1..7));
    let before = fs::read(this.keys()).unwrap();
    let mut boot = this.boot();
    // A folder cannot be replaced by a file.
    fs::remove_file(this.folders.cache().join("times")).unwrap();
    fs::create_dir(this.folders.cache().join("times")).unwrap();
    boot.wait(11);
    assert_eq!(boot.senders(), [0; 0]);
    assert!(boot.gateway.keys(boot.now).is_empty());
    assert!(boot.cache.trouble().unwrap().contains("times"), "{:?}", boot.cache.trouble());
    assert_eq!(fs::read(this.keys()).unwrap(), before, "they are for when it can be done");
    fs::remove_dir(this.folders.cache().join("times")).unwrap();
    boot.wait(10);
    assert_eq!((boot.senders().len(), boot.cache.trouble()), (2, None));
}

#[test]
fn a_trouble_goes_when_there_is_room_again() {
    let this = Box::new();
    let folder = this.folders.cache();
    fs::create_dir_all(folder.join("keys").join("in the way")).unwrap();
    let mut boot = this.boot().let_in(1..7);
    assert!(boot.cache.trouble().unwrap().contains("keys"), "{:?}", boot.cache.trouble());
    fs::remove_dir_all(folder.join("keys")).unwrap();
    boot.turn();
    assert_eq!(boot.cache.trouble(), None);
    assert!(this.keys().exists());
}

#[test]
fn another_box_does_not_read_it_nor_a_damaged_one() {
    let (this, other) = (Box::new(), Box::new());
    drop(this.boot().let_in(1..7));
    fs::create_dir_all(other.folders.cache()).unwrap();
    for file in ["keys", "times"] {
        fs::copy(this.folders.cache().join(file), other.folders.cache().join(file)).unwrap();
    }
    let mut boot = other.boot();
    boot.wait(20);
    assert!(boot.gateway.keys(boot.now).is_empty());
    fs::write(this.folders.cache().join("times"), b"[[7,1").unwrap();
    let mut boot = this.boot();
    boot.wait(20);
    assert!(boot.gateway.keys(boot.now).is_empty());
}

#[test]
fn switched_off_it_leaves_nothing() {
    let this = Box::new();
    drop(this.boot().let_in(1..7));
    Cache::clear(&this.folders).unwrap();
    assert_eq!(fs::read_dir(this.folders.cache()).unwrap().count(), 0);
    Cache::clear(&this.folders).unwrap();
}
