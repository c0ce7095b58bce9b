//! What the kernel says about the machine, in /sys and /proc. Under another root it is a test's machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where programs are, for a daemon as for a shell.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// A machine's file system.
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Names of all network interfaces but the loopback, sorted.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let mut names = self.names("sys/class/net");
        names.retain(|name| name != "lo");
        names
    }

    pub(super) fn has_interface(&self, name: &str) -> bool {
        self.root.join("sys/class/net").join(name).exists()
    }

    /// One of an interface's values in /sys, such as `mtu`.
    pub(super) fn interface_value(&self, name: &str, value: &str) -> Option<String> {
        self.text(&format!("sys/class/net/{name}/{value}"))
    }

    /// The bridge that an interface is a port of.
    pub(super) fn bridge_of(&self, port: &str) -> Option<String> {
        let link = self.root.join(format!("sys/class/net/{port}/brport/bridge"));
        let target = fs::read_link(link).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The ports of a bridge, sorted.
    pub(super) fn ports_of(&self, bridge: &str) -> Vec<String> {
        self.names(&format!("sys/class/net/{bridge}/brif"))
    }

    /// A value in /proc/sys; none if the kernel does not have it (now).
    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        self.text(&format!("proc/sys/{name}"))
    }

    pub(super) fn has_module(&self, name: &str) -> bool {
        let loaded = self.text("proc/modules").unwrap_or_default();
        loaded.lines().any(|line| line.split(' ').next() == Some(name))
    }

    pub(super) fn has_program(&self, name: &str) -> bool {
        PROGRAM_FOLDERS.iter().any(|folder| self.root.join(folder).join(name).exists())
    }

    pub(super) fn has_file(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim_end().to_owned())
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
