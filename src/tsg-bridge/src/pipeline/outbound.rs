//! From the LAN to the WAN: seal what a rule wants sealed, and see that it fits.

use super::lease::{Lease, NotStored};
use super::places::Place;
use super::view::Mapped;
use super::{EpochTag, EpochView, Fate, Judgement, Note, Reason, Subject, View, Worker, lock};
use crate::attach::{Frame, Outbox, Side, Verdict};
use crate::config::Oversize;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tsg_control::group::Fail;
use tsg_esp::DropReason;
use tsg_esp::buffer::{HEAD_ROOM, Packet};
use tsg_esp::crypto::{Kdf as _, Spi};
use tsg_esp::form::Form;
use tsg_esp::fragment::{Piece, pieces, write_piece};
use tsg_esp::ip::Outline;
use tsg_esp::seal::{SealError, Sender};
use tsg_esp::too_big::{self, Unanswerable};
use tsg_sodium::{AnyCipher, Sodium};

/// More new machines than this are not told of between two views.
const MOST_SEEN: usize = 1_024;

/// The sender number that a worker seals with.
pub(super) struct Sealing {
    epoch: EpochTag,
    number: u32,
    sender: Sender<AnyCipher>,
}

impl Sealing {
    /// It is of this epoch, and not replaced in it.
    pub(super) fn serves_in(&self, epoch: &EpochView) -> bool {
        self.epoch == epoch.tag && epoch.senders.contains(&self.number)
    }
}

impl Worker {
    pub(super) fn outbound(
        &mut self,
        frame: &mut Frame<'_>,
        outline: &Outline,
        out: &mut Outbox,
        now: u64,
    ) -> Verdict {
        let view = Arc::clone(&self.view);
        if let Some(form) = view.forms().find(|form| form.is_sealed(outline)) {
            return self.pass_sealed(frame, outline, &form, now);
        }
        let Some(subject) = Subject::of(frame.packet.bytes(), outline, &view) else {
            self.see(outline.src);
            return self.refuse(Reason::BadQuote);
        };
        let flow = &subject.flow;
        // Of a machine whose flow is known it is known that it is there.
        let mut is_news = flow.src != outline.src;
        let judgement = self.judged.of(flow, || {
            is_news = true;
            view.judge_outbound(flow)
        });
        if is_news {
            self.see(outline.src);
        }
        let known = self.mapped(outline.dst) != Mapped::NotElsewhere;
        match judgement {
            Judgement::Drop => return self.refuse(Reason::Policy),
            Judgement::Clear => {
                self.counters.bypassed += 1;
                return Verdict::Pass;
            }
            Judgement::Learn => {
                self.counters.bypassed += 1;
                self.learn(outline.src, flow, frame.packet.bytes().len(), &view);
                return Verdict::Pass;
            }
            Judgement::SealIfKnown if known => {}
            Judgement::NotYet | Judgement::SealIfKnown => {
                self.counters.in_clear += 1;
                self.learn(outline.src, flow, frame.packet.bytes().len(), &view);
                if !known && is_one_machine(outline.dst) {
                    self.note_talk(outline.src, flow, Fate::Unreached, &view);
                }
                return Verdict::Pass;
            }
            Judgement::Seal if view.has_map && !known && is_one_machine(outline.dst) => {
                self.counters.unreached += 1;
                self.note_talk(outline.src, flow, Fate::Unreached, &view);
                self.shared.notes.put(Note::Unreached(outline.dst));
            }
            Judgement::Seal => {}
        }
        self.place_sender(outline.src, now);
        self.seal_or_answer(frame, outline, out, &view, now)
    }

    /// A gateway behind this one has sealed it already.
    fn pass_sealed(
        &mut self,
        frame: &Frame<'_>,
        outline: &Outline,
        form: &Form,
        now: u64,
    ) -> Verdict {
        if !self.shared.places.is_certain(outline.src, Place::Behind, now)
            && self.is_of_group(frame, outline, form, now)
            && self.shared.places.put(outline.src, Place::Behind, now)
        {
            self.shared.notes.put(Note::Downstream(outline.src));
        }
        self.counters.in_series += 1;
        Verdict::Pass
    }

