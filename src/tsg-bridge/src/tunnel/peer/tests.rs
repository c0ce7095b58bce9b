//! Two ends with a wire between them that loses, keeps and repeats.

use super::agreements::{AGAIN, GRACE, LIFETIME, MOST_KEYS, PROVE_AGAIN};
use super::*;
use tsg_esp::buffer::{HEAD_ROOM, TAIL_ROOM};
use tsg_esp::ip::protocol;

const STEP: u64 = 250;

/// What an end is given, and what comes out of it.
struct World {
    ends: [Peer; 2],
    text: String,
    now: u64,
    /// Everything that was on the wire, and for whom.
    recorded: Vec<(usize, Vec<u8>)>,
    /// The numbers of the packets that came out.
    delivered: [Vec<u32>; 2],
    next: u32,
    /// Of a hundred, so many are lost.
    loss: u32,
    random: u32,
}

impl World {
    fn new() -> Self {
        tsg_sodium::init().unwrap();
        let text = Key::generate().text().to_string();
        let ends = [(); 2].map(|()| end(&text));
        let delivered = [Vec::new(), Vec::new()];
        Self {
            ends,
            text,
            now: 1_000,
            recorded: Vec::new(),
            delivered,
            next: 1,
            loss: 0,
            random: 1,
        }
    }

    fn restart(&mut self, which: usize) {
        self.ends[which] = end(&self.text);
    }

    /// A wire that takes what is said, and what is answered to it, to the end.
    fn carry(&mut self, to: usize, said: Vec<Vec<u8>>) {
        let mut waiting: std::collections::VecDeque<_> =
            said.into_iter().map(|esp| (to, esp)).collect();
        while let Some((to, esp)) = waiting.pop_front() {
            self.recorded.push((to, esp.clone()));
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if (self.random >> 8) % 100 < self.loss {
                continue;
            }
            waiting.extend(self.arrive(to, &esp).into_iter().map(|answer| (1 - to, answer)));
        }
    }

    fn arrive(&mut self, to: usize, esp: &[u8]) -> Vec<Vec<u8>> {
        let mut room = [vec![0; HEAD_ROOM], esp.to_vec(), vec![0; TAIL_ROOM]].concat();
        let mut packet = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM + esp.len()).unwrap();
        let mut say = Vec::new();
        if let Ok(Heard::Now(Some(_))) = self.ends[to].turn(0, self.now).hear(&mut packet, &mut say)
        {
            let number = packet.bytes()[20..24].try_into().unwrap();
            self.delivered[to].push(u32::from_be_bytes(number));
        }
        say
    }

    /// A packet from one end; gives whether it came out at the other.
    fn packet(&mut self, from: usize) -> bool {
        self.packet_of(from, 0)
    }

    /// A packet that is one worker's.
    fn packet_of(&mut self, from: usize, worker: usize) -> bool {
        let number = self.next;
        self.next += 1;
        let mut plain = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 200, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
        plain.extend_from_slice(&number.to_be_bytes());
        let mut room = [vec![0; HEAD_ROOM], plain, vec![0; TAIL_ROOM]].concat();
        let mut packet = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM + 24).unwrap();
        if self.ends[from].turn(worker, self.now).seal(&mut packet, protocol::IPV4).is_err() {
            return false;
        }
        let esp = packet.bytes().to_vec();
        self.carry(1 - from, vec![esp]);
        self.delivered[1 - from].last() == Some(&number)
    }

    fn wait(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / STEP {
            self.now += STEP;
            for end in 0..2 {
                let mut say = Vec::new();
                self.ends[end].tick(self.now, &mut say);
                self.carry(1 - end, say);
            }
        }
    }

    fn both_ways(&mut self) -> [bool; 2] {
        [self.packet(0), self.packet(1)]
    }

    fn agreements(&self) -> [u64; 2] {
        [0, 1].map(|end| self.ends[end].agreements().agreed())
    }
}

fn end(text: &str) -> Peer {
    Peer::new(Key::parse(text).unwrap(), Able::alone(false))
}

#[test]
fn the_first_words_are_enough() {
    let mut world = World::new();
    assert_eq!(world.both_ways(), [false, false]);
    world.wait(STEP);
    assert_eq!(world.both_ways(), [true, true]);
    let said = world.recorded.len();
    // Nobody has more to say than that.
    world.wait(SHOW - STEP);
    assert_eq!(world.recorded.len(), said);
}

#[test]
fn a_wire_that_loses_every_other_packet_delays_it() {
    for seed in 1..=200 {
        let mut world = World::new();
        (world.loss, world.random) = (50, seed);
        world.wait(30_000);
        world.loss = 0;
        world.wait(2 * PROVE_AGAIN);
        assert_eq!(world.both_ways(), [true, true], "seed {seed}");
    }
}

#[test]
fn a_restarted_end_is_back_at_once() {
    for restarted in [0, 1] {
        let mut world = World::new();
        world.wait(STEP);
        assert_eq!(world.both_ways(), [true, true]);
        world.restart(restarted);
        assert!(!world.packet(restarted));
        assert!(!world.packet(1 - restarted), "what was sealed for the one before is lost");
        world.wait(STEP);
        assert_eq!(world.both_ways(), [true, true]);
    }
}

