//! Flash and memory that are left.

use std::path::Path;

use anyhow::Result;

use super::report::Report;
use crate::{folders::Folders, machine::Machine};

/// What the state folder's file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) read_only: bool,
}

/// A policy, a key and numbers take a few hundred KB at most; flash file systems need some to tidy up.
const LITTLE_FLASH: u64 = 512 * 1024;
const NO_FLASH: u64 = 64 * 1024;

/// The daemon takes some ten MB in a large group, and the network needs memory for packets.
const LITTLE_MEMORY: u64 = 12 * 1024 * 1024;
const NO_MEMORY: u64 = 4 * 1024 * 1024;

/// Asks this machine; the nearest folder that exists says it for one that does not yet.
pub(super) fn here(folder: &Path) -> Option<Room> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let stat = nix::sys::statvfs::statvfs(there).ok()?;
    // Their size depends on the machine.
    let (blocks, size): (u64, u64) = (stat.blocks_available() as _, stat.fragment_size() as _);
    Some(Room {
        bytes: blocks.saturating_mul(size),
        read_only: stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
    })
}

pub(super) fn check(
    folders: &Folders,
    room: Option<Room>,
    machine: &Machine,
    report: &mut Report<'_>,
) -> Result<()> {
    flash(&folders.state, room, machine, report)?;
    memory(machine, report)
}

fn flash(
    state: &Path,
    room: Option<Room>,
    machine: &Machine,
    report: &mut Report<'_>,
) -> Result<()> {
    let state = state.display();
    // OpenWrt without a flash that can be written to: what is on it is in memory.
    let mounts = machine.file("proc/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.contains("upperdir=/tmp/root/")) {
        let text = "the overlay is in memory, so key and policy are lost with the next restart; is the flash \
                    full or damaged? See `logread | grep -i -e jffs2 -e ubifs -e overlay`";
        return report.problem("flash", text);
    }
    match room {
        None => report.warning("flash", &format!("cannot tell how much is left for {state}")),
        Some(Room { read_only: true, .. }) => {
            let text = format!(
                "{state} is on a file system that can only be read; see `mount` and `dmesg`"
            );
            report.problem("flash", &text)
        }
        Some(Room { bytes, .. }) => {
            let left = format!("{} KB are left for {state}", bytes / 1024);
            let advice = "remove packages or files (`du -x /overlay | sort -n | tail`)";
            match bytes {
                ..NO_FLASH => report.problem("flash", &format!("{left}; {advice}")),
                NO_FLASH..LITTLE_FLASH => report.warning("flash", &format!("{left}; {advice}")),
                LITTLE_FLASH.. => report.good("flash", &left),
            }
        }
    }
}

fn memory(machine: &Machine, report: &mut Report<'_>) -> Result<()> {
    let info = machine.file("proc/meminfo").unwrap_or_default();
    let available = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kb = available.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let Some(bytes) = kb.and_then(|kb| kb.checked_mul(1024)) else {
        return report.warning("memory", "cannot tell how much is left");
    };
    let left = format!("{} MB are left", bytes / (1024 * 1024));
    let advice = "see who takes it (`top`), and stop what this box does not need";
    match bytes {
        ..NO_MEMORY => report.problem("memory", &format!("{left}; {advice}")),
        NO_MEMORY..LITTLE_MEMORY => report.warning("memory", &format!("{left}; {advice}")),
        LITTLE_MEMORY.. => report.good("memory", &left),
    }
}
