//! Where a bundle goes: a file of mode 0600 that is there when it is whole, or standard output.

use super::{About, Summary, time};
use anyhow::{Context as _, Result, anyhow, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process;

/// In RAM on a router, and large enough everywhere.
const FOLDER: &str = "/tmp";

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This file, which is not there yet.
    File(PathBuf),
    /// Standard output, for `ssh BOX tsg bundle - > FILE`.
    Stdout,
}

impl Destination {
    /// What the argument of the command means: a file, a folder, `-`, or none.
    ///
    /// # Errors
    /// The file is there, or standard output is a terminal.
    pub fn new(wanted: Option<&Path>, about: &About<'_>) -> Result<Self> {
        if wanted == Some(Path::new("-")) {
            ensure!(
                !io::stdout().is_terminal(),
                "a bundle is not for a terminal: send it to a file, such as `ssh BOX {} bundle - > FILE`",
                about.program
            );
            return Ok(Self::Stdout);
        }
        let mut path = wanted.unwrap_or(Path::new(FOLDER)).to_owned();
        if path.is_dir() {
            path.push(format!("{}.tar.gz", stem(about, time::now())));
        }
        ensure!(
            path.symlink_metadata().is_err(),
            "{} is there already and stays: name another file",
            path.display()
        );
        Ok(Self::File(path))
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stdout => None,
        }
    }

    /// Lets `fill` write, and then makes it a file; a file that is not whole goes away.
    pub(crate) fn write(&self, fill: Fill<'_>) -> Result<Summary> {
        let Self::File(path) = self else {
            return fill(&mut io::stdout().lock());
        };
        let beside = beside(path);
        let written = write_new(&beside, fill).and_then(|filled| {
            fs::rename(&beside, path)?;
            Ok(filled)
        });
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            anyhow!(
                "cannot write {}: {error:#}; make room there, name a file on another disk, or send it through \
                 standard output to another machine: `ssh BOX COMMAND bundle - > FILE`",
                path.display()
            )
        })
    }
}

/// What writes a bundle.
type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<Summary>;

fn write_new(path: &Path, fill: Fill<'_>) -> Result<Summary> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut to = BufWriter::new(file);
    let filled = fill(&mut to)?;
    let file: File = to.into_inner().map_err(|error| error.into_error()).context("at its end")?;
    file.sync_all()?;
    Ok(filled)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", process::id()))
}

/// `tsg-bundle-press7-20261120-150405`.
pub(crate) fn stem(about: &About<'_>, time: u64) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String =
        about.name.chars().map(|c| if plain(c) { c } else { '_' }).take(40).collect();
    let time: String = time::utc(time).replace(' ', "-").replace(['-', ':'], "");
    let (day, time) = time.split_at(8);
    format!("{}-bundle-{name}-{day}-{time}", about.program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const ABOUT: About<'_> = About { program: "tsg", version: "1", name: "hall 3/press" };

    const NONE: Summary = Summary { files: 0, missed: 0 };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_folder_gets_a_file_with_a_telling_name() {
        assert_eq!(stem(&ABOUT, 1_795_000_000), "tsg-bundle-hall_3_press-20261118-110640");
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(Some(folder.path()), &ABOUT).unwrap();
        destination.write(&mut |to| Ok(to.write_all(b"all").map(|()| NONE)?)).unwrap();
        let path = destination.path().unwrap();
        assert!(path.starts_with(folder.path()) && path.to_str().unwrap().ends_with(".tar.gz"));
        assert_eq!(fs::read(path).unwrap(), b"all");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
        let default = Destination::new(None, &ABOUT).unwrap();
        assert!(default.path().unwrap().starts_with("/tmp"));
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine");
        fs::write(&path, "mine").unwrap();
        let error = Destination::new(Some(&path), &ABOUT).unwrap_err().to_string();
        assert!(error.contains("mine is there already"), "{error}");
        std::os::unix::fs::symlink(folder.path().join("none"), folder.path().join("link")).unwrap();
        assert!(Destination::new(Some(&folder.path().join("link")), &ABOUT).is_err());
    }

    #[test]
    fn a_bundle_that_cannot_be_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::new(Some(&folder.path().join("b")), &ABOUT).unwrap();
        let failed = destination.write(&mut |to| {
            to.write_all(&[0; 100_000])?;
            Err(anyhow!("the disk is full"))
        });
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("b: the disk is full; make room"), "{error}");
        assert_eq!(names(folder.path()), [""; 0]);
        let nowhere = Destination::new(Some(&folder.path().join("none/b")), &ABOUT).unwrap();
        assert!(nowhere.write(&mut |_| Ok(NONE)).is_err());
    }
}
