//! What goes into one file of a bundle: commands with their output, files of the system, and words.

use super::run::{Keep, Limits, Ran, run, within};
use super::time::utc;
use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// One command may take so long,
const PATIENCE: Duration = Duration::from_secs(5);

/// and say so much, in bytes.
const MOST: usize = 256 << 10;

/// One file of a bundle that grows.
pub struct Topic {
    text: Vec<u8>,
    missed: Vec<String>,
    /// Programs that this machine has not: said once.
    absent: BTreeSet<String>,
    pub(crate) public: Vec<String>,
    until: Instant,
}

impl Topic {
    pub(crate) const fn new(until: Instant, absent: BTreeSet<String>) -> Self {
        Self { text: Vec::new(), missed: Vec::new(), absent, public: Vec::new(), until }
    }

    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<String>, BTreeSet<String>) {
        (self.text, self.missed, self.absent)
    }

    /// What a command says.
    pub fn run(&mut self, argv: &[&str]) {
        self.either(&[argv]);
    }

    /// The end of what a command says.
    pub fn tail(&mut self, argv: &[&str]) -> bool {
        self.attempt(&[argv], Keep::End)
    }

    /// What the first of several commands says that is there and can do it.
    pub fn either(&mut self, tries: &[&[&str]]) {
        self.attempt(tries, Keep::Start);
    }

    /// What a command says and nothing else. It may take so long, and all is well if it ends with one of these codes.
    ///
    /// # Errors
    /// That went wrong, and is noted; what there is of an answer.
    pub fn answer(
        &mut self,
        argv: &[&str],
        patience: Duration,
        codes: &[i32],
    ) -> Result<Vec<u8>, Vec<u8>> {
        match self.limited(argv, patience, Keep::Start) {
            Ok(ran) if ran.code.is_some_and(|code| codes.contains(&code)) => Ok(ran.output),
            Ok(ran) => {
                let said = String::from_utf8_lossy(&ran.output);
                let said = said.lines().next_back().unwrap_or_default();
                self.miss(&shown(argv), &format!("{}: {said}", ran.trouble.unwrap_or_default()));
                Err(ran.output)
            }
            Err(error) => {
                self.miss_run(argv, &error);
                Err(Vec::new())
            }
        }
    }

    /// A file as it is, with its name above.
    pub fn show(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        match self.read(path) {
            Ok(content) => self.say(&path.display().to_string(), &content),
            Err(why) => self.miss(&path.display().to_string(), &why),
        }
    }

    /// A file as it is, with its name above, if there is one.
    pub fn show_if_there(&mut self, path: impl AsRef<Path>) {
        if path.as_ref().exists() {
            self.show(path);
        }
    }

    /// What is in a file: its end, if it is long.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
        let path = path.as_ref().to_owned();
        let work = move || read_end(&path).map_err(|error| error.to_string());
        within(PATIENCE.min(self.left()), Box::new(work))
    }

    /// Names, modes and sizes of what is in a folder, and nothing of what is in its files.
    pub fn list(&mut self, folder: &Path) {
        let heading = folder.display().to_string();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.miss(&heading, &error.to_string()),
        };
        let mut lines: Vec<String> =
            entries.flatten().filter_map(|entry| shown_entry(&entry)).collect();
        lines.sort();
        self.say(&heading, lines.join("\n"));
    }

    /// This text looks like a secret and is a public key.
    pub fn may_show(&mut self, key: String) {
        self.public.push(key);
    }

    /// Words, below a heading.
    pub fn say(&mut self, heading: &str, text: impl AsRef<[u8]>) {
        self.text.extend(format!("== {heading}\n").bytes());
        self.put(text);
        self.text.push(b'\n');
    }

    /// Words and nothing else.
    pub fn put(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.text.extend(text);
        if text.last().is_some_and(|&last| last != b'\n') {
            self.text.push(b'\n');
        }
    }

    /// Something could not be had.
    pub fn miss(&mut self, what: &str, why: &str) {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        self.missed.push(format!("{what}: {why}").chars().map(plain).take(300).collect());
    }

    /// What `work` finds, if it does not hang.
    pub fn within(&mut self, what: &str, work: Box<dyn FnOnce() -> String + Send>) -> String {
        let work = move || Ok(work().into_bytes());
        let found = within((4 * PATIENCE).min(self.left()), Box::new(work));
        let found = found.unwrap_or_else(|why| {
            self.miss(what, &why);
            Vec::new()
        });
        String::from_utf8(found).unwrap_or_default()
    }

    fn attempt(&mut self, tries: &[&[&str]], keep: Keep) -> bool {
        let mut whys = Vec::new();
        for (at, argv) in tries.iter().enumerate() {
            match self.limited(argv, PATIENCE, keep) {
                Ok(ran) if !ran.failed || at + 1 == tries.len() => {
                    self.quote(argv, &ran);
                    return !ran.failed;
                }
                Ok(ran) => whys.push((argv, io::Error::other(ran.trouble.unwrap_or_default()))),
                Err(error) => whys.push((argv, error)),
            }
        }
        for (argv, error) in whys {
            self.miss_run(argv, &error);
        }
        false
    }

    fn miss_run(&mut self, argv: &[&str], error: &io::Error) {
        let program = argv.first().copied().unwrap_or_default();
        if error.kind() != io::ErrorKind::NotFound {
            self.miss(&shown(argv), &error.to_string());
        } else if self.absent.insert(program.to_owned()) {
            self.miss(&shown(argv), &format!("{program} is not installed"));
        }
    }

    fn quote(&mut self, argv: &[&str], ran: &Ran) {
        self.say(&shown(argv), &ran.output);
        if let Some(trouble) = &ran.trouble {
            self.miss(&shown(argv), trouble);
        }
    }

    fn limited(&self, argv: &[&str], patience: Duration, keep: Keep) -> io::Result<Ran> {
        let patience = patience.min(self.left());
        if patience.is_zero() {
            return Err(io::Error::other("there was no time left"));
        }
        run(argv, Limits { patience, most: MOST, keep })
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

fn shown(argv: &[&str]) -> String {
    format!("`{}`", argv.join(" "))
}

fn shown_entry(entry: &DirEntry) -> Option<String> {
    let meta = entry.metadata().ok()?;
    let kind = match (meta.is_dir(), meta.is_file()) {
        (true, _) => "folder",
        (_, true) => "file",
        (false, false) => "other",
    };
    Some(format!(
        "{}: {kind}, mode {:04o}, user {}, {} bytes, changed {}",
        entry.file_name().to_string_lossy(),
        meta.mode() & 0o7777,
        meta.uid(),
        meta.len(),
        utc(meta.mtime().unsigned_abs()),
    ))
}

/// Files of the kernel have no length: they are read until they end.
fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = File::open(path)?;
    let over = file.metadata()?.len().saturating_sub(MOST as u64);
    if over > 0 {
        file.seek(SeekFrom::Start(over))?;
    }
    let mut content = Vec::new();
    file.take(MOST as u64).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(collect: impl FnOnce(&mut Topic)) -> (String, Vec<String>) {
        let mut topic = Topic::new(Instant::now() + Duration::from_secs(60), BTreeSet::new());
        collect(&mut topic);
        let (text, missed, _) = topic.into_parts();
        (String::from_utf8(text).unwrap(), missed)
    }

    #[test]
    fn the_first_command_that_can_do_it_is_heard() {
        let (text, missed) = collected(|topic| {
            topic.either(&[&["tsg-none", "-d"], &["false"], &["echo", "here"], &["echo", "not"]]);
        });
        assert_eq!((text.as_str(), missed.len()), ("== `echo here`\nhere\n\n", 0));
        let (text, missed) = collected(|topic| {
            topic.either(&[&["tsg-none"], &["sh", "-c", "echo no; exit 1"]]);
            topic.either(&[&["false"], &["tsg-none", "x"]]);
            topic.either(&[&["tsg-none", "y"], &["tsg-nix"]]);
        });
        assert_eq!(text, "== `sh -c echo no; exit 1`\nno\n\n");
        let whys = [
            "`sh -c echo no; exit 1`: exit code 1",
            "`false`: exit code 1",
            "`tsg-none x`: tsg-none is not installed",
            "`tsg-nix`: tsg-nix is not installed",
        ];
        assert_eq!(missed, whys);
    }

    #[test]
    fn a_file_is_shown_or_missed() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long");
        fs::write(&long, format!("{}the end", "x".repeat(2 * MOST))).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let (text, missed) = collected(|topic| {
            topic.show("/proc/sys/kernel/ostype");
            topic.show(&long);
            topic.show(folder.path().join("none"));
            topic.show(folder.path().join("pipe"));
            topic.show_if_there(folder.path().join("none"));
        });
        assert!(text.starts_with("== /proc/sys/kernel/ostype\nLinux\n\n"), "{text}");
        assert!(text.len() < MOST + 200 && text.ends_with("xthe end\n\n"));
        assert_eq!(missed.len(), 2);
        assert!(
            missed[0].contains("none: No such file")
                && missed[1].contains("pipe: it is not a file")
        );
    }

    #[test]
    fn an_answer_ends_with_the_right_code() {
        let mut topic = Topic::new(Instant::now() + Duration::from_secs(60), BTreeSet::new());
        let mut ask = |script| topic.answer(&["sh", "-c", script], PATIENCE, &[0, 1]);
        assert_eq!(ask("echo yes; exit 1"), Ok(b"yes\n".to_vec()));
        assert_eq!(ask("echo no; exit 2"), Err(b"no\n".to_vec()));
        assert_eq!(topic.into_parts().1, ["`sh -c echo no; exit 2`: exit code 2: no"]);
    }

    #[test]
    fn when_the_time_is_over_nothing_more_is_run() {
        let mut topic = Topic::new(Instant::now(), BTreeSet::new());
        topic.run(&["echo", "late"]);
        assert_eq!(topic.answer(&["echo", "late"], PATIENCE, &[0]), Err(Vec::new()));
        let (text, missed, _) = topic.into_parts();
        assert!(text.is_empty());
        assert_eq!(missed, ["`echo late`: there was no time left"; 2]);
    }
}
