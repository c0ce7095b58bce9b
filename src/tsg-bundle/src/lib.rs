//! Diagnostics of a machine for support: many small texts in one .tar.gz, without secrets.
//!
//! For: what gateway and key server have in common in it. Each file is collected by itself, with a deadline and a
//! limit; what cannot be had is a line in README.txt, never the end. Everything is looked through for secrets before
//! it is written. Not for: what is asked of a gateway or a key server (their `cli::bundle`).
//!
//! * [`Bundle`]: one file after the other, and at the end what each is
//! * [`Topic`]: what goes into one file
//! * [`Secrets`]: what must not
//! * [`Destination`]: where to
//! * [`machine`]: what is asked of every machine

mod archive;
mod destination;
mod hide;
pub mod machine;
mod run;
mod time;
mod topic;

pub use destination::Destination;
pub use hide::{HIDDEN, Secrets, options};
pub use time::utc;
pub use topic::Topic;

use anyhow::{Context as _, Result};
use archive::Archive;
pub use archive::tar_header;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::mem;
use std::time::{Duration, Instant};

/// After this time no more programs are run.
const WHOLE: Duration = Duration::from_secs(90);

/// All files together, in bytes: more than any mailbox needs.
const MOST: usize = 4 << 20;

/// One file, in bytes.
const MOST_IN_A_FILE: usize = 512 << 10;

/// Whose diagnostics these are.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The program: `tsg` or `tsg-server`.
    pub program: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What people call this gateway or server.
    pub name: &'a str,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many files are in it, without the README.
    pub files: usize,
    /// How many things are not.
    pub missed: usize,
}

/// A bundle that grows.
pub struct Bundle<'a> {
    about: About<'a>,
    archive: Archive<&'a mut dyn Write>,
    secrets: Secrets,
    began: Instant,
    time: u64,
    room: usize,
    contents: Vec<(String, String)>,
    missed: Vec<String>,
    absent: BTreeSet<String>,
}

impl<'a> Bundle<'a> {
    /// Begins it. All of it will be in a folder of the name that [`Destination`] gives the file.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn new(to: &'a mut dyn Write, about: About<'a>, secrets: Secrets) -> Result<Self> {
        let time = time::now();
        let archive = Archive::new(to, &destination::stem(&about, time), time)?;
        let (began, room) = (Instant::now(), MOST);
        Ok(Self {
            about,
            archive,
            secrets,
            began,
            time,
            room,
            contents: Vec::new(),
            missed: Vec::new(),
            absent: BTreeSet::new(),
        })
    }

    /// One more file, and in a few words what it is.
    ///
    /// # Errors
    /// It cannot be written: the disk is full. What cannot be collected is no error.
    pub fn add(
        &mut self,
        file: &str,
        what: &str,
        collect: &mut dyn FnMut(&mut Topic),
    ) -> Result<()> {
        say_to_terminal(&format!("{file} …\r"));
        let mut topic = Topic::new(self.began + WHOLE, mem::take(&mut self.absent));
        collect(&mut topic);
        topic.public.drain(..).for_each(|key| self.secrets.may_show(&key));
        let (text, missed, absent) = topic.into_parts();
        self.absent = absent;
        self.missed.extend(missed.into_iter().map(|why| format!("{file}: {why}")));
        let mut text = self.secrets.clean(&text);
        let most = MOST_IN_A_FILE.min(self.room);
        if text.len() > most {
            text.truncate(most);
            self.missed.push(format!("{file}: only its first {} KiB", most >> 10));
        }
        if text.is_empty() {
            return Ok(());
        }
        self.room -= text.len();
        self.archive.add(file, &text)?;
        self.contents.push((file.to_owned(), what.to_owned()));
        Ok(())
    }

    /// Writes what is in it, and ends it.
    ///
    /// # Errors
    /// It cannot be written: the disk is full.
    pub fn finish(mut self) -> Result<Summary> {
        let readme = self.readme()?;
        self.archive.add("README.txt", &self.secrets.clean(readme.as_bytes()))?;
        self.archive.finish()?;
        say_to_terminal("\r");
        Ok(Summary { files: self.contents.len(), missed: self.missed.len() })
    }

    fn readme(&self) -> Result<String> {
        let About { program, version, name } = self.about;
        let mut text = format!(
            "Diagnostics of {name}, made by `{program} bundle`, {program} {version}, on {} UTC by the clock of this \
             machine,\nwithin {} s, by user {}.\n\n\
             There are no keys, tokens and passwords in here: options that are called so and words that look so are \
             {HIDDEN}.\nThere are addresses, names and rules of your network.\n\n",
            utc(self.time),
            self.began.elapsed().as_secs(),
            nix::unistd::geteuid(),
        );
        for (file, what) in &self.contents {
            writeln!(text, "{file:<16} {what}")?;
        }
        if !self.missed.is_empty() {
            text.push_str("\nNot collected, and why:\n");
        }
        for missed in &self.missed {
            writeln!(text, "  {missed}")?;
        }
        Ok(text)
    }
}

/// Makes a bundle at its destination: whole, or not at all.
///
/// # Errors
/// It cannot be written, and what to do.
pub fn make(
    destination: &Destination,
    about: About<'_>,
    secrets: Secrets,
    collect: &mut dyn FnMut(&mut Bundle<'_>) -> Result<()>,
) -> Result<Summary> {
    let mut secrets = Some(secrets);
    destination.write(&mut |to| {
        let mut bundle = Bundle::new(to, about, secrets.take().unwrap_or_default())?;
        collect(&mut bundle)?;
        bundle.finish()
    })
}

/// For the operator, what was made.
///
/// # Errors
/// Nobody reads it.
pub fn report(destination: &Destination, summary: Summary, out: &mut dyn Write) -> Result<()> {
    let Some(path) = destination.path() else { return Ok(()) };
    let size = path.metadata().with_context(|| path.display().to_string())?.len();
    writeln!(out, "{}: {} files, {} kB", path.display(), summary.files, size.div_ceil(1000))?;
    if summary.missed > 0 {
        writeln!(
            out,
            "{} things could not be collected: README.txt in it says which and why.",
            summary.missed
        )?;
    }
    writeln!(
        out,
        "There are no keys, tokens and passwords in it, but addresses, names and rules of your network: mail it to \
         those who may know them."
    )?;
    Ok(())
}

fn say_to_terminal(text: &str) {
    let mut to = io::stderr().lock();
    if to.is_terminal() {
        // From the start of the line, and without the rest of what stood there.
        let _ = write!(to, "\x1b[K{text}");
    }
}
