//! What happened, and whether it is enough to prove something.

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) sealed: u64,
    pub(crate) opened: u64,
    pub(crate) counted: u64,
    pub(crate) epochs: u64,
    pub(crate) ghosts: u64,
    pub(crate) crashes: u64,
    pub(crate) hostile: u64,
    pub(crate) snapshots: u64,
    /// Sender numbers of which three quarters were used…
    pub(crate) worn: u64,
    /// …and all.
    pub(crate) ended: u64,
    /// Packets under sender numbers beyond which there should be a new epoch.
    pub(crate) crowded: u64,
    /// Packets in clear that were refused, and that were let in.
    pub(crate) refused: u64,
    pub(crate) let_in: u64,
    /// How often keys of before a power cut were taken up, and the time was learnt from others.
    pub(crate) taken_up: u64,
    pub(crate) told_time: u64,
    /// Policy versions that came into force.
    pub(crate) policies: u64,
    /// Packets that came to a member of the same group, both of them obeying…
    pub(crate) came: u64,
    /// …and those of them that could not be lost without a fault.
    pub(crate) judged: u64,
}

impl Tally {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.sealed += other.sealed;
        self.opened += other.opened;
        self.counted += other.counted;
        self.epochs += other.epochs;
        self.ghosts += other.ghosts;
        self.crashes += other.crashes;
        self.hostile += other.hostile;
        self.snapshots += other.snapshots;
        self.worn += other.worn;
        self.ended += other.ended;
        self.crowded += other.crowded;
        self.refused += other.refused;
        self.let_in += other.let_in;
        self.taken_up += other.taken_up;
        self.told_time += other.told_time;
        self.policies += other.policies;
        self.came += other.came;
        self.judged += other.judged;
    }

    /// A hundred worlds in which nothing happens prove nothing.
    pub(crate) const fn is_plenty(&self) -> bool {
        self.judged * 10 > self.came * 3
            && self.counted > 100_000
            && self.epochs > 1_000
            && self.ghosts > 100
            && self.crashes > 100
            && self.policies > 100
            && self.refused > 10_000
            && self.let_in > 10_000
            && self.taken_up > 50
            && self.told_time > 20
            && self.hostile > 10_000
            && self.snapshots > 3
            && self.worn > 100
            && self.ended > 10
            && self.crowded > 100
    }
}