#[test]
fn new_keys_cost_no_packet() {
    let mut world = World::new();
    world.wait(STEP);
    let before = world.agreements();
    for _ in 0..2 * LIFETIME / 1_000 {
        world.wait(1_000);
        assert_eq!(world.both_ways(), [true, true]);
    }
    let after = world.agreements();
    assert!(after.iter().zip(before).all(|(after, before)| *after >= before + LIFETIME));
    world.wait(GRACE);
    assert!(world.ends.iter().all(|end| end.agreements().opening() == 1));
}

#[test]
fn nothing_that_was_recorded_comes_out_twice_or_changes_keys() {
    let mut world = World::new();
    world.wait(STEP);
    world.both_ways();
    world.restart(1);
    world.wait(STEP);
    world.both_ways();
    let before = (world.agreements(), world.delivered.clone());
    for (to, esp) in world.recorded.clone() {
        for to in [to, 1 - to] {
            world.arrive(to, &esp);
        }
    }
    assert_eq!((world.agreements(), world.delivered.clone()), before);
    world.wait(2_000);
    assert_eq!(world.both_ways(), [true, true]);
}

#[test]
fn an_end_that_says_nothing_is_asked_and_one_that_only_hears_shows_itself() {
    let mut world = World::new();
    world.wait(STEP);
    let agreed = world.agreements();
    // Data in one direction only.
    for _ in 0..4 * SILENCE / 1_000 {
        world.wait(1_000);
        assert!(world.packet(0));
    }
    assert_eq!(world.agreements(), agreed);
    // The wire is cut for a while.
    world.loss = 100;
    for _ in 0..2 * SILENCE / 1_000 {
        world.wait(1_000);
        world.packet(0);
    }
    world.loss = 0;
    world.wait(AGAIN);
    assert_eq!(world.both_ways(), [true, true]);
    assert!(world.agreements()[0] > agreed[0]);
}

#[test]
fn a_question_is_answered_at_once_and_an_answer_is_not() {
    let mut world = World::new();
    world.wait(STEP);
    for _ in 0..10 {
        let mut say = Vec::new();
        assert!(world.ends[0].ask(world.now, &mut say));
        let answers = world.arrive(1, &say.remove(0));
        assert_eq!(answers.len(), 1);
        assert!(say.is_empty() && world.arrive(0, &answers[0]).is_empty());
        // Nothing comes of it later, either.
        let said = world.recorded.len();
        world.wait(SILENCE);
        assert_eq!(world.recorded.len(), said);
        assert!(!world.ends[0].is_silent(world.now));
    }
    assert!(!Peer::without_keys(Able::alone(false)).ask(world.now, &mut Vec::new()));
}

#[test]
fn who_asks_finds_an_end_that_lost_the_keys_and_can_say_nothing_first() {
    let mut world = World::new();
    world.wait(STEP);
    world.restart(1);
    // It does not know where to: only the first end can begin.
    let mut say = Vec::new();
    for _ in 0..(SILENCE + AGAIN) / STEP {
        world.now += STEP;
        world.ends[0].tick(world.now, &mut say);
        world.ends[1].tick(world.now, &mut Vec::new());
    }
    assert!(say.is_empty(), "it has no reason to say anything");
    world.ends[0].ask(world.now, &mut say);
    for _ in 0..=SILENCE / STEP {
        world.now += STEP;
        world.ends[0].tick(world.now, &mut say);
        world.carry(1, std::mem::take(&mut say));
    }
    assert_eq!(world.both_ways(), [true, true]);
}

#[test]
fn an_end_that_goes_on_from_where_it_was_repeats_no_iv() {
    let mut world = World::new();
    world.wait(STEP);
    let before = world.recorded.len();
    for _ in 0..8 {
        assert!(world.packet(0));
        world.ends[0].ask(world.now, &mut Vec::new());
    }
    let ivs = world.recorded[before..].iter().map(|(_, esp)| esp[8..12].to_vec());
    let ivs: std::collections::BTreeSet<_> = ivs.collect();
    assert!(ivs.len() >= 7, "{ivs:?}");
}

#[test]
fn answers_to_recordings_are_few() {
    let mut world = World::new();
    world.wait(STEP);
    let hello = world.recorded[0].clone();
    let answers: usize = (0..1_000).map(|_| world.arrive(hello.0, &hello.1).len()).sum();
    assert!(answers <= 2, "{answers}");
}

#[test]
fn recordings_do_not_keep_the_ends_from_agreeing() {
    let mut world = World::new();
    for _ in 0..100 {
        world.wait(2 * STEP);
        assert_eq!(world.both_ways(), [true, true]);
        world.restart(1);
    }
    let recorded = world.recorded.clone();
    world.restart(0);
    for _ in 0..20 {
        world.now += STEP;
        for (to, esp) in &recorded {
            for to in [*to, 1 - *to] {
                world.arrive(to, esp);
            }
        }
        world.now -= STEP;
        world.wait(STEP);
    }
    assert_eq!(world.both_ways(), [true, true]);
}

