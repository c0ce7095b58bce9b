//! The keys that the two ends have in common as members of one group: the gateway of this host has them from the key
//! server, and leaves them in a file (docs/protocol.md section 4.5).

use super::Key;
use super::peer::Peer;
use crate::group_keys::{self, GroupKey};
use std::fs;
use std::mem;
use std::path::PathBuf;
use std::time::SystemTime;

/// What the gateway has left.
pub(super) struct Group {
    file: PathBuf,
    /// The tunnel is in transport mode, which has keys of its own.
    transport: bool,
    /// When the file was written that was read last, or that there was none; `None`: nobody has looked yet.
    written: Option<Option<SystemTime>>,
    keys: Vec<GroupKey>,
    /// That was said.
    is_unreadable: bool,
}

impl Group {
    pub(super) const fn new(file: PathBuf, transport: bool) -> Self {
        Self { file, transport, written: None, keys: Vec::new(), is_unreadable: false }
    }

    /// Gives the other end the keys that there are now, if they are not those of before.
    pub(super) fn look(&mut self, peer: &Peer, now: u64) {
        let written = fs::metadata(&self.file).and_then(|file| file.modified()).ok();
        let is_new = self.written != Some(written) && self.read(written);
        let ended = self.keys.iter().any(|key| !key.lives(now));
        if !is_new && !ended {
            return;
        }
        self.keys.retain(|key| key.lives(now));
        let key = |key: &GroupKey| {
            let own = Key::from_secret(key.secret.clone());
            (if self.transport { own.for_transport() } else { own }, key.seals)
        };
        peer.hold(self.keys.iter().map(key).collect());
    }

    /// Says whether it could be read. The keys of before go on for as long as they live if it could not, and it is tried again.
    fn read(&mut self, written: Option<SystemTime>) -> bool {
        match group_keys::read(&self.file) {
            Ok(keys) => {
                if keys.is_empty() {
                    log::warn!("no gateway of this host is a member of a group: see `tsg status`");
                }
                self.keys = keys;
                self.written = Some(written);
                self.is_unreadable = false;
                true
            }
            Err(error) => {
                if !mem::replace(&mut self.is_unreadable, true) {
                    log::warn!("{error:#}");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folders::Folders;
    use crate::group_keys::Telling;
    use crate::pipeline::tests::key;
    use crate::tunnel::hello::Able;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;
    use tsg_control::gateway::KeyView;
    use tsg_esp::crypto::Tek;

    #[test]
    fn what_cannot_be_read_now_is_read_later() {
        tsg_sodium::init().unwrap();
        let run = tempfile::tempdir().unwrap();
        let folders = Folders { run: run.path().to_owned(), ..Folders::default() };
        let file = group_keys::path(&folders);
        let (mut group, peer) =
            (Group::new(file.clone(), false), Peer::without_keys(Able::alone(false)));
        let mut telling = Telling::new(&folders);
        let mut write = |number: u8, mode| {
            telling.tell(&[KeyView { tek: Tek::new([number; 32]).into(), ..key(1) }]).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(number.into());
            fs::File::open(&file).unwrap().set_modified(at).unwrap();
        };
        write(1, 0o600);
        group.look(&peer, 0);
        let first = peer.hellos();
        assert_eq!(first.len(), 1);
        // Others can read it: it is no secret, and what there was goes on.
        write(2, 0o644);
        group.look(&peer, 0);
        assert_eq!(peer.hellos(), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        group.look(&peer, 0);
        assert_eq!(peer.hellos().len(), 1);
        assert_ne!(peer.hellos(), first);
        fs::remove_file(&file).unwrap();
        group.look(&peer, 0);
        assert!(peer.hellos().is_empty());
    }
}
