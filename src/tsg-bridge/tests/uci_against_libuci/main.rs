//! Our UCI reader and writer against the real libuci, both ways, on random packages and random texts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

mod real;

use std::{cell::Cell, fs, process::Output};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use real::RealUci;
use tsg_bridge::uci::{Document, Opt, Package, Section, Value, write};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// Texts that a value can hold, with everything that quoting has to survive.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9_.:/-]{1,8}",
        2 => prop::sample::select(vec![
            "'", "\"", "\\", " ", "\t", "\n", "\r\n", ";", "#", "=", "''", "'\\''", "\\n", "$x", "ä", "日本", "\u{1f512}", "\\\n",
        ]).prop_map(str::to_owned),
    ];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_]{0,6}"
}

fn options() -> impl Strategy<Value = Vec<Opt>> {
    let value = prop_oneof![
        2 => text().prop_map(Value::Text),
        1 => vec(text(), 1..4).prop_map(Value::List),
    ];
    vec((name(), value), 0..5).prop_map(|options| {
        let mut seen = Vec::new();
        let mut unique = Vec::new();
        for (name, value) in options {
            if !seen.contains(&name) {
                seen.push(name.clone());
                unique.push(Opt { name, value });
            }
        }
        unique
    })
}

fn package() -> impl Strategy<Value = Package> {
    let section = (name(), prop::bool::ANY, options());
    vec(section, 0..4).prop_map(|sections| {
        let sections = sections.into_iter().enumerate().map(|(at, (kind, named, options))| {
            let name = named.then(|| format!("s{at}"));
            Section { kind, name, options }
        });
        Package { sections: sections.collect() }
    })
}

/// What `uci show` prints for a package.
fn shown(package: &Package) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut lines = String::new();
    for (at, section) in package.sections.iter().enumerate() {
        let before = package.sections[..at].iter().filter(|s| s.kind == section.kind).count();
        let label = section.name.clone().unwrap_or_else(|| format!("@{}[{before}]", section.kind));
        lines.push_str(&format!("tsg.{label}={}\n", section.kind));
        for Opt { name, value } in &section.options {
            let texts: Vec<String> = value.texts().iter().map(|text| quoted(text)).collect();
            lines.push_str(&format!("tsg.{label}.{name}={}\n", texts.join(" ")));
        }
    }
    lines
}

#[test]
fn uci_reads_what_we_write() {
    let uci = RealUci::new();
    let cases = 300;
    runner(cases)
        .run(&package(), |package| {
            fs::write(uci.file(), write(&package)).unwrap();
            prop_assert_eq!(uci.ok(&["show", "tsg"]), shown(&package));
            Ok(())
        })
        .unwrap();
    println!("{cases} packages written by us and read by uci");
}

#[test]
fn we_read_what_uci_writes() {
    let uci = RealUci::new();
    let cases = 60;
    runner(cases)
        .run(&package(), |package| {
            fs::write(uci.file(), "").unwrap();
            for section in &package.sections {
                let label = match &section.name {
                    Some(name) => {
                        uci.ok(&["set", &format!("tsg.{name}={}", section.kind)]);
                        name.clone()
                    }
                    None => uci.ok(&["add", "tsg", &section.kind]).trim().to_owned(),
                };
                for Opt { name, value } in &section.options {
                    let verb = if matches!(value, Value::List(_)) { "add_list" } else { "set" };
                    for text in value.texts() {
                        uci.ok(&[verb, &format!("tsg.{label}.{name}={text}")]);
                    }
                }
            }
            uci.ok(&["commit", "tsg"]);
            let read = Package::parse(&fs::read(uci.file()).unwrap());
            prop_assert_eq!(read.unwrap(), package);
            Ok(())
        })
        .unwrap();
    println!("{cases} packages written by uci and read by us");
}

/// Texts that look like UCI and mostly are not.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "config ",
        "option ",
        "list ",
        "package ",
        "c ",
        "o ",
        "l ",
        "p ",
        "t",
        "a",
        "b",
        "'x y'",
        "\"q\"",
        "'",
        "\"",
        "\\",
        "\\\\",
        " ",
        "\t",
        "\n",
        "\n\t",
        "\r\n",
        "\\\n",
        "\\\r\n",
        "\x0b",
        ";",
        " ; ",
        "#",
        "# ",
        "''",
        "'it'\\''s'",
        "ä",
        "=",
        "-",
        "config t\n",
        "config t 'n'\n",
        "option a 'b'\n",
        "list a 'b'\n",
        "'x';",
        "option a 'b';option c 'd'\n",
    ]);
    vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Texts that look like UCI and mostly are.
