//! What the command line prints, word for word: `tests/golden/*.txt`.
//!
//! A file is a session: `$ words` and what comes of them. What differs from run to run is masked.
//! `UPDATE_GOLDEN=1` writes the files anew.

use super::daemon::Daemon;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn session(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let expected = fs::read_to_string(&path).unwrap();
    let daemon = Daemon::start();
    let mut shown = String::new();
    let mut commands = 0;
    for line in expected.lines().filter_map(|line| line.strip_prefix("$ ")) {
        commands += 1;
        let words = words(line);
        let output = daemon.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let _ = writeln!(shown, "$ {line}");
        shown += &masked(&daemon, &String::from_utf8(output.stdout).unwrap());
        shown += &masked(&daemon, &String::from_utf8(output.stderr).unwrap());
        let code = output.status.code().unwrap();
        if code != 0 {
            let _ = writeln!(shown, "[exit code {code}]");
        }
        shown.push('\n');
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    assert!(commands > 0);
    assert_eq!(expected, shown, "run with UPDATE_GOLDEN=1 if that is right");
    println!("{commands} commands");
}

/// Words between blanks; quotes hold some together.
fn words(line: &str) -> Vec<String> {
    line.split('\'')
        .enumerate()
        .flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Without what differs: paths, ports, keys, dates, processes.
fn masked(daemon: &Daemon, text: &str) -> String {
    let text = text
        .replace(daemon.place.path().to_str().unwrap(), "FOLDER")
        .replace(&daemon.endpoint, "tcp://127.0.0.1:PORT")
        .replace(&daemon.key.to_string(), "SERVER-KEY")
        .replace(&daemon.key.fingerprint().to_string(), "SERVER-FINGERPRINT");
    let processes = text.contains("(pid ");
    let masked = text.lines().map(|line| match processes {
        // Their numbers are not equally long: columns do not line up twice.
        true => masked_line(&squeezed(line)),
        false => masked_line(line),
    });
    masked.map(|line| line + "\n").collect()
}

/// At most two blanks in a row.
fn squeezed(line: &str) -> String {
    let mut text = line.to_owned();
    while text.contains("   ") {
        text = text.replace("   ", "  ");
    }
    text
}

fn masked_line(line: &str) -> String {
    if line.starts_with("up for ") {
        return "up for       TIME".to_owned();
    }
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let word = words[at].clone();
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if word.len() == 10 && word.split('-').count() == 3 && digits(&word.replace('-', "")) {
            words[at] = "YYYY-MM-DD".to_owned();
        } else if word.len() == 8 && word.split(':').count() == 3 {
            words[at] = "HH:MM:SS".to_owned();
        } else if word == "(pid" {
            words[at + 1] = "PID)".to_owned();
        } else if word.starts_with("tsg1-") {
            words[at] = "TOKEN".to_owned();
        } else if let Some(port) = word.strip_prefix("tcp://127.0.0.1:")
            && digits(port)
        {
            words[at] = "tcp://127.0.0.1:PORT".to_owned();
        } else if word == "kB" {
            words[at - 1] = "SIZE".to_owned();
        }
    }
    words.join(" ")
}

#[test]
fn a_first_day() {
    session("first-day.txt");
}

#[test]
fn mistakes() {
    session("mistakes.txt");
}
