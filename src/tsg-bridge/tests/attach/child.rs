//! A gateway in a process of its own, so that it can be killed: this test binary once more, told by
//! an environment variable to be one. It takes a command a line, and answers each with a line.

use crate::lab::wait_for;
use crate::memory;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tsg_bridge::attach::{self, Frame, Handler, Kind, Outbox, Ports, Running, Side, Verdict};
use tsg_bridge::rules::Plan;
use tsg_control::group::{Fail, Mode};
use tsg_control::policy::{Policy, Rule};

const KIND: &str = "TSG_TEST_ATTACH_KIND";
const SECOND: &str = "second ";
const TWO_LAN_PORTS: &str = "two LAN ports ";
const ANSWER: &str = "@ ";

/// The handle that a test has on a gateway.
pub struct Gateway {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Gateway {
    /// Starts one in a namespace with ports `lan0`, `wan` and perhaps `lan1` of bridge `br-tsg`.
    pub fn start(namespace: &str, kind: Kind) -> Self {
        Self::start_as(namespace, kind.name())
    }

    /// Starts one that finds programs in this folder first.
    pub fn start_with_programs(namespace: &str, kind: Kind, folder: &Path) -> Self {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        Self::start_in(namespace, kind.name(), &path)
    }

    /// Starts one on the second bridge of a namespace.
    pub fn start_second(namespace: &str, kind: Kind) -> Self {
        Self::start_as(namespace, &format!("{SECOND}{}", kind.name()))
    }

    /// Starts one with a port `lan1`, whether it is there or not.
    pub fn start_with_two(namespace: &str, kind: Kind) -> Self {
        Self::start_as(namespace, &format!("{TWO_LAN_PORTS}{}", kind.name()))
    }

    fn start_as(namespace: &str, kind: &str) -> Self {
        Self::start_in(namespace, kind, &std::env::var("PATH").unwrap())
    }

    fn start_in(namespace: &str, kind: &str, path: &str) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(exe)
            .args(["--exact", "child::be_a_gateway", "--nocapture", "--include-ignored"])
            .env(KIND, kind)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut gateway = Self { child, stdin, stdout };
        assert_eq!(gateway.answer(), "ready");
        gateway
    }

    /// Gives a command, and checks that it went well.
    pub fn tell(&mut self, command: &str) -> String {
        let answer = self.try_to(command);
        assert!(!answer.starts_with("error"), "{command}: {answer}");
        answer
    }

    /// Gives a command, which may go wrong.
    pub fn try_to(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        self.answer()
    }

    /// Installs a policy in `enforce`, fail closed: rules between `|`.
    pub fn install(&mut self, rules: &str) {
        self.tell(&format!("install {rules}"));
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the gateway has ended");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim().to_owned();
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the body of a child process; does nothing without its environment variable"]
fn be_a_gateway() {
    let Ok(kind) = std::env::var(KIND) else { return };
    let two = std::fs::exists("/sys/class/net/lan1").unwrap() || kind.starts_with(TWO_LAN_PORTS);
    let ports = match kind.starts_with(SECOND) {
        true => ports("br-two", &["lan-two"], "wan-two"),
        false if two => ports("br-tsg", &["lan0", "lan1"], "wan"),
        false => ports("br-tsg", &["lan0"], "wan"),
    };
    let kind = Kind::ALL.into_iter().find(|known| kind.ends_with(known.name())).unwrap();
    let handlers = || (0..2).map(|_| Box::new(Mask::default()) as Box<dyn Handler>).collect();
    let mut running = Some(attach::start(kind, &ports, Box::new(handlers)).unwrap());
    println!("{ANSWER}ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = obey(&mut running, word, rest);
        println!("{ANSWER}{answer}");
    }
}

fn ports(bridge: &str, lan: &[&str], wan: &str) -> Ports {
    let lan = lan.iter().map(ToString::to_string).collect();
    Ports { bridge: bridge.into(), lan, wan: wan.into(), ..Ports::default() }
}

fn obey(running: &mut Option<Running>, word: &str, rest: &str) -> String {
    let result = match (word, running.as_mut()) {
        ("install", Some(running)) => running.install(&plan(rest)),
        ("verify", Some(running)) => running.verify(),
        ("counters", Some(running)) => return format!("{:?}", running.counters()),
        ("machines", Some(running)) => return format!("{:?}", running.poll_machines()),
        ("watch", Some(_)) => {
            memory::begin();
            Ok(())
        }
        ("memory", Some(_)) => return memory::taken().to_string(),
        ("status", Some(running)) => return format!("{:?}", running.status()),
        ("detach", _) => running.take().unwrap().detach(),
        ("leave", _) => running.take().unwrap().leave(Fail::Closed),
        _ => panic!("{word}?"),
    };
    match result {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("error {error:#}"),
    }
}

/// `[mode=…;][fail=open;][server=…;]rule|rule`
fn plan(text: &str) -> Plan {
    let mut plan = Plan::unknown(Fail::Closed);
    let (settings, rules) = text.rsplit_once(';').unwrap_or(("", text));
    for setting in settings.split(';').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=').unwrap() {
            ("fail", _) => plan.fail = Fail::Open,
            ("mode", "migrate") => plan.mode = Mode::Migrate,
            ("mode", "learn") => plan.mode = Mode::Learn,
            ("server", address) => plan.servers.push(address.parse::<SocketAddr>().unwrap()),
            ("non_ip", value) => plan.non_ip = value.parse().unwrap(),
            (other, _) => panic!("{other}?"),
        }
    }
    if rules != "none" {
        let rules = rules.split('|').map(|rule| rule.parse::<Rule>().unwrap()).collect();
        plan.policies = vec![Policy::new(rules)];
    }
    plan
}

