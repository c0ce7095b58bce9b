//! `tsg bundle`: everything that support asks for, in one file, from a gateway that may be dead.
//!
//! What may hang (the daemon, a probe of the kernel) is asked by a process of its own, which is killed when it takes
//! too long. How files are collected and secrets kept out: [`tsg_bundle`].

mod ports;

use std::{io::Write, path::Path, time::Duration};

use anyhow::{Context, Result};
use tsg_bundle::{About, Bundle, Destination, Secrets, Topic, machine, options};
use tsg_esp::crypto::Tek;

use crate::{
    config::Config, enrolment, folders::Folders, identity::IDENTITY_FILE, run::kept_teks, uci,
};

/// The daemon answers within milliseconds, or not at all.
const STATUS: Duration = Duration::from_secs(8);

/// Looking at the machine runs several programs, each with a deadline of its own.
const CHECK: Duration = Duration::from_secs(30);

/// UCI files that say how the box is set up.
const CONFIGURATION: [&str; 2] = ["tsg", "network"];

/// Options of OpenWrt's firewall that let packets pass the gateway by.
const FLOW_OFFLOAD: &str = "flow_offloading";

pub(super) fn run(folders: &Folders, file: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let config = configuration(folders);
    let name = config.gateway_name();
    let about = About { program: "tsg", version: env!("CARGO_PKG_VERSION"), name: &name };
    let destination = Destination::new(file, &about)?;
    let this = This::find(folders)?;
    let summary =
        tsg_bundle::make(&destination, about, secrets(folders, &config), &mut |bundle| {
            bundle.add(
                "status.json",
                "what the daemon says: state, alarms, counters",
                &mut |topic| this.status(topic),
            )?;
            bundle.add(
                "check.txt",
                "what `tsg check` says of configuration and machine",
                &mut |topic| this.check(topic),
            )?;
            bundle.add(
                "versions.txt",
                "versions of programs, libraries and system",
                &mut versions,
            )?;
            add_files(bundle, folders)?;
            bundle.add("ports.txt", "the ports: gate, offloads, driver, errors", &mut |topic| {
                ports::collect(topic, &config);
            })?;
            machine::add_all(bundle, "tsg")
        })?;
    tsg_bundle::report(&destination, summary, out)
}

/// As much of it as is right.
fn configuration(folders: &Folders) -> Config {
    let path = folders.config_file();
    uci::read(&path)
        .map_or_else(|_| Config::default(), |package| Config::from_package(&path, &package).0)
}

fn secrets(folders: &Folders, config: &Config) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.hide_identity(&folders.state.join(IDENTITY_FILE));
    if let Ok(Some(token)) = enrolment::pending(folders) {
        secrets.hide(token.expose());
    }
    for tek in kept_teks(folders).iter().map(Tek::expose) {
        secrets.hide(tek);
    }
    if let Some(key) = &config.server_key {
        secrets.may_show(&key.to_string());
    }
    secrets
}

/// This program, on these folders.
struct This {
    program: String,
    folders: [String; 3],
}

impl This {
    fn find(folders: &Folders) -> Result<Self> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let program = std::env::current_exe().context("where is this program?")?;
        let folders = [&folders.config, &folders.state, &folders.run].map(|path| text(path));
        Ok(Self { program: text(&program), folders })
    }

    fn command<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        let [config, state, run] = self.folders.each_ref().map(String::as_str);
        let mut argv = vec![self.program.as_str(), "-c", config, "--state", state, "--run", run];
        argv.extend(words);
        argv
    }

    fn status(&self, topic: &mut Topic) {
        let Ok(answer) = topic.answer(&self.command(&["status", "--json"]), STATUS, &[0]) else {
            return;
        };
        // For people, if it is what it should be.
        let pretty =
            serde_json::from_slice::<serde_json::Value>(&answer).map(|value| format!("{value:#}"));
        topic.put(pretty.map_or(answer, String::into_bytes));
    }

    fn check(&self, topic: &mut Topic) {
        let answer = topic.answer(&self.command(&["check"]), CHECK, &[0, 1]);
        topic.put(answer.unwrap_or_else(|partial| partial));
    }
}

fn versions(topic: &mut Topic) {
    topic.say(
        "programs and libraries",
        format!("tsg {}\nlibsodium {}", env!("CARGO_PKG_VERSION"), tsg_sodium::version()),
    );
    machine::system(topic);
}

fn add_files(bundle: &mut Bundle<'_>, folders: &Folders) -> Result<()> {
    for name in CONFIGURATION {
        let path = folders.config.join(name);
        let what = format!("{} without what is secret in it", path.display());
        bundle.add(&format!("config-{name}.txt"), &what, &mut |topic| match topic.read(&path) {
            Ok(text) => topic.put(options(&String::from_utf8_lossy(&text))),
            Err(why) => topic.miss(&path.display().to_string(), &why),
        })?;
    }
    bundle.add("policy.json", "the last policy that was in force", &mut |topic| match topic
        .read(folders.policy())
    {
        Ok(text) => topic.put(text),
        Err(why) => topic.miss(&folders.policy().display().to_string(), &why),
    })?;
    bundle.add("folders.txt", "the gateway's files: modes, owners, sizes", &mut |topic| {
        for folder in [&folders.config, &folders.state, &folders.cache(), &folders.run] {
            topic.list(folder);
        }
    })
}
