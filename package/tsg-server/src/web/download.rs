//! A backup as an answer: encrypted while it is sent.

use super::App;
use super::desk::{Caller, answer};
use crate::operations::{Operation, Refusal, RefusalKind};
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use std::io::{self, Write};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;

/// Pieces that wait for a browser that is slower than the disk.
const MOST_WAITING: usize = 4;

/// Has it ordered, and answers with the file.
pub(super) async fn backup(
    app: &App,
    caller: &Caller,
    recipients: Vec<String>,
) -> Result<Response, Refusal> {
    let ordered = answer!(app.desk.ask(caller, Operation::Backup { recipients }).await?, Backup)?;
    let archivist = app.archivist.clone();
    let day = tsg_bundle::utc(ordered.made).replace([':', '-'], "").replace(' ', "-");
    let (sender, receiver) = channel(MOST_WAITING);
    let snapshot = spawn_blocking(move || archivist.look(&ordered)).await;
    let snapshot = snapshot
        .map_err(|error| Refusal::new(RefusalKind::Unavailable, format!("no backup: {error}")))??;
    let who = caller.operator.clone();
    spawn_blocking(move || {
        if let Err(error) = snapshot.write(Pieces(sender.clone())) {
            log::warn!("{}: the backup was broken off: {error:#}", who.0);
            // The browser sees that this is not the end.
            let _ = sender.blocking_send(Err(io::Error::other("broken off")));
        }
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let named = format!("attachment; filename=\"tsg-server-{day}.age\"");
    let head =
        [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, named)];
    Ok((head, Body::from_stream(pieces)).into_response())
}

/// Goes to the connection, and waits for it.
struct Pieces(Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the other end went away"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
