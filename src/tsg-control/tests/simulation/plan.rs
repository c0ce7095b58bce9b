//! What one seed does to its world.

use crate::random::Chance;

/// How bad the world of one seed is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) boxes: usize,
    /// The first of those in the second group; the last of all comes with a token.
    pub(crate) lab_from: usize,
    /// A packet is heard by so many others.
    pub(crate) hearers: usize,
    /// A box sends a packet about this often, in milliseconds.
    pub(crate) pause: u64,
    /// Single messages are lost, doubled and overtake each other; else only connections break,
    /// with what is on its way.
    pub(crate) harsh: bool,
    /// The server is killed.
    pub(crate) crashes: bool,
    /// What one turn of the server stores is one transaction.
    pub(crate) transactions: bool,
    /// The server's machine goes back to what it was, memory and disk.
    pub(crate) snapshots: bool,
    /// Old backups are restored and clocks jump.
    pub(crate) backups: bool,
    pub(crate) jumps: bool,
    /// Members are thrown out.
    pub(crate) revocations: bool,
    /// Some gateways are cut off for long.
    pub(crate) partitions: bool,
    /// Daemons restart and boxes reboot.
    pub(crate) restarts: bool,
    /// Boxes lose power; some keep keys for after that.
    pub(crate) power_cuts: bool,
    /// Connections break for a moment.
    pub(crate) breaks: bool,
    /// What was said while the connection was down is said when it is back.
    pub(crate) queues: bool,
    /// Packets between boxes are lost, doubled and late.
    pub(crate) rough: bool,
    /// A packet stands for millions: sequence numbers come to their end.
    pub(crate) ends: bool,
    /// Epochs begin with sender numbers near the end.
    pub(crate) crowded: bool,
    /// Some members do not obey.
    pub(crate) hostile: bool,
    /// The server's crystal, in parts per million.
    pub(crate) ppm: i64,
    /// The number of the groups' last epoch before the world began.
    pub(crate) last_epoch: u64,
    /// Longest delay of a message between gateway and server.
    pub(crate) delay: u64,
}

impl Plan {
    /// This box hears its machine. In large worlds few do: all maps go to all.
    pub(crate) const fn is_mapped(&self, who: usize) -> bool {
        who.is_multiple_of(1 + self.boxes / 40)
    }

    pub(crate) fn new(seed: u64, chance: &mut Chance) -> Self {
        // Calm worlds, in which nothing may be lost, and wild ones take turns.
        let wild = seed % 4 == 3;
        let boxes = match seed % 20 {
            10 => 200,
            _ => chance.between(8, 30) as usize,
        };
        let hearers = boxes.min(9) - 1;
        Self {
            seed,
            boxes,
            lab_from: boxes - 1 - boxes / 5,
            hearers,
            // Large worlds cost about as much as small ones.
            pause: (boxes * hearers * 8).max(560) as u64,
            harsh: seed % 4 == 2,
            crashes: seed % 2 == 1 || chance.happens(300),
            transactions: chance.happens(700),
            snapshots: seed % 8 == 5,
            backups: wild,
            jumps: wild || chance.happens(200),
            revocations: !seed.is_multiple_of(4),
            partitions: wild || chance.happens(400),
            restarts: wild || chance.happens(600),
            power_cuts: chance.happens(if wild { 700 } else { 300 }),
            breaks: chance.happens(700),
            queues: chance.happens(500),
            rough: seed % 5 < 2,
            ends: seed % 5 == 4,
            crowded: chance.happens(300),
            hostile: chance.happens(450),
            ppm: [-100, 0, 100][chance.below(3)],
            last_epoch: [0, 0, chance.between(250, 260), (1 << 32) - chance.between(0, 20)]
                [chance.below(4)],
            delay: [3, 20, 80, 400][chance.below(4)],
        }
    }
}
