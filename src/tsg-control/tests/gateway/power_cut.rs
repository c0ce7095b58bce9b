//! What is left of a gateway that lost power, until the key server answers.

use super::*;
use std::collections::BTreeSet;
use tsg_control::gateway::{Saved, Times};

/// The times are good for so long.
const LEASE: u64 = 60_000;

/// So long it runs before the power goes; and the window in which it opens packets.
const RAN: u64 = 600_000;
const WINDOW: u64 = 4_000;

/// What lay on flash when the power went: keys and times, the times of `old` milliseconds before.
fn flash(old: u64) -> (Saved, Times) {
    let mut this = keeper();
    this.wait(RAN - old);
    let times = this.gateway.times(LEASE, this.now);
    (this.gateway.save_for_next_boot().unwrap(), times)
}

/// A member with six sender numbers, four of them put aside.
fn keeper() -> Box {
    let mut this = Box::keeping(4, 0);
    this.wait(0);
    let request = this.last_request();
    let mut first = epoch(1, Stage::Active);
    first.keys.as_mut().unwrap().senders = (1..=6).collect();
    this.hear(ToGateway::State(this.state(request, 1, vec![first]).into()));
    this
}

/// It boots, and is not answered; local time begins anew.
fn boot(mut saved: Saved, times: &Times, senders: usize) -> Box {
    let mut this = Box::keeping(4, 20_000);
    saved.begin_boot(times, senders);
    this.gateway.restore(saved, this.now);
    this.wait(0);
    this
}

/// Pseudo-time at the server's time `at`, which counts from [`SERVER`].
fn pseudo(at: u64) -> u32 {
    (at + 3_600_000) as u32
}

#[test]
fn no_sender_number_serves_two_boots() {
    let before = keeper();
    let mut used: BTreeSet<u32> = before.keys()[0].senders.iter().copied().collect();
    assert_eq!(used.len(), 2);
    let (mut saved, times) = flash(0);
    for _ in 0..4 {
        let this = boot(saved, &times, 1);
        let view = &this.keys()[0];
        assert!(view.sealing && view.senders.len() == 1, "{view:?}");
        assert!(used.insert(view.senders[0]), "{used:?}");
        // A restart of the daemon within the boot changes nothing.
        let mut again = Box::keeping(4, this.now);
        again.gateway.restore(this.gateway.save().unwrap(), this.now);
        assert_eq!(again.keys()[0].senders, view.senders);
        assert_eq!(again.gateway.save_for_next_boot(), this.gateway.save_for_next_boot());
        saved = this.gateway.save_for_next_boot().unwrap();
    }
    assert_eq!(saved.senders(), (0, 0));
    let this = boot(saved, &times, 1);
    assert!(this.sealing().is_none() && this.ids() == [1], "it opens, and seals nothing");
}

#[test]
fn what_may_have_been_opened_before_the_power_cut_is_not_opened_again() {
    for old in [0, 1, 30_000, LEASE] {
        let (saved, times) = flash(old);
        let view = &boot(saved, &times, 1).keys()[0];
        assert!(view.open);
        // Opened last, from a member whose clock was as far ahead as that is borne.
        let opened = pseudo(RAN + WINDOW);
        assert!(view.floor.wrapping_sub(opened) as i32 >= 0, "{old}: {} {opened}", view.floor);
        let late = pseudo(RAN + WINDOW + LEASE + 1_000);
        assert!((view.floor.wrapping_sub(late) as i32) < 0, "{old}: {} {late}", view.floor);
    }
}

#[test]
fn time_only_goes_on_from_what_it_was() {
    let (saved, times) = flash(0);
    let mut this = boot(saved, &times, 1);
    let time = |this: &Box| pseudo_time(this.now, this.keys()[0].origin.unwrap());
    // It has been up for 20 s.
    let start = pseudo(RAN + 20_000);
    assert!(start.wrapping_sub(time(&this)) < 200, "{} {start}", time(&this));
    let hour = pseudo(RAN + 3_600_000);
    this.gateway.handle_later(1, hour, this.now);
    assert!(hour.wrapping_sub(time(&this)) <= 1);
    assert!(this.keys()[0].open);
    this.gateway.handle_later(1, start, this.now);
    this.gateway.handle_later(2, hour + 1_000_000, this.now);
    assert!(hour.wrapping_sub(time(&this)) <= 1);
    // It may be slow, never fast.
    this.wait(1_000_000);
    assert!((199..=201).contains(&(hour + 1_000_000 - time(&this))));
    // Over a restart of the daemon, too; what was opened before that is not opened again.
    let mut again = Box::keeping(4, this.now);
    again.gateway.restore(this.gateway.save().unwrap(), this.now);
    assert_eq!(time(&again), time(&this));
    let floor = again.keys()[0].floor;
    assert_eq!(floor.wrapping_sub(time(&this)), 1_000);
}

#[test]
fn lifetime_and_island_time_end_by_what_time_it_is_at_least() {
    let mut before = Box::keeping(4, 0);
    before.wait(0);
    let request = before.last_request();
    let mut first = ending(1, 1_000_000);
    first.keys.as_mut().unwrap().senders = (1..=6).collect();
    before.hear(ToGateway::State(before.state(request, 1, vec![first]).into()));
    before.wait(900_000);
    let (saved, times) =
        (before.gateway.save_for_next_boot(), before.gateway.times(LEASE, before.now));
    let saved = saved.unwrap();
    // 100 s of its lifetime are left, and an hour of island time; 20 s of that for booting.
    let mut this = boot(saved.clone(), &times, 1);
    this.wait(3_679_000);
    assert_eq!(this.ids(), [1]);
    this.wait(3_000);
    assert!(this.ids().is_empty());
    assert!(this.gateway.save_for_next_boot().is_none());
    // Others know that it is later.
    let mut this = boot(saved, &times, 1);
    this.gateway.handle_later(1, pseudo(4_590_000), this.now);
    this.wait(9_000);
    assert_eq!(this.ids(), [1]);
    this.wait(2_000);
    assert!(this.ids().is_empty());
}

