//! The client's end of the admin socket.

use crate::admin::{Reply, frames};
use crate::operations::{Answer, Operation};
use anyhow::{Context, Result, anyhow, bail};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Room for an answer, to begin with.
const ROOM: usize = 16 * 1024;

/// A connection to the daemon.
pub(super) struct Client {
    stream: UnixStream,
}

impl Client {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let shown = socket.display();
        let stream = UnixStream::connect(socket).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                return anyhow!(
                    "no key server answers on {shown}: is it running? (`--socket` if it is \
                     elsewhere)"
                );
            }
            if error.kind() == ErrorKind::PermissionDenied {
                return anyhow!("{shown} is for root only: try it with sudo");
            }
            anyhow!("cannot connect to {shown}: {error}")
        })?;
        Ok(Self { stream })
    }

    /// Takes a backup, which stands behind its answer, and says how long it is.
    pub(super) fn take(&mut self, to: &mut impl Write) -> Result<u64> {
        self.stream.write_all(frames::READY).context("the key server went away")?;
        frames::take(&mut self.stream, to)
            .context("it was broken off: is there room here? The server's log says the rest")
    }

    /// From now on an answer that takes longer is none.
    pub(super) fn wait_at_most(&self, limit: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(limit))?;
        Ok(self.stream.set_write_timeout(Some(limit))?)
    }

    pub(super) fn ask(&mut self, operation: &Operation) -> Result<Answer> {
        let mut line = serde_json::to_vec(operation)?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(lost)?;
        let reply = read_line(&mut self.stream).map_err(lost)?;
        if reply.is_empty() {
            bail!("the key server went away without an answer");
        }
        match serde_json::from_slice(&reply) {
            Ok(Reply::Ok(answer)) => Ok(answer),
            Ok(Reply::Error(refusal)) => bail!("{refusal}"),
            // The error itself may quote what was answered.
            Err(error) => bail!(
                "the key server answers in a way unknown here (column {}): it is of another version",
                error.column()
            ),
        }
    }
}

fn lost(error: io::Error) -> anyhow::Error {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        anyhow!("the key server takes too long to answer")
    } else {
        anyhow!(error).context("the key server went away")
    }
}

/// One line; nothing comes behind it before the client asks again. It may hold keys, so no copy of it is left.
fn read_line(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; ROOM]);
    let mut length = 0;
    loop {
        if length == line.len() {
            let mut larger = Zeroizing::new(vec![0; 2 * length]);
            larger[..length].copy_from_slice(&line);
            line = larger;
        }
        match stream.read(&mut line[length..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => match read? {
                0 => break,
                read => length += read,
            },
        }
        if line[..length].last() == Some(&b'\n') {
            break;
        }
    }
    line.truncate(length);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_however_long_it_is() {
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            let line = [vec![b'x'; length], vec![b'\n']].concat();
            let sent = line.clone();
            let writes = std::thread::spawn(move || there.write_all(&sent).map(|()| there));
            assert_eq!(*read_line(&mut here).unwrap(), line, "{length} bytes");
            drop(writes.join().unwrap());
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        drop(there);
        assert!(read_line(&mut here).unwrap().is_empty());
    }
}
