//! Which sender numbers and epochs members get.

use crate::{
    Counting, NOW, beat, held, key, last_state, register, registration, said, say, senders, server,
    state, stored,
};
use tsg_control::message::{Register, State, ToGateway, ToServer};
use tsg_control::server::{Record, Server};
use tsg_control::timeline::Stage;
use tsg_esp::spi::Spi;

#[test]
fn a_process_keeps_its_numbers_and_another_gets_others() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    assert_eq!(senders(&first), [1, 2]);
    assert_eq!(senders(&register(&mut server, key(2), 20, NOW)), [3, 4]);
    // The same process again, after its connection broke.
    assert_eq!(senders(&register(&mut server, key(1), 10, NOW + 1)), [1, 2]);
    // The box rebooted.
    assert_eq!(senders(&register(&mut server, key(1), 11, NOW + 2)), [5, 6]);
    // A daemon that went on from RAM still has its numbers and needs none.
    let mut resumed = registration(12);
    resumed.holds = held(&first, 1);
    let resumed = state(say(&mut server, key(1), ToServer::Register(resumed), NOW + 3));
    assert_eq!(senders(&resumed), []);
}

#[test]
fn numbers_that_are_used_up_are_replaced_until_it_is_too_much() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let mut newest = register(&mut server, key(1), 10, NOW);
    let epoch = newest.epochs.last().unwrap().id;
    let mut now = NOW;
    for _ in 0..127 {
        now += 2_000;
        let before = senders(&newest).len();
        newest = state(say(&mut server, key(1), beat(10, &newest, 0), now));
        assert_eq!(senders(&newest).len(), before + 2);
    }
    // 256 in one epoch: no more, but a new epoch.
    let answers = say(&mut server, key(1), beat(10, &newest, 0), now + 2_000);
    let next = state(answers);
    assert!(next.epochs.last().unwrap().id > epoch);
    assert_eq!(next.epochs[0].keys.as_ref().unwrap().senders.len(), 256);
}

#[test]
fn who_has_fewer_numbers_left_than_it_wants_gets_more_in_time() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    let newest = state(say(&mut server, key(1), beat(10, &first, 2), NOW + 10));
    assert_eq!(last_state(say(&mut server, key(1), beat(10, &newest, 2), NOW + 2_000)), None);
    let more = say(&mut server, key(1), beat(10, &newest, 1), NOW + 4_000);
    assert_eq!(senders(&state(more)), [1, 2, 3, 4]);
}

#[test]
fn sender_numbers_come_to_an_end_and_do_not_go_round() {
    const LAST: u32 = Spi::MAX_SENDER;
    const MANY: u32 = LAST / 4 * 3;
    for (first, given, goes_on) in [
        (MANY - 9, &[MANY - 9, MANY - 8][..], true),
        (MANY - 1, &[MANY - 1, MANY], false),
        (LAST, &[LAST], false),
    ] {
        let mut server = server();
        server.begin_senders_at("plant", first).unwrap();
        server.approve(key(1), "plant", 0, NOW).unwrap();
        server.approve(key(2), "plant", 0, NOW).unwrap();
        let mine = register(&mut server, key(1), 10, NOW);
        assert_eq!(senders(&mine), given);
        assert!(mine.epochs[0].keys.as_ref().unwrap().highest_sender >= given[0]);
        say(&mut server, key(1), beat(10, &mine, 2), NOW + 10);
        // More than three quarters are handed out: the next epoch, which begins from 1, is made.
        server.handle_timeout(NOW + 15_000);
        let other = register(&mut server, key(2), 20, NOW + 15_100);
        assert_eq!(other.epochs.len(), if goes_on { 1 } else { 2 }, "{first}");
        let others: Vec<_> = other.epochs.iter().map(|e| e.keys.as_ref().unwrap()).collect();
        let next = if first == LAST { vec![] } else { vec![first + 2, first + 3] };
        assert_eq!(others[0].senders, next);
        assert!(goes_on || others[1].senders.iter().all(|number| *number < 5));
    }
}

#[test]
fn two_signs_of_life_at_once_bring_one_refill() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    say(&mut server, key(1), beat(10, &first, 2), NOW + 10);
    let states = |messages: Vec<ToGateway>| {
        messages.into_iter().filter(|message| matches!(message, ToGateway::State(_))).count()
    };
    assert_eq!(states(say(&mut server, key(1), beat(10, &first, 0), NOW + 2_000)), 1);
    assert_eq!(states(say(&mut server, key(1), beat(10, &first, 0), NOW + 2_001)), 0);
}

