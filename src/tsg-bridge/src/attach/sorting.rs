//! The kernel's rules against the matcher: random frames go into a real bridge with each attach that this
//! kernel has, and it is looked where they come out.
//!
//! The daemon decides exactly, so what counts is that nothing passes that the matcher would not let pass; and
//! that nothing is bothered that it would, as far as the kernel can tell.

use super::{Frame, Handler, Kind, Outbox, Ports, Side, Verdict, probe, sockets, start, sys};
use crate::attach::ethernet::Header;
use crate::gate::reference::{flow, sealed};
use crate::rules::{Plan, always_passes, frames};
use proptest::strategy::{Strategy as _, ValueTree as _};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::policy::Action;
use tsg_esp::ip::{Outline, protocol};

const PLANS: usize = 40;
const FRAMES: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sorted {
    Passes,
    Daemon,
    Dropped,
}

/// Where the matcher wants a packet.
fn wanted(plan: &Plan, shot: &Shot) -> Sorted {
    let Shot { outline, from, tags, lies, .. } = shot;
    if *tags == 2 {
        // What is below a second tag the daemon alone can see.
        let looks = plan.acts() || plan.non_ip != NonIp::Pass;
        if looks {
            let passes = !lies && always_passes(outline, &plan.servers);
            return if passes { Sorted::Passes } else { Sorted::Daemon };
        }
        // Where it looks at nothing there, nobody opens what is sealed, and the gate lets no machine have that.
        let stopped = !lies && *from == Side::Wan && sealed(plan, outline);
        return if stopped { Sorted::Dropped } else { Sorted::Passes };
    }
    if *lies {
        // The daemon refuses it.
        return if plan.acts() { Sorted::Daemon } else { Sorted::Passes };
    }
    if sealed(plan, outline) {
        return if *from == Side::Lan { Sorted::Passes } else { Sorted::Daemon };
    }
    if always_passes(outline, &plan.servers) {
        return Sorted::Passes;
    }
    if plan.acts() && outline.is_icmp_error() {
        return Sorted::Daemon;
    }
    let flow = flow(outline);
    match plan.effective().iter().map(|policy| policy.action(&flow)).max() {
        None | Some(Action::Bypass) => Sorted::Passes,
        Some(Action::Encrypt) => Sorted::Daemon,
        Some(Action::Drop) => Sorted::Dropped,
    }
}

/// What the kernel sees of these differs from what the matcher sees: it may be stricter.
fn odd(outline: &Outline) -> bool {
    const AUTHENTICATION: u8 = 51;
    const ICMPV6: u8 = 58;
    outline.unparsed
        || outline.fragment.is_some()
        || outline.is_icmp_error()
        || outline.upper.is_none_or(|upper| matches!(upper.proto, AUTHENTICATION | ICMPV6))
}

/// Remembers the numbers of the packets that reach the daemon, and drops them.
struct Recorder(Arc<Mutex<Vec<u16>>>);

impl Handler for Recorder {
    fn handle(&mut self, frame: &mut Frame<'_>, _: &mut Outbox) -> Verdict {
        self.0.lock().unwrap().push(frames::number_of(frame.packet.bytes()));
        Verdict::Drop
    }

    fn idle(&mut self) {}
}

/// A host's end of a cable.
struct Host {
    ifindex: u32,
    socket: OwnedFd,
    heard: Vec<u16>,
    sentinel: bool,
}

const ARP_SENTINEL: [u8; 60] = {
    let mut frame = [0xff; 60];
    let header = [2, 0, 0, 0, 0, 2, 0x08, 0x06];
    let mut at = 0;
    while at < header.len() {
        frame[6 + at] = header[at];
        at += 1;
    }
    frame
};

impl Host {
    fn new(name: &str) -> Self {
        let ifindex = sockets::number(name);
        let everything = [(0x06, 0, 0, 0xffff)];
        let socket = sys::listener(ifindex, &everything).unwrap();
        Self { ifindex, socket, heard: Vec::new(), sentinel: false }
    }

