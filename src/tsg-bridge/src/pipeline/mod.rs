//! What is done to a packet between the two sides of the bridge: judged by the policy, sealed on
//! its way to the WAN, opened on its way to the LAN.
//!
//! One [`Worker`] per thread, all around one [`Shared`]. The control thread publishes a [`View`]
//! (keys, policy, map) whenever something changed; a worker takes the newest at each batch. What a
//! worker notices that concerns the key server goes back as a [`Note`].
//!
//! Not here: how packets come and go ([`crate::attach`]), what the epochs are
//! ([`tsg_control::gateway`]), the bytes of a sealed packet ([`tsg_esp`]).

mod budget;
mod copies;
mod counters;
mod inbound;
mod learned;
mod lease;
mod memo;
mod notes;
mod outbound;
mod paths;
mod places;
mod receivers;
mod talks;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use counters::{Counters, Reason};
pub use learned::{Service, Use};
pub(crate) use lease::Lease;
pub use lease::Leases;
pub use notes::Note;
pub use talks::{Fate, Heard, Talk};
pub use view::{EpochTag, EpochView, Judgement, View};

use crate::attach::{Frame, Handler, Outbox, Side, Verdict};
use crate::boottime;
pub(crate) use budget::Budget;
use copies::Copies;
use learned::{Learned, Learning};
use memo::Memo;
use notes::Notes;
use outbound::Sealing;
use paths::Paths;
use places::Places;
use receivers::{Receivers, Recent};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use talks::{Counting, Talks, service_port};
use tsg_control::policy::{Flow, Proto};
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::ip::{Outline, protocol};
use view::Mapped;

/// The largest packet that a kernel hands over.
const LARGEST: usize = 65_535;

/// Answers to packets that are too big, per second and worker. A host that heeds them needs one.
const TOO_BIG: u32 = 100;

/// Answers to packets of gateways that do not know the time, per second and worker.
const TOLD_TIME: u32 = 10;

/// What the workers of one gateway have in common.
#[derive(Debug)]
pub struct Shared {
    view: RwLock<Arc<View>>,
    /// Counts the views: a worker compares it instead of taking the lock.
    generation: AtomicU32,
    receivers: Receivers,
    leases: Mutex<Leases>,
    notes: Notes,
    counters: Vec<Mutex<Counters>>,
    /// The next identification for fragments of what has none. A start does not go on where the last one began.
    spare_id: AtomicU32,
    places: Places,
    paths: Paths,
    talks: Talks,
    learned: Learned,
}

impl Shared {
    /// For `workers` threads. `wake` is called when there is a note to be read.
    pub fn new(workers: usize, leases: Leases, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            view: RwLock::new(Arc::new(View::default())),
            generation: AtomicU32::new(0),
            receivers: Receivers::default(),
            leases: Mutex::new(leases),
            notes: Notes::new(wake),
            counters: (0..workers).map(|_| Mutex::default()).collect(),
            spare_id: AtomicU32::new(random()),
            places: Places::default(),
            paths: Paths::default(),
            talks: Talks::default(),
            learned: Learned::default(),
        }
    }

    /// From now on the workers see this. `held` are all epochs that the gateway holds, also those
    /// that cannot be used now: what was leased in them is not forgotten.
    pub fn publish(&self, view: View, held: &[EpochTag]) {
        lock(&self.leases).keep(held);
        let view = Arc::new(view);
        let before = core::mem::replace(
            &mut *self.view.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&view),
        );
        self.generation.fetch_add(1, Ordering::Release);
        // A worker that looks again from now on drops its own counts, one that handed them over did so before this.
        if !view.judges_as(&before) {
            self.talks.clear();
        }
        if before.learns() && !view.learns() {
            self.learned.clear();
        }
        self.receivers.keep(held);
    }

    /// What the workers see.
    pub fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the workers noticed since the last call.
    pub fn take_notes(&self) -> Vec<Note> {
        self.notes.take()
    }

    /// All counters, summed over the workers.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for counters in &self.counters {
            sum.add(&lock(counters));
        }
        sum
    }

    /// Who talks in clear although a rule wants it sealed, or is sealed for nobody; the most of it first.
    pub fn talks(&self, now: u64) -> Vec<(Talk, Heard)> {
        self.talks.list(now)
    }

    /// Who uses which service, while the group learns; the most used first.
    pub fn learned(&self) -> Vec<(Service, Use)> {
        self.learned.list()
    }

    /// Senders whose packets were opened.
    pub fn senders_known(&self) -> usize {
        self.receivers.len()
    }

    /// Why sequence numbers cannot be stored, if that is so: then nothing more is sealed. To be asked
    /// now and then: it tries again.
    pub fn lease_trouble(&self, now: u64) -> Option<String> {
        lock(&self.leases).trouble(now)
    }

    /// Machines on the LAN side that another gateway behind this one seals for. To be asked now and
    /// then: machines that fell silent are forgotten by it.
    pub fn downstream(&self, now: u64) -> Vec<IpAddr> {
        self.places.behind(now)
    }
}