#[test]
fn the_last_member_takes_the_epoch_along() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let old = register(&mut server, key(1), 10, NOW);
    server.revoke(key(1), "lost", NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    said(&mut server);
    let new = register(&mut server, key(2), 20, NOW);
    assert_ne!(held(&old, 0)[0].check, held(&new, 0)[0].check, "the revoked one knows this key");
    assert!(new.epochs.iter().all(|epoch| epoch.id > old.epochs[0].id));
}

#[test]
fn a_restored_backup_counts_on_from_what_members_hold() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let mut later = register(&mut server, key(1), 10, NOW);
    later.epochs[0].id = 40;
    let answers = say(&mut server, key(1), beat(10, &later, 2), NOW + 100);
    // At once, in place of the one that was prepared.
    let newest = state(answers).epochs.pop().unwrap();
    assert!(newest.id > 40 && newest.stage == Stage::Prepared, "{newest:?}");
    // Not as often as somebody likes.
    later.epochs[0].id = 4_000;
    say(&mut server, key(1), beat(10, &later, 2), NOW + 200);
    assert!(server.groups(NOW)[0].epochs.iter().all(|epoch| epoch.id < 4_000));
}

#[test]
fn members_that_are_far_ahead_of_an_old_backup_are_reached() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let mut ahead = register(&mut server, key(1), 10, NOW);
    ahead.epochs[0].id = 5 << 32;
    let newest = |server: &Server| server.groups(NOW)[0].epochs.last().unwrap().id;
    let mut seconds = 0;
    while newest(&server) <= ahead.epochs[0].id {
        seconds += 10;
        assert!(seconds < 900, "{} is not reached", ahead.epochs[0].id);
        server.handle_timeout(NOW + seconds * 1_000);
        say(&mut server, key(1), beat(10, &ahead, 2), NOW + seconds * 1_000);
    }
}

#[test]
fn rekeys_are_not_held_up_by_a_member_that_is_away() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    let mut now = NOW + 20_000;
    let mut state = register(&mut server, key(1), 10, now);
    for _ in 0..6 {
        server.rekey("plant", now).unwrap();
        let wanted = server.groups(now)[0].epochs.last().unwrap().id;
        for _ in 0..40 {
            now += 1_000;
            server.handle_timeout(now);
            let answers: Vec<_> =
                said(&mut server).into_iter().map(|(_, message)| message).collect();
            if answers.iter().any(|message| matches!(message, ToGateway::State(_))) {
                state = self::state(answers);
            }
            let more = say(&mut server, key(1), beat(10, &state, 2), now);
            if more.iter().any(|message| matches!(message, ToGateway::State(_))) {
                state = self::state(more);
            }
        }
        let epochs = &server.groups(now)[0].epochs;
        assert!(epochs.len() <= 3, "{epochs:?}");
        let active = epochs.iter().find(|epoch| epoch.stage == Stage::Active).unwrap();
        assert!(active.id >= wanted, "{epochs:?}");
    }
    assert!(server.groups(now)[0].epochs.last().unwrap().id >= 6);
}

#[test]
fn a_member_that_is_not_heard_for_a_rekey_is_named() {
    let mut server = server();
    let names = [1, 2].map(|number| server.approve(key(number), "plant", 0, NOW).unwrap());
    let mut now = NOW + 20_000;
    let mut states = [1, 2].map(|number| register(&mut server, key(number), 10, now));
    for (number, state) in (1..).zip(&states) {
        say(&mut server, key(number), beat(10, state, 2), now);
    }
    let late = |server: &Server, now| server.groups(now)[0].late.clone();
    assert!(late(&server, now).is_empty());
    server.rekey("plant", now).unwrap();
    for _ in 0..5 {
        now += 1_000;
        server.handle_timeout(now);
        let told = said(&mut server).into_iter().filter(|(to, _)| *to == key(1));
        let told: Vec<_> = told.map(|(_, message)| message).collect();
        let more = say(&mut server, key(1), beat(10, &states[0], 2), now);
        if let Some(newer) = last_state(told.into_iter().chain(more).collect()) {
            states[0] = newer;
            say(&mut server, key(1), beat(10, &states[0], 2), now);
        }
        assert_eq!(late(&server, now), names[1..]);
    }
    // What it acknowledges is what the others do by then.
    for _ in 0..2 {
        for number in [1, 2] {
            let back = register(&mut server, key(number), 10, now);
            say(&mut server, key(number), beat(10, &back, 2), now);
        }
    }
    assert!(late(&server, now).is_empty());
}