    fn send(&self, frame: &[u8]) {
        sys::send_frame(&self.socket, self.ifindex, &[IoSlice::new(frame)]).unwrap();
    }

    fn listen(&mut self) {
        let mut buffer = [0; 2_048];
        while let Ok(frame) = sys::hear(&self.socket, &mut buffer) {
            let Some(header) = Header::parse(&buffer[..frame.len]) else { continue };
            match header.ether_type {
                0x0806 => self.sentinel = true,
                0x0800 | 0x86dd => self.heard.push(frames::number_of(&buffer[header.len..])),
                _ => {}
            }
        }
    }
}

fn sh(line: &str) {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A bridge between two cables, in a namespace of this thread's own. As OpenWrt ships it, br_netfilter looks
/// at nothing until an attach wants it to: it drops what its frame announces wrongly, whatever the rules.
fn lay_out() -> Ports {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    // Each processor has a queue of its own for what comes out of a cable: what is sent last would overtake.
    let mut here = nix::sched::CpuSet::new();
    here.set(nix::sched::sched_getcpu().unwrap()).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &here).unwrap();
    sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
        for i in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $i ] || echo 0 > $i; done
        ip link add lan0 type veth peer name plc
        ip link add wan type veth peer name hmi
        ip link add name br-tsg type bridge mcast_snooping 0
        ip link set lan0 master br-tsg; ip link set wan master br-tsg
        for i in lan0 wan plc hmi br-tsg; do ip link set $i up; done");
    Ports {
        bridge: "br-tsg".into(),
        lan: vec!["lan0".into()],
        wan: "wan".into(),
        ..Ports::default()
    }
}

#[test]
#[ignore = "needs root: network namespaces"]
fn the_kernel_sorts_as_the_matcher_does() {
    let ports = lay_out();
    let probe = probe(&ports);
    println!("{probe:?}");
    for kind in Kind::ALL.into_iter().filter(|kind| probe.can(*kind)) {
        let counts = sort_with(kind, &ports);
        println!("{kind}: passed, to the daemon, dropped: {counts:?}");
        assert!(counts.iter().all(|count| *count > 50), "{kind}: the frames say too little");
    }
}

fn sort_with(kind: Kind, ports: &Ports) -> [usize; 3] {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let for_handler = Arc::clone(&recorded);
    let handlers = move || vec![Box::new(Recorder(Arc::clone(&for_handler))) as Box<dyn Handler>];
    let mut running = start(kind, ports, Box::new(handlers)).unwrap();
    let mut hosts = [Host::new("plc"), Host::new("hmi")];
    let mut runner = frames::runner();
    let (mut counts, mut lied) = ([0; 3], 0);
    for _ in 0..PLANS {
        let plan = Plan {
            mode: Mode::Enforce,
            fail: Fail::Closed,
            ..frames::plan().new_tree(&mut runner).unwrap().current()
        };
        running.install(&plan).unwrap();
        assert_eq!(running.status().gate, None);
        let mut shots = Vec::new();
        while shots.len() < FRAMES {
            let frame = frames::frame().new_tree(&mut runner).unwrap().current();
            let number = u16::try_from(shots.len()).unwrap();
            shots.extend(Shot::new(frame, kind, number));
        }
        for shot in &shots {
            hosts[usize::from(shot.from == Side::Wan)].send(&shot.frame);
        }
        settle(&mut hosts, &recorded, &plan);
        let daemon: Vec<u16> = std::mem::take(&mut *recorded.lock().unwrap());
        for (number, shot) in shots.iter().enumerate() {
            let number = u16::try_from(number).unwrap();
            let far = &hosts[usize::from(shot.from == Side::Lan)];
            let sorted = match (daemon.contains(&number), far.heard.contains(&number)) {
                (true, false) => Sorted::Daemon,
                (false, true) => Sorted::Passes,
                (false, false) => Sorted::Dropped,
                (true, true) => panic!("{kind}: passed and queued: {shot:02x?}"),
            };
            let wanted = wanted(&plan, shot);
            let stricter = sorted == Sorted::Daemon || sorted > wanted;
            let fine = sorted == wanted || stricter && odd(&shot.outline);
            assert!(fine, "{kind}: {sorted:?}, not {wanted:?}: {shot:02x?}\n{plan:#?}");
            counts[sorted as usize] += 1;
            lied += usize::from(shot.lies && sorted == Sorted::Passes);
        }
        for host in &mut hosts {
            host.heard.clear();
        }
    }
    running.detach().unwrap();
    println!("{kind}: {lied} frames lied and passed");
    assert_eq!(lied > 0, kind != Kind::NfqueueIptables);
    counts
}

