//! The gateway's half, one question at a time: whom it believes, what it holds for how long, and
//! how much it says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod power_cut;
mod reports;

use std::collections::BTreeSet;
use tsg_control::gateway::{Event, Gateway, Identity, KeyView, SILENCE, Standing, pseudo_time};
use tsg_control::group::{Carriage, FOREVER};
use tsg_control::message::{
    Epoch, EpochKeys, GroupSettings, MAX_FRAME, Map, Pending, Pulse, Reading, Refused, State,
    TekField, ToGateway, ToServer, Unknown, decode, encode,
};
use tsg_control::timeline::Stage;
use tsg_control::token::TokenSecret;
use tsg_esp::DropReason;
use tsg_esp::crypto::{Suite, Tek};
use tsg_esp::freshness::Freshness;

const SERVER: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;

struct Box {
    gateway: Gateway,
    now: u64,
    island: u32,
}

impl Box {
    fn new(now: u64) -> Self {
        Self::keeping(0, now)
    }

    /// One that puts so many sender numbers aside for after power cuts.
    fn keeping(kept: u8, now: u64) -> Self {
        let identity = Identity {
            name: "press".to_owned(),
            version: "0.1.0".to_owned(),
            aes: true,
            senders: 2,
            kept,
            token: None,
        };
        Self { gateway: Gateway::new(identity, 42, now), now, island: 3_600 }
    }

    /// One that is in, with epoch 1 in force.
    fn member(now: u64) -> Self {
        Self::new(now).let_in()
    }

    fn let_in(self) -> Self {
        let mut this = self;
        this.wait(0);
        let request = this.last_request();
        this.hear(ToGateway::State(this.state(request, 1, vec![epoch(1, Stage::Active)]).into()));
        this
    }

    fn state(&self, request: u64, revision: u64, epochs: Vec<Epoch>) -> State {
        State {
            request,
            instance: 9,
            revision,
            time: Reading { clock: 7, now: SERVER + self.now },
            group: "plant".to_owned(),
            name: "press".to_owned(),
            epochs,
            policies: Vec::new(),
            settings: GroupSettings {
                replay_window: 4,
                island_time: self.island,
                local_bypass: false,
                timed_bypass: true,
            },
        }
    }

    fn wait(&mut self, milliseconds: u64) -> u64 {
        let end = self.now + milliseconds;
        let mut steps = 0;
        while let Some(at) = self.gateway.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.gateway.handle_timeout(self.now);
            steps += 1;
            assert!(steps < 100 + milliseconds / 1_000, "a busy loop");
        }
        self.now = end;
        steps
    }

    fn hear(&mut self, message: ToGateway) {
        self.gateway.handle_message(message, self.now);
    }

    fn said(&mut self) -> Vec<ToServer> {
        std::iter::from_fn(|| self.gateway.poll_transmit()).collect()
    }

    fn last_request(&mut self) -> u64 {
        let requests = self.said().into_iter().filter_map(|message| match message {
            ToServer::Register(register) => Some(register.request),
            ToServer::Heartbeat(heartbeat) => Some(heartbeat.request),
            ToServer::Report(_) | ToServer::Done(_) => None,
        });
        requests.reduce(|_, last| last).expect("a request")
    }

    fn keys(&self) -> Vec<KeyView> {
        self.gateway.keys(self.now)
    }

    fn ids(&self) -> Vec<u64> {
        self.keys().iter().map(|view| view.id).collect()
    }

    fn sealing(&self) -> Option<u64> {
        self.keys().iter().find(|view| view.sealing).map(|view| view.id)
    }
}

fn epoch(id: u64, stage: Stage) -> Epoch {
    let keys = EpochKeys {
        tek: TekField(Tek::new([id as u8; 32]).into()),
        suite: Suite::ChaCha20Poly1305,
        carriage: Carriage::Protocol(253),
        clock: 7,
        origin: SERVER - 3_600_000,
        ends: SERVER + 90 * DAY,
        senders: vec![1, 2],
        highest_sender: 256,
    };
    Epoch { id, stage, revokes: false, keys: Some(keys) }
}

