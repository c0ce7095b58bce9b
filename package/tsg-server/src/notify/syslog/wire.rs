//! The way to the collector: datagrams, or frames that begin with their length (RFC 6587, RFC 5425) on TCP or TLS.

use super::super::target::Target;
use super::sys;
use anyhow::{Context, Result, bail};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read as _, Write as _};
use std::net::{
    Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket,
};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A collector has so long to take a connection, and each piece of what is sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is not acknowledged for so long, in milliseconds, ends the connection.
const UNHEARD: u32 = 30_000;

/// Bytes that may be on their way: who does not read is soon known by it.
const ON_THE_WAY: usize = 256 * 1024;

/// The name of a collector is looked up again after this, when nothing says that it has moved.
const LOOK_UP: Duration = Duration::from_secs(300);

/// A way that is open.
pub(super) enum Wire {
    Udp { socket: UdpSocket, to: SocketAddr, since: Instant },
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(super) fn open(target: &Target, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let Target { scheme, host, port } = target;
        let addresses: Vec<_> = (host.as_str(), *port)
            .to_socket_addrs()
            .with_context(|| format!("nobody knows the address of {host}"))?
            .collect();
        if *scheme == "udp" {
            let to = *addresses.first().with_context(|| format!("{host} has no address"))?;
            let any: SocketAddr = match to {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            return Ok(Self::Udp { socket, to, since: Instant::now() });
        }
        let stream = connect(&addresses)?;
        let Some(config) = tls else { return Ok(Self::Tcp(stream)) };
        let name = ServerName::try_from(host.clone())
            .with_context(|| format!("{host} is no name for TLS"))?;
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        let mut stream = StreamOwned::new(connection, stream);
        let deadline = Instant::now() + PATIENCE;
        while stream.conn.is_handshaking() {
            if Instant::now() >= deadline {
                bail!("the TLS handshake takes too long");
            }
            stream.conn.complete_io(&mut stream.sock).context("TLS")?;
        }
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Hands a message over to this machine's network.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let frame = |message: &[u8]| [message.len().to_string().as_bytes(), b" ", message].concat();
        match self {
            Self::Udp { socket, to, .. } => socket.send_to(message, *to).map(drop),
            Self::Tcp(stream) => stream.write_all(&frame(message)),
            Self::Tls(stream) => {
                stream.write_all(&frame(message))?;
                stream.flush()
            }
        }
    }

    /// Is the other end still there? What it says is thrown away: a collector has nothing to say.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self {
            Self::Udp { .. } => Ok(()),
            Self::Tcp(stream) => {
                let ended = has_said_something(stream)? && stream.read(&mut [0; 4096])? == 0;
                if ended { Err(gone()) } else { Ok(()) }
            }
            Self::Tls(stream) => {
                if !has_said_something(&stream.sock)? {
                    return Ok(());
                }
                stream.conn.read_tls(&mut stream.sock)?;
                let state = stream.conn.process_new_packets().map_err(io::Error::other)?;
                let mut said = vec![0; state.plaintext_bytes_to_read()];
                stream.conn.reader().read_exact(&mut said)?;
                if state.peer_has_closed() { Err(gone()) } else { Ok(()) }
            }
        }
    }

    /// The other machine has not acknowledged everything. It never does, by UDP.
    pub(super) fn is_under_way(&self) -> bool {
        let stream = match self {
            Self::Udp { .. } => return false,
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        sys::unacknowledged(stream).map_or(true, |bytes| bytes > 0)
    }

    pub(super) const fn is_udp(&self) -> bool {
        matches!(self, Self::Udp { .. })
    }

    /// Nothing would say that the collector has another address by now.
    pub(super) fn is_old(&self) -> bool {
        matches!(self, Self::Udp { since, .. } if since.elapsed() >= LOOK_UP)
    }

    /// Says goodbye.
    pub(super) fn close(mut self) {
        let stream = match &mut self {
            Self::Udp { .. } => return,
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                &mut stream.sock
            }
        };
        let _ = stream.shutdown(Shutdown::Write);
    }
}

fn connect(addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(address, PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                setsockopt(&stream, sockopt::SndBuf, &ON_THE_WAY)?;
                setsockopt(&stream, sockopt::KeepAlive, &true)?;
                setsockopt(&stream, sockopt::TcpUserTimeout, &UNHEARD)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")).into())
}

/// Without waiting. An end is an error.
fn has_said_something(stream: &TcpStream) -> io::Result<bool> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(stream.as_raw_fd(), &mut [0], flags) {
        Ok(0) => Err(gone()),
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the collector has closed the connection")
}
