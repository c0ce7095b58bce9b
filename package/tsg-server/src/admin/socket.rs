//! The listening socket.

use super::connection;
use crate::backup::Archivist;
use crate::files;
use crate::orders::Letterbox;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More clients at once are sent away.
const MOST_CLIENTS: usize = 16;

/// The open door.
#[derive(Debug)]
pub struct Admin {
    path: PathBuf,
}

impl Admin {
    /// Opens the socket, for root and the daemon's own user only.
    ///
    /// # Errors
    /// Names the path: another server answers there, or it cannot be made.
    pub fn open(path: &Path, letterbox: Letterbox, archivist: Archivist) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.exists()) {
            files::prepare(folder, 0o755)?;
        }
        clear_away(path)?;
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot close {} to others", path.display()))?;
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || accept_all(&listener, &letterbox, &archivist))
            .context("cannot start the admin thread")?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes away what a server that was killed has left; not that of one that lives.
fn clear_away(path: &Path) -> Result<()> {
    if let Ok(meta) = fs::symlink_metadata(path) {
        ensure!(meta.file_type().is_socket(), "{} is no socket: move it away", path.display());
    }
    match UnixStream::connect(path) {
        Ok(_) => bail!(
            "another tsg-server answers on {}: stop that one, or give this one its own --socket",
            path.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot use {} as a socket", path.display()))
        }
    }
}

fn accept_all(listener: &UnixListener, letterbox: &Letterbox, archivist: &Archivist) {
    let clients = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                log::warn!("cannot accept a client on the admin socket: {error}");
                // Out of file descriptors, most likely: others must close theirs first.
                thread::sleep(std::time::Duration::from_millis(200));
                continue;
            }
        };
        if clients.load(Ordering::Relaxed) >= MOST_CLIENTS {
            connection::send_away(&stream);
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (letterbox, archivist) = (letterbox.clone(), archivist.clone());
        let count = Arc::clone(&clients);
        let started = thread::Builder::new().name("client".to_owned()).spawn(move || {
            connection::serve(stream, &letterbox, &archivist);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            clients.fetch_sub(1, Ordering::Relaxed);
            log::warn!("cannot serve a client on the admin socket: {error}");
        }
    }
}