/// Where identifications begin: nobody outside can tell, and two starts have others.
fn random() -> u32 {
    let mut bytes = [0; 4];
    tsg_sodium::random(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// A worker that panicked has left its data whole: it is changed in single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The data path of one thread.
pub struct Worker {
    number: usize,
    shared: Arc<Shared>,
    #[expect(clippy::redundant_allocation, reason = "the count that all workers share is slow")]
    view: Arc<Arc<View>>,
    generation: u32,
    /// When the batch began, within one.
    began: Option<u64>,
    sender: Option<Sealing>,
    recent: Recent,
    /// Where each LAN port gets a copy of its own.
    copies: Option<Copies>,
    leaves_sums: bool,
    counters: Counters,
    scratch: Vec<u8>,
    seen: HashSet<IpAddr>,
    judged: Memo<Judgement>,
    wanted_sealed: Memo<bool>,
    could_be_sealed: Memo<bool>,
    let_in: Memo<Result<(), Reason>>,
    mapped: Memo<Mapped>,
    services: Memo<Option<u16>>,
    counting: Counting,
    learning: Learning,
    too_big: Budget,
    told_time: Budget,
}

impl Worker {
    /// The worker with this number, below the count given to [`Shared::new`]. Where there was one before, it counts on.
    pub fn new(number: usize, shared: Arc<Shared>) -> Self {
        let counted = shared.counters.get(number).map(|counters| lock(counters).clone());
        Self {
            number,
            view: Arc::default(),
            generation: u32::MAX,
            began: None,
            sender: None,
            recent: Recent::default(),
            copies: None,
            leaves_sums: false,
            counters: counted.unwrap_or_default(),
            scratch: vec![0; HEAD_ROOM + LARGEST + TAIL_ROOM],
            seen: HashSet::new(),
            judged: Memo::new(),
            wanted_sealed: Memo::new(),
            could_be_sealed: Memo::new(),
            let_in: Memo::new(),
            mapped: Memo::new(),
            services: Memo::new(),
            counting: Counting::default(),
            learning: Learning::default(),
            too_big: Budget::new(TOO_BIG),
            told_time: Budget::new(TOLD_TIME),
            shared,
        }
    }

    fn refresh(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            let before = core::mem::replace(&mut self.view, Arc::new(self.shared.view()));
            if !self.view.judges_as(&before) {
                self.counting = Counting::default();
            }
            if !self.view.learns() {
                self.learning = Learning::default();
            }
            let sealing = self.view.sealing();
            let serves = |sender: &Sealing| sealing.is_some_and(|epoch| sender.serves_in(epoch));
            if self.sender.as_ref().is_some_and(|sender| !serves(sender)) {
                // Dropped where it lies: taking it out would leave its key there.
                self.sender = None;
            }
            self.recent.clear();
            self.judged.clear();
            self.wanted_sealed.clear();
            self.could_be_sealed.clear();
            self.let_in.clear();
            self.mapped.clear();
            self.services.clear();
            // Machines that are new since then are to be told of again.
            self.seen.clear();
            // The ciphers work with keys on the stack, which may be over now.
            tsg_sodium::wipe_stack();
        }
    }

    /// What the map says of this machine.
    fn mapped(&mut self, machine: IpAddr) -> Mapped {
        let key = Flow { src: machine, dest: machine, proto: None, ports: None };
        self.mapped.of(&key, || self.view.mapped(machine))
    }

    /// Takes note of what does not go on in `enforce`; not of ICMP errors, which are about others' flows.
    fn note_talk(&mut self, sender: IpAddr, flow: &Flow, fate: Fate, view: &View) {
        if flow.src != sender {
            return;
        }
        let port = self.services.of(flow, || service_port(flow, view));
        let talk = Talk { src: flow.src, dest: flow.dest, proto: flow.proto, port, fate };
        self.counting.count(talk, flow);
    }

    /// Takes note of who uses what, if the group learns; not of ICMP errors, which are about others' flows.
    fn learn(&mut self, sender: IpAddr, flow: &Flow, bytes: usize, view: &View) {
        if flow.src != sender || !view.learns() {
            return;
        }
        let port = self.services.of(flow, || service_port(flow, view));
        if let Some(service) = Service::of(flow, port) {
            self.learning.count(service, bytes);
        }
    }

    /// What is done within a batch is done at its beginning.
    fn now(&self) -> u64 {
        self.began.unwrap_or_else(boottime::now)
    }

    /// The largest IP packet on the way to this machine.
    fn path_mtu(&self, machine: IpAddr, now: u64) -> u16 {
        self.shared.paths.mtu(machine, self.view.path_mtu, now)
    }

    fn refuse(&mut self, reason: Reason) -> Verdict {
        self.counters.refuse(reason);
        Verdict::Drop
    }
}

impl Handler for Worker {
    fn expect_copies(&mut self) {
        self.copies = Some(Copies::new());
    }

    fn leave_sums(&mut self) {
        self.leaves_sums = true;
    }

    fn begin(&mut self) {
        self.began = Some(boottime::now());
    }

    fn handle(&mut self, frame: &mut Frame<'_>, out: &mut Outbox) -> Verdict {
        self.refresh();
        let outline = match Outline::parse(frame.packet.bytes()) {
            Ok(outline) if outline.version == frame.version => outline,
            Ok(_) | Err(_) => return self.refuse(Reason::Malformed),
        };
        if outline.source_route {
            return self.refuse(Reason::SourceRoute);
        }
        let now = self.now();
        match frame.from {
            Side::Lan => self.outbound(frame, &outline, out, now),
            Side::Wan => self.inbound(frame, &outline, out, now),
        }
    }

    fn largest(&mut self, from: Side, outline: &Outline) -> usize {
        self.refresh();
        let form = self.view.sealing().filter(|_| from == Side::Lan).map(|epoch| epoch.form);
        let path_mtu = self.path_mtu(outline.dst, self.now());
        let most = form.and_then(|form| form.plain_mtu(outline.version, path_mtu));
        most.map_or(usize::MAX, usize::from)
    }

    fn idle(&mut self) {
        self.refresh();
        let now = self.now();
        self.shared.talks.add(&mut self.counting, now);
        self.shared.learned.add(&mut self.learning, now);
        self.began = None;
        if let Some(counters) = self.shared.counters.get(self.number) {
            *lock(counters) = self.counters.clone();
        }
    }
}

/// A copy of a packet in a worker's own room.
fn copy_into<'a>(room: &'a mut [u8], bytes: &[u8]) -> Option<Packet<'a>> {
    let range = HEAD_ROOM..HEAD_ROOM + bytes.len();
    room.get_mut(range.clone())?.copy_from_slice(bytes);
    Packet::new(room, range).ok()
}

