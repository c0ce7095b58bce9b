//! The pages on port 8888, and the API under `/api/v1`.
//!
//! Threads of their own serve them; everything that they show or change goes through [`crate::operations`], as on root's
//! socket, for the role of whoever asks. Pages come whole from here and work without JavaScript: the little that there
//! is renews them when something changed.

mod accept;
mod api;
mod certificate;
mod codes;
mod desk;
mod download;
mod hashing;
mod learned;
mod live;
mod pages;
mod policy;
mod safety;
mod session;
mod setup;
mod throttle;

pub(crate) use certificate::{FILE as CERTIFICATE, check as check_certificate};

use crate::accounts::Directory;
use crate::backup::Archivist;
use crate::orders::Letterbox;
use crate::seal::Vault;
use accept::Tls;
use anyhow::{Context, Result, ensure};
use api::Readiness;
use axum::Router;
use codes::Codes;
use desk::Desk;
use hashing::Hashing;
use live::Live;
use session::Sessions;
use setup::Setup;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use throttle::Throttle;
use tokio::sync::watch;

/// It is looked this often whether the certificate was renewed.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(60);

/// Where and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on, `*` for all, or nothing for no pages at all.
    pub address: String,
    /// The port; 0 for any.
    pub port: u16,
    /// Certificate chain and key, in PEM.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// No TLS: only on a loopback address.
    pub plain: bool,
}

/// What every request is answered with.
#[derive(Clone)]
struct App(Arc<Parts>);

struct Parts {
    desk: Desk,
    directory: Directory,
    sessions: Sessions,
    setup: Setup,
    throttle: Throttle,
    hashing: Hashing,
    codes: Codes,
    readiness: Readiness,
    archivist: Archivist,
    live: Live,
    /// Cookies are for TLS only.
    secure: bool,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The threads that serve.
#[derive(Debug)]
pub struct Web {
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Listens, and serves from then on. `None` if nothing is to be served.
    ///
    /// # Errors
    /// The port is taken, or the certificate is none.
    pub fn open(
        options: &Options,
        vault: &Vault,
        letterbox: Letterbox,
        directory: Directory,
        archivist: Archivist,
    ) -> Result<Option<Self>> {
        if options.address.is_empty() {
            return Ok(None);
        }
        let listener = listen(options)?;
        let at = listener.local_addr()?;
        let tls = if options.plain { None } else { Some(certificate::tls(options, vault)?) };
        let shown =
            if at.ip().is_unspecified() { "this machine".to_owned() } else { at.ip().to_string() };
        let port = at.port();
        match &tls {
            None => log::info!("pages on http://{at}/"),
            Some(Tls { fingerprint, .. }) => {
                log::info!("pages on https://{shown}:{port}/; certificate {fingerprint}");
            }
        }
        let app = App(Arc::new(Parts {
            desk: Desk::new(letterbox),
            setup: Setup::new(&directory),
            directory,
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            hashing: Hashing::default(),
            codes: Codes::default(),
            readiness: Readiness::default(),
            archivist,
            live: Live::default(),
            secure: tls.is_some(),
        }));
        let (end, ended) = watch::channel(false);
        let files = options.certificate.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .thread_name("web")
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start the threads of the pages")?;
        let thread = thread::Builder::new()
            .name("web".to_owned())
            .spawn(move || {
                runtime.block_on(serve(app, listener, tls, files, ended));
                runtime.shutdown_background();
            })
            .context("cannot start the thread of the pages")?;
        Ok(Some(Self { end, thread: Some(thread) }))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(options: &Options) -> Result<TcpListener> {
    let Options { address, port, plain, .. } = options;
    let wanted = format!("{address}, port {port}");
    let addresses: Vec<SocketAddr> = match address.as_str() {
        // With IPv6, IPv4 is in it; without, it is alone.
        "*" => vec![SocketAddr::from(([0_u16; 8], *port)), SocketAddr::from(([0_u8; 4], *port))],
        name => (name, *port)
            .to_socket_addrs()
            .with_context(|| format!("--web {wanted}: nobody knows this address"))?
            .collect(),
    };
    let loopback = |at: &SocketAddr| at.ip().is_loopback();
    ensure!(
        !plain || addresses.iter().all(loopback),
        "--web-plain sends passwords in clear: only with a loopback address, such as --web 127.0.0.1"
    );
    let listener = TcpListener::bind(addresses.as_slice()).with_context(|| {
        format!("cannot serve pages on {wanted}: does another program? Give --web-port another one")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<Tls>,
    files: Option<(PathBuf, PathBuf)>,
    ended: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return log::error!("cannot serve pages: {error}"),
    };
    let ticking = tokio::spawn(live::follow(app.clone()));
    let config = tls.map(|tls| {
        let (serve, config) = watch::channel(tls.config);
        if let Some(files) = files {
            tokio::spawn(certificate::follow(files, LOOK_AT_CERTIFICATE, serve));
        }
        config
    });
    accept::all(listener, config, router(app), ended).await;
    ticking.abort();
}

fn router(app: App) -> Router {
    let routes = Router::new().merge(pages::routes()).merge(api::routes()).merge(live::routes());
    safety::around(routes.fallback(pages::nothing_here)).with_state(app)
}

/// The machine at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);
