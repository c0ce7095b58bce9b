//! A worker: packets from its queue of the device go out sealed, what comes in sealed by its socket goes to its queue.

use super::device::{Entry, LONGEST, Queue};
use super::opening::{Opened, Opening};
use super::other::Turn;
use super::shared::Shared;
use super::status::Counts;
use super::sys::{Arrival, Outer};
use super::transport::Headers;
use super::wire::{Sent, Wire, say};
use crate::attach::{sleeps_exactly, virtio};
use crate::boottime;
use crate::pipeline::Reason;
use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tsg_esp::buffer::{NoRoom, Packet};
use tsg_esp::checksum::complete;
use tsg_esp::ip::{Malformed, Outline, traffic_class};
use tsg_esp::segment::{Cut, Offload, Partial};
use tsg_esp::{DropReason, ecn, inside};

/// Packets of one end before the other has its turn.
const BATCH: usize = 64;

/// Who finds so many packets at once is busy, and lets others gather for a moment: what comes together goes on together.
const BUSY: usize = 8;

/// So long it lets them gather.
const GATHER: Duration = Duration::from_micros(20);

/// So often it looks for [another socket](super::way) in the place of its own, in milliseconds.
const AGAIN: u16 = 1_000;

/// One worker.
pub(super) struct Worker<'s> {
    number: usize,
    shared: &'s Shared,
    queue: Queue,
    entry: Entry,
    wire: Wire<'s>,
    /// In transport mode.
    headers: Option<Headers>,
    buffer: Vec<u8>,
    /// Of this batch.
    counts: Counts,
}

impl<'s> Worker<'s> {
    pub(super) fn new(
        number: usize,
        shared: &'s Shared,
        queue: Queue,
        headers: Option<Headers>,
    ) -> Self {
        Self {
            number,
            shared,
            entry: queue.entry(),
            queue,
            wire: Wire::over(shared.way.socket(number), shared.way.carrier()),
            headers,
            buffer: vec![0; virtio::LEN + LONGEST],
            counts: Counts::default(),
        }
    }

