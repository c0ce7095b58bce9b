//! From the WAN to the LAN: open what is sealed, refuse in clear what must come sealed.

use super::copies::{Exit, Original};
use super::places::Place;
use super::receivers::Sealed;
use super::view::Mapped;
use super::{Fate, Note, Reason, Subject, View, Worker, copy_into};
use crate::attach::{Frame, Outbox, Side, Verdict};
use std::net::IpAddr;
use std::sync::Arc;
use tsg_esp::DropReason;
use tsg_esp::buffer::{HEAD_ROOM, Packet};
use tsg_esp::dummy;
use tsg_esp::form::Form;
use tsg_esp::ip::{Outline, protocol};
use tsg_esp::mss;
use tsg_esp::open::Header;
use tsg_esp::too_big;

/// Who a sealed packet is for.
enum For {
    /// A machine behind this gateway.
    Us,
    /// A machine behind another gateway.
    Another,
    /// One or the other: nobody can tell yet.
    Both,
}

/// What an opened packet is good for.
enum Brings {
    /// It goes on to its machine.
    Packet,
    /// A dummy packet, which brings nothing but the time it was sealed at.
    Time,
}

impl Worker {
    pub(super) fn inbound(
        &mut self,
        frame: &mut Frame<'_>,
        outline: &Outline,
        out: &mut Outbox,
        now: u64,
    ) -> Verdict {
        let view = Arc::clone(&self.view);
        let Some(form) = view.forms().find(|form| form.is_sealed(outline)) else {
            return self.let_in(frame, outline, &view, now);
        };
        match self.whose(outline.dst) {
            For::Us => match self.open(
                &mut frame.packet,
                Exit { link: frame.link, port: frame.lan_port },
                outline,
                &form,
                &view,
                now,
            ) {
                Ok(Brings::Packet) => Verdict::Send,
                Ok(Brings::Time) => Verdict::Drop,
                Err(reason) => {
                    if reason == DropReason::Stale.into() {
                        self.tell_time(&mut frame.packet, outline, &form, out, &view, now);
                    }
                    self.refuse(reason)
                }
            },
            For::Another => {
                self.counters.in_series += 1;
                Verdict::Pass
            }
            For::Both => self.open_copy(frame, outline, &form, out, &view, now),
        }
    }

    fn whose(&mut self, dst: IpAddr) -> For {
        if dst.is_multicast() {
            return if self.shared.places.any_behind() { For::Both } else { For::Us };
        }
        match self.shared.places.of(dst) {
            Some(Place::Behind) => For::Another,
            Some(Place::Direct) => For::Us,
            None => match self.mapped(dst) {
                Mapped::NotElsewhere => For::Us,
                Mapped::Elsewhere => For::Another,
                Mapped::Contested => For::Both,
            },
        }
    }