#[test]
fn a_server_that_comes_late_waits_for_nobody_longer_than_the_old_epoch_lasts() {
    for (island, moment) in [("0", 58_000), ("1", 59_000), ("infinite", 65_000)] {
        let mut server = server();
        let settings = [("key_lifetime", "60"), ("island_time", island)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        server.set_group("plant", &settings, NOW).unwrap();
        for number in [1, 2] {
            server.approve(key(number), "plant", 0, NOW).unwrap();
            let state = register(&mut server, key(number), u64::from(number), NOW);
            say(&mut server, key(number), beat(u64::from(number), &state, 2), NOW);
        }
        let records = std::iter::from_fn(|| server.poll_record());
        let late = NOW + 50_000;
        let mut server = Server::new(stored(records), Box::new(Counting(99)), late);
        register(&mut server, key(1), 1, late);
        // Member 2 is not heard.
        for (at, stage) in [(moment - 1, Stage::Prepared), (moment, Stage::Active)] {
            server.handle_timeout(NOW + at);
            let newest = server.groups(NOW)[0].epochs.last().unwrap().stage;
            assert_eq!(newest, stage, "island_time {island}, after {at}");
        }
    }
}

#[test]
fn a_server_whose_clock_was_set_while_it_was_away_still_gives_members_time() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let state = register(&mut server, key(1), 1, NOW);
    say(&mut server, key(1), beat(1, &state, 2), NOW);
    let records = std::iter::from_fn(|| server.poll_record());
    let now = NOW + 30 * 86_400_000;
    let mut server = Server::new(stored(records), Box::new(Counting(99)), now);
    server.handle_timeout(now + 4_999);
    assert_eq!(server.groups(now)[0].epochs.last().unwrap().stage, Stage::Prepared);
}

#[test]
fn a_higher_limit_is_announced_to_all_before_it_is_needed() {
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    server.approve(key(2), "plant", 0, NOW).unwrap();
    register(&mut server, key(1), 10, NOW);
    let mut limit = 0;
    for process in 0..2_000 {
        // A box that reboots and reboots.
        let message = ToServer::Register(registration(1_000 + process));
        server.handle_message(key(2), message, NOW);
        for (to, message) in said(&mut server) {
            let Some(state) = last_state(vec![message]) else { continue };
            let keys = state.epochs.last().unwrap().keys.as_ref().unwrap();
            if to == key(1) {
                limit = keys.highest_sender;
            } else {
                let used = keys.senders.iter().max().unwrap();
                assert!(limit == 0 || *used <= limit, "{used} is used, {limit} was announced");
            }
        }
    }
    assert!(limit >= 4_000, "{limit}");
}

