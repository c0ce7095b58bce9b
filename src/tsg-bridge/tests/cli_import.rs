//! `tsg import`: the predecessor's `cb.conf`, good ones and hostile ones.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use std::{fs, path::PathBuf, process::Command};

use tsg_bridge::{import::CbConf, uci};

const SERVER: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

/// A key pair in Z85, made as the predecessor made it.
fn pair() -> (String, String) {
    let pair = zmq::CurveKeyPair::new().unwrap();
    (zmq::z85_encode(&pair.public_key).unwrap(), zmq::z85_encode(&pair.secret_key).unwrap())
}

fn conf(server_ip: &str) -> String {
    let (public, secret) = pair();
    format!(
        "server_ip={server_ip}\nnode_name=hall3\nserver_pub={SERVER}\nclient_pub={public}\n\
         client_secret={secret}\n"
    )
}

fn import(folder: &tempfile::TempDir, text: &str, force: bool) -> (i32, String) {
    let file: PathBuf = folder.path().join("cb.conf");
    fs::write(&file, text).unwrap();
    fs::create_dir_all(folder.path().join("config")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tsg"));
    command.arg("-c").arg(folder.path().join("config"));
    command.arg("--state").arg(folder.path().join("state")).arg("import").arg(&file);
    if force {
        command.arg("--force");
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_cb_conf_becomes_configuration_and_identity() {
    for (server_ip, expected) in [
        ("192.0.2.10", "tcp://192.0.2.10:5555"),
        ("192.0.2.10:6000", "tcp://192.0.2.10:6000"),
        ("tcp://192.0.2.10:6000", "tcp://192.0.2.10:6000"),
        ("\"keys.plant\"", "tcp://keys.plant:5555"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = conf(server_ip) + "exec=/bin/evil\n# comment\n\n";
        let (code, out) = import(&folder, &text, false);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("line 6: \"exec\" is not known"), "{out}");
        let config = uci::read(&folder.path().join("config/tsg")).unwrap();
        let main = config.named("tsg", "main").unwrap();
        assert_eq!(main.text("server"), Some(expected));
        assert_eq!(main.text("name"), Some("hall3"));
        let public = text.lines().find_map(|line| line.strip_prefix("client_pub=")).unwrap();
        let public: tsg_control::keys::PublicKey = public.parse().unwrap();
        assert!(out.contains(&format!("public key:  {public}")), "{out}");
        let secret = text.lines().find_map(|line| line.strip_prefix("client_secret=")).unwrap();
        assert!(!out.contains(secret));
    }
}

#[test]
fn an_identity_is_not_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(import(&folder, &conf("192.0.2.10"), false).0, 0);
    let key = fs::read(folder.path().join("state/key")).unwrap();
    let (code, out) = import(&folder, &conf("192.0.2.11"), false);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("--force"), "{out}");
    assert_eq!(fs::read(folder.path().join("state/key")).unwrap(), key);
    let config = fs::read_to_string(folder.path().join("config/tsg")).unwrap();
    assert!(config.contains("192.0.2.10") && !config.contains("192.0.2.11"), "{config}");
    assert_eq!(import(&folder, &conf("192.0.2.11"), true).0, 0);
    assert_ne!(fs::read(folder.path().join("state/key")).unwrap(), key);
}

#[test]
fn every_fault_has_its_line() {
    let good = conf("192.0.2.10");
    let (other_public, _) = pair();
    let with = |line: usize, text: &str| {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[line - 1] = text;
        lines.join("\n")
    };
    let cases = [
        (with(1, "server_ip=ftp://x"), "1: server_ip is not an address"),
        (with(1, "server_ip 192.0.2.10"), "1: this line has no `=`"),
        (with(2, "node_name="), "2: node_name must have"),
        (with(2, "node_name=a\u{1b}[31m"), "2: there is a control character"),
        (with(2, "server_ip=192.0.2.1"), "2: \"server_ip\" stands in line 1"),
        (with(3, "server_pub=short"), "3: server_pub is not a key"),
        (with(4, &format!("client_pub={other_public}")), "5: client_secret and client_pub do not"),
        (with(5, "client_secret=short"), "5: client_secret is not a key"),
        (with(5, ""), "client_secret= is missing"),
    ];
    for (text, expected) in &cases {
        let error = CbConf::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.0.len(), expected_count(expected), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        let folder = tempfile::tempdir().unwrap();
        let (code, out) = import(&folder, text, false);
        assert!(code == 1 && out.contains("cb.conf:"), "{out}");
        assert!(
            !folder.path().join("state").exists() && !folder.path().join("config/tsg").exists()
        );
    }
    let mut latin1 = good.clone().into_bytes();
    latin1.extend(b"node=\xe4\n");
    let error = CbConf::parse(&latin1).unwrap_err().to_string();
    assert!(error.starts_with("6: this line is not UTF-8"), "{error}");
    println!("{} faults named", cases.len() + 1);
}

/// A line that is not understood is also missing as what it should have been.
fn expected_count(expected: &str) -> usize {
    if expected.contains("no `=`") { 2 } else { 1 }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_it_panic(lines in proptest::collection::vec(
        proptest::prop_oneof![
            proptest::prelude::any::<Vec<u8>>(),
            proptest::sample::select(vec!["server_ip=", "node_name=", "server_pub=", "client_pub=", "client_secret="])
                .prop_map(|name| [name.as_bytes(), SERVER.as_bytes()].concat()),
        ], 0..8)) {
        let _ = CbConf::parse(&lines.join(&b'\n'));
    }
}
use proptest::strategy::Strategy;