    /// The sealed packet goes on, and an opened copy beside it.
    fn open_copy(
        &mut self,
        frame: &Frame<'_>,
        outline: &Outline,
        form: &Form,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Verdict {
        self.counters.in_series += 1;
        let mut scratch = core::mem::take(&mut self.scratch);
        if let Some(mut copy) = copy_into(&mut scratch, frame.packet.bytes()) {
            let exit = Exit { link: frame.link, port: frame.lan_port };
            match self.open(&mut copy, exit, outline, form, view, now) {
                Ok(Brings::Packet) if out.push(Side::Lan, copy.bytes()).is_err() => {
                    self.counters.refuse(Reason::OutboxFull);
                }
                Ok(Brings::Packet | Brings::Time) => {}
                Err(reason) => self.counters.refuse(reason),
            }
        }
        self.scratch = scratch;
        Verdict::Pass
    }

    fn open(
        &mut self,
        packet: &mut Packet<'_>,
        exit: Exit,
        outline: &Outline,
        form: &Form,
        view: &View,
        now: u64,
    ) -> Result<Brings, Reason> {
        let header = Header::parse(packet.bytes(), outline, form)?;
        let Some(epoch) = view.epoch(header.spi.epoch_byte()).filter(|epoch| epoch.lives(now))
        else {
            self.shared.notes.put(Note::UnknownEpoch);
            return Err(DropReason::UnknownEpoch.into());
        };
        let sealed = Sealed { epoch, header, outline, window: view.window };
        let original = match self.copies {
            Some(_) => Original::of(packet.bytes(), &header, outline, exit.link),
            None => None,
        };
        let opened = self.shared.receivers.open(sealed, packet, &mut self.recent, now);
        let opened = match self.copies.as_mut().zip(original) {
            Some((copies, original)) => copies.settle(opened, original, packet, exit.port, now),
            None => opened,
        }?;
        if epoch.prepared {
            self.shared.notes.put(Note::Authentic { epoch: epoch.tag.id });
        }
        if epoch.is_later(opened.time, now) {
            self.shared.notes.put(Note::Later { epoch: epoch.tag.id, time: opened.time });
        }
        if opened.next_header == protocol::NO_NEXT_HEADER {
            self.counters.time_heard += 1;
            return Ok(Brings::Time);
        }
        let subject = Subject::of(packet.bytes(), &opened.outline, view).ok_or(Reason::BadQuote)?;
        let flow = &subject.flow;
        let wanted = self.wanted_sealed.of(flow, || view.wants_sealed(flow))
            || opened.outline.is_later_fragment()
                && self.could_be_sealed.of(flow, || view.could_be_sealed(flow));
        if opened.outline.source_route || !wanted {
            return Err(Reason::InsidePolicy);
        }
        let path_mtu = self.path_mtu(opened.outline.src, now);
        self.clamp(packet, &opened.outline, &epoch.form, path_mtu);
        self.counters.opened += 1;
        self.counters.opened_bytes += opened.outline.total_len as u64;
        Ok(Brings::Packet)
    }

    /// Who seals an authentic packet as if it were earlier does not know the time: its gateway has lost
    /// power, and the key server does not answer it. It is told by a sealed packet that brings nothing
    /// else, from the machine that the late one was for.
    fn tell_time(
        &mut self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        form: &Form,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) {
        let Ok(header) = Header::parse(packet.bytes(), outline, form) else { return };
        let Some(epoch) = view.epoch(header.spi.epoch_byte()) else { return };
        let receivers = &self.shared.receivers;
        let asks = epoch.is_behind(header.time, now, view.window)
            && !outline.dst.is_multicast()
            && self.told_time.take(now)
            && receivers.is_authentic(epoch, header, packet, outline, Side::Wan, now);
        if !asks {
            return;
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        let told = self.write_time(&mut scratch, outline, out, view, now);
        self.scratch = scratch;
        self.counters.time_told += u64::from(told.is_some());
    }

    fn write_time(
        &mut self,
        scratch: &mut [u8],
        outline: &Outline,
        out: &mut Outbox,
        view: &View,
        now: u64,
    ) -> Option<()> {
        let mut dummy = Packet::new(scratch, HEAD_ROOM..HEAD_ROOM).ok()?;
        let outline = dummy::write(outline.dst, outline.src, &mut dummy).ok()?;
        self.seal(&mut dummy, &outline, view, now).ok()?;
        out.push(Side::Wan, dummy.bytes()).ok()
    }

    fn let_in(&mut self, frame: &Frame<'_>, outline: &Outline, view: &View, now: u64) -> Verdict {
        let Some(subject) = Subject::of(frame.packet.bytes(), outline, view) else {
            return self.refuse(Reason::BadQuote);
        };
        if subject.about_sealed {
            self.heed_too_big(frame.packet.bytes(), outline, view, now);
            return self.refuse(Reason::AboutSealed);
        }
        let flow = &subject.flow;
        let judged = self.let_in.of(flow, || view.lets_in(flow));
        let is_in_clear = match judged {
            // Only a rule that seals, in a mode that does not, lets in what should be sealed.
            Ok(()) if !view.is_lax() => false,
            Ok(()) => {
                self.learn(outline.src, flow, frame.packet.bytes().len(), view);
                self.wanted_sealed.of(flow, || view.wants_sealed(flow))
            }
            Err(reason) => reason == Reason::InClear,
        };
        if is_in_clear {
            self.note_talk(outline.src, flow, Fate::Dropped, view);
        }
        match judged {
            Ok(()) => {
                self.counters.bypassed += 1;
                Verdict::Pass
            }
            Err(reason) => self.refuse(reason),
        }
    }

    /// Somebody on the path says that a packet of ours was too big. The host cannot be told now, since what it
    /// had sent is not in there; it is told when its next packet does not fit.
    fn heed_too_big(&mut self, packet: &[u8], outline: &Outline, view: &View, now: u64) {
        let told = view.forms().find_map(|form| too_big::told(packet, outline, &form));
        let Some(told) = told else { return };
        let epoch = view.epoch(told.spi.epoch_byte());
        let ours = epoch.is_some_and(|epoch| epoch.senders.contains(&told.spi.sender()));
        if ours && self.shared.paths.lower(told.dst, told.mtu, view.path_mtu, now) {
            self.counters.path_mtu_lowered += 1;
        }
    }

    /// Lowers the segment size that a SYN offers to what fits the path once sealed.
    pub(super) fn clamp(
        &mut self,
        packet: &mut Packet<'_>,
        outline: &Outline,
        form: &Form,
        path_mtu: u16,
    ) {
        let max = mss::max_mss(path_mtu, outline.version, form);
        if max.is_some_and(|max| mss::clamp(packet.bytes_mut(), outline, max).is_some()) {
            self.counters.clamped += 1;
        }
    }

    /// Is this sealed packet from the LAN really one of another gateway of the group?
    pub(super) fn is_of_group(
        &mut self,
        frame: &Frame<'_>,
        outline: &Outline,
        form: &Form,
        now: u64,
    ) -> bool {
        let view = Arc::clone(&self.view);
        let bytes = frame.packet.bytes();
        let Ok(header) = Header::parse(bytes, outline, form) else { return false };
        let Some(epoch) = view.epoch(header.spi.epoch_byte()) else { return false };
        // One of our own that came back, by a loop or by somebody's hand, says nothing.
        if epoch.senders.contains(&header.spi.sender())
            || epoch.check_time(header.time, now, view.window).is_err()
        {
            return false;
        }
        let Some(mut copy) = copy_into(&mut self.scratch, bytes) else { return false };
        let receivers = &self.shared.receivers;
        receivers.is_authentic(epoch, header, &mut copy, outline, Side::Lan, now)
    }
}