#[test]
fn the_key_server_ends_it() {
    let (saved, times) = flash(0);
    let mut this = boot(saved, &times, 1);
    assert_eq!(*this.gateway.standing(), Standing::Searching);
    let Some(ToServer::Register(register)) = this.said().pop() else { panic!("no registration") };
    assert_eq!(register.senders, 6);
    assert_eq!(register.holds[0].senders, 0, "it wants others in place of the few that are left");
    this.now += 5;
    let mut first = epoch(1, Stage::Active);
    first.keys.as_mut().unwrap().senders = (11..=16).collect();
    let mut state = this.state(register.request, 1, vec![first]);
    state.time.now = SERVER + DAY;
    this.hear(ToGateway::State(state.into()));
    let view = &this.keys()[0];
    assert_eq!(*this.gateway.standing(), Standing::Member);
    assert!(!view.open && view.error < 10);
    assert_eq!(pseudo_time(this.now, view.origin.unwrap()) / 10, pseudo(DAY) / 10);
    assert_eq!(view.senders, [11, 12]);
    let Some(ToServer::Heartbeat(heartbeat)) = this.said().pop() else { panic!("no heartbeat") };
    assert_eq!(heartbeat.holds[0].senders, 6, "those put aside count: it wants no more");
    assert_eq!(this.gateway.save_for_next_boot().unwrap().senders(), (0, 4));
}

#[test]
fn no_more_are_put_aside_than_it_wants() {
    let mut this = keeper();
    for (revision, number) in (2..).zip([7, 9, 11, 13]) {
        // Both threads are about to need another number.
        let own = this.keys()[0].senders.clone();
        for &worn in &own {
            this.gateway.handle_worn(1, worn, this.now);
        }
        let Some(ToServer::Heartbeat(heartbeat)) = this.said().pop() else {
            panic!("no heartbeat")
        };
        assert_eq!(heartbeat.holds[0].senders, 4, "those put aside");
        let mut first = epoch(1, Stage::Active);
        first.keys.as_mut().unwrap().senders = vec![number, number + 1];
        this.hear(ToGateway::State(this.state(0, revision, vec![first]).into()));
        assert_eq!(this.keys()[0].senders[..2], [number, number + 1]);
        own.iter().for_each(|&spent| this.gateway.handle_exhausted(1, spent, this.now));
        assert_eq!(this.keys()[0].senders, [number, number + 1]);
    }
    assert_eq!(this.gateway.save_for_next_boot().unwrap().senders(), (0, 4));
}

#[test]
fn times_that_were_kept_cover_what_is_opened_until_it_turns_out_to_be_later() {
    let (saved, times) = flash(0);
    let mut this = boot(saved, &times, 1);
    let kept = this.gateway.times(LEASE, this.now);
    let covers = |this: &Box| kept.cover(&this.gateway.times(0, this.now));
    assert!(covers(&this) && !Times::default().cover(&kept));
    this.wait(LEASE);
    assert!(covers(&this));
    let mut told = boot(flash(0).0, &times, 1);
    told.gateway.handle_later(1, pseudo(RAN + 3_600_000), told.now);
    assert!(!covers(&told), "by another gateway");
    let request = this.last_request();
    let mut state = this.state(request, 1, vec![epoch(1, Stage::Active)]);
    state.time.now += RAN + 3_600_000;
    this.hear(ToGateway::State(state.into()));
    assert!(!covers(&this), "by the key server");
}

#[test]
fn who_wants_numbers_put_aside_from_now_on_asks_for_them() {
    let before = Box::member(0);
    let mut this = Box::keeping(4, 1_000);
    this.gateway.restore(before.gateway.save().unwrap(), this.now);
    this.wait(0);
    let Some(ToServer::Register(register)) = this.said().pop() else { panic!("no registration") };
    assert_eq!(register.holds[0].senders, 0);
    assert_eq!(this.keys()[0].senders, [1, 2], "they serve until then");
    let mut first = epoch(1, Stage::Active);
    first.keys.as_mut().unwrap().senders = (11..=16).collect();
    this.hear(ToGateway::State(this.state(register.request, 1, vec![first]).into()));
    assert_eq!(this.keys()[0].senders, [11, 12]);
    assert_eq!(this.gateway.save_for_next_boot().unwrap().senders(), (0, 4));
}

#[test]
fn an_epoch_that_is_being_closed_does_not_survive() {
    let mut this = keeper();
    // Later than it will be on the clock of the next boot.
    this.wait(RAN);
    let revoking = Epoch { revokes: true, ..epoch(2, Stage::Active) };
    let mut state = this.state(0, 2, vec![epoch(1, Stage::Retiring), revoking]);
    state.time.now += 1;
    this.hear(ToGateway::State(state.into()));
    let (saved, times) = (this.gateway.save_for_next_boot().unwrap(), Times::default());
    assert_eq!(boot(saved, &times, 1).ids(), [2]);
}

#[test]
fn who_is_thrown_out_keeps_nothing() {
    let mut this = keeper();
    let refused = Refused { request: 0, reason: String::new(), revoked: true, retry: 60 };
    this.hear(ToGateway::Refused(refused));
    assert_eq!(this.gateway.save_for_next_boot(), None);
}