fn statements() -> impl Strategy<Value = String> {
    let any = |texts: &[&'static str]| prop::sample::select(texts.to_vec());
    let word = vec(
        any(&[
            "a",
            "b",
            "'x y'",
            "\"q'q\"",
            "'\"'",
            "''",
            "\\'",
            "\\\\",
            "\\ ",
            "\\;",
            "\\\r\n",
            "\\\n",
            "'l\nl'",
            "\"l\\\nl\"",
            "ä",
            "#",
            ";",
            "\x0b",
        ]),
        0..4,
    );
    let statement = (
        any(&[
            "config t ",
            "config t n",
            "c\tu m",
            "option a ",
            "option b ",
            "list a ",
            "o a\t",
            "l  b ",
            "package p",
        ]),
        word,
        any(&["\n", "\n", "\n\n", "\r\n", " # c\n", "#c\n", ";", " ; ", "\t;\t", ""]),
    );
    vec(statement, 0..6).prop_map(|statements| {
        let texts =
            statements.iter().map(|(head, word, end)| format!("{head}{}{end}", word.concat()));
        texts.fold("config t\n".to_owned(), |all, text| all + &text)
    })
}

fn count(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

/// Where we refuse what uci takes, on purpose.
fn refused_on_purpose(error: &str) -> bool {
    error.contains("uci ignores what follows")
}

/// When a file opens a named section for the third time, libuci forgets it and refuses the next option.
fn lost_its_section(real: &Output) -> bool {
    String::from_utf8_lossy(&real.stderr).contains("found before the first section")
}

#[test]
fn any_text_means_the_same_to_both() {
    let uci = RealUci::new();
    let cases = 4_000;
    let [accepted, refused, on_purpose] = [const { Cell::new(0_u32) }; 3];
    runner(cases)
        .run(&prop_oneof![1 => soup(), 3 => statements()], |text| {
            fs::write(uci.file(), &text).unwrap();
            let real = uci.run(&["show", "tsg"]);
            if real.status.code().is_none() {
                return Err(TestCaseError::reject("uci crashed"));
            }
            match Package::parse(text.as_bytes()) {
                Ok(_) if lost_its_section(&real) => count(&on_purpose),
                Ok(ours) => {
                    prop_assert!(real.status.success(), "uci refuses it: {:?}", real);
                    prop_assert_eq!(String::from_utf8(real.stdout).unwrap(), shown(&ours));
                    count(&accepted);
                }
                Err(error) if refused_on_purpose(&error.to_string()) => count(&on_purpose),
                Err(error) => {
                    prop_assert!(!real.status.success(), "{error}, but uci takes it: {:?}", real);
                    count(&refused);
                }
            }
            Ok(())
        })
        .unwrap();
    let [accepted, refused, on_purpose] = [accepted.get(), refused.get(), on_purpose.get()];
    println!(
        "{accepted} texts mean the same, {refused} refused by both, {on_purpose} by one on purpose"
    );
    assert!(accepted > 500 && refused > 500, "the texts are too one-sided to tell");
}

#[test]
fn uci_reads_what_we_edited() {
    let uci = RealUci::new();
    let cases = 200;
    runner(cases)
        .run(&(package(), name(), text()), |(package, option, value)| {
            let mut document = Document::parse(write(&package).as_bytes()).unwrap();
            document.set("tsg", "main", &option, value.as_str().into());
            fs::write(uci.file(), document.text()).unwrap();
            let shown = uci.ok(&["get", &format!("tsg.main.{option}")]);
            prop_assert_eq!(shown, format!("{value}\n"));
            Ok(())
        })
        .unwrap();
    println!("{cases} edited files read by uci");
}

#[test]
fn the_shipped_file_means_the_same_to_both() {
    let uci = RealUci::new();
    let text = include_bytes!("../../../../files/etc/config/tsg");
    fs::write(uci.file(), text).unwrap();
    assert_eq!(uci.ok(&["show", "tsg"]), shown(&Package::parse(text).unwrap()));

    // What the first lines of the file tell people to do, and `tsg enrol` after it.
    uci.ok(&["set", "tsg.main.server=tcp://192.0.2.10:5555"]);
    uci.ok(&["commit", "tsg"]);
    let mut document = Document::parse(&fs::read(uci.file()).unwrap()).unwrap();
    document.set("tsg", "main", "server_key", "k".into());
    fs::write(uci.file(), document.text()).unwrap();
    assert_eq!(uci.ok(&["get", "tsg.main.server"]), "tcp://192.0.2.10:5555\n");
    assert_eq!(uci.ok(&["get", "tsg.main.server_key"]), "k\n");
}
