//! Namespaces: host – gateway – gateway – host, with a capture between the gateways.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tsg_bridge::attach::{Kind, Ports, probe};

/// How long to wait for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

static LABS: AtomicU32 = AtomicU32::new(0);

/// One lab; its namespaces go when it does.
pub struct Lab {
    name: String,
}

/// A place in the lab.
#[derive(Clone, Copy)]
pub enum At {
    Plc,
    GatewayA,
    GatewayB,
    Hmi,
}

impl Lab {
    /// Lays it out. Hosts have 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2, on `eth`; a second
    /// machine behind gateway A has 10.9.0.3.
    pub fn new() -> Self {
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let lab = Self { name: format!("att{}-{number}", std::process::id()) };
        let all = [At::Plc, At::GatewayA, At::GatewayB, At::Hmi].map(|at| lab.namespace(at));
        let [plc, a, b, hmi] = &all;
        for namespace in &all {
            sh(&format!("ip netns add {namespace}; ip -n {namespace} link set lo up"));
        }
        sh(&format!("ip link add lan0 netns {a} type veth peer name eth netns {plc}"));
        sh(&format!("ip link add wan netns {a} type veth peer name wan netns {b}"));
        sh(&format!("ip link add lan0 netns {b} type veth peer name eth netns {hmi}"));
        for gateway in [a, b] {
            sh(&format!("ip -n {gateway} link add name br-tsg type bridge mcast_snooping 0"));
            sh(&format!("ip netns exec {gateway} sysctl -qw net.ipv6.conf.br-tsg.disable_ipv6=1"));
            for port in ["lan0", "wan"] {
                sh(&format!(
                    "ip netns exec {gateway} sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1
                     ip -n {gateway} link set {port} master br-tsg up"
                ));
            }
            sh(&format!("ip -n {gateway} link set br-tsg up"));
        }
        for (host, n) in [(plc, 1), (hmi, 2)] {
            address(host, n);
        }
        lab
    }

    /// Adds port `lan1` to gateway A with a machine of its own, in namespace `second`.
    pub fn add_second_machine(&self) -> String {
        let (a, second) = (self.namespace(At::GatewayA), format!("{}-second", self.name));
        sh(&format!(
            "ip netns add {second}
             ip link add lan1 netns {a} type veth peer name eth netns {second}
             ip netns exec {a} sysctl -qw net.ipv6.conf.lan1.disable_ipv6=1
             ip -n {a} link set lan1 master br-tsg up
             ip -n {second} addr add 10.9.0.3/24 dev eth
             ip -n {second} link set eth up"
        ));
        second
    }

    /// Adds a second bridge to both gateways, with hosts 10.8.0.1 and 10.8.0.2 in namespaces of their own, which
    /// it gives.
    pub fn add_second_bridge(&self) -> [String; 2] {
        let [a, b] = [At::GatewayA, At::GatewayB].map(|at| self.namespace(at));
        let hosts = ["plc-two", "hmi-two"].map(|host| format!("{}-{host}", self.name));
        sh(&format!("ip link add wan-two netns {a} type veth peer name wan-two netns {b}"));
        for (n, (host, gateway)) in hosts.iter().zip([&a, &b]).enumerate() {
            let address = n + 1;
            sh(&format!(
                "ip netns add {host}
                 ip link add lan-two netns {gateway} type veth peer name eth netns {host}
                 ip -n {gateway} link add name br-two type bridge mcast_snooping 0
                 ip -n {gateway} link set lan-two master br-two up
                 ip -n {gateway} link set wan-two master br-two up
                 ip -n {gateway} link set br-two up
                 ip -n {host} addr add 10.8.0.{address}/24 dev eth
                 ip -n {host} link set eth up"
            ));
        }
        hosts
    }

    /// PLC and HMI need not ask for each other: no frame waits for an answer.
    pub fn know_each_other(&self) {
        let [plc, hmi] = [At::Plc, At::Hmi].map(|at| self.namespace(at));
        for (here, there, n) in [(&plc, &hmi, 2), (&hmi, &plc, 1)] {
            let mac = sh(&format!("ip netns exec {there} cat /sys/class/net/eth/address"));
            let mac = mac.trim();
            sh(&format!(
                "ip -n {here} neigh replace 10.9.0.{n} lladdr {mac} dev eth nud permanent"
            ));
        }
    }

    /// Gives the PLC's port its addresses.
    pub fn address_plc(&self) {
        address(&self.namespace(At::Plc), 1);
    }

