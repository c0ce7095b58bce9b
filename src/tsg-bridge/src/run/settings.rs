//! The file of settings while the daemon runs: is what stands there right?
//!
//! A wrong file changes nothing in a daemon that runs, and after the next power cut none would start. Nobody is told of that
//! unless somebody looks: who saves it may not be the one who restarts the box.

use crate::config::Config;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What was found in the file when it was another one than before.
#[derive(Default)]
pub(super) struct Settings {
    seen: Option<Stamp>,
    trouble: Option<String>,
}

#[derive(PartialEq, Eq)]
enum Stamp {
    Gone,
    File { inode: u64, changed: (i64, i64), bytes: u64 },
}

impl Settings {
    /// Reads the file again if it has changed.
    pub(super) fn look_after(&mut self, file: &Path) {
        let stamp = fs::metadata(file).map_or(Stamp::Gone, |meta| Stamp::File {
            inode: meta.ino(),
            changed: (meta.ctime(), meta.ctime_nsec()),
            bytes: meta.len(),
        });
        if self.seen.as_ref() == Some(&stamp) {
            return;
        }
        self.seen = Some(stamp);
        self.trouble = Config::load(file).err().map(|error| {
            let text = format!("{error:#}");
            text.lines().next().unwrap_or_default().to_owned()
        });
    }

    /// The first thing that is wrong with it.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_until_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tsg");
        let mut settings = Settings::default();
        let mut trouble = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            settings.look_after(&file);
            settings.look_after(&file);
            settings.trouble().map(str::to_owned)
        };
        assert_eq!(trouble(Some("config tsg 'main'\n")), None);
        let wrong =
            "config tsg 'main'\n\toption fail 'ajar'\n\nconfig port\n\toption device 'a b'\n";
        let said = trouble(Some(wrong)).expect("a complaint");
        assert!(said.contains("option fail") && !said.contains('\n'), "{said}");
        let said = trouble(None).expect("a complaint");
        assert!(said.contains("there is none"), "{said}");
        assert_eq!(trouble(Some("config tsg 'main'\n")), None);
    }
}