/// What the policy has to judge: the packet's own flow, or that of the packet which an ICMP error
/// quotes.
struct Subject {
    flow: Flow,
    /// An ICMP error about a sealed packet.
    about_sealed: bool,
}

impl Subject {
    /// `None` when an ICMP error quotes what cannot be read.
    fn of(packet: &[u8], outline: &Outline, view: &View) -> Option<Self> {
        let quoted = outline.quoted(packet).ok()?;
        let about_sealed =
            quoted.as_ref().is_some_and(|quoted| view.forms().any(|form| form.is_sealed(quoted)));
        Some(Self { flow: flow(quoted.as_ref().unwrap_or(outline)), about_sealed })
    }
}

fn flow(outline: &Outline) -> Flow {
    let upper = if outline.unparsed { None } else { outline.upper };
    Flow {
        src: outline.src,
        dest: outline.dst,
        proto: upper.map(|upper| Proto(upper.proto)).or_else(|| fragment_proto(outline)),
        ports: upper.and_then(|upper| upper.ports),
    }
}

/// A later fragment has no upper layer to show, but IPv4 says what it belongs to.
fn fragment_proto(outline: &Outline) -> Option<Proto> {
    let later = outline.is_later_fragment() && !outline.unparsed;
    (later && outline.next_header != protocol::FRAGMENT).then_some(Proto(outline.next_header))
}
