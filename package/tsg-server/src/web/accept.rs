//! Connections: taken, made safe, served, and none of them for ever.

use super::Peer;
use crate::network::neighbourhood;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustls::ServerConfig;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Connections at once, and of one machine or network of IPv6.
const MOST: usize = 512;
const MOST_OF_ONE: usize = 64;

/// A handshake, and the head of a request, may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection ends after this, however slowly somebody reads: streams of events end by themselves before.
const LONGEST: Duration = Duration::from_secs(600);

/// When the server ends, what is being answered may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// How TLS begins, and what somebody is told who forgot the `s` of https.
const TLS_HANDSHAKE: [u8; 1] = [22];
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    These pages are behind TLS: write https:// in front of the address.\n";

/// What makes connections safe.
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 over the certificate, for who wants to compare.
    pub(super) fingerprint: String,
}

/// How many connections each machine has.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of a machine.
struct Guest {
    guests: Guests,
    from: IpAddr,
    _room: Option<OwnedSemaphorePermit>,
}

impl Guests {
    fn admit(&self, from: IpAddr, room: Option<OwnedSemaphorePermit>) -> Option<Guest> {
        let from = neighbourhood(from);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), from, _room: room })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// Takes connections until the server ends.
pub(super) async fn all(
    listener: TcpListener,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    router: Router,
    mut ended: watch::Receiver<bool>,
) {
    let (room, guests) = (Arc::new(Semaphore::new(MOST)), Guests::default());
    let farewell = GracefulShutdown::new();
    loop {
        // Whatever it waits for, the end of the server comes first.
        let (permit, accepted) = tokio::select! {
            next = next(&listener, &room) => next,
            _ = ended.changed() => break,
        };
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, from.ip().to_canonical()),
            Err(error) => {
                log::debug!("a connection to the pages was not made: {error}");
                // Out of descriptors, most likely: others must close theirs first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(guest) = guests.admit(from, permit) else { continue };
        let acceptor = tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.borrow())));
        let (router, watcher) = (router.clone(), farewell.watcher());
        tokio::spawn(async move {
            match timeout(LONGEST, one(stream, acceptor, router, from, watcher)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::debug!("{from}: {error}"),
                Err(_) => log::debug!("{from}: the connection was open for too long"),
            }
            drop(guest);
        });
    }
    let _ = timeout(FAREWELL, farewell.shutdown()).await;
}

/// Room for one more connection, and then that.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, io::Result<(TcpStream, SocketAddr)>) {
    // It is never closed.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    (permit, listener.accept().await)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Watcher = hyper_util::server::graceful::Watcher;

async fn one(
    mut stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    from: IpAddr,
    watcher: Watcher,
) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => talk(stream, router, from, watcher).await,
        Some(acceptor) => {
            let mut first = [0];
            timeout(PATIENCE, stream.peek(&mut first)).await??;
            if first != TLS_HANDSHAKE {
                return Ok(stream.write_all(NO_TLS).await?);
            }
            let safe = timeout(PATIENCE, acceptor.accept(stream)).await??;
            talk(safe, router, from, watcher).await
        }
    }
}

async fn talk<S>(stream: S, router: Router, from: IpAddr, watcher: Watcher) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(from));
        let mut router = router.clone();
        async move { tower_service::Service::call(&mut router, request.map(Body::new)).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(64)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}
