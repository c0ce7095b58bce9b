//! What the attach itself counts; the pipeline counts what it did with the packets.

use core::ops::AddAssign;

/// Counters of one attach, summed over its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came to a handler.
    pub frames: u64,
    /// Verdicts: passed unchanged.
    pub passed: u64,
    /// Verdicts: sent on changed.
    pub sent: u64,
    /// Verdicts: dropped by the handler.
    pub dropped: u64,
    /// Packets from an outbox that went out.
    pub extra: u64,
    /// Packets that the kernel did not take: port down, packet too long, no memory.
    pub send_failed: u64,
    /// Packets dropped, since nobody knows the Ethernet address they go to: from an outbox, or without a
    /// header from the bridge's queue.
    pub no_link_address: u64,
    /// Messages or frames from the kernel that made no sense; dropped.
    pub malformed: u64,
    /// Frames from LAN to LAN that a port's hook caught; they went on untouched.
    pub lan_to_lan: u64,
    /// Frames that a port's hook caught although they do not cross: whom they are for was heard on the side that they
    /// came from. The bridge would not have forwarded them either.
    pub same_side: u64,
    /// Packets that the kernel dropped, as a queue or a TAP was full or the socket had no room.
    pub queue_full: u64,
    /// Frames that the gate stopped: neither the rules nor a handler had refused them before.
    pub gate: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        let Self {
            frames,
            passed,
            sent,
            dropped,
            extra,
            send_failed,
            no_link_address,
            malformed,
            lan_to_lan,
            same_side,
            queue_full,
            gate,
        } = other;
        self.frames += frames;
        self.passed += passed;
        self.sent += sent;
        self.dropped += dropped;
        self.extra += extra;
        self.send_failed += send_failed;
        self.no_link_address += no_link_address;
        self.malformed += malformed;
        self.lan_to_lan += lan_to_lan;
        self.same_side += same_side;
        self.queue_full += queue_full;
        self.gate += gate;
    }
}
