//! From the WAN to the LAN: open what is sealed, refuse in clear what must come sealed.

use super::{Note, Reason, Subject, View, Worker};
use crate::attach::{Frame, Verdict};
use std::sync::Arc;
use tsg_esp::form::Form;
use tsg_esp::ip::Outline;
use tsg_esp::mss;
use tsg_esp::open::Header;

impl Worker {
    pub(super) fn inbound(&mut self, frame: &mut Frame<'_>, outline: &Outline, now: u64) -> Verdict {
        let view = Arc::clone(&self.view);
        let sealed = view.forms().find(|form| form.is_sealed(outline));
        match sealed {
            Some(form) => self.open(frame, outline, &form, &view, now),
            None => self.let_in(frame, outline, &view),
        }
    }

    fn open(
        &mut self,
        frame: &mut Frame<'_>,
        outline: &Outline,
        form: &Form,
        view: &View,
        now: u64,
    ) -> Verdict {
        let header = match Header::parse(frame.packet.bytes(), outline, form) {
            Ok(header) => header,
            Err(reason) => return self.refuse(reason.into()),
        };
        if self.shared.is_downstream(outline.dst) {
            self.counters.in_series += 1;
            return Verdict::Pass;
        }
        let Some(epoch) = view.epoch(header.spi.epoch_byte()).filter(|epoch| epoch.lives(now))
        else {
            self.shared.notes.put(Note::UnknownEpoch);
            return self.refuse(Reason::Packet(tsg_esp::DropReason::UnknownEpoch));
        };
        let receivers = &self.shared.receivers;
        let packet = &mut frame.packet;
        let opened = match receivers.open(epoch, header, packet, outline, now, view.window) {
            Ok(opened) => opened,
            Err(reason) => return self.refuse(reason),
        };
        if epoch.prepared {
            self.shared.notes.put(Note::Authentic { epoch: epoch.id });
        }
        let Some(subject) = Subject::of(frame.packet.bytes(), &opened.outline, view) else {
            return self.refuse(Reason::BadQuote);
        };
        if opened.outline.source_route || !view.wants_sealed(&subject.flow) {
            return self.refuse(Reason::InsidePolicy);
        }
        self.clamp(frame, &opened.outline, &epoch.form, view);
        self.counters.opened += 1;
        Verdict::Send
    }

    fn let_in(&mut self, frame: &Frame<'_>, outline: &Outline, view: &View) -> Verdict {
        let Some(subject) = Subject::of(frame.packet.bytes(), outline, view) else {
            return self.refuse(Reason::BadQuote);
        };
        if subject.about_sealed {
            return self.refuse(Reason::AboutSealed);
        }
        match view.lets_in(&subject.flow) {
            Ok(()) => {
                self.counters.bypassed += 1;
                Verdict::Pass
            }
            Err(reason) => self.refuse(reason),
        }
    }

    /// Lowers the segment size that a SYN offers to what fits the path once sealed.
    pub(super) fn clamp(
        &mut self,
        frame: &mut Frame<'_>,
        outline: &Outline,
        form: &Form,
        view: &View,
    ) -> bool {
        let max = mss::max_mss(view.path_mtu, outline.version, form);
        let lowered = max.is_some_and(|max| mss::clamp(frame.packet.bytes_mut(), outline, max).is_some());
        if lowered {
            self.counters.clamped += 1;
        }
        lowered
    }

    /// Is this sealed packet from the LAN really one of the group's?
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
        let shared = Arc::clone(&self.shared);
        let Some(mut copy) = self.copy_of(bytes) else { return false };
        shared.receivers.is_authentic(epoch, header, &mut copy, outline, now, view.window)
    }

}
