//! Members that were let in and do not obey: they say to the key server, and send to the others,
//! what they like. What they may not bring about is judged elsewhere, by what happens to those who
//! do obey.

use crate::agenda::Happening;
use crate::frame::Frame;
use crate::member::Member;
use crate::packet::Packet;
use crate::random::Chance;
use crate::services::Topic;
use crate::world::World;
use tsg_control::gateway::pseudo_time;
use tsg_control::message::{self, Done, Held, Register, Report, SeenFlow, ToServer};
use tsg_esp::spi::Spi;

/// What a member can do that it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vice {
    /// Says that it holds epochs which nobody made.
    Leap,
    /// Says that it holds other keys under the numbers of the epochs that live.
    Forge,
    /// Never confirms anything.
    Silent,
    /// Says that its sender numbers are used up, always.
    Greedy,
    /// Is another process each time.
    Reborn,
    /// Has other machines behind it each time.
    Machines,
    /// Has AES, has it not, has it.
    Fickle,
    /// Reports on commands that nobody gave.
    Chatter,
    /// Frames that are no messages.
    Garbage,
    /// Seals in epochs that are not in force yet.
    Early,
    /// Seals with the numbers of others.
    Thief,
    /// Seals with numbers that nobody has.
    TooHigh,
    /// Seals in epochs that do not live.
    Stray,
}

impl Vice {
    const ALL: [Self; 13] = [
        Self::Leap,
        Self::Forge,
        Self::Silent,
        Self::Greedy,
        Self::Reborn,
        Self::Machines,
        Self::Fickle,
        Self::Chatter,
        Self::Garbage,
        Self::Early,
        Self::Thief,
        Self::TooHigh,
        Self::Stray,
    ];

    pub(crate) fn some(chance: &mut Chance) -> Vec<Self> {
        (0..chance.between(1, 4)).map(|_| Self::ALL[chance.below(Self::ALL.len())]).collect()
    }
}

impl Member {
    pub(crate) const fn is_hostile(&self) -> bool {
        !self.vices.is_empty()
    }

    /// What it says instead of `message`.
    pub(crate) fn twist(&self, message: &mut ToServer, chance: &mut Chance) {
        let ToServer::Heartbeat(heartbeat) = message else { return };
        for vice in &self.vices {
            match vice {
                Vice::Leap => {
                    let newest = self.views.iter().map(|view| view.id).max().unwrap_or(0);
                    let leap = [1, 5, 300, 1 << 32][chance.below(4)];
                    let check = chance.next().to_be_bytes();
                    heartbeat.holds.insert(0, Held { epoch: newest + leap, check, senders: 1 });
                }
                Vice::Forge => {
                    for held in &mut heartbeat.holds {
                        held.check[0] ^= 1;
                    }
                }
                Vice::Silent => (heartbeat.instance, heartbeat.revision) = (0, 0),
                Vice::Greedy => {
                    for held in &mut heartbeat.holds {
                        held.senders = 0;
                    }
                }
                Vice::Reborn
                | Vice::Machines
                | Vice::Fickle
                | Vice::Chatter
                | Vice::Garbage
                | Vice::Early
                | Vice::Thief
                | Vice::TooHigh
                | Vice::Stray => {}
            }
        }
    }

    fn register(&self, process: u64, aes: bool, chance: &mut Chance) -> ToServer {
        ToServer::Register(Register {
            request: chance.next(),
            process,
            name: format!("gateway-{}\n", self.index),
            version: "v".repeat(500),
            token: None,
            aes,
            senders: [0, 1, 255][chance.below(3)],
            holds: Vec::new(),
        })
    }

