//! `tsg setup`: makes ports a gateway's, with a way back.

use std::{
    io::Write,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::complain;
use crate::{
    boottime,
    folders::Folders,
    machine::Machine,
    setup::{
        self, Files, Request,
        apply::{self, Deadline, Service},
    },
};

/// Where `uci set` keeps what is not committed.
const STAGED: &str = "/tmp/.uci";

/// Between a minute for a network that comes up slowly, and an hour for a walk to the box and back.
const ROLLBACK_S: std::ops::RangeInclusive<u32> = 30..=3_600;

const UNDONE: &str = "nobody has confirmed the set-up: it is undone";

/// What `tsg setup` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Say what would be done, or so for programs.
    Show {
        /// What for.
        wish: Wish,
        /// One object, as the method `setup` answers.
        json: bool,
    },
    /// Do it, and undo it after so many seconds unless somebody confirms.
    Apply(Wish, Option<u32>),
    /// Take the last one back.
    Undo,
    /// It stays.
    Confirm,
    /// Undo what was not confirmed in time, or before the box was switched off.
    Expire,
    /// Wait until the deadline, and undo what is not confirmed.
    Watch,
}

/// The ports and the address, as they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Ports to the protected machines.
    pub lan: Vec<String>,
    /// The port to the plant network.
    pub wan: String,
    /// keep, dhcp, none or an address with its prefix.
    pub address: Option<String>,
    /// The VLAN of the address.
    pub vlan: Option<u16>,
    /// No bridge.
    pub standalone: bool,
}

pub(super) fn run(folders: &Folders, setup: &Setup, out: &mut dyn Write) -> Result<()> {
    match setup {
        Setup::Show { wish, json: false } => show(folders, wish, out),
        Setup::Show { wish, json: true } => {
            let answer = request(wish).and_then(|request| setup::answer(folders, &request));
            let answer = answer
                .unwrap_or_else(|error| json!({ "ok": false, "error": format!("{error:#}") }));
            writeln!(out, "{answer}")?;
            Ok(())
        }
        Setup::Apply(wish, rollback) => carry_out(folders, wish, *rollback, out),
        Setup::Undo => {
            apply::undo(folders)?;
            writeln!(out, "the set-up is undone; what else was changed since stays")?;
            take_up(out)
        }
        Setup::Confirm => {
            apply::confirm(folders)?;
            writeln!(out, "the set-up stays; `tsg setup --undo` still takes it back")?;
            Ok(())
        }
        Setup::Expire => {
            if apply::expire(folders, &apply::now())? {
                writeln!(out, "{UNDONE}")?;
                reload(&[Service::Network]);
            }
            Ok(())
        }
        Setup::Watch => watch_over(folders, out),
    }
}

fn request(wish: &Wish) -> Result<Request> {
    let Wish { lan, wan, address, vlan, standalone } = wish.clone();
    let address = address.as_deref().unwrap_or("keep").parse()?;
    Request { lan, wan, address, vlan, standalone }.checked()
}

fn plan(folders: &Folders, wish: &Wish) -> Result<setup::Plan> {
    setup::plan(&Files::read(folders)?, &Machine::new(Path::new("/")), &request(wish)?)
}

fn show(folders: &Folders, wish: &Wish, out: &mut dyn Write) -> Result<()> {
    let plan = plan(folders, wish)?;
    for note in &plan.notes {
        writeln!(out, "# {note}")?;
    }
    for change in plan.draft.changes() {
        writeln!(out, "{}", setup::command(change))?;
    }
    if !plan.draft.changes().is_empty() {
        writeln!(
            out,
            "# nothing was changed; `--apply --rollback 120` does it, and undoes it unless you confirm"
        )?;
    }
    Ok(())
}

fn carry_out(
    folders: &Folders,
    wish: &Wish,
    rollback: Option<u32>,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(seconds) = rollback {
        ensure!(
            ROLLBACK_S.contains(&seconds),
            "--rollback takes {} to {} seconds",
            ROLLBACK_S.start(),
            ROLLBACK_S.end()
        );
    }
    apply::nothing_staged(Path::new(STAGED))?;
    let plan = plan(folders, wish)?;
    for note in &plan.notes {
        writeln!(out, "{note}")?;
    }
    if plan.draft.changes().is_empty() {
        return Ok(());
    }
    let deadline = rollback.map(|seconds| {
        let now = apply::now();
        Deadline { at_ms: now.at_ms + u64::from(seconds) * 1_000, ..now }
    });
    apply::apply(folders, &plan.draft, deadline)?;
    if let Some(seconds) = rollback {
        // Before anything changes: whoever is cut off in the middle still has the way back.
        if let Err(error) = watch(folders) {
            apply::undo(folders)?;
            return Err(error.context("nobody would undo it, so it was not done"));
        }
        writeln!(
            out,
            "within {seconds} seconds run `tsg setup --confirm`; otherwise, or if the box is switched off before, \
             all of it is undone"
        )?;
    }
    out.flush()?;
    // Before they join their bridge. Where there can be no gate, the gateway says so.
    apply::reload(&[Service::Gate]).iter().for_each(|failure| complain(failure));
    take_up(out)
}

/// Somebody who undoes it when this process, and the connection that it came by, are long gone.
fn watch(folders: &Folders) -> Result<()> {
    let program = std::env::current_exe().context("where is this program?")?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&folders.config);
    command.arg("--state").arg(&folders.state);
    command.arg("--run").arg(&folders.run);
    command.args(["setup", "--watch"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A process group of its own: what ends the shell does not end it.
    command.process_group(0).current_dir("/");
    command.spawn().context("cannot start what would undo it")?;
    Ok(())
}

fn watch_over(folders: &Folders, out: &mut dyn Write) -> Result<()> {
    ignore_hangup()?;
    loop {
        let kept = apply::Kept::load(folders)?;
        let Some(deadline) = kept.and_then(|kept| kept.deadline) else { return Ok(()) };
        if apply::expire(folders, &apply::now())? {
            writeln!(out, "{UNDONE}")?;
            return take_up(out);
        }
        let left = deadline.at_ms.saturating_sub(boottime::now());
        std::thread::sleep(Duration::from_millis(left.clamp(100, 1_000)));
    }
}

/// The terminal of whoever has started it may close.
fn ignore_hangup() -> Result<()> {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGHUP);
    set.thread_block().context("cannot block a signal")
}

fn take_up(out: &mut dyn Write) -> Result<()> {
    match reload(&[Service::Network, Service::Gateway]) {
        true => writeln!(out, "network and gateway have taken it up")?,
        false => writeln!(
            out,
            "what is in the files is not in force everywhere yet; see to that, or restart the box"
        )?,
    }
    Ok(())
}

/// Says what could not be run, and whether all could.
fn reload(services: &[Service]) -> bool {
    let failed = apply::reload(services);
    failed.iter().for_each(|failure| complain(failure));
    failed.is_empty()
}
