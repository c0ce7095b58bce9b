//! Words on the two command lines, files with rules, and lists of fingerprints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::cli::Options;
use tsg_control::keys::Fingerprint;
use tsg_server::cli::fuzzing::{operation, rules};
use tsg_server::operations::{Operation, read_list};

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Err(error) = Options::parse(words.iter().map(Into::into).collect()) {
        assert!(!error.to_string().is_empty());
    }
    let words: Vec<String> = std::iter::once("tsg-server".to_owned()).chain(words).collect();
    if let Ok(Some(operation)) = operation(&words) {
        let line = serde_json::to_vec(&operation).expect("an operation can be written");
        assert_eq!(serde_json::from_slice::<Operation>(&line).ok(), Some(operation));
    }
    if let Ok(rules) = rules(text) {
        assert!(rules.len() <= tsg_control::policy::MAX_RULES);
    }
    if let Ok(list) = read_list(text) {
        assert!(list.len() <= tsg_control::server::MOST_LISTED);
        assert!(list.iter().all(|print| print.parse::<Fingerprint>().is_ok()));
    }
});
