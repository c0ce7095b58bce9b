//! A UCI file: read, taken as a configuration, written again, and edited.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tsg_bridge::config::Config;
use tsg_bridge::uci::{Document, Package, write};

fuzz_target!(|text: &[u8]| {
    let package = match Package::parse(text) {
        Ok(package) => package,
        Err(error) => {
            let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
            assert!((1..=lines).contains(&error.line()), "{error}");
            return;
        }
    };
    let (_, problems) = Config::from_package(Path::new("tsg"), &package);
    assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));

    assert_eq!(Package::parse(write(&package).as_bytes()), Ok(package));

    let mut document = Document::parse(text).expect("it was read before");
    document.set("tsg", "main", "server_key", "it's".into());
    let edited = Package::parse(document.text().as_bytes()).expect("an edit leaves a UCI file");
    let mut sections = edited.sections.iter();
    let main = sections.find(|section| section.name.as_deref() == Some("main"));
    assert_eq!(main.and_then(|main| main.text("server_key")), Some("it's"));
});