    /// Frames that no gateway of ours would send.
    fn frames(&self, vice: Vice, most: usize, chance: &mut Chance) -> Vec<Vec<u8>> {
        let encode = |message: ToServer| message::encode(&message).to_vec();
        match vice {
            Vice::Reborn => {
                let process = chance.next();
                vec![encode(self.register(process, self.aes, chance))]
            }
            Vice::Fickle => {
                let aes = chance.happens(500);
                vec![encode(self.register(self.process, aes, chance))]
            }
            Vice::Machines => {
                let machine =
                    |_| std::net::IpAddr::from(chance.next().to_be_bytes().map(u16::from));
                let machines: Vec<_> = (0..most).map(machine).collect();
                let flow = |pair: &[std::net::IpAddr]| SeenFlow {
                    client: pair[0],
                    server: pair[1],
                    proto: Some(17),
                    port: Some(7),
                    packets: u64::MAX,
                    bytes: u64::MAX,
                    age: 0,
                    in_clear: true,
                    unreached: true,
                };
                let flows = machines.windows(2).take(300).map(flow).collect();
                vec![encode(ToServer::Report(Report {
                    process: self.process,
                    machines,
                    counters: [("x".repeat(300), u64::MAX)].into(),
                    flows,
                    ports: Vec::new(),
                }))]
            }
            Vice::Chatter => {
                let done = |command| Done { command, ok: false, text: "\n\u{1b}[31m".repeat(3) };
                (0..5).map(|command| encode(ToServer::Done(done(command)))).collect()
            }
            Vice::Garbage => {
                let mut frame = encode(self.register(self.process, self.aes, chance));
                let at = chance.below(frame.len());
                match chance.below(3) {
                    0 => frame.truncate(at),
                    1 => frame[at] ^= 1 << chance.below(8),
                    _ => frame = chance.next().to_be_bytes().repeat(chance.below(20)),
                }
                vec![frame]
            }
            Vice::Leap
            | Vice::Forge
            | Vice::Silent
            | Vice::Greedy
            | Vice::Early
            | Vice::Thief
            | Vice::TooHigh
            | Vice::Stray => Vec::new(),
        }
    }

    fn forged(&self, vice: Vice, topic: Topic, t: u64, chance: &mut Chance) -> Option<Packet> {
        let local = self.local(t);
        let mut views = self.views.iter().filter(|view| view.origin.is_some());
        let prepared = views.clone().find(|view| view.prepared);
        let view = if vice == Vice::Early { prepared? } else { views.next()? };
        let mut sender = view.senders.first().copied().unwrap_or(1);
        if vice == Vice::Thief {
            sender = chance.between(1, 64) as u32;
        }
        if vice == Vice::TooHigh {
            sender = chance.between(view.highest_sender.into(), Spi::MAX_SENDER.into()) as u32 + 1;
        }
        let epoch = if vice == Vice::Stray { view.id + chance.between(1, 200) } else { view.id };
        let pseudo = pseudo_time(local, view.origin?);
        Some(Packet {
            fell_back: false,
            error: 0,
            from: self.index,
            honest: false,
            ghost: false,
            number: u64::MAX,
            sequence: [t, u64::from(u32::MAX)][usize::from(t.is_multiple_of(7))],
            replayed: false,
            sent: t,
            counts: false,
            epoch,
            tek: *view.tek.expose(),
            sender,
            pseudo,
            topic,
        })
    }
}

impl World {
    /// A hostile member says something to the key server.
    pub(crate) fn mischief(&mut self, who: usize) {
        let again = self.t + self.chance.between(200, 4_000);
        self.later(again, Happening::Mischief(who));
        let member = &self.members[who];
        // All of them go to all members: what that costs in a large group is not judged here.
        let most = 2_000 / self.plan.boxes;
        let rests = self.plan.boxes > 40 && self.chance.happens(950);
        let frames = |&vice: &Vice| match rests && vice == Vice::Machines {
            true => Vec::new(),
            false => member.frames(vice, most, &mut self.chance),
        };
        let frames: Vec<_> = member.vices.iter().flat_map(frames).collect();
        for frame in frames {
            self.checks.tally.hostile += 1;
            self.send_to_server(who, Frame::Bytes(frame));
        }
    }

    /// And to the others.
    pub(crate) fn forge(&mut self, who: usize) {
        let topic = Topic::some(who, self.chance.below(self.plan.boxes), &mut self.chance);
        let member = &self.members[who];
        let packets = member.vices.iter().filter_map(|&vice| match vice {
            Vice::Early | Vice::Thief | Vice::TooHigh | Vice::Stray => {
                member.forged(vice, topic, self.t, &mut self.chance)
            }
            Vice::Leap
            | Vice::Forge
            | Vice::Silent
            | Vice::Greedy
            | Vice::Reborn
            | Vice::Machines
            | Vice::Fickle
            | Vice::Chatter
            | Vice::Garbage => None,
        });
        let packets: Vec<_> = packets.collect();
        for packet in packets {
            self.checks.forged(&packet, &self.members[who].views);
            self.broadcast(packet);
        }
    }
}