#[test]
fn one_end_with_another_key_hears_nothing() {
    let mut world = World::new();
    world.ends[1] = end(&Key::generate().text());
    world.wait(10_000);
    assert_eq!(world.both_ways(), [false, false]);
}

#[test]
fn keys_in_use_outlast_any_number_that_nothing_came_with() {
    let mut world = World::new();
    world.wait(STEP);
    for _ in 0..10 {
        world.now += 1_000;
        let offer = world.ends[1].agreements().offer();
        let answer = world.arrive(0, &offer).remove(0);
        // What would show that the keys are there is lost each time.
        let last = world.arrive(1, &answer).remove(0);
        world.arrive(0, &last);
        assert_eq!(world.agreements(), [world.now; 2]);
    }
    assert!(world.ends.iter().all(|end| end.agreements().opening() <= MOST_KEYS));
    assert_eq!(world.both_ways(), [true, true]);
}

#[test]
fn each_worker_has_associations_of_its_own() {
    let mut world = World::new();
    let workers = [3, 16];
    for (end, workers) in world.ends.iter_mut().zip(workers) {
        *end = Peer::new(Key::parse(&world.text).unwrap(), Able { aes: false, workers });
    }
    world.wait(STEP);
    for again in [false, true] {
        let before = world.recorded.len();
        for (end, workers) in workers.into_iter().enumerate() {
            for worker in 0..usize::from(workers) {
                assert!(world.packet_of(end, worker), "worker {worker} of {workers}, {again}");
            }
            assert!(!world.packet_of(end, usize::from(workers)), "there is no such worker");
        }
        let spis = world.recorded[before..].iter().map(|(to, esp)| (*to, esp[..4].to_vec()));
        let spis: std::collections::BTreeSet<_> = spis.collect();
        assert_eq!(spis.len(), 3 + 16, "{again}");
        // What the kernel tells them apart by.
        let mut last: Vec<u8> = spis.iter().map(|(_, spi)| spi[3] % 16).collect();
        last.sort_unstable();
        assert!((0..16).all(|number| last.contains(&number)), "{last:?}");
        world.wait(LIFETIME + AGAIN);
    }
    // None of it comes out once more.
    let before = world.delivered.clone();
    for (to, esp) in world.recorded.clone() {
        world.arrive(to, &esp);
    }
    assert_eq!(world.delivered, before);
}

fn group(epochs: &[(u8, bool)]) -> Vec<(Key, bool)> {
    let key = |&(epoch, seals): &(u8, bool)| {
        let mut secret: Box<zeroize::Zeroizing<[u8; 32]>> = Box::default();
        secret.fill(epoch);
        (Key::from_secret(secret), seals)
    };
    epochs.iter().map(key).collect()
}

/// Two members of a group in its epoch 1.
fn members() -> World {
    let mut world = World::new();
    for end in &mut world.ends {
        *end = Peer::without_keys(Able::alone(false));
        end.hold(group(&[(1, true)]));
    }
    world.wait(STEP);
    assert_eq!(world.both_ways(), [true, true]);
    world
}

#[test]
fn without_a_group_nothing_is_said() {
    let mut world = World::new();
    world.ends = [(); 2].map(|()| Peer::without_keys(Able::alone(false)));
    world.wait(10_000);
    assert!(world.recorded.is_empty());
    assert_eq!(world.both_ways(), [false, false]);
}

#[test]
fn a_new_epoch_costs_no_packet_whoever_has_it_first() {
    for first in [0, 1] {
        let mut world = members();
        let steps: [&[(u8, bool)]; 4] =
            [&[(1, true), (2, false)], &[(1, false), (2, true)], &[(2, true)], &[(2, true)]];
        for step in steps {
            for end in [first, 1 - first] {
                world.ends[end].hold(group(step));
                for _ in 0..12 {
                    assert_eq!(world.both_ways(), [true, true], "{step:?}");
                    world.wait(STEP);
                }
            }
        }
        let [under, same] =
            [0, 1].map(|end| world.ends[end].view().sealing.as_ref().unwrap().under());
        assert_eq!((under, same), (group(&[(2, true)])[0].0.hello_spi(), under));
    }
}

#[test]
fn who_has_no_key_of_the_new_epoch_is_out_when_the_old_one_goes() {
    let mut world = members();
    // The second is thrown out: it is not told of epoch 2.
    world.ends[0].hold(group(&[(1, false), (2, true)]));
    world.wait(2_000);
    assert_eq!(world.both_ways(), [true, true]);
    world.ends[0].hold(group(&[(2, true)]));
    assert!(!world.ends[0].is_up());
    world.wait(20_000);
    assert_eq!(world.both_ways(), [false, false]);
    // It is let in again.
    world.ends[1].hold(group(&[(2, true)]));
    world.wait(1_000);
    assert_eq!(world.both_ways(), [true, true]);
}