fn ending(id: u64, ends: u64) -> Epoch {
    let mut epoch = epoch(id, Stage::Active);
    epoch.keys.as_mut().unwrap().ends = SERVER + ends;
    epoch
}

#[test]
fn an_answer_counts_once_and_only_for_what_was_asked() {
    let mut this = Box::new(1_000);
    this.wait(0);
    let request = this.last_request();
    this.hear(ToGateway::Pending(Pending { request: request + 1, retry: 5 }));
    assert_eq!(*this.gateway.standing(), Standing::Searching);
    this.hear(ToGateway::Pending(Pending { request, retry: 5 }));
    assert_eq!(*this.gateway.standing(), Standing::Pending);
    // The same number again makes no member of it.
    let state = this.state(request, 1, vec![epoch(1, Stage::Active)]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!(*this.gateway.standing(), Standing::Pending);
    assert!(this.keys().is_empty());
    let refused = Refused { request, reason: "no".to_owned(), revoked: false, retry: 5 };
    this.hear(ToGateway::Refused(refused));
    assert_eq!(*this.gateway.standing(), Standing::Pending);
    this.hear(ToGateway::Unknown(Unknown { request }));
    assert!(this.said().is_empty());
}

#[test]
fn a_state_of_an_earlier_server_process_is_late() {
    let mut this = Box::member(1_000);
    let mut state = this.state(0, 99, vec![epoch(2, Stage::Active)]);
    state.instance = 8;
    this.said();
    this.hear(ToGateway::State(state.into()));
    assert_eq!(this.ids(), [1]);
    // Or of one that it must register with, and soon.
    this.wait(500);
    assert!(this.said().iter().any(|said| matches!(said, ToServer::Register(_))));
    // Of its own server process, a newer one counts and an older one does not.
    let newer = this.state(0, 3, vec![epoch(1, Stage::Active), epoch(2, Stage::Prepared)]);
    this.hear(ToGateway::State(newer.into()));
    let older = this.state(0, 2, vec![epoch(1, Stage::Active)]);
    this.hear(ToGateway::State(older.into()));
    assert_eq!(this.ids(), [1, 2]);
    assert_eq!(this.sealing(), Some(1));
}

#[test]
fn an_authentic_packet_brings_a_prepared_epoch_into_force() {
    let mut this = Box::member(1_000);
    let state = this.state(0, 2, vec![epoch(1, Stage::Active), epoch(2, Stage::Prepared)]);
    this.hear(ToGateway::State(state.clone().into()));
    this.gateway.handle_authentic(2, this.now);
    assert_eq!(this.sealing(), Some(2));
    // The state that prepared it comes late: what is in force stays so.
    this.hear(ToGateway::State(state.into()));
    assert_eq!(this.sealing(), Some(2));
}

#[test]
fn of_two_epochs_that_look_the_same_on_the_wire_the_one_in_force_stays() {
    let mut this = Box::member(1_000);
    let newer = this.state(0, 2, vec![epoch(256, Stage::Active)]);
    this.hear(ToGateway::State(newer.into()));
    assert_eq!(this.sealing(), Some(256));
    // The server is back from a backup of 255 epochs ago.
    let mut again = epoch(1, Stage::Prepared);
    again.keys.as_mut().unwrap().tek = TekField(Tek::new([99; 32]).into());
    let state = this.state(0, 3, vec![again.clone()]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!((this.ids(), this.sealing()), (vec![256], Some(256)));
    // It counts on from what this one holds.
    let state = this.state(0, 4, vec![again, epoch(273, Stage::Active)]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!((this.ids(), this.sealing()), (vec![1, 273], Some(273)));
}

#[test]
fn a_revocation_closes_what_was_before_after_a_second() {
    let mut this = Box::member(1_000);
    let mut next = epoch(2, Stage::Prepared);
    next.revokes = true;
    let state = this.state(0, 2, vec![epoch(1, Stage::Active), next.clone()]);
    this.hear(ToGateway::State(state.into()));
    this.wait(5_000);
    assert_eq!(this.ids(), [1, 2]);
    next.stage = Stage::Active;
    let state = this.state(0, 3, vec![epoch(1, Stage::Retiring), next]);
    this.hear(ToGateway::State(state.into()));
    this.wait(999);
    assert_eq!(this.ids(), [1, 2]);
    assert_eq!(this.keys()[0].ends, Some(this.now + 1));
    this.wait(1);
    assert_eq!(this.ids(), [2]);
}

#[test]
fn of_a_server_far_behind_it_takes_nothing_that_is_over_and_keeps_what_it_has() {
    let mut this = Box::member(1_000);
    let mut newer = epoch(40, Stage::Active);
    newer.revokes = true;
    let state = this.state(0, 2, vec![epoch(1, Stage::Retiring), newer]);
    this.hear(ToGateway::State(state.into()));
    this.wait(1_000);
    assert_eq!(this.ids(), [40]);
    // From an old backup, and what it lists is closed: until it has counted on there is only 40.
    let state = this.state(0, 3, vec![epoch(1, Stage::Active)]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!((this.ids(), this.sealing()), (vec![40], Some(40)));
    let next = this.state(0, 4, vec![epoch(1, Stage::Retiring), epoch(41, Stage::Active)]);
    this.hear(ToGateway::State(next.into()));
    assert_eq!(this.ids(), [41]);
}

#[test]
fn who_was_left_behind_closes_what_it_holds_too() {
    let mut this = Box::member(1_000);
    let left = Epoch { id: 2, stage: Stage::Active, revokes: true, keys: None };
    let old = Epoch { keys: None, ..epoch(1, Stage::Retiring) };
    let state = this.state(0, 2, vec![old, left, epoch(3, Stage::Prepared)]);
    this.hear(ToGateway::State(state.into()));
    this.wait(1_000);
    assert_eq!(this.ids(), [3]);
}

#[test]
fn thrown_out_it_forgets_all_and_what_is_late_does_not_bring_it_back() {
    let mut this = Box::member(1_000);
    let refused = Refused { request: 0, reason: "lost".to_owned(), revoked: true, retry: 60 };
    this.hear(ToGateway::Refused(refused));
    assert_eq!(*this.gateway.standing(), Standing::Revoked("lost".to_owned()));
    assert!(this.keys().is_empty() && this.gateway.save().is_none());
    let late = this.state(0, 9, vec![epoch(1, Stage::Active)]);
    this.hear(ToGateway::State(late.into()));
    assert!(this.keys().is_empty());
    this.said();
    this.wait(70_000);
    let request = this.last_request();
    let again = this.state(request, 10, vec![epoch(2, Stage::Active)]);
    this.hear(ToGateway::State(again.into()));
    assert_eq!(this.sealing(), Some(2));
}

#[test]
fn another_group_takes_the_keys_of_the_old_one_away() {
    let mut this = Box::member(1_000);
    let others = vec![[192, 0, 2, 1].into()];
    let map = |revision| Map { instance: 9, revision, mine: Vec::new(), others: others.clone() };
    this.hear(ToGateway::Map(map(7)));
    this.gateway.handle_connected(this.now);
    this.wait(0);
    let request = this.last_request();
    let mut state = this.state(request, 1, vec![epoch(1, Stage::Prepared)]);
    state.group = "lab".to_owned();
    state.epochs[0].keys.as_mut().unwrap().tek = TekField(Tek::new([99; 32]).into());
    this.hear(ToGateway::State(state.into()));
    assert_eq!(this.keys()[0].tek.expose(), &[99; 32]);
    assert_eq!(this.sealing(), None);
    let others = |this: &Box| this.gateway.map().others.len();
    assert_eq!(others(&this), 0, "machines of the old group");
    this.hear(ToGateway::Map(map(1)));
    assert_eq!(others(&this), 1, "though the old group's map was at a higher revision");
}

#[test]
fn an_epoch_without_a_time_is_not_confirmed_and_not_sealed_with() {
    let mut this = Box::member(1_000);
    this.said();
    let mut next = epoch(2, Stage::Active);
    next.keys.as_mut().unwrap().clock = 8;
    let state = this.state(0, 2, vec![epoch(1, Stage::Retiring), next]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!(this.sealing(), Some(1));
    let said = this.said();
    let [ToServer::Heartbeat(beat)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(beat.holds.len(), 1, "it cannot use the other");
    let time = Reading { clock: 8, now: 5 };
    this.hear(ToGateway::Pulse(Pulse { request: beat.request, time }));
    assert_eq!(this.sealing(), Some(2));
    let said = this.said();
    let [ToServer::Heartbeat(beat)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(beat.holds.len(), 2, "and says so at once");
}

#[test]
fn island_time_ends_and_forever_does_not() {
    for (island, last) in [(0, 0), (3_600, 3_600_000)] {
        let mut this = Box { island, ..Box::new(1_000) };
        this.wait(0);
        let request = this.last_request();
        let ends = this.now + 600_000;
        this.hear(ToGateway::State(this.state(request, 1, vec![ending(1, ends)]).into()));
        let end = this.keys()[0].ends.unwrap();
        assert!(end.abs_diff(600_000 + 1_000 + last) <= 2, "{end}");
        this.wait(end - this.now - 1);
        assert!(matches!(this.gateway.standing(), Standing::Island(_)));
        assert_eq!(this.sealing(), Some(1));
        this.wait(2);
        assert!(this.keys().is_empty());
    }
    let mut this = Box { island: FOREVER, ..Box::new(1_000) };
    this.wait(0);
    let request = this.last_request();
    this.hear(ToGateway::State(this.state(request, 1, vec![ending(1, 600_000)]).into()));
    this.wait(400 * DAY);
    assert_eq!(this.sealing(), Some(1));
}

#[test]
fn an_epoch_that_was_over_does_not_come_back_with_old_numbers() {
    let mut this = Box { island: 0, ..Box::new(1_000) };
    this.wait(0);
    let request = this.last_request();
    let old = ending(1, 600_000);
    this.hear(ToGateway::State(this.state(request, 1, vec![old.clone()]).into()));
    this.wait(600_000);
    assert!(this.keys().is_empty());
    // The data path has forgotten how far it had counted: sealing again would repeat numbers.
    this.island = 3_600;
    this.said();
    this.gateway.handle_connected(this.now);
    this.wait(0);
    let request = this.last_request();
    let state = this.state(request, 2, vec![old, epoch(2, Stage::Prepared)]);
    this.hear(ToGateway::State(state.into()));
    assert_eq!(this.ids(), [2]);
}

#[test]
fn silence_makes_an_island_and_an_answer_ends_it() {
    let mut this = Box::member(1_000);
    this.wait(SILENCE - 1);
    assert_eq!(*this.gateway.standing(), Standing::Member);
    this.wait(1);
    assert_eq!(*this.gateway.standing(), Standing::Island(1_000));
    // It goes on asking, ever more rarely.
    this.said();
    this.wait(600_000);
    let tries = this.said().iter().filter(|m| matches!(m, ToServer::Register(_))).count();
    assert!((15..40).contains(&tries), "{tries} tries in ten minutes");
    this.wait(60_000);
    let request = this.last_request();
    this.hear(ToGateway::State(this.state(request, 2, vec![epoch(1, Stage::Active)]).into()));
    assert_eq!(*this.gateway.standing(), Standing::Member);
}

#[test]
fn a_long_uptime_does_not_turn_the_floor_round() {
    for uptime in [0, DAY, 24 * DAY, 49 * DAY, 50 * DAY, 60 * DAY] {
        let mut this = Box::member(1_000);
        this.said();
        for _ in 0..uptime / (DAY / 4) {
            this.wait(DAY / 4 - 1);
            this.gateway.handle_connected(this.now);
            this.said();
            this.wait(1);
            let request = this.last_request();
            let state = this.state(request, 1, vec![epoch(1, Stage::Active)]);
            this.hear(ToGateway::State(state.into()));
        }
        let view = this.keys().remove(0);
        let now = pseudo_time(this.now, view.origin.unwrap());
        let fresh = Freshness { window_ms: 4_000, clock_error_ms: view.error };
        let check = |time: u32| fresh.check(time, now, Some(view.floor));
        if uptime > 0 {
            assert_eq!(check(now), Ok(()), "after {uptime} ms");
            assert_eq!(check(now.wrapping_sub(3_900)), Ok(()), "after {uptime} ms");
        }
        assert_eq!(check(now.wrapping_sub(5_000)), Err(DropReason::Stale), "after {uptime} ms");
    }
}

#[test]
fn what_was_recorded_before_the_start_is_not_opened() {
    let mut this = Box::member(5 * DAY);
    let view = this.keys().remove(0);
    let start = pseudo_time(this.now, view.origin.unwrap());
    this.wait(2_000);
    let view = this.keys().remove(0);
    let now = pseudo_time(this.now, view.origin.unwrap());
    let fresh = Freshness { window_ms: 4_000, clock_error_ms: view.error };
    assert_eq!(fresh.check(start.wrapping_sub(1), now, Some(view.floor)), Err(DropReason::Stale));
    assert_eq!(fresh.check(start + 2 * view.error, now, Some(view.floor)), Ok(()));
}

#[test]
fn what_a_sender_with_a_fast_clock_sealed_before_the_start_is_not_opened() {
    // It knows the time to within half of what the answer took, and takes others to be as far off.
    for (round_trip, margin) in [(300, 151), (990, 496)] {
        let mut this = Box::new(1_000);
        this.wait(0);
        let request = this.last_request();
        this.now += round_trip;
        let state = this.state(request, 1, vec![epoch(1, Stage::Active)]);
        this.hear(ToGateway::State(state.into()));
        let view = &this.keys()[0];
        assert_eq!(view.error, margin);
        let start = pseudo_time(1_000, view.origin.unwrap());
        assert_eq!(view.floor, start + 2 * margin);
        // As bad as a day without the server makes this clock, others need not be.
        this.now += DAY;
        let view = &this.keys()[0];
        let start = pseudo_time(1_000, view.origin.unwrap());
        assert_eq!(view.floor, start + view.error + 500);
    }
}

#[test]
fn a_number_that_is_almost_used_up_serves_until_there_is_another() {
    let mut this = Box::member(1_000);
    let left = |this: &mut Box| match this.said().pop() {
        Some(ToServer::Heartbeat(heartbeat)) => heartbeat.holds[0].senders,
        other => panic!("no heartbeat: {other:?}"),
    };
    this.said();
    assert!(this.gateway.handle_worn(1, 1, this.now));
    assert_eq!((left(&mut this), &this.keys()[0].senders[..]), (1, &[2, 1][..]));
    assert!(this.gateway.handle_worn(1, 2, this.now));
    assert_eq!((left(&mut this), &this.keys()[0].senders[..]), (0, &[1, 2][..]));
    assert_eq!(this.sealing(), Some(1));
    // Once is enough.
    assert!(!this.gateway.handle_worn(1, 2, this.now));
    assert!(!this.gateway.handle_worn(1, 9, this.now), "it has no such number");
    assert!(this.said().is_empty());
    let mut next = Box::new(this.now + 3_000);
    next.gateway.restore(this.gateway.save().unwrap(), next.now);
    next.wait(0);
    let said = next.said();
    assert!(matches!(&said[..], [ToServer::Register(asks)] if asks.holds[0].senders == 0));
    // More have come: those that are almost used up are the last choice, at their end none.
    let mut more = epoch(1, Stage::Active);
    more.keys.as_mut().unwrap().senders = vec![1, 2, 7];
    this.hear(ToGateway::State(this.state(0, 2, vec![more]).into()));
    assert_eq!((left(&mut this), &this.keys()[0].senders[..]), (1, &[7, 1, 2][..]));
    for (sender, others) in [(1, &[7, 2][..]), (7, &[2]), (2, &[])] {
        this.gateway.handle_exhausted(1, sender, this.now);
        assert_eq!(this.keys()[0].senders, others);
    }
    assert_eq!(this.sealing(), None);
}

#[test]
fn a_daemon_that_restarts_goes_on_with_what_was_saved() {
    let mut this = Box::member(1_000);
    let map = Map { instance: 9, revision: 1, mine: vec![], others: vec![[192, 0, 2, 9].into()] };
    this.hear(ToGateway::Map(map.clone()));
    let machines = BTreeSet::from([[192, 0, 2, 7].into(), [192, 0, 2, 8].into()]);
    this.gateway.handle_machines(machines.clone(), this.now);
    this.gateway.handle_exhausted(1, 1, this.now);
    let saved = this.gateway.save().unwrap();
    let bytes = encode(&saved);
    let mut next = Box::new(this.now + 3_000);
    next.gateway.restore(decode(&bytes, MAX_FRAME).unwrap(), next.now);
    assert_eq!(next.sealing(), Some(1));
    assert_eq!(next.keys()[0].senders, [2], "a number that was used up stays so");
    assert!(next.keys()[0].origin.is_some());
    assert_eq!((next.gateway.machines(), next.gateway.map()), (&machines, &map));
    // After its end there is nothing left to go on with.
    let mut late = Box::new(this.now + 100 * DAY);
    late.gateway.restore(saved, late.now);
    assert!(late.keys().is_empty());
}

#[test]
fn fresh_numbers_replace_the_old_ones_only_when_they_are_there() {
    use tsg_control::message::{Command, CommandKind};
    let mut this = Box::member(1_000);
    this.said();
    this.hear(ToGateway::Command(Command { command: 3, kind: CommandKind::Rekey }));
    assert_eq!(this.keys()[0].senders, [1, 2]);
    let said = this.said();
    let register = said.iter().find_map(|message| match message {
        ToServer::Register(register) => Some(register.clone()),
        ToServer::Heartbeat(_) | ToServer::Report(_) | ToServer::Done(_) => None,
    });
    let register = register.unwrap();
    assert_eq!(register.holds[0].senders, 0);
    let mut fresh = epoch(1, Stage::Active);
    fresh.keys.as_mut().unwrap().senders = vec![1, 2, 7, 8];
    this.hear(ToGateway::State(this.state(register.request, 1, vec![fresh]).into()));
    assert_eq!(this.keys()[0].senders, [7, 8]);
}

/// Answers every sign of life at once; gives how many questions and reports there were, and how
/// many messages.
fn answer_all(this: &mut Box) -> (usize, usize, usize) {
    let (mut asked, mut reports) = (0, 0);
    let messages = this.said();
    let said = messages.len();
    for message in messages {
        match message {
            ToServer::Heartbeat(beat) => {
                asked += usize::from(beat.ask);
                let time = Reading { clock: 7, now: SERVER + this.now };
                this.hear(ToGateway::Pulse(Pulse { request: beat.request, time }));
            }
            ToServer::Report(_) => reports += 1,
            ToServer::Register(_) | ToServer::Done(_) => {}
        }
    }
    (asked, reports, said)
}

#[test]
fn a_flood_of_unknown_epochs_asks_rarely() {
    let mut this = Box::member(1_000);
    this.said();
    while this.gateway.poll_event().is_some() {}
    let (mut asked, mut said) = (0, 0);
    for _ in 0..60_000 {
        this.gateway.handle_unknown_epoch(this.now);
        this.wait(1);
        let answered = answer_all(&mut this);
        (asked, said) = (asked + answered.0, said + answered.2);
        while let Some(event) = this.gateway.poll_event() {
            assert!(matches!(event, Event::Keys | Event::Save), "{event:?}");
        }
    }
    assert!((10..=13).contains(&asked), "{asked} questions in a minute");
    assert!(said <= 25, "{said} messages in a minute");
}

#[test]
fn a_list_of_machines_that_flaps_is_not_reported_each_time() {
    let mut this = Box::member(1_000);
    this.said();
    let mut reports = 0;
    for step in 0..600u32 {
        let machine = std::net::Ipv4Addr::from(step);
        this.gateway.handle_machines([machine.into()].into(), this.now);
        this.wait(100);
        reports += answer_all(&mut this).1;
    }
    assert!((20..=31).contains(&reports), "{reports} reports in a minute");
}

#[test]
fn a_quiet_hour_is_quiet() {
    let mut this = Box::member(1_000);
    this.said();
    let (mut steps, mut said) = (0, 0);
    for _ in 0..36_000 {
        steps += this.wait(100);
        said += answer_all(&mut this).2;
    }
    assert!(steps <= 1_000 && said <= 500, "{steps} steps, {said} messages");
    assert!(this.keys()[0].error <= 110, "{}", this.keys()[0].error);
}

#[test]
fn a_new_name_and_a_token_are_told_at_once_and_the_keys_stay() {
    let mut this = Box::member(5_000);
    this.wait(1_000);
    this.said();
    let token = TokenSecret::make(|secret| *secret = [7; 16]);
    this.gateway.introduce("mill".to_owned(), Some(token.clone()), this.now);
    this.wait(0);
    let said = this.said();
    let [ToServer::Register(register)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((register.name.as_str(), register.token.as_ref()), ("mill", Some(&token)));
    assert_eq!((register.holds.len(), this.sealing()), (1, Some(1)));
    while this.gateway.poll_event().is_some() {}
    let request = register.request;
    this.hear(ToGateway::State(this.state(request, 2, vec![epoch(1, Stage::Active)]).into()));
    let mut events = std::iter::from_fn(|| this.gateway.poll_event());
    assert!(events.any(|event| event == Event::TokenSpent));
    assert_eq!(this.sealing(), Some(1));
}

#[test]
fn it_knows_when_the_server_answered_and_when_the_next_key_is_due() {
    let mut this = Box::new(5_000);
    assert_eq!((this.gateway.last_answer(), this.gateway.rekey_due()), (None, None));
    this.wait(0);
    let request = this.last_request();
    this.hear(ToGateway::Pending(Pending { request, retry: 1 }));
    assert_eq!((this.gateway.last_answer(), this.gateway.rekey_due()), (Some(5_000), None));
    this.wait(100);
    this.gateway.handle_connected(this.now);
    this.wait(0);
    let request = this.last_request();
    // Of two that are in force the newer one seals; island time does not count.
    let epochs = vec![ending(1, this.now + 100), ending(2, this.now + 60_000)];
    let due = this.now + 60_000;
    this.hear(ToGateway::State(this.state(request, 1, epochs).into()));
    assert_eq!(this.gateway.last_answer(), Some(this.now));
    assert_eq!((this.sealing(), this.gateway.rekey_due()), (Some(2), Some(due)));
    this.wait(120_000);
    assert_eq!((this.sealing(), this.gateway.rekey_due()), (Some(2), Some(due)));
}
