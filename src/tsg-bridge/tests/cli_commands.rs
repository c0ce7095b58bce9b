//! The program `tsg` as people and scripts use it: output, files and exit codes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use tsg_bridge::uci::Package;
use tsg_control::{
    keys::{PublicKey, key_text},
    token::{Token, TokenSecret},
};

/// A gateway's folders, empty.
struct Gateway {
    folder: tempfile::TempDir,
}

impl Gateway {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config", "run"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
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

    fn tsg(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    fn with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }

    fn config(&self) -> Package {
        Package::parse(&fs::read(self.path("config/tsg")).unwrap()).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        assert_eq!(self.err, "");
        self.out
    }

    fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert!(self.err.contains(says), "{says:?} is not in: {}", self.err);
        self
    }
}

fn line<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label:?} in {text}")).trim()
}

fn token() -> Token {
    Token {
        servers: vec!["tcp://192.0.2.10:5555".to_owned(), "tcp://keys.plant:5555".to_owned()],
        server_key: PublicKey([7; 32]),
        secret: TokenSecret::make(|secret| secret.fill(0xa5)),
        expires: u64::MAX,
        group: "plant".to_owned(),
    }
}

#[test]
fn help_and_version_are_there() {
    let gateway = Gateway::new();
    let overview = gateway.tsg(&["help"]).ok();
    for command in [
        "run",
        "status",
        "reconnect",
        "keygen",
        "fingerprint",
        "enrol",
        "check",
        "bundle",
        "import",
        "offloads",
        "setup",
    ] {
        assert!(overview.contains(command), "{command}");
        let help = gateway.tsg(&["help", command]).ok();
        assert!(help.starts_with(&format!("Usage: tsg {command}")), "{help}");
        assert_eq!(gateway.tsg(&[command, "--help"]).ok(), help);
    }
    assert_eq!(gateway.tsg(&["--help"]).ok(), overview);
    let version = format!("tsg {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(gateway.tsg(&["--version"]).ok(), version);
}

#[test]
fn wrong_arguments_end_with_two() {
    let cases: [(&[&str], &str); 22] = [
        (&[], "say what to do"),
        (&["dance"], "\"dance\" is not a command"),
        (&["gate", "--isolate", "--clear"], "--clear"),
        (&["gate", "lan1"], "lan1"),
        (&["help", "dance"], "no help on \"dance\""),
        (&["--colour", "status"], "--colour"),
        (&["status", "--force"], "\"--force\" does not go with"),
        (&["status", "--file", "x"], "\"--file\" does not go with"),
        (&["keygen", "now"], "\"now\" does not go with"),
        (&["import"], "needs the file"),
        (&["run", "--log", "paper"], "auto, stderr or syslog"),
        (&["--state", "", "keygen"], "empty"),
        (&["keygen", "--force=yes"], "force"),
        (&["status", "--lan", "lan1"], "\"--lan\" does not go with"),
        (&["offloads", "back"], "or `tsg offloads restore`"),
        (&["setup"], "needs --lan PORT"),
        (&["setup", "--lan", "lan1", "--wan", "wan", "--vlan", "x"], "--vlan is a number"),
        (
            &["setup", "--lan", "lan1", "--wan", "wan", "--vlan", "65546"],
            "--vlan is a number from 1 to",
        ),
        (&["setup", "--lan", "lan1", "--wan", "wan", "--rollback", "60"], "goes with --apply"),
        (&["setup", "--undo", "--confirm"], "not both"),
        (&["setup", "--undo", "--wan", "wan"], "go alone"),
        (&["--ubus", "", "run"], "--ubus is a socket, or none"),
    ];
    for (arguments, says) in cases {
        let ran = Gateway::new().tsg(arguments).fails(2, says);
        assert!(ran.err.contains("tsg help"), "{}", ran.err);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn an_identity_is_made_once() {
    let gateway = Gateway::new();
    gateway.tsg(&["fingerprint"]).fails(1, "tsg keygen");
    let made = gateway.tsg(&["keygen"]).ok();
    let public: PublicKey = line(&made, "public key:").parse().unwrap();
    assert_eq!(line(&made, "fingerprint:"), public.fingerprint().to_string());
    assert_eq!((gateway.mode("state"), gateway.mode("state/key")), (0o700, 0o600));

    let again = gateway.tsg(&["keygen"]).ok();
    assert!(again.contains("--force"), "{again}");
    assert_eq!(line(&again, "public key:"), public.to_string());
    assert_eq!(gateway.tsg(&["fingerprint"]).ok(), made);

    let forced = gateway.tsg(&["keygen", "--force"]).ok();
    assert_ne!(line(&forced, "public key:"), public.to_string());
    assert_eq!(fs::read_dir(gateway.path("state")).unwrap().count(), 1, "something is left over");
}

#[test]
fn an_identity_that_is_not_safe_or_not_whole_is_refused() {
    let gateway = Gateway::new();
    gateway.tsg(&["keygen"]).ok();
    let key = gateway.path("state/key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    gateway.tsg(&["fingerprint"]).fails(1, "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&key).unwrap();
    fs::write(&key, &text[..text.len() - 10]).unwrap();
    let ran = gateway.tsg(&["keygen"]).fails(1, "state/key is damaged");
    assert!(!ran.err.contains(line(&text, "secret")), "{}", ran.err);
    fs::write(&key, "x".repeat(10_000)).unwrap();
    gateway.tsg(&["fingerprint"]).fails(1, "too long");
    fs::write(gateway.path("elsewhere"), &text).unwrap();
    fs::set_permissions(gateway.path("elsewhere"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(&key).unwrap();
    std::os::unix::fs::symlink(gateway.path("elsewhere"), &key).unwrap();
    gateway.tsg(&["fingerprint"]).fails(1, "state/key");
    fs::set_permissions(gateway.path("state"), fs::Permissions::from_mode(0o777)).unwrap();
    gateway.tsg(&["keygen", "--force"]).fails(1, "chmod 700");
}

#[test]
fn a_token_becomes_configuration_and_a_secret() {
    let gateway = Gateway::new();
    fs::write(gateway.path("config/tsg"), "# mine\nconfig tsg 'main'\n\toption name 'hall 3'\n")
        .unwrap();
    let out = gateway.with_input(&["enrol"], &token().encode()).ok();
    assert_eq!(line(&out, "group:"), "plant");
    assert_eq!(
        line(&out, "fingerprint:"),
        line(&gateway.tsg(&["fingerprint"]).ok(), "fingerprint:")
    );

    let text = fs::read_to_string(gateway.path("config/tsg")).unwrap();
    assert!(text.starts_with("# mine\n"), "{text}");
    let config = gateway.config();
    let main = config.named("tsg", "main").unwrap();
    assert_eq!(main.text("name"), Some("hall 3"));
    assert_eq!(main.value("server").unwrap().texts(), token().servers);
    assert_eq!(main.text("server_key"), Some(key_text(&[7; 32]).as_str()));

    assert_eq!(gateway.mode("state/token"), 0o600);
    assert_eq!(fs::read_to_string(gateway.path("state/token")).unwrap().trim(), "a5".repeat(16));
    assert!(!out.contains("a5a5") && !text.contains("a5a5"));
}

#[test]
fn a_token_may_come_from_a_file_and_never_from_the_arguments() {
    let gateway = Gateway::new();
    let mut expired = token();
    expired.expires = 1;
    fs::write(gateway.path("token"), expired.encode().as_bytes()).unwrap();
    let file = gateway.path("token");
    let out = gateway.tsg(&["enrol", "--file", file.to_str().unwrap()]).ok();
    assert!(out.contains("the token has expired"), "{out}");
    assert_eq!(gateway.mode("config/tsg"), 0o600);

    let secret = token().encode();
    let ran = Gateway::new().tsg(&["enrol", &secret]).fails(2, "must not be an argument");
    assert!(!ran.err.contains(secret.as_str()));
}

#[test]
fn what_reads_a_token_cannot_dump_core() {
    let gateway = Gateway::new();
    let mut waits = gateway.command(&["enrol"]).stdin(Stdio::piped()).spawn().unwrap();
    let limits = format!("/proc/{}/limits", waits.id());
    let forbidden = || {
        let limits = fs::read_to_string(&limits).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        line.unwrap().split_whitespace().take(2).eq(["0", "0"])
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !forbidden() {
        assert!(Instant::now() < deadline, "it may dump core");
        thread::yield_now();
    }
    waits.kill().unwrap();
    waits.wait().unwrap();
}

#[test]
fn a_token_that_is_not_whole_changes_nothing() {
    let whole = token().encode();
    let huge = "x".repeat(100_000);
    let mut strange = token();
    strange.servers = vec!["tcp://*:1".to_owned()];
    let strange = strange.encode();
    for input in ["", "tsg1-", &whole[..whole.len() - 3], &huge, &strange] {
        let gateway = Gateway::new();
        let ran = gateway.with_input(&["enrol"], input).fails(1, "token");
        assert!(!ran.err.contains(&whole[8..20]), "{}", ran.err);
        assert!(!gateway.path("config/tsg").exists() && !gateway.path("state").exists());
    }
}

#[test]
fn a_config_that_is_no_uci_file_stays_as_it_is() {
    let gateway = Gateway::new();
    let broken = "config tsg 'main\n\toption x 'y'\n";
    fs::write(gateway.path("config/tsg"), broken).unwrap();
    gateway
        .with_input(&["enrol"], &token().encode())
        .fails(1, "config/tsg:2:13: this ' is never closed");
    assert_eq!(fs::read_to_string(gateway.path("config/tsg")).unwrap(), broken);
}

#[test]
fn status_asks_the_running_gateway() {
    let gateway = Gateway::new();
    gateway.tsg(&["status"]).fails(1, "no gateway runs here");
    let answers = [
        r#"{"state":"sealing","server":{"connected":true,"address":"tcp://192.0.2.10:5555"},"peers":[]}"#,
        r#"{"state":"idle","name":"evil\u001b[31m"}"#,
        r#"{"error":"not now"}"#,
        "no json",
        "",
    ];
    let listener = UnixListener::bind(gateway.path("run/tsg.sock")).unwrap();
    let server = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            BufReader::new(&stream).read_line(&mut question).unwrap();
            assert_eq!(question, "{\"method\":\"status\"}\n");
            if !answer.is_empty() {
                writeln!(stream, "{answer}").unwrap();
            }
        }
    });
    let json = gateway.tsg(&["status", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["server"]["connected"], true);
    let people = gateway.tsg(&["status"]).ok();
    assert!(people.starts_with("state:               idle\n"), "{people}");
    assert!(!people.contains('\x1b'), "{people:?}");
    gateway.tsg(&["status"]).fails(1, "not now");
    gateway.tsg(&["status"]).fails(1, "not JSON");
    gateway.tsg(&["status"]).fails(1, "without an answer");
    server.join().unwrap();
    gateway.tsg(&["status"]).fails(1, "no gateway runs here");
}

#[test]
fn a_running_gateway_is_told() {
    let gateway = Gateway::new();
    gateway.tsg(&["reconnect"]).fails(1, "no gateway runs here");
    let listener = UnixListener::bind(gateway.path("run/tsg.sock")).unwrap();
    let conversations = [
        ("reconnect", r#"{"ok":true,"server":"tcp://192.0.2.10:5555"}"#),
        ("reconnect", r#"{"ok":false,"error":"no key server is set"}"#),
        ("reload", r#"{"ok":true}"#),
        ("reload", r#"{"ok":false,"error":"the file is wrong"}"#),
    ];
    let server = thread::spawn(move || {
        for (method, answer) in conversations {
            let (mut stream, question) = loop {
                let (stream, _) = listener.accept().unwrap();
                let mut question = String::new();
                BufReader::new(&stream).read_line(&mut question).unwrap();
                // Who only looks whether somebody is there says nothing.
                if !question.is_empty() {
                    break (stream, question);
                }
            };
            assert_eq!(question, format!("{{\"method\":\"{method}\"}}\n"));
            writeln!(stream, "{answer}").unwrap();
        }
    });
    assert!(gateway.tsg(&["reconnect"]).ok().contains("tcp://192.0.2.10:5555"));
    gateway.tsg(&["reconnect"]).fails(1, "no key server is set");
    let out = gateway.with_input(&["enrol"], &token().encode()).ok();
    assert!(out.ends_with("The gateway takes it over.\n"), "{out}");
    gateway.with_input(&["enrol"], &token().encode()).fails(1, "the file is wrong");
    server.join().unwrap();
    let out = gateway.with_input(&["enrol"], &token().encode()).ok();
    assert!(out.ends_with("Now start the gateway: /etc/init.d/tsg start\n"), "{out}");
}

#[test]
fn check_tells_what_is_wrong_and_what_to_do() {
    let gateway = Gateway::new();
    let ran = gateway.tsg(&["check"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.out.contains("PROBLEM  configuration: cannot read"), "{}", ran.out);

    let idle = "config tsg 'main'\n\toption enabled '1'\n";
    fs::write(gateway.path("config/tsg"), idle).unwrap();
    let out = gateway.tsg(&["check"]).out;
    assert!(out.contains("warning  configuration: no key server is set"), "{out}");
    assert!(out.contains("warning  identity: there is none yet"), "{out}");

    let wrong =
        "config tsg 'main'\n\tlist server '192.0.2.1'\n\toption attach 'x'\n\toption fail 'y'\n";
    fs::write(gateway.path("config/tsg"), wrong).unwrap();
    let ran = gateway.tsg(&["check"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    for option in ["server_key", "attach", "fail"] {
        assert!(ran.out.contains(&format!("section main: option {option}: ")), "{}", ran.out);
    }
    assert_eq!(ran.err, "");
}

#[test]
fn a_set_up_of_before_the_boot_is_undone_if_nobody_has_confirmed_it() {
    let gateway = Gateway::new();
    let network = gateway.path("config/network");
    let keep = |boot: &str, at: u64| {
        fs::write(&network, "# after\n").unwrap();
        fs::create_dir_all(gateway.path("state")).unwrap();
        let kept = serde_json::json!({
            "deadline": { "boot": boot, "at_ms": at },
            "files": [{ "name": "network", "before": "# before\n", "after": "# after\n" }],
        });
        fs::write(gateway.path("state/setup.json"), kept.to_string()).unwrap();
    };
    // Whether the network can be reloaded is not the point here.
    let expire = || {
        let ran = gateway.tsg(&["setup", "--expire"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        (ran.out, fs::read(&network).unwrap())
    };
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    keep(boot.trim(), u64::MAX);
    assert_eq!(expire(), (String::new(), b"# after\n".to_vec()), "there is time left");
    keep("another", u64::MAX);
    let (said, file) = expire();
    assert!(said.contains("nobody has confirmed"), "{said}");
    assert_eq!(file, b"# before\n");
    assert_eq!(expire().0, "");
    keep(boot.trim(), 0);
    assert_eq!(expire().1, b"# before\n");
}

#[test]
fn check_tells_programs_the_same() {
    let gateway = Gateway::new();
    fs::write(gateway.path("config/tsg"), "config tsg 'main'\n\toption fail 'y'\n").unwrap();
    let (text, json) = (gateway.tsg(&["check"]), gateway.tsg(&["check", "--json"]));
    assert_eq!((text.code, json.code), (1, 1));
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let checks = json["checks"].as_array().unwrap();
    assert_eq!(text.out.lines().count(), checks.len() + 1);
    let problems = checks.iter().filter(|check| check["grade"] == "problem").count();
    assert_eq!(json["problems"], problems);
    let fail = checks.iter().find(|check| check["text"].as_str().unwrap().contains("option fail"));
    assert_eq!(fail.unwrap()["what"], "configuration");
}

#[test]
fn a_set_up_is_only_shown_unless_it_is_to_be_applied() {
    let gateway = Gateway::new();
    gateway.tsg(&["setup", "--lan", "lan1", "--wan", "wan"]).fails(1, "is this OpenWrt?");
    fs::write(gateway.path("config/network"), "config interface 'lan'\n\toption device 'br-lan'\n")
        .unwrap();
    gateway
        .tsg(&["setup", "--lan", "none1", "--wan", "none2"])
        .fails(1, "there is no port none1; there are");
    gateway.tsg(&["setup", "--lan", "lo", "--wan", "lo"]).fails(1, "lo is named twice");
    gateway.tsg(&["setup", "--confirm"]).fails(1, "no set-up waits");
    gateway.tsg(&["setup", "--undo"]).fails(1, "no set-up to undo");
    assert_eq!(gateway.tsg(&["setup", "--expire"]).ok(), "");
    let apply = ["setup", "--lan", "a", "--wan", "b", "--apply", "--rollback", "5"];
    gateway.tsg(&apply).fails(1, "30 to 3600 seconds");
}

#[test]
fn many_writers_lose_nothing() {
    let gateway = Gateway::new();
    let threads: Vec<_> = (0..8)
        .map(|writer| {
            let file = gateway.path("config/tsg");
            thread::spawn(move || {
                for round in 0..10 {
                    let option = format!("o{writer}_{round}");
                    tsg_bridge::uci::store(&file, |document| {
                        document.set("tsg", "main", &option, "x".into());
                    })
                    .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(gateway.config().named("tsg", "main").unwrap().options.len(), 80);
    assert_eq!(fs::read_dir(gateway.path("config")).unwrap().count(), 1, "something is left over");
}
