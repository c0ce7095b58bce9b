//! Where the gateway keeps its files. Several gateways on one machine have different folders.

use std::path::PathBuf;

/// What the names of tunnels' sockets begin and end with.
const TUNNEL: &str = "tunnel-";
const SOCKET: &str = ".sock";

/// The three folders that `-c`, `--state` and `--run` set, and the files in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// UCI files; `/etc/config`.
    pub config: PathBuf,
    /// What outlives a reboot and an upgrade: identity, policy; `/etc/tsg`, mode 0700.
    pub state: PathBuf,
    /// What lives until the next boot: socket, lock, keys in RAM; `/var/run/tsg`.
    pub run: PathBuf,
}

impl Default for Folders {
    fn default() -> Self {
        Self { config: "/etc/config".into(), state: "/etc/tsg".into(), run: "/var/run/tsg".into() }
    }
}

impl Folders {
    /// The gateway's own UCI file.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("tsg")
    }

    /// The one-time secret of an enrolment, until the key server has taken it.
    pub fn token(&self) -> PathBuf {
        self.state.join("token")
    }

    /// The last policy, for the boot gate.
    pub fn policy(&self) -> PathBuf {
        self.state.join("policy.json")
    }

    /// Cached keys and leased numbers, which no backup may copy: beside the state folder, not in it.
    pub fn cache(&self) -> PathBuf {
        let mut path = self.state.clone().into_os_string();
        path.push(".cache");
        path.into()
    }

    /// Where the daemon answers `tsg status` and the like, one JSON object a line.
    pub fn socket(&self) -> PathBuf {
        self.run.join("tsg.sock")
    }

    /// Where the process of a tunnel answers, by the name of its device.
    pub fn tunnel_socket(&self, device: &str) -> PathBuf {
        self.run.join(format!("{TUNNEL}{device}{SOCKET}"))
    }

    /// The sockets of all tunnels that run, or that were ended by force.
    pub fn tunnel_sockets(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.run).into_iter().flatten().flatten();
        let is_one = |name: &str| name.starts_with(TUNNEL) && name.ends_with(SOCKET);
        let sockets = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_one));
        let mut sockets: Vec<PathBuf> = sockets.map(|entry| entry.path()).collect();
        sockets.sort();
        sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_not_inside_what_backups_copy() {
        let folders = Folders::default();
        assert_eq!(folders.cache(), PathBuf::from("/etc/tsg.cache"));
        assert!(!folders.cache().starts_with(&folders.state));
    }
}