#[derive(Debug)]
struct Shot {
    frame: Vec<u8>,
    outline: Outline,
    from: Side,
    tags: usize,
    /// Its EtherType announces the other IP version.
    lies: bool,
}

impl Shot {
    /// `None` for frames that say nothing here: not IP, malformed, or with a second tag, below which
    /// br_netfilter does not look; nor does it let any pass that lies.
    fn new(mut frame: Vec<u8>, kind: Kind, number: u16) -> Option<Self> {
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        let header = Header::parse(&frame)?;
        let most = if kind == Kind::NfqueueIptables { 1 } else { 2 };
        let version = super::ethernet::ether_type_of(&frame[header.len..])?;
        let tags = header.link.vlans.tags().len();
        let lies = version != header.ether_type;
        let may_lie = kind != Kind::NfqueueIptables
            && super::ethernet::version_of(header.ether_type).is_some();
        if tags > most || lies && !may_lie {
            return None;
        }
        let outline = Outline::parse(&frame[header.len..]).ok()?;
        frames::number(&mut frame, header.len, number);
        let from = if number.is_multiple_of(2) { Side::Lan } else { Side::Wan };
        Some(Self { frame, outline, from, tags, lies })
    }
}

/// Waits until everything that was sent has come out somewhere: what was sent last has, on each of the ways. From the
/// WAN that is a sealed packet for the daemon; from the LAN one below two tags, which always passes, by way
/// of the daemon where the rules do not look so deep.
fn settle(hosts: &mut [Host; 2], recorded: &Mutex<Vec<u16>>, plan: &Plan) {
    const LAST: u16 = 0xfff0;
    const IGMP: u8 = 2;
    let [plc, hmi] = hosts;
    let carriage = plan.carriages.iter().find_map(|carriage| match carriage {
        Carriage::Protocol(number) => Some(*number),
        Carriage::Udp(_) => None,
    });
    hmi.send(&last(&[], carriage.unwrap_or(protocol::EXPERIMENT), LAST));
    plc.send(&last(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], IGMP, LAST));
    plc.send(&ARP_SENTINEL);
    hmi.send(&ARP_SENTINEL);
    let deadline = Instant::now() + Duration::from_secs(10);
    (plc.sentinel, hmi.sentinel) = (false, false);
    loop {
        let daemon = recorded.lock().unwrap().contains(&LAST) && hmi.heard.contains(&LAST);
        if daemon && plc.sentinel && hmi.sentinel {
            return;
        }
        assert!(Instant::now() < deadline, "the last frame did not come out");
        let mut waiting = [sys::readable(&plc.socket), sys::readable(&hmi.socket)];
        sys::wait(&mut waiting, 5).unwrap();
        plc.listen();
        hmi.listen();
    }
}

fn last(tags: &[u8], proto: u8, number: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(tags);
    frame.extend([0x08, 0]);
    let packet_at = frame.len();
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0]);
    frame.extend([0; 26]);
    frames::number(&mut frame, packet_at, number);
    frame
}
