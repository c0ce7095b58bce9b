//! The key servers of the configuration and their addresses: for the connection, and for the rules, which
//! always let connections to them pass, those of gateways behind this one too. What this gateway itself sends,
//! its questions to a name server among that, is not looked at by any rule.
//!
//! Names are looked up in a thread of their own, since that can take long, and again and again: at
//! boot there may be no name server yet, and a server can move.

use crate::config::Endpoint;
use anyhow::{Context as _, Result};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How long until names are looked up again: after a failure, and when all were found.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(300)];

/// The addresses of each server, as far as they are known.
type Known = Mutex<Vec<Vec<SocketAddr>>>;

/// The servers of the configuration, and what is known of them.
pub struct Servers {
    list: Vec<Endpoint>,
    known: Arc<Known>,
    /// Ends the pause between two looks.
    hurry: SyncSender<()>,
}

impl Servers {
    /// Begins to look for them.
    ///
    /// # Errors
    /// There is no room for a thread.
    pub fn find(servers: &[Endpoint]) -> Result<Self> {
        Self::find_with(servers, PAUSES, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// All addresses that are known now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }

    /// The addresses of one server that are known now.
    pub fn addresses_of(&self, at: usize) -> Vec<SocketAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(at).cloned().unwrap_or_default()
    }

    /// As they are configured.
    pub fn list(&self) -> &[Endpoint] {
        &self.list
    }

    /// The server does not answer: it may have another address now, which is not to be known in minutes only.
    pub fn look_again(&self) {
        // Nobody looks if no server has a name; and one that is about to look needs to be told once.
        let _ = self.hurry.try_send(());
    }

    fn find_with(
        servers: &[Endpoint],
        pauses: [Duration; 2],
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> Result<Self> {
        let known = servers.iter().map(|server| literal(server).into_iter().collect()).collect();
        let known = Arc::new(Mutex::new(known));
        let named = |(_, server): &(usize, &Endpoint)| literal(server).is_none();
        let names: Vec<(usize, Endpoint)> = servers
            .iter()
            .enumerate()
            .filter(named)
            .map(|(at, server)| (at, server.clone()))
            .collect();
        let (hurry, hurried) = sync_channel(1);
        if !names.is_empty() {
            let found = Arc::downgrade(&known);
            let thread = thread::Builder::new().name("names".to_owned());
            thread
                .spawn(move || keep_looking(&names, &found, pauses, &hurried, look_up))
                .context("cannot start a thread")?;
        }
        Ok(Self { list: servers.to_vec(), known, hurry })
    }
}

/// Until nobody wants to know any more.
fn keep_looking(
    names: &[(usize, Endpoint)],
    found: &Weak<Known>,
    [retry, again]: [Duration; 2],
    hurried: &Receiver<()>,
    look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
) {
    let mut complained = false;
    loop {
        let mut pause = again;
        for (at, server) in names {
            let addresses = look_up(server.host(), server.port());
            let Some(known) = found.upgrade() else { return };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match (addresses, known.get_mut(*at)) {
                (Ok(mut addresses), Some(known)) if !addresses.is_empty() => {
                    // Name servers give them in turns.
                    addresses.sort();
                    *known = addresses;
                }
                (Err(error), _) => {
                    pause = retry;
                    if !core::mem::replace(&mut complained, true) {
                        log::warn!("option server '{server}': {error}; trying again");
                    }
                }
                (Ok(_), _) => pause = retry,
            }
        }
        if hurried.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// The address of a server that is named by its address.
fn literal(server: &Endpoint) -> Option<SocketAddr> {
    let host = server.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, server.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(servers: &[&str]) -> Vec<Endpoint> {
        servers.iter().map(|server| server.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_known_at_once() {
        let servers = endpoints(&["192.0.2.1:5555", "tcp://[2001:db8::1]:5556"]);
        let servers = Servers::find_with(&servers, PAUSES, |_, _| Err(io::ErrorKind::Other.into()));
        let known = servers.unwrap().addresses();
        let expected = ["192.0.2.1:5555", "[2001:db8::1]:5556"];
        assert_eq!(known, expected.map(|address| address.parse::<SocketAddr>().unwrap()));
    }

    #[test]
    fn a_name_is_looked_up_until_it_is_found_and_what_was_found_stays() {
        let (answers, next) = sync_channel::<Option<&str>>(1);
        let (asks, asked) = sync_channel(1);
        let servers = endpoints(&["192.0.2.1:1", "keys.plant:5555", "192.0.2.3:3"]);
        let servers = Servers::find_with(&servers, [Duration::ZERO; 2], move |host, port| {
            assert_eq!((host, port), ("keys.plant", 5555));
            asks.send(()).map_err(io::Error::other)?;
            let answer = next.recv().map_err(io::Error::other)?;
            answer.map(|address| vec![address.parse().unwrap()]).ok_or(io::ErrorKind::Other.into())
        });
        let servers = servers.unwrap();
        let steps: [(&[&str], Option<&str>); 5] = [
            (&["192.0.2.1:1", "192.0.2.3:3"], None),
            (&["192.0.2.1:1", "192.0.2.3:3"], Some("192.0.2.2:5555")),
            (&["192.0.2.1:1", "192.0.2.2:5555", "192.0.2.3:3"], None),
            (&["192.0.2.1:1", "192.0.2.2:5555", "192.0.2.3:3"], Some("192.0.2.9:5555")),
            (&["192.0.2.1:1", "192.0.2.9:5555", "192.0.2.3:3"], None),
        ];
        for (expected, answer) in steps {
            asked.recv_timeout(Duration::from_secs(10)).unwrap();
            let expected: Vec<SocketAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(servers.addresses(), expected);
            answers.send(answer).unwrap();
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_looked_up_at_once() {
        let (answers, next) = sync_channel::<&str>(1);
        let servers = endpoints(&["keys.plant:5555"]);
        let (asks, asked) = sync_channel(1);
        let an_hour = [Duration::from_secs(3_600); 2];
        let servers = Servers::find_with(&servers, an_hour, move |_, _| {
            asks.send(()).map_err(io::Error::other)?;
            let address = next.recv().map_err(io::Error::other)?;
            Ok(vec![address.parse().unwrap()])
        });
        let servers = servers.unwrap();
        let patience = Duration::from_secs(10);
        asked.recv_timeout(patience).unwrap();
        answers.send("192.0.2.2:5555").unwrap();
        servers.look_again();
        servers.look_again();
        asked.recv_timeout(patience).expect("looked up again long before the hour is over");
        assert_eq!(servers.addresses(), ["192.0.2.2:5555".parse().unwrap()]);
        answers.send("192.0.2.9:5555").unwrap();
        servers.look_again();
        asked.recv_timeout(patience).unwrap();
        assert_eq!(servers.addresses(), ["192.0.2.9:5555".parse().unwrap()]);
        drop(answers);
        drop(servers);
    }

    #[test]
    fn nobody_looks_for_addresses_and_telling_them_to_is_no_error() {
        let servers = endpoints(&["192.0.2.1:5555"]);
        let servers = Servers::find_with(&servers, PAUSES, |_, _| Err(io::ErrorKind::Other.into()));
        let servers = servers.unwrap();
        servers.look_again();
        assert_eq!(servers.addresses().len(), 1);
    }
}