    pub fn namespace(&self, at: At) -> String {
        let place = match at {
            At::Plc => "plc",
            At::GatewayA => "a",
            At::GatewayB => "b",
            At::Hmi => "hmi",
        };
        format!("{}-{place}", self.name)
    }

    /// Runs a shell line in a namespace, and gives its output.
    pub fn run(&self, at: At, line: &str) -> String {
        let namespace = self.namespace(at);
        sh(&format!("ip netns exec {namespace} sh -ec '{line}'"))
    }

    /// A UDP socket in a namespace.
    pub fn udp(&self, at: At, address: &str) -> Udp {
        udp_in(&self.namespace(at), address)
    }

    /// Starts to listen with tcpdump in a namespace.
    pub fn capture(&self, at: At, interface: &str, filter: &str) -> Capture {
        Capture::start(&self.namespace(at), interface, filter)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for place in ["plc", "a", "b", "hmi", "second", "plc-two", "hmi-two"] {
            let namespace = format!("{}-{place}", self.name);
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn address(host: &str, n: u8) {
    sh(&format!(
        "ip netns exec {host} sysctl -qw net.ipv6.conf.eth.accept_dad=0
         ip -n {host} addr add 10.9.0.{n}/24 dev eth
         ip -n {host} addr add fd09::{n}/64 dev eth nodad
         ip -n {host} link set eth up"
    ));
}

/// A UDP socket that waits for five seconds, or as long as it is told to: a machine that is put to sleep and woken does not end
/// that, as it does the kernel's own waiting (signal(7)).
pub struct Udp(UdpSocket);

impl Deref for Udp {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        &self.0
    }
}

impl Udp {
    pub fn recv(&self, room: &mut [u8]) -> io::Result<usize> {
        self.recv_from(room).map(|(length, _)| length)
    }

    pub fn recv_from(&self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            match self.0.recv_from(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }
}

/// A UDP socket made by a thread that has gone into the namespace.
pub fn udp_in(namespace: &str, address: &str) -> Udp {
    let path = format!("/run/netns/{namespace}");
    let address: SocketAddr = address.parse().unwrap();
    let made = std::thread::spawn(move || {
        let file = std::fs::File::open(path).unwrap();
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind(address).unwrap()
    });
    let socket = made.join().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    Udp(socket)
}

/// What tcpdump says, a line a frame.
pub struct Capture {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Capture {
    fn start(namespace: &str, interface: &str, filter: &str) -> Self {
        let mut child = Command::new("ip")
            .args([
                "netns", "exec", namespace, "tcpdump", "-l", "-n", "-e", "-A", "-s256", "-B8192",
            ])
            .args(["--immediate-mode", "-i", interface, filter])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !ready.contains("listening on") {
            ready.clear();
            assert_ne!(stderr.read_line(&mut ready).unwrap(), 0, "tcpdump did not start");
        }
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (kept, stdout) = (Arc::clone(&lines), child.stdout.take().unwrap());
        std::thread::spawn(move || {
            // What a frame holds need not be text.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            drop(stderr);
        });
        Self { child, lines }
    }

    /// How many lines hold all of these words.
    pub fn count(&self, words: &[&str]) -> usize {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// How many frames show this port in clear.
    pub fn in_clear(&self, port: u16) -> usize {
        self.count(&[&format!(".{port} > ")]) + self.count(&[&format!(".{port}: ")])
    }

    /// Waits until a line holds all of these words.
    pub fn expect(&self, words: &[&str]) {
        wait_for(&format!("a frame with {words:?}"), || self.count(words) > 0);
    }

    /// Everything it said.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for an event, but not for ever.
pub fn wait_for(what: &str, mut event: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !event() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Runs a shell line, and gives its output.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The kinds that this kernel can; says which it cannot, and why.
pub fn kinds(lab: &Lab) -> Vec<Kind> {
    let path = format!("/run/netns/{}", lab.namespace(At::GatewayA));
    let probing = std::thread::spawn(move || {
        let file = std::fs::File::open(path).unwrap();
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        probe(&Ports {
            bridge: "br-tsg".into(),
            lan: vec!["lan0".into()],
            wan: "wan".into(),
            ..Ports::default()
        })
    });
    let probe = probing.join().unwrap();
    for finding in &probe.findings {
        match &finding.refusal {
            Some(refusal) => println!("skipped: {}: {:.60}", finding.kind, refusal),
            None => println!("can: {}", finding.kind),
        }
    }
    let can: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| probe.can(*kind)).collect();
    assert!(!can.is_empty(), "no attach works here: {}", probe.reason());
    can
}