    /// What is for sealing comes in clear from this machine: if there was or may be another gateway
    /// in front of it, there is none any more.
    fn place_sender(&mut self, machine: IpAddr, now: u64) {
        let is_contested = self.mapped(machine) == Mapped::Contested;
        let places = &self.shared.places;
        if (is_contested || places.of(machine) == Some(Place::Behind))
            && places.put(machine, Place::Direct, now)
        {
            self.shared.notes.put(Note::Machine(machine));
        }
    }

    fn see(&mut self, machine: IpAddr) {
        if self.seen.len() < MOST_SEEN && is_one_machine(machine) && self.seen.insert(machine) {
            self.shared.notes.put(Note::Machine(machine));
        }
    }

    fn seal_or_answer(
        &mut self,
        frame: &mut Frame<'_>,
        outline: &Outline,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Verdict {
        let Some(epoch) = view.sealing().filter(|epoch| epoch.lives(now)) else {
            return match view.fail() {
                Fail::Closed => self.refuse(Reason::NoKey),
                Fail::Open => {
                    self.counters.in_clear += 1;
                    Verdict::Pass
                }
            };
        };
        let form = epoch.form;
        frame.packet.truncate(outline.total_len);
        let path_mtu = self.path_mtu(outline.dst, now);
        self.clamp(&mut frame.packet, outline, &form, path_mtu);
        if form.fits(outline, path_mtu) {
            return match self.seal(&mut frame.packet, outline, view, now) {
                Ok(()) => Verdict::Send,
                Err(reason) => self.refuse(reason),
            };
        }
        let cut = outline.fragment.is_some()
            || outline.may_fragment()
            || view.oversize == Oversize::Fragment;
        if cut {
            return self.seal_pieces(frame, outline, &form, out, view, now);
        }
        self.answer_too_big(frame, outline, &form, out, view, now)
    }

    pub(super) fn seal(
        &mut self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        view: &View,
        now: u64,
    ) -> Result<(), Reason> {
        let epoch = view.sealing().ok_or(Reason::NoKey)?;
        let (form, time) = (epoch.form, epoch.time(now));
        // A number that has just come to its end is replaced once; then the packet waits no more.
        for _ in 0..2 {
            let sealing = self.sender(view, now)?;
            match sealing.sender.seal(packet, outline, time, &form) {
                Ok(()) => {
                    self.counters.sealed += 1;
                    self.counters.sealed_bytes += outline.total_len as u64;
                    return Ok(());
                }
                Err(SealError::Exhausted) => self.renew(now),
                Err(error) => return Err(error.reason().into()),
            }
        }
        Err(DropReason::Exhausted.into())
    }

    /// The sender number of this worker in the epoch in force, taken when first needed.
    fn sender(&mut self, view: &View, now: u64) -> Result<&mut Sealing, Reason> {
        if self.sender.is_none() {
            let epoch = view.sealing().ok_or(Reason::NoKey)?;
            let mut leases = lock(&self.shared.leases);
            let lease = leases.take(self.number, epoch.tag, &epoch.senders, now);
            let lease = lease.map_err(|NotStored| Reason::NoKey)?.ok_or(DropReason::Exhausted)?;
            drop(leases);
            tsg_sodium::on_a_clean_stack(|| self.key_sender(epoch, &lease))?;
        }
        self.sender.as_mut().ok_or(Reason::NoKey)
    }

    fn key_sender(&mut self, epoch: &EpochView, lease: &Lease) -> Result<(), Reason> {
        let spi = Spi::new(epoch.tag.id, lease.sender).ok_or(Reason::NoKey)?;
        let cipher = AnyCipher::blank(epoch.suite).map_err(|_| Reason::NoKey)?;
        let mut sender = Sender::new(spi, cipher, [0; 4], lease.first, lease.limit);
        if self.leaves_sums {
            sender.leave_sums();
        }
        let sealing = Sealing { epoch: epoch.tag, number: lease.sender, sender };
        let (cipher, salt) = self.sender.insert(sealing).sender.key_mut();
        let key = Sodium::derive(&epoch.tek, spi);
        cipher.set_key(&key);
        *salt = key.salt;
        Ok(())
    }

    /// The leased numbers are used up: the next block, or another sender number.
    fn renew(&mut self, now: u64) {
        let Some(sealing) = &mut self.sender else { return };
        let (epoch, sender) = (sealing.epoch, sealing.number);
        let mut leases = lock(&self.shared.leases);
        if leases.is_worn(epoch, sender) {
            self.shared.notes.put(match leases.is_over(epoch, sender) {
                true => Note::Exhausted { epoch: epoch.id, sender },
                false => Note::Worn { epoch: epoch.id, sender },
            });
            // It may well be this one again.
            self.sender = None;
            return;
        }
        // What cannot be stored is tried again with the next packet.
        match leases.extend(epoch, sender, now) {
            Ok(Some(lease)) if lease.first == sealing.sender.sequence() => {
                sealing.sender.extend(lease.limit);
            }
            // Numbers in between are not this worker's to use: it takes a lease anew.
            Ok(Some(_)) => self.sender = None,
            Ok(None) | Err(NotStored) => {}
        }
    }

    fn seal_pieces(
        &mut self,
        frame: &Frame<'_>,
        outline: &Outline,
        form: &Form,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Verdict {
        let spare_id = self.shared.spare_id.fetch_add(1, Ordering::Relaxed);
        let Ok(pieces) = pieces(outline, self.path_mtu(outline.dst, now), form, spare_id) else {
            return self.refuse(Reason::TooBigSilent);
        };
        self.counters.fragmented += 1;
        for piece in pieces {
            if let Err(reason) =
                self.seal_piece(frame.packet.bytes(), outline, &piece, out, view, now)
            {
                return self.refuse(reason);
            }
        }
        Verdict::Drop
    }

    fn seal_piece(
        &mut self,
        source: &[u8],
        outline: &Outline,
        piece: &Piece,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Result<(), Reason> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut written = || -> Result<(), Reason> {
            let room = HEAD_ROOM..HEAD_ROOM;
            let mut packet =
                Packet::new(&mut scratch, room).map_err(|_| Reason::from(DropReason::NoRoom))?;
            let outline = write_piece(source, outline, piece, &mut packet)
                .map_err(|_| Reason::from(DropReason::NoRoom))?;
            self.seal(&mut packet, &outline, view, now)?;
            out.push(Side::Wan, packet.bytes()).map_err(|_| Reason::OutboxFull)
        };
        let result = written();
        self.scratch = scratch;
        result
    }

    /// Tells the sender what fits, not too often. An IPv6 host does not believe in less than 1,280 bytes: for a path
    /// that narrow its packets are cut.
    fn answer_too_big(
        &mut self,
        frame: &Frame<'_>,
        outline: &Outline,
        form: &Form,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Verdict {
        let Some(mtu) = form.plain_mtu(outline.version, self.path_mtu(outline.dst, now)) else {
            return self.refuse(Reason::TooBigSilent);
        };
        let Ok(mut answer) = Packet::new(&mut self.scratch, HEAD_ROOM..HEAD_ROOM) else {
            return self.refuse(Reason::TooBigSilent);
        };
        match too_big::answer(frame.packet.bytes(), outline, mtu, &mut answer) {
            Ok(()) if self.too_big.take(now) && out.push(Side::Lan, answer.bytes()).is_ok() => {
                self.refuse(Reason::TooBig)
            }
            Err(Unanswerable::MtuTooSmall) => {
                self.seal_pieces(frame, outline, form, out, view, now)
            }
            Ok(()) | Err(_) => self.refuse(Reason::TooBigSilent),
        }
    }
}

/// A unicast address, as far as one can tell by looking at it.
fn is_one_machine(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_multicast() || address.is_unspecified() || broadcast)
}