    /// Until the end of all, or of the device.
    pub(super) fn serve(mut self) -> Result<()> {
        let may_gather = sleeps_exactly();
        loop {
            let (end, inward, outward) = self.wait()?;
            if end {
                return Ok(());
            }
            let now = boottime::now();
            let mut done = 0;
            if inward {
                done += self.inward(now);
            }
            if outward {
                done += self.outward(now)?;
            }
            self.shared.count(&core::mem::take(&mut self.counts));
            if may_gather && (BUSY..BATCH).contains(&done) {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Waits until there is something to do: to end, to take from the wire, to take from the device.
    fn wait(&self) -> Result<(bool, bool, bool)> {
        let waiting = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let all = [self.shared.end().as_fd(), self.wire.as_fd(), self.queue.as_fd()];
        let mut all = all.map(waiting);
        match poll(&mut all, PollTimeout::from(AGAIN)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
        let [end, inward, outward] = all.map(|one| one.any() == Some(true));
        Ok((end, inward, outward))
    }

    /// From the device to the wire; how many packets.
    fn outward(&mut self, now: u64) -> Result<usize> {
        let shared = self.shared;
        let mut turn = shared.peer.turn(self.number, now);
        let mut buffer = core::mem::take(&mut self.buffer);
        let mut done = 0;
        let end = loop {
            if done == BATCH {
                break Ok(());
            }
            match self.queue.read(&mut buffer) {
                Ok((header, packet)) => {
                    let sealed = self.seal(header, packet, &mut turn);
                    self.counts.refuse(sealed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
            done += 1;
        };
        self.buffer = buffer;
        self.send();
        shared.sent.set(now);
        end.with_context(|| format!("{} is gone", shared.tunnel.device))?;
        Ok(done)
    }

    /// Seals a packet, or the pieces that it is to be cut into.
    fn seal(
        &mut self,
        header: virtio::Header,
        packet: &mut [u8],
        turn: &mut Turn<'_>,
    ) -> Result<(), Reason> {
        let Offload { checksum, cut } = header.offload(0).ok_or(Reason::Malformed)?;
        let outline = Outline::parse(packet).map_err(|Malformed| Reason::Malformed)?;
        let outer = match self.headers {
            None => Outer { class: traffic_class(packet).map_or(0, ecn::outer), hops: None },
            Some(_) => Headers::outer(packet),
        };
        let Some((kind, size)) = cut else {
            if let Some(Partial { start, offset }) = checksum {
                complete(packet, start, offset).map_err(|Malformed| Reason::Malformed)?;
            }
            let gathered = match &mut self.headers {
                Some(headers) if outline.fragment.is_some() => {
                    let Some(whole) = headers.gather(packet, &outline)? else { return Ok(()) };
                    Some(whole)
                }
                Some(_) | None => None,
            };
            let packet = gathered.as_deref().unwrap_or(packet);
            return self.seal_piece(packet.len(), outer, turn, |into| {
                into.push_back(packet.len())?;
                into.bytes_mut().copy_from_slice(packet);
                Ok(())
            });
        };
        let mtu = usize::from(self.shared.mtu.load(Relaxed));
        let cut = Cut::plan(packet, &outline, kind, usize::from(size), checksum.is_some()).ok();
        let cut = cut.and_then(|cut| cut.no_longer_than(mtu)).ok_or(Reason::Malformed)?;
        for number in 0..cut.count() {
            let write = |into: &mut Packet<'_>| cut.write(number, into);
            self.seal_piece(cut.longest(), outer, turn, write)?;
        }
        Ok(())
    }

    /// Seals what `write` makes, which is no longer than `longest`.
    fn seal_piece(
        &mut self,
        longest: usize,
        outer: Outer,
        turn: &mut Turn<'_>,
        write: impl FnOnce(&mut Packet<'_>) -> Result<(), NoRoom>,
    ) -> Result<(), Reason> {
        if self.wire.is_full(longest) {
            self.send();
        }
        let (mut packet, at) = self.wire.room(longest).ok_or(DropReason::NoRoom)?;
        write(&mut packet).map_err(|NoRoom| DropReason::NoRoom)?;
        let outline = Outline::parse(packet.bytes()).map_err(|Malformed| Reason::Malformed)?;
        let next_header = match &self.headers {
            None => inside::whole(&mut packet, &outline).map_err(|Malformed| Reason::Malformed)?,
            Some(headers) => headers.enclose(&mut packet, &outline)?,
        };
        turn.seal(&mut packet, next_header)?;
        let range = packet.range();
        self.wire.take(at, range, outer);
        self.counts.packets.sealed += 1;
        Ok(())
    }

    /// Sends what was sealed.
    fn send(&mut self) {
        let Sent { failed, too_long } = self.wire.flush(self.shared.way.to());
        self.counts.send_failed += failed;
        if too_long {
            self.shared.look_at_path();
        }
    }

    /// From the wire to the device; how many packets.
    fn inward(&mut self, now: u64) -> usize {
        let shared = self.shared;
        let received = match self.wire.receive() {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // The path or the other end said something about an earlier packet.
            Err(_) => {
                shared.look_at_path();
                0
            }
        };
        let turn = shared.peer.turn(self.number, now);
        let Self { wire, entry, headers, counts, .. } = self;
        let mut opening = Opening { turn, entry, headers: headers.as_mut(), say: Vec::new() };
        let mut done = 0;
        for number in 0..received {
            let Some(Arrival { bytes, outer, size, hosts }) = wire.arrival(number) else {
                counts.refuse(Err(Reason::Malformed));
                continue;
            };
            let mut is_there = false;
            for esp in bytes.chunks_mut(size.unwrap_or(usize::MAX)) {
                done += 1;
                match opening.open(esp, outer) {
                    Ok(Opened::Packet) => {
                        counts.packets.opened += 1;
                        is_there = true;
                    }
                    Ok(Opened::Sign) => is_there = true,
                    Ok(Opened::Nothing) => {}
                    Err(reason) => {
                        if let Some(other_mode) = &shared.other_mode
                            && reason == DropReason::UnknownSender.into()
                        {
                            other_mode.look(esp, &shared.tunnel.device);
                        }
                        counts.refuse(Err(reason));
                    }
                }
            }
            for esp in opening.say.drain(..) {
                say(shared.way.socket(self.number), &esp, hosts);
                shared.sent.set(now);
            }
            if is_there && shared.tunnel.fixed().is_none() && shared.way.to() != Some(hosts) {
                log::info!("{}: the other end is at {}", shared.tunnel.device, hosts.other.ip());
                shared.way.turn_to(hosts);
                shared.look_at_path();
            }
        }
        drop(opening);
        self.counts.not_taken += self.entry.flush();
        done
    }
}