/// Seals by turning every bit, under protocol 253, with the real protocol in a byte at the end.
#[derive(Default)]
struct Mask {
    batches: u64,
}

impl Handler for Mask {
    fn begin(&mut self) {
        memory::watch_this_one();
    }

    fn handle(&mut self, frame: &mut Frame<'_>, out: &mut Outbox) -> Verdict {
        let Some(at) = protocol_at(frame.packet.bytes()) else { return Verdict::Pass };
        match (frame.from, frame.packet.bytes()[at]) {
            (Side::Lan, 6 | 17) => {
                beside(frame, out);
                let payload = frame.packet.bytes().get(28..).unwrap_or_default();
                assert!(!payload.starts_with(b"panic"), "as the test wants it");
                if payload.starts_with(b"take memory") {
                    drop(std::hint::black_box(vec![1]));
                }
                if let Some(path) = payload.strip_prefix(b"wait for ") {
                    let path = Path::new(OsStr::from_bytes(path)).to_owned();
                    wait_for("the file", || path.exists());
                }
                mask(frame, at)
            }
            (Side::Wan, 253) => unmask(frame, at),
            (Side::Wan, 6 | 17) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }

    fn idle(&mut self) {
        self.batches += 1;
    }
}

fn protocol_at(packet: &[u8]) -> Option<usize> {
    match packet.first()? >> 4 {
        4 => Some(9),
        6 => Some(6),
        _ => None,
    }
}

const fn header_len(protocol_at: usize) -> usize {
    if protocol_at == 9 { 20 } else { 40 }
}

/// "answer" in a datagram is answered by the gateway itself, "twice" goes out twice.
fn beside(frame: &Frame<'_>, out: &mut Outbox) {
    let packet = frame.packet.bytes();
    let header = header_len(if packet[0] >> 4 == 4 { 9 } else { 6 });
    let payload = packet.get(header + 8..).unwrap_or_default();
    if payload.starts_with(b"answer") {
        let (src, len) = if header == 20 { (12, 4) } else { (8, 16) };
        out.push_with(frame.from, packet.len(), |answer| {
            answer.copy_from_slice(packet);
            answer[src..src + len].copy_from_slice(&packet[src + len..src + 2 * len]);
            answer[src + len..src + 2 * len].copy_from_slice(&packet[src..src + len]);
            answer[header..header + 2].copy_from_slice(&packet[header + 2..header + 4]);
            answer[header + 2..header + 4].copy_from_slice(&packet[header..header + 2]);
        })
        .unwrap();
    }
    if payload.starts_with(b"twice") {
        out.push_with(frame.from.other(), packet.len() + 1, |copy| {
            copy[..packet.len()].copy_from_slice(packet);
            copy[packet.len()] = 17;
            finish(copy, header, 253);
        })
        .unwrap();
    }
}

fn mask(frame: &mut Frame<'_>, at: usize) -> Verdict {
    let proto = frame.packet.bytes()[at];
    trim(frame, at);
    frame.packet.push_back(1).unwrap();
    let packet = frame.packet.bytes_mut();
    *packet.last_mut().unwrap() = proto;
    finish(packet, header_len(at), 253);
    Verdict::Send
}

fn unmask(frame: &mut Frame<'_>, at: usize) -> Verdict {
    trim(frame, at);
    let len = frame.packet.len();
    let proto = !frame.packet.bytes()[len - 1];
    frame.packet.truncate(len - 1);
    finish(frame.packet.bytes_mut(), header_len(at), proto);
    Verdict::Send
}

/// Ethernet padding is no part of the packet.
fn trim(frame: &mut Frame<'_>, at: usize) {
    let bytes = frame.packet.bytes();
    let word = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let len = if at == 9 { word(2) } else { word(4) + 40 };
    frame.packet.truncate(len);
}

/// Turns the payload's bits, and sets protocol, length and checksum.
fn finish(packet: &mut [u8], header: usize, proto: u8) {
    for byte in &mut packet[header..] {
        *byte = !*byte;
    }
    let len = packet.len();
    if header == 20 {
        packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        packet[9] = proto;
        packet[10..12].fill(0);
        let sum: u32 =
            packet[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        packet[10..12].copy_from_slice(&(!folded).to_be_bytes());
    } else {
        packet[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
        packet[6] = proto;
    }
}
