//! The client's end of the admin socket.

use crate::admin::Reply;
use crate::operations::{Answer, Operation};
use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use zeroize::Zeroizing;

/// A connection to the daemon.
pub(super) struct Client {
    stream: BufReader<UnixStream>,
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
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(super) fn ask(&mut self, operation: &Operation) -> Result<Answer> {
        let mut line = serde_json::to_vec(operation)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).context("the key server went away")?;
        let mut reply = Zeroizing::new(Vec::new());
        self.stream.read_until(b'\n', &mut reply).context("the key server went away")?;
        if reply.is_empty() {
            bail!("the key server went away without an answer");
        }
        match serde_json::from_slice(&reply) {
            Ok(Reply::Ok(answer)) => Ok(answer),
            Ok(Reply::Error(refusal)) => bail!("{refusal}"),
            Err(error) => bail!(
                "the key server answers in a way unknown here ({error}): it is of another version"
            ),
        }
    }
}
