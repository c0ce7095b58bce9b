//! One client: lines in, lines out.

use super::frames::{self, Frames};
use crate::backup::{Archivist, Ordered};
use crate::json;
use crate::operations::{Answer, Operation, Operator, Refusal, RefusalKind};
use crate::orders::Letterbox;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A longer line is refused.
pub const MOST_LINE: u64 = 1 << 20;

/// A client that does not send or take anything for this long is cut off.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It was carried out.
    Ok(Answer),
    /// It was not.
    Error(Refusal),
}

impl From<Result<Answer, Refusal>> for Reply {
    fn from(outcome: Result<Answer, Refusal>) -> Self {
        match outcome {
            Ok(answer) => Self::Ok(answer),
            Err(refusal) => Self::Error(refusal),
        }
    }
}

pub(super) fn serve(stream: UnixStream, letterbox: &Letterbox, archivist: &Archivist) {
    if let Err(error) = talk(&stream, letterbox, archivist) {
        log::debug!("a client of the admin socket is gone: {error}");
    }
}

/// There are too many clients.
pub(super) fn send_away(stream: &UnixStream) {
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let busy = Refusal::new(RefusalKind::Unavailable, "too many clients at once: try again");
    let _ = send(stream, &Reply::Error(busy));
}

fn talk(stream: &UnixStream, letterbox: &Letterbox, archivist: &Archivist) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = getsockopt(stream, PeerCredentials)?;
    let own = geteuid().as_raw();
    if peer.uid() != 0 && peer.uid() != own {
        let text = "only root may talk to the key server";
        return send(stream, &Reply::Error(Refusal::new(RefusalKind::Forbidden, text)));
    }
    let operator = Operator::peer(peer.uid(), peer.pid());
    let mut reader = BufReader::new(stream);
    loop {
        let line = next_line(&mut reader)?;
        if line.is_empty() {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let text = format!("a line has at most {MOST_LINE} bytes and ends with a line feed");
            return send(stream, &Reply::Error(Refusal::new(RefusalKind::Invalid, text)));
        }
        let reply = ask(&line, &operator, letterbox);
        let Reply::Ok(Answer::Backup(ordered)) = &reply else {
            send(stream, &reply)?;
            continue;
        };
        if let Err(error) = back_up(stream, &mut reader, archivist, ordered) {
            log::warn!("{}: the backup was broken off: {error:#}", operator.0);
            return Ok(());
        }
    }
}

fn next_line(reader: &mut BufReader<&UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.take(MOST_LINE).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// Says that there is one, and sends it when the client is ready for what is no line.
fn back_up(
    stream: &UnixStream,
    reader: &mut BufReader<&UnixStream>,
    archivist: &Archivist,
    ordered: &Ordered,
) -> anyhow::Result<()> {
    let snapshot = match archivist.look(ordered) {
        Ok(snapshot) => snapshot,
        Err(refusal) => return Ok(send(stream, &Reply::Error(refusal))?),
    };
    send(stream, &Reply::Ok(Answer::Backup(ordered.clone())))?;
    anyhow::ensure!(next_line(reader)? == frames::READY, "the client went away");
    snapshot.write(Frames(stream))?.finish()?;
    Ok(())
}

fn ask(line: &[u8], operator: &Operator, letterbox: &Letterbox) -> Reply {
    operation(line).and_then(|operation| letterbox.ask(operation, operator.clone())).into()
}

/// What a client's line asks for.
pub(crate) fn operation(line: &[u8]) -> Result<Operation, Refusal> {
    serde_json::from_slice(line).map_err(|error| {
        Refusal::new(RefusalKind::Invalid, format!("this is no operation: {error}"))
    })
}

fn send(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    stream.write_all(&json::line(reply)?)
}
