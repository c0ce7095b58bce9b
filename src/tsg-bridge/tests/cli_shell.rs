//! The completion for bash and the manual page, against the program that they are made from.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn shell(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/shell").join(file)
}

fn succeed(command: &mut Command) -> String {
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _tsg; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(shell("tsg.bash"));
    command.arg(env!("CARGO_BIN_EXE_tsg")).args(words);
    succeed(&mut command).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_their_options() {
    assert_eq!(completed(&["finger"]), ["fingerprint"]);
    assert_eq!(completed(&["help", "key"]), ["keygen"]);
    assert_eq!(completed(&["gate", "--i"]), ["--isolate"]);
    assert_eq!(completed(&["--state", "/tmp", "status", "--j"]), ["--json"]);
    assert_eq!(completed(&["--sta"]), ["--state"]);
}

#[test]
fn the_manual_page_has_every_command() {
    let page = succeed(Command::new(shell("manual")).arg(env!("CARGO_BIN_EXE_tsg")));
    assert!(page.starts_with(".TH TSG 1 "), "{page}");
    for section in ["NAME", "SYNOPSIS", "COMMANDS", "OPTIONS"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "{section}");
    }
    for command in ["run", "status", "enrol", "gate", "bundle", "help"] {
        assert!(page.contains(&format!("\n.SS {command}\n")), "{command}");
    }
    assert!(page.lines().all(|line| !line.starts_with('\'')), "roff would take it for a command");
}