/// A group of two, its epoch in force, and a third that is being thrown out.
fn revoking() -> (Server, Vec<Record>) {
    let mut server = server();
    for number in 1..=3 {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    for number in [1, 2, 3] {
        let state = register(&mut server, key(number), u64::from(number), NOW);
        say(&mut server, key(number), beat(u64::from(number), &state, 2), NOW);
    }
    assert_eq!(server.groups(NOW)[0].epochs[0].stage, Stage::Active);
    server.revoke(key(3), "lost", NOW).unwrap();
    let records = std::iter::from_fn(|| server.poll_record()).collect();
    (server, records)
}

#[test]
fn a_revocation_survives_the_death_of_the_server_at_any_record() {
    let (_, records) = revoking();
    let told = |record: &Record| matches!(record, Record::Gateway(g) if g.revoked.is_some());
    let first = records.iter().position(told).unwrap();
    for count in first + 1..=records.len() {
        let stored = stored(records[..count].iter().cloned());
        let mut server = Server::new(stored, Box::new(Counting(99)), NOW);
        let state = register(&mut server, key(1), 1, NOW);
        let newest = state.epochs.last().unwrap();
        assert!(newest.revokes && newest.stage == Stage::Prepared, "after {count} records");
        // Member 2 is not heard, and is left behind after revoke_delay.
        server.handle_timeout(NOW + 5_000);
        let view = &server.groups(NOW)[0].epochs;
        let active: Vec<_> = view.iter().filter(|e| e.stage == Stage::Active).collect();
        assert_eq!(active[0].id, newest.id, "after {count} records");
    }
}

#[test]
fn what_a_revocation_has_closed_does_not_come_back_with_a_restart() {
    let (mut server, mut records) = revoking();
    said(&mut server);
    server.handle_timeout(NOW + 5_000);
    records.extend(std::iter::from_fn(|| server.poll_record()));
    let stored = stored(records.into_iter());
    assert_eq!(stored.groups[0].epochs.len(), 1, "{:?}", stored.groups[0].epochs);
    let mut server = Server::new(stored, Box::new(Counting(99)), NOW + 5_500);
    let state = register(&mut server, key(2), 2, NOW + 5_600);
    assert!(state.epochs.iter().all(|epoch| epoch.id > 1), "{:?}", state.epochs);
}

#[test]
fn revocations_in_a_row_do_not_put_off_the_first() {
    let (mut server, _) = revoking();
    server.approve(key(4), "plant", 0, NOW).unwrap();
    register(&mut server, key(4), 4, NOW);
    server.handle_timeout(NOW + 4_000);
    server.revoke(key(4), "lost too", NOW + 4_000).unwrap();
    let prepared = server.groups(NOW)[0].epochs.last().unwrap().id;
    server.handle_timeout(NOW + 5_000);
    let view = server.groups(NOW)[0].epochs.last().unwrap().clone();
    assert_eq!((view.id, view.stage), (prepared, Stage::Active));
}

#[test]
fn a_gateway_that_joins_after_a_restart_gets_the_epoch_that_is_being_prepared() {
    let (_, records) = revoking();
    let mut server = Server::new(stored(records.into_iter()), Box::new(Counting(99)), NOW);
    server.approve(key(7), "plant", 0, NOW).unwrap();
    let state = register(&mut server, key(7), 7, NOW);
    let usable: Vec<_> = state.epochs.iter().filter(|epoch| epoch.keys.is_some()).collect();
    assert_eq!(usable.len(), 1);
    assert_eq!(usable[0].stage, Stage::Prepared);
}

#[test]
fn a_jump_of_the_clock_replaces_what_was_made_by_the_old_one() {
    for far in [-30 * 86_400_000, -5_000, 5_000, 30 * 86_400_000_i64] {
        let (mut server, _) = revoking();
        said(&mut server);
        let now = NOW.saturating_add_signed(far);
        server.handle_clock_jump(now);
        let states: Vec<State> = said(&mut server)
            .into_iter()
            .filter_map(|(_, message)| last_state(vec![message]))
            .collect();
        assert_eq!(states.len(), 2, "both members are told, {far}");
        for state in states {
            let made = state.epochs.iter().filter_map(|epoch| epoch.keys.as_ref());
            assert!(
                made.clone().count() == 1
                    && made.clone().all(|keys| keys.clock == state.time.clock)
            );
            assert!(state.epochs.last().unwrap().revokes, "the revocation goes on, {far}");
        }
        // Nothing waits for the old count.
        server.handle_timeout(now + 6_000);
        assert_eq!(server.groups(now)[0].epochs.last().unwrap().stage, Stage::Active);
        assert!(server.poll_timeout(now + 6_000).is_none_or(|at| at > now + 6_000));
    }
}

#[test]
fn a_jump_of_the_clock_keeps_no_policy_of_an_empty_group_alive() {
    use tsg_control::policy::Policy;
    let day = 86_400_000;
    let mut server = server();
    server.set_policy("plant", Policy::default(), NOW).unwrap();
    server.handle_timeout(NOW + 15_000);
    let now = NOW - 30 * day;
    server.handle_clock_jump(now);
    server.handle_timeout(now + 60_000);
    server.approve(key(1), "plant", 0, now + 60_000).unwrap();
    let state = register(&mut server, key(1), 10, now + 60_000);
    let versions: Vec<_> = state.policies.iter().map(|policy| policy.version).collect();
    assert_eq!(versions, [2], "what the old one bypasses would be let in for a month");
}

#[test]
fn a_jump_of_the_clock_leaves_time_for_the_next_policy() {
    use tsg_control::policy::Policy;
    for far in [3_600_000, -3_600_000_i64] {
        let mut server = server();
        server.approve(key(1), "plant", 0, NOW).unwrap();
        let first = register(&mut server, key(1), 10, NOW);
        say(&mut server, key(1), beat(10, &first, 2), NOW);
        server.set_policy("plant", Policy::default(), NOW).unwrap();
        let now = NOW.saturating_add_signed(far);
        server.handle_clock_jump(now);
        let next = server.set_policy("plant", Policy::default(), now + 1_000).unwrap();
        let in_force = |server: &Server| server.groups(now)[0].policy_in_force;
        assert!(in_force(&server) < next, "nobody has it yet, {far}");
        server.handle_timeout(now + 16_000);
        assert_eq!(in_force(&server), next, "{far}");
    }
}

#[test]
fn policies_in_a_row_come_into_force_when_members_had_time_for_them() {
    use tsg_control::policy::Policy;
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    say(&mut server, key(1), beat(10, &first, 2), NOW);
    let mut records: Vec<_> = std::iter::from_fn(|| server.poll_record()).collect();
    // The member hears nothing. 4 comes when 3, in the place of 2, is due in a moment.
    for (version, at) in [(2, 0), (3, 14_000), (4, 18_990)] {
        let given = server.set_policy("plant", Policy::default(), NOW + at).unwrap();
        assert_eq!(given, version);
    }
    records.extend(std::iter::from_fn(|| server.poll_record()));
    let in_force = |server: &Server| server.groups(NOW)[0].policy_in_force;
    for (at, version) in [(18_991, 1), (19_000, 3), (33_999, 3), (34_000, 4)] {
        server.handle_timeout(NOW + at);
        assert_eq!(in_force(&server), version, "after {at}");
    }
    // A server that dies while 4 waits goes on from what members use.
    let mut server = Server::new(stored(records.into_iter()), Box::new(Counting(99)), NOW + 18_995);
    assert_eq!(in_force(&server), 1);
    server.handle_timeout(NOW + 34_000);
    assert_eq!(in_force(&server), 4);
}

#[test]
fn a_member_without_aes_hears_of_a_revocation_in_aes() {
    let mut server = server();
    server.set_group("plant", &[("cipher".to_owned(), "aes-256-gcm".to_owned())], NOW).unwrap();
    for number in [1, 2] {
        server.approve(key(number), "plant", 0, NOW).unwrap();
    }
    let plain = Register { aes: false, ..registration(10) };
    state(say(&mut server, key(1), ToServer::Register(plain.clone()), NOW));
    server.revoke(key(2), "lost", NOW).unwrap();
    server.handle_timeout(NOW + 5_000);
    let state = state(say(&mut server, key(1), ToServer::Register(plain), NOW + 5_000));
    let revoking = state.epochs.iter().find(|epoch| epoch.revokes).unwrap();
    assert!(revoking.keys.is_none() && revoking.stage == Stage::Active, "{revoking:?}");
}

#[test]
fn a_rekey_and_a_policy_change_run_side_by_side() {
    use tsg_control::policy::{Policy, Rule};
    let mut server = server();
    server.approve(key(1), "plant", 0, NOW).unwrap();
    let first = register(&mut server, key(1), 10, NOW);
    say(&mut server, key(1), beat(10, &first, 2), NOW);
    let rule: Rule = "encrypt name=modbus proto=tcp dest_port=502".parse().unwrap();
    server.set_policy("plant", Policy::new(vec![rule]), NOW + 5_000).unwrap();
    server.rekey("plant", NOW + 5_000).unwrap();
    let news = said(&mut server).into_iter().map(|(_, message)| message).collect();
    let both = state(news);
    assert_eq!((both.epochs.len(), both.policies.len()), (2, 2));
    let news = say(&mut server, key(1), beat(10, &both, 2), NOW + 5_010);
    let after = state(news);
    assert_eq!(after.epochs[1].stage, Stage::Active);
    assert_eq!(after.policies[1].stage, Stage::Active);
}

#[test]
fn who_wakes_late_is_still_told_what_is_due() {
    let (mut server, mut now) = (server(), NOW);
    server.approve(key(1), "plant", 0, now).unwrap();
    let first = register(&mut server, key(1), 10, now);
    say(&mut server, key(1), beat(10, &first, 2), now);
    server.rekey("plant", now).unwrap();
    let news = said(&mut server).into_iter().map(|(_, message)| message).collect();
    let after = state(say(&mut server, key(1), beat(10, &state(news), 2), now));
    say(&mut server, key(1), beat(10, &after, 2), now);
    assert_eq!(server.groups(now)[0].epochs.len(), 2, "the old one lingers");
    for _ in 0..10 {
        // A little too late each time, and busy with somebody's message first.
        now = server.poll_timeout(now).unwrap().min(now + 5_000) + 30;
        say(&mut server, key(1), beat(10, &after, 2), now);
        if server.poll_timeout(now).is_some_and(|due| due <= now + 50) {
            server.handle_timeout(now);
        }
    }
    assert_eq!(server.groups(now)[0].epochs.len(), 1, "it should be gone by now");
}
