//! The keys that the two ends have in common as members of one group: the gateway of this host has them from the key
//! server, and leaves them in a file (docs/protocol.md section 4.5).

use super::Key;
use super::peer::Peer;
use crate::group_keys::{self, GroupKey};
use std::fs;
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
}

impl Group {
    pub(super) const fn new(file: PathBuf, transport: bool) -> Self {
        Self { file, transport, written: None, keys: Vec::new() }
    }

    /// Gives the other end the keys that there are now, if they are not those of before.
    pub(super) fn look(&mut self, peer: &Peer, now: u64) {
        let written = fs::metadata(&self.file).and_then(|file| file.modified()).ok();
        let ended = self.keys.iter().any(|key| !key.lives(now));
        let is_same = self.written == Some(written);
        if is_same && !ended {
            return;
        }
        if !is_same {
            self.keys = self.read();
            self.written = Some(written);
        }
        self.keys.retain(|key| key.lives(now));
        let key = |key: &GroupKey| {
            let own = Key::from_secret(key.secret.clone());
            (if self.transport { own.for_transport() } else { own }, key.seals)
        };
        peer.hold(self.keys.iter().map(key).collect());
    }

    /// Without what cannot be read the tunnel waits.
    fn read(&self) -> Vec<GroupKey> {
        match group_keys::read(&self.file) {
            Ok(keys) if keys.is_empty() => {
                log::warn!("no gateway of this host is a member of a group: see `tsg status`");
                Vec::new()
            }
            Ok(keys) => keys,
            Err(error) => {
                log::warn!("{error:#}");
                Vec::new()
            }
        }
    }
}
