//! What the kernel says about the machine, in /sys and /proc. Under another root it is a test's machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where programs are, for a daemon as for a shell.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// What can be said of a kernel module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModuleState {
    /// It is loaded, built in, or there to be loaded.
    Here,
    /// It is not there.
    Missing,
    /// This machine does not say what its kernel has built in.
    Unknown,
}

/// A machine's file system.
pub(crate) struct Machine {
    root: PathBuf,
}

impl Machine {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Names of all network interfaces but the loopback, sorted.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        let mut names = self.names("sys/class/net");
        names.retain(|name| name != "lo");
        names
    }

    pub(crate) fn has_interface(&self, name: &str) -> bool {
        self.root.join("sys/class/net").join(name).exists()
    }

    /// One of an interface's values in /sys, such as `mtu`.
    pub(crate) fn interface_value(&self, name: &str, value: &str) -> Option<String> {
        self.text(&format!("sys/class/net/{name}/{value}"))
    }

    /// The bridge that an interface is a port of.
    pub(crate) fn bridge_of(&self, port: &str) -> Option<String> {
        let link = self.root.join(format!("sys/class/net/{port}/brport/bridge"));
        let target = fs::read_link(link).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// The ports of a bridge, sorted.
    pub(crate) fn ports_of(&self, bridge: &str) -> Vec<String> {
        self.names(&format!("sys/class/net/{bridge}/brif"))
    }

    /// A value in /proc/sys; none if the kernel does not have it (now).
    pub(crate) fn sysctl(&self, name: &str) -> Option<String> {
        self.text(&format!("proc/sys/{name}"))
    }

    pub(crate) fn has_module(&self, name: &str) -> bool {
        let loaded = self.text("proc/modules").unwrap_or_default();
        loaded.lines().any(|line| line.split(' ').next() == Some(name))
    }

    /// Is a module loaded, or could it be?
    pub(crate) fn module(&self, name: &str) -> ModuleState {
        if self.has_module(name) || self.has_file(&format!("sys/module/{name}")) {
            return ModuleState::Here;
        }
        let Some(release) = self.text("proc/sys/kernel/osrelease") else {
            return ModuleState::Unknown;
        };
        let folder = format!("lib/modules/{release}");
        // Its file's name may have either.
        let is_it = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or_default();
            let stem = file.split_once(".ko").map_or(file, |(stem, _)| stem);
            stem.replace('-', "_") == name
        };
        let built_in = self.text(&format!("{folder}/modules.builtin"));
        let listed = self.text(&format!("{folder}/modules.dep"));
        let flat = self.names(&folder);
        if flat.iter().any(|file| is_it(file))
            || built_in.iter().flat_map(|text| text.lines()).any(is_it)
            || listed
                .iter()
                .flat_map(|text| text.lines())
                .any(|line| is_it(line.split(':').next().unwrap_or(line)))
        {
            return ModuleState::Here;
        }
        // Without a list of what is built in, a module that is no file may still be there.
        let has_files = flat.iter().any(|file| file.ends_with(".ko")) || listed.is_some();
        if has_files && built_in.is_some() { ModuleState::Missing } else { ModuleState::Unknown }
    }

    pub(crate) fn has_program(&self, name: &str) -> bool {
        PROGRAM_FOLDERS.iter().any(|folder| self.root.join(folder).join(name).exists())
    }

    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// A whole file.
    pub(crate) fn file(&self, path: &str) -> Option<String> {
        self.text(path)
    }

    /// Does an interface have a file or a folder of that name in /sys?
    pub(crate) fn interface_has(&self, name: &str, entry: &str) -> bool {
        self.has_file(&format!("sys/class/net/{name}/{entry}"))
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
