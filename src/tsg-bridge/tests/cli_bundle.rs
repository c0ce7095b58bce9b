//! `tsg bundle` of a gateway that runs, hangs, or is dead; what is in it, and what must not be.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tsg_control::{
    gateway::{Gateway, Identity},
    group::{Carriage, Fail, Mode, NonIp},
    keys::PublicKey,
    message::{
        Epoch, EpochKeys, GroupSettings, PolicyVersion, Reading, State, TekField, ToGateway,
        ToServer, encode,
    },
    policy::Policy,
    timeline::Stage,
    token::{Token, TokenSecret},
};
use tsg_esp::crypto::{Suite, Tek};

const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway's folders, and its secrets.
struct TestBox {
    folder: tempfile::TempDir,
    /// Name and bytes of each.
    secrets: Vec<(&'static str, Vec<u8>)>,
}

impl TestBox {
    /// With an identity, a token that waits, keys in RAM, and a configuration.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut gateway = Self { folder, secrets: Vec::new() };
        for name in ["config", "run"] {
            fs::create_dir(gateway.path(name)).unwrap();
        }
        let idle = include_str!("../../../files/etc/config/tsg");
        fs::write(gateway.path("config/tsg"), idle).unwrap();
        assert!(gateway.tsg(&["keygen"]).status.success());
        let key = fs::read_to_string(gateway.path("state/key")).unwrap();
        let key = key.lines().last().unwrap().strip_prefix("secret ").unwrap();
        let key = general_purpose::STANDARD.decode(key).unwrap();
        let secret: [u8; 16] = bytes(31);
        fs::write(gateway.path("token"), token(secret).encode().as_bytes()).unwrap();
        let file = gateway.path("token");
        assert!(gateway.tsg(&["enrol", "--file", file.to_str().unwrap()]).status.success());
        fs::write(gateway.path("config/tsg"), idle).unwrap();
        let tek: [u8; 32] = bytes(37);
        fs::write(gateway.path("run/state"), encode(&saved(tek)).as_slice()).unwrap();
        gateway.secrets =
            vec![("identity", key), ("token", secret.to_vec()), ("TEK", tek.to_vec())];
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsg"));
        command.arg("-c").arg(self.path("config"));
        command.arg("--state").arg(self.path("state"));
        command.arg("--run").arg(self.path("run"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn tsg(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Makes a bundle, and unpacks it.
    fn bundle(&self) -> Unpacked {
        let file = self.path("bundle.tar.gz");
        let _ = fs::remove_file(&file);
        let ran = self.tsg(&["bundle", file.to_str().unwrap()]);
        assert!(ran.status.success(), "{}", shown(&ran));
        assert!(shown(&ran).contains("bundle.tar.gz: "), "{}", shown(&ran));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        Unpacked::of(&fs::read(&file).unwrap())
    }
}

/// What other programs find in a bundle.
struct Unpacked {
    folder: tempfile::TempDir,
    /// All of it, decompressed.
    bytes: Vec<u8>,
}

impl Unpacked {
    fn of(archive: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let strip = ["xz", "--strip-components=1"];
        filter(Command::new("tar").args(strip).arg("-C").arg(folder.path()), archive);
        Self { folder, bytes: filter(Command::new("gzip").arg("-dc"), archive) }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn is_there(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    /// What README.txt says of what is not there.
    fn missed(&self) -> String {
        let readme = self.text("README.txt");
        readme.split("Not collected").nth(1).unwrap_or_default().to_owned()
    }
}

fn filter(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

fn shown(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

fn token(secret: [u8; 16]) -> Token {
    Token {
        servers: vec!["tcp://192.0.2.10:5555".to_owned()],
        server_key: PublicKey([7; 32]),
        secret: TokenSecret::make(|bytes| *bytes = secret),
        expires: u64::MAX,
        group: "plant".to_owned(),
    }
}

/// What a daemon that holds this TEK keeps in RAM.
fn saved(tek: [u8; 32]) -> tsg_control::gateway::Saved {
    let (name, version) = ("press".to_owned(), "1".to_owned());
    let identity = Identity { name, version, aes: false, senders: 1, kept: 0, token: None };
    let mut gateway = Gateway::new(identity, 1, 1);
    gateway.handle_timeout(1);
    let Some(ToServer::Register(register)) = gateway.poll_transmit() else { panic!("it asks") };
    let keys = EpochKeys {
        tek: TekField(Tek::new(tek).into()),
        suite: Suite::ChaCha20Poly1305,
        carriage: Carriage::Protocol(253),
        clock: 1,
        origin: 0,
        ends: u64::MAX,
        senders: vec![1],
        highest_sender: 1,
    };
    let policy = PolicyVersion {
        version: 1,
        stage: Stage::Active,
        policy: Policy::new(vec!["encrypt".parse().unwrap()]),
        mode: Mode::Enforce,
        non_ip: NonIp::Pass,
        fail: Fail::Closed,
    };
    let state = State {
        request: register.request,
        instance: 1,
        revision: 1,
        time: Reading { clock: 1, now: 1 },
        group: "plant".to_owned(),
        name: "press".to_owned(),
        epochs: vec![Epoch { id: 1, stage: Stage::Active, revokes: false, keys: Some(keys) }],
        policies: vec![policy],
        settings: GroupSettings {
            replay_window: 4,
            island_time: 4,
            local_bypass: false,
            timed_bypass: true,
        },
    };
    gateway.handle_message(ToGateway::State(Box::new(state)), 2);
    gateway.save().unwrap()
}

/// Bytes that look like a key's.
fn bytes<const LENGTH: usize>(seed: u8) -> [u8; LENGTH] {
    std::array::from_fn(|at| (at as u8 + 1).wrapping_mul(seed).rotate_left(3))
}

/// In which forms a secret could be written.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        ("bytes", secret.to_vec()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
        ("base64", general_purpose::STANDARD_NO_PAD.encode(secret).into_bytes()),
        ("base64url", general_purpose::URL_SAFE_NO_PAD.encode(secret).into_bytes()),
        ("Z85", zmq::z85_encode(secret).unwrap().into_bytes()),
    ]
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

/// A gateway that is stopped when the test is over, however that ends.
struct Running(Child);

impl Running {
    /// Comes back when it answers.
    fn start(gateway: &TestBox) -> Self {
        let mut command = gateway.command(&["run", "--log", "stderr"]);
        let mut running = Self(command.stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(gateway.path("run/tsg.sock")).is_err() {
            assert!(running.0.try_wait().unwrap().is_none(), "it ended");
            assert!(Instant::now() < deadline, "it does not answer");
            thread::yield_now();
        }
        running
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_dead_gateway_has_a_bundle() {
    let gateway = TestBox::new();
    let bundle = gateway.bundle();
    for file in ["check.txt", "versions.txt", "config-tsg.txt", "folders.txt", "memory.txt"] {
        assert!(bundle.text("README.txt").contains(&format!("\n{file} ")), "{file}");
        assert!(!bundle.text(file).is_empty(), "{file}");
    }
    assert!(bundle.text("versions.txt").contains("libsodium 1."));
    assert!(bundle.text("folders.txt").contains("key: file, mode 0600"));
    assert!(bundle.text("interfaces.txt").contains("== lo"));
    let missed = bundle.missed();
    assert!(
        missed.contains("status.json: ") && missed.contains("no gateway runs here"),
        "{missed}"
    );
    assert!(missed.contains("config/network: No such file"), "{missed}");
    assert!(!bundle.is_there("status.json"));
}

#[test]
fn no_secret_is_in_it_wherever_it_stands() {
    let gateway = TestBox::new();
    let mut places = 0;
    let mut network = String::from("config interface 'wan'\n\toption proto 'pppoe'\n");
    let mut policy = b"{\"rules\": \"".to_vec();
    for (_, secret) in &gateway.secrets {
        for (name, form) in forms(secret) {
            if name != "bytes" {
                // Options that are not called like a secret.
                let form = String::from_utf8(form.clone()).unwrap().replace('\'', "'\\''");
                network += &format!("\toption note{places} '{form}'\n");
            }
            policy.extend([b" ", form.as_slice()].concat());
            places += 1;
        }
    }
    let other = general_purpose::STANDARD.encode(bytes::<32>(91));
    network += &format!(
        "\toption password 'hunter2'\n\toption ipaddr '192.0.2.7'\n\toption x '{other}'\n"
    );
    fs::write(gateway.path("config/network"), network).unwrap();
    fs::write(gateway.path("state/policy.json"), policy).unwrap();
    let server_key = general_purpose::STANDARD.encode([7; 32]);
    let config = format!(
        "config tsg main\n option server 192.0.2.1\n option server_key {server_key}\n\
         option token '{}'\nconfig bridge\n list lan none1\n option wan none2\n",
        *token([1; 16]).encode()
    );
    fs::write(gateway.path("config/tsg"), config).unwrap();

    let bundle = gateway.bundle();
    let mut tried = 0;
    for (what, secret) in &gateway.secrets {
        for (name, form) in forms(secret) {
            let found = contains(&bundle.bytes, &form);
            assert!(!found, "{what} in {name}");
            tried += 1;
        }
    }
    for text in ["hunter2", other.trim_end_matches('='), "tsg1-"] {
        assert!(!contains(&bundle.bytes, text.as_bytes()), "{text}");
    }
    println!("{tried} forms of secrets in {places} places");
    let shown = bundle.text("config-network.txt");
    assert!(shown.contains("option note0 '<hidden>'") || shown.contains("note1"), "{shown}");
    assert!(shown.contains("option ipaddr '192.0.2.7'"), "{shown}");
    assert!(shown.contains("option password <hidden>"), "{shown}");
    assert!(bundle.text("policy.json").contains("<hidden>"));
    let shown = bundle.text("config-tsg.txt");
    assert!(shown.contains(&server_key), "a public key may be seen: {shown}");
}

#[test]
fn a_gateway_that_runs_says_how_it_is() {
    let gateway = TestBox::new();
    let running = Running::start(&gateway);
    let bundle = gateway.bundle();
    let status: serde_json::Value = serde_json::from_str(&bundle.text("status.json")).unwrap();
    assert_eq!(status["state"], "idle");
    assert_eq!(status["counters"]["sealed"], 0);
    assert!(!bundle.missed().contains("status.json"), "{}", bundle.missed());
    let threads = bundle.text("processes.txt");
    assert!(threads.contains(&format!("threads of {}\n", running.pid())), "{threads}");
}

#[test]
fn a_gateway_that_hangs_has_a_bundle() {
    let gateway = TestBox::new();
    let running = Running::start(&gateway);
    kill(running.pid(), Signal::SIGSTOP).unwrap();
    let before = Instant::now();
    let bundle = gateway.bundle();
    assert!(before.elapsed() < PATIENCE);
    let missed = bundle.missed();
    assert!(missed.contains("status.json: ") && missed.contains("did not answer"), "{missed}");
    let process = bundle.text("processes.txt");
    assert!(process.contains("State:\tT (stopped)"), "{process}");
    assert!(bundle.is_there("check.txt") && bundle.is_there("kernel.txt"));
}

#[test]
fn a_disk_that_is_full_leaves_no_half_file() {
    let gateway = TestBox::new();
    let place = gateway.path("place");
    fs::create_dir(&place).unwrap();
    let argv = gateway.command(&["bundle", place.to_str().unwrap()]);
    let mut limited = Command::new("sh");
    // A file of more than a few blocks cannot be written.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]);
    let ran = limited.arg(argv.get_program()).args(argv.get_args()).output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{}", shown(&ran));
    let said = shown(&ran);
    assert!(said.contains("cannot write") && said.contains("place/tsg-bundle-"), "{said}");
    assert!(said.contains("File too large") && said.contains("make room"), "{said}");
    assert_eq!(names(&place), [""; 0]);
}

#[test]
fn it_goes_where_it_is_told_to() {
    let gateway = TestBox::new();
    let ran = gateway.tsg(&["bundle", "-"]);
    assert!(ran.status.success());
    assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    assert!(Unpacked::of(&ran.stdout).is_there("README.txt"));

    let place = gateway.path("place");
    fs::create_dir(&place).unwrap();
    let ran = gateway.tsg(&["bundle", place.to_str().unwrap()]);
    assert!(ran.status.success(), "{}", shown(&ran));
    let [name] = names(&place).try_into().unwrap();
    assert!(name.starts_with("tsg-bundle-") && name.ends_with(".tar.gz"), "{name}");

    let file = place.join(&name);
    let before = fs::read(&file).unwrap();
    let ran = gateway.tsg(&["bundle", file.to_str().unwrap()]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(shown(&ran).contains("is there already and stays"), "{}", shown(&ran));
    assert_eq!(fs::read(&file).unwrap(), before);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
