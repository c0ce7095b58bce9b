//! What must hold for every UCI text: reading gives back what was written, an edit changes one option and
//! nothing else, and no bytes make the reader panic.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print")]

use proptest::{collection::vec, prelude::*};
use tsg_bridge::uci::{Document, Opt, Package, Section, Value, write};

const CASES: u32 = 2_000;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{1,20}"
}

fn options() -> impl Strategy<Value = Vec<Opt>> {
    let value =
        prop_oneof![text().prop_map(Value::Text), vec("[^\0]{0,8}", 1..4).prop_map(Value::List)];
    prop::collection::btree_map("[a-zA-Z0-9_]{1,8}", value, 0..5)
        .prop_map(|options| options.into_iter().map(|(name, value)| Opt { name, value }).collect())
}

fn package() -> impl Strategy<Value = Package> {
    let section = ("[!-~]{1,8}", prop::bool::ANY, options());
    vec(section, 0..4).prop_map(|sections| {
        let sections = sections.into_iter().enumerate().map(|(at, (kind, named, options))| {
            let name = named.then(|| format!("s{at}"));
            Section { kind, name, options }
        });
        Package { sections: sections.collect() }
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read(package in package()) {
        let text = write(&package);
        prop_assert_eq!(Package::parse(text.as_bytes()).map_err(|e| e.to_string()), Ok(package));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Package::parse(&bytes);
    }

    #[test]
    fn no_uci_like_bytes_make_the_reader_panic(
        pieces in vec(prop::sample::select(vec![
            &b"config "[..], b"option ", b"list ", b"a ", b"'", b"\"", b"\\", b"\n", b"\r\n", b";", b"#", b"\xff", b"\xc3\xa4", b"\0",
        ]), 0..40)
    ) {
        let text = pieces.concat();
        if let Err(error) = Package::parse(&text) {
            let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
            prop_assert!((1..=lines).contains(&error.line()), "{error}");
            prop_assert!((1..=text.len() + 1).contains(&error.column()), "{error}");
        }
    }

    #[test]
    fn an_edit_changes_one_option(package in package(), option in "[a-z]{1,3}", value in text()) {
        let mut document = Document::parse(write(&package).as_bytes()).unwrap();
        document.set("tsg", "s0", &option, value.as_str().into());
        let edited = Package::parse(document.text().as_bytes()).unwrap();
        let kind = package.sections.first().filter(|s| s.name.is_some()).map_or("tsg", |s| &s.kind);
        let section = edited.named(kind, "s0").unwrap();
        prop_assert_eq!(section.value(&option), Some(&Value::Text(value)));
        for before in &package.sections {
            for opt in &before.options {
                let same = |after: &&Section| after.kind == before.kind && after.name == before.name;
                if before.name.as_deref() == Some("s0") && opt.name == option {
                    continue;
                }
                let kept = edited.sections.iter().filter(same).any(|after| after.options.contains(opt));
                prop_assert!(kept, "{} {:?} is lost", before.kind, opt);
            }
        }
    }
}

const COMMENTED: &str = "\
# The gateway of hall 3. Ask Erika before you touch it.

config tsg 'main'
\t# on since 2026
\toption enabled '1'   # really
\toption name \"hall
3\"
\tlist server 'tcp://192.0.2.1:5555' # old one
\tlist server 'tcp://192.0.2.2:5555'

config bridge
\tlist lan lan1
\toption wan wan";

#[test]
fn an_edit_keeps_comments_and_layout() {
    let mut document = Document::parse(COMMENTED.as_bytes()).unwrap();
    document.set("tsg", "main", "server", "tcp://192.0.2.9:5555".into());
    document.set("tsg", "main", "server_key", "it's".into());
    document.set("tsg", "main", "enabled", "0".into());
    document.set("wifi", "new", "a", Value::List(vec!["b".to_owned(), "c d".to_owned()]));
    assert_eq!(
        document.text(),
        "\
# The gateway of hall 3. Ask Erika before you touch it.

config tsg 'main'
\t# on since 2026
\toption enabled '0'
\toption name \"hall
3\"
\toption server 'tcp://192.0.2.9:5555'
\toption server_key 'it'\\''s'

config bridge
\tlist lan lan1
\toption wan wan

config wifi 'new'
\tlist a 'b'
\tlist a 'c d'
"
    );
}

#[test]
fn an_edit_can_take_an_option_away() {
    let mut document = Document::parse(COMMENTED.as_bytes()).unwrap();
    document.set("tsg", "main", "server", Value::List(Vec::new()));
    assert!(!document.text().contains("server"), "{}", document.text());
    assert!(document.text().contains("Erika"));
}

#[test]
fn an_edit_survives_layouts_that_it_cannot_keep() {
    for text in [
        "config tsg 'main' ; option server 'a' ; option name 'b'\n",
        "config tsg 'main'; option name 'b'; option server 'a'",
        "config tsg main\noption server a\nconfig x y\nconfig tsg main\noption name b\noption server c\n",
        "config tsg main\noption name b\nlist server a\noption server c",
        "config tsg main\noption name b\noption server 'a';option server 'c'\n",
    ] {
        let mut document = Document::parse(text.as_bytes()).unwrap();
        document.set("tsg", "main", "server", "new".into());
        let edited = Package::parse(document.text().as_bytes()).unwrap();
        let main = edited.named("tsg", "main").unwrap();
        assert_eq!(main.text("server"), Some("new"), "{}", document.text());
        assert_eq!(main.text("name"), Some("b"), "{}", document.text());
        assert_eq!(main.options.len(), 2, "{}", document.text());
    }
}
