//! `tsg-server bundle`: everything that support asks for, in one file, from a key server that may be dead.
//!
//! The daemon is asked by processes of their own, which are killed when they take too long; the database is only read.
//! How files are collected and secrets kept out: [`tsg_bundle`].

use crate::database;
use crate::identity;
use anyhow::{Context, Result};
use std::io;
use std::path::Path;
use std::time::Duration;
use tsg_bundle::{About, Destination, Secrets, Topic, machine};
use tsg_control::server::GatewayView;

/// The daemon answers within milliseconds, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// File, question and what it is.
const QUESTIONS: [(&str, &[&str], &str); 5] = [
    ("gateways.json", &["gateway", "list"], "the gateways: who waits, who is in, what they count"),
    ("status.json", &["status"], "what the daemon says: alarms, groups, what it dropped"),
    (
        "groups.json",
        &["group", "list"],
        "groups with their settings, policies and epochs, without keys",
    ),
    ("tokens.json", &["token", "list"], "enrolment tokens, without their secrets"),
    (
        "audit.json",
        &["audit", "--last", "200"],
        "what was ordered last, by whom, and what came of it",
    ),
];

pub(super) fn run(socket: &Path, data: &Path, file: Option<&Path>) -> Result<()> {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.unwrap_or_else(|| "server".to_owned());
    let about = About { program: "tsg-server", version: env!("CARGO_PKG_VERSION"), name: &name };
    let destination = Destination::new(file, &about)?;
    let mut secrets = Secrets::default();
    secrets.hide_identity(&data.join(identity::FILE));
    let program = std::env::current_exe().context("where is this program?")?;
    let (program, socket) = (program.to_string_lossy(), socket.to_string_lossy());
    let summary = tsg_bundle::make(&destination, about, secrets, &mut |bundle| {
        let mut answers = true;
        for (file, question, what) in QUESTIONS {
            let argv = [&[&*program, "--socket", &*socket, "--json"], question].concat();
            bundle.add(file, what, &mut |topic| match answers {
                true => answers = ask(topic, &argv),
                false => topic.miss(file, "not asked for, since the daemon does not answer"),
            })?;
        }
        bundle.add("database.txt", "the database: is it whole, what is in it", &mut |topic| {
            let folder = data.to_owned();
            let found = topic.within("database", Box::new(move || database::inspect(&folder)));
            topic.put(found);
        })?;
        bundle.add(
            "folders.txt",
            "the server's files: modes, owners, sizes, room on the disk",
            &mut |topic| {
                topic.list(data);
                topic.run(&["df", &data.to_string_lossy()]);
            },
        )?;
        bundle.add("versions.txt", "versions of programs, libraries and system", &mut versions)?;
        machine::add_all(bundle, "tsg-server")
    })?;
    tsg_bundle::report(&destination, summary, &mut io::stdout().lock())
}

/// Gives whether there is an answer.
fn ask(topic: &mut Topic, argv: &[&str]) -> bool {
    let Ok(answer) = topic.answer(argv, PATIENCE, &[0]) else { return false };
    if let Ok(gateways) = serde_json::from_slice::<Vec<GatewayView>>(&answer) {
        gateways.iter().for_each(|gateway| topic.may_show(gateway.key.to_string()));
    }
    topic.put(answer);
    true
}

fn versions(topic: &mut Topic) {
    topic.say(
        "programs and libraries",
        format!(
            "tsg-server {}\nlibsodium {}\nSQLite {}",
            env!("CARGO_PKG_VERSION"),
            tsg_sodium::version(),
            rusqlite::version(),
        ),
    );
    machine::system(topic);
}
