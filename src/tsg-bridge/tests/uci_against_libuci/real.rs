//! The real `uci`, built from the C source that the crate `libuci-sys` carries.
//!
//! It is fetched by cargo and built by cmake once, in cargo's folder for test files. Nothing of it gets
//! into the project or its lock file.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

const VERSION: &str = "1.0.5";

/// One folder with UCI files, and the real program on it.
pub(crate) struct RealUci {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl RealUci {
    pub(crate) fn new() -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(build).clone();
        Self { program, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("tsg")
    }

    /// Runs `uci` with its change files inside the folder too.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path())
            .arg("-t")
            .arg(self.folder.path().join("changes"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs `uci` and returns what it printed.
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let output = self.run(arguments);
        let shown: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        assert!(output.status.success(), "uci {shown:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn build() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let done = cache.join(format!("libuci-{VERSION}"));
    let program = done.join("build-uci/uci");
    if program.exists() {
        return program;
    }
    let work = tempfile::Builder::new().prefix("libuci-").tempdir_in(cache).unwrap().keep();
    copy_source(&fetch(&work), &work);
    cmake(&work, "libubox", "ubox-static", &[]);
    let library = work.join("build-libubox/libubox.a");
    cmake(
        &work,
        "uci",
        "cli",
        &[
            "-DBUILD_STATIC=ON".to_owned(),
            format!("-Dubox_include_dir={}", work.display()),
            format!("-Dubox={}", library.display()),
            format!("-Dubox-static={}", library.display()),
        ],
    );
    // Another test run may have been faster; its program is as good.
    if fs::rename(&work, &done).is_err() {
        fs::remove_dir_all(&work).unwrap();
    }
    assert!(program.exists(), "{} was not built", program.display());
    program
}

/// Lets cargo fetch the crate through an empty package outside the workspace; returns its folder.
fn fetch(work: &Path) -> PathBuf {
    let package = work.join("fetch");
    fs::create_dir_all(package.join("src")).unwrap();
    fs::write(package.join("src/lib.rs"), "").unwrap();
    let manifest = package.join("Cargo.toml");
    let text = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nlibuci-sys = \"={VERSION}\"\n[workspace]\n"
    );
    fs::write(&manifest, text).unwrap();
    let metadata = succeed(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--manifest-path"])
            .arg(&manifest),
        "cargo could not fetch the crate libuci-sys; is there a network or a filled cargo cache?",
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|package| package["name"] == "libuci-sys").unwrap();
    Path::new(found["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// Its cmake writes a header into the source, which in cargo's cache is shared.
fn copy_source(from: &Path, to: &Path) {
    for folder in ["libubox", "uci"] {
        copy(&from.join(folder), &to.join(folder));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn cmake(work: &Path, source: &str, target: &str, settings: &[String]) {
    let build = work.join(format!("build-{source}"));
    succeed(
        Command::new("cmake")
            .arg("-S")
            .arg(work.join(source))
            .arg("-B")
            .arg(&build)
            .args(["-DBUILD_LUA=OFF", "-DBUILD_EXAMPLES=OFF", "-DCMAKE_C_FLAGS=-Wno-error"])
            .args(settings),
        "cmake could not configure libuci; tests/setup installs cmake and a C compiler",
    );
    succeed(
        Command::new("cmake").arg("--build").arg(&build).args(["--target", target]),
        "libuci could not be built; tests/setup installs cmake and a C compiler",
    );
}

fn succeed(command: &mut Command, advice: &str) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{advice}\n{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{advice}\n{command:?}\n{errors}");
    output.stdout
}
