//! All connections of gateways and monitors: accepted, read, written to and closed, without ever waiting.
//!
//! Who is a member keeps its connections. When there are too many, those go that are silent for the longest time and belong to
//! nobody, or to a stranger.

use super::allowance::{Allowance, MESSAGE, Rate};
use super::listen::{self, Accepted};
use super::roster::{Roster, Standing};
use anyhow::{Context as _, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use tsg_control::keys::PublicKey;
use tsg_control::message::MAX_FRAME_TO_SERVER;
use tsg_zmtp::server::{Event, Server, Socket};
use tsg_zmtp::{Error, Keys};
use zeroize::Zeroizing;

/// Who connects and does not get through the handshake in so many milliseconds is cut off.
const HANDSHAKE: u64 = 5_000;

/// Ready connections that are looked at before the rest of the daemon has its turn; of these, steps of handshakes, which cost
/// far more than a message does; and connections that are accepted.
const MOST_READY: usize = 1_024;
const MOST_STEPS: usize = 32;
const MOST_ACCEPTED: usize = 64;

/// So many messages that were heard are enough to go on with.
const ENOUGH_HEARD: usize = 1_024;

/// Read at once from one connection.
const CHUNK: usize = 16 * 1024;

/// Bytes that wait for one connection: who does not take them gets nothing more. A state is whole, so losing one is no harm.
const MOST_WAITING: usize = 256 * 1024;

/// A stranger's frame may not be longer than this: what waits to become whole takes memory.
const LONGEST_OF_STRANGERS: usize = 8 * 1024;

/// More connections are not kept of those that are not let in.
const MOST_STRANGERS: usize = 8_192;

/// A key has at most this many connections. A gateway that lost its link comes again before the old connection is known to
/// be dead; the one that was silent for longest makes room.
const MOST_OF_A_KEY: usize = 3;

/// And at most this many to hear of announcements: several programs may have the same key.
const MOST_MONITORS_OF_A_KEY: usize = 16;

/// Names that one monitor may subscribe to, and their length: a group's has 48 signs at most.
const MOST_SUBSCRIPTIONS: usize = 64;
const LONGEST_SUBSCRIPTION: usize = 64;

/// What is no message is paid for, too: signs of life that are asked for, frames that are left out, subscriptions. Who is sound
/// says few of them in a minute, and all its subscriptions at once when it connects.
const IDLE: Rate = Rate { a_second: 10, at_once: 200 };

/// What epoll says for the two ports; connections count on from there.
const PORTS: [Socket; 2] = [Socket::Router, Socket::Pub];

/// What somebody has said.
pub(super) struct Heard {
    pub(super) from: PublicKey,
    /// The network address of the other end.
    pub(super) address: IpAddr,
    /// `None`: several frames, which no gateway says.
    pub(super) frame: Option<Zeroizing<Vec<u8>>>,
}

/// Why a message was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The gateway has no connection.
    NotConnected,
    /// It has not taken yet what was sent before.
    SlowReader,
}

/// The ports, and who is connected to them.
pub(super) struct Connections {
    epoll: Epoll,
    ports: [TcpListener; 2],
    /// They are accepted from.
    accepting: bool,
    open: HashMap<u64, Connection>,
    next: u64,
    /// Those that are in their handshake and when they began, the oldest first. Some are through, or gone.
    beginning: VecDeque<(u64, u64)>,
    /// Of every gateway: the one that was heard last is last.
    routes: HashMap<PublicKey, Vec<u64>>,
    /// Those that hear of announcements, of every key: the one that came first is first.
    monitors: HashMap<PublicKey, Vec<u64>>,
    heard: VecDeque<Heard>,
    looks: usize,
    /// So many connections at most.
    most: usize,
    /// It was told that they are too many.
    was_full: bool,
}

struct Connection {
    stream: TcpStream,
    socket: Socket,
    protocol: Server,
    address: IpAddr,
    /// Whose it is, once it is let in.
    key: Option<PublicKey>,
    heard: u64,
    /// For what it says that is no message.
    idle: Allowance,
    /// It is told when there is room to write.
    is_blocked: bool,
    subscriptions: BTreeSet<Vec<u8>>,
}

impl Connection {
    fn is_of_member(&self, roster: &Roster) -> bool {
        self.key.is_some_and(|key| roster.standing(&key) == Standing::Member)
    }
}

impl Connections {
    /// At these ports, for gateways and for monitors.
    pub(super) fn open(ports: [TcpListener; 2], most: usize) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot use epoll")?;
        let mut connections = Self {
            epoll,
            ports,
            accepting: false,
            open: HashMap::new(),
            next: PORTS.len() as u64,
            beginning: VecDeque::new(),
            routes: HashMap::new(),
            monitors: HashMap::new(),
            heard: VecDeque::new(),
            looks: 0,
            most,
            was_full: false,
        };
        connections.accept_again()?;
        Ok(connections)
    }

    /// Readable when something has happened.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }

    /// There is something to take that was heard already.
    pub(super) fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What was heard next.
    pub(super) fn next_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Gateways and strangers that are through the handshake.
    pub(super) fn count(&self) -> usize {
        self.open.values().filter(|one| one.key.is_some() && one.socket == Socket::Router).count()
    }

    /// Accepts, reads and writes what can be done at once.
    pub(super) fn look(&mut self, keys: &Keys<'_>, roster: &Roster, now: u64) -> Result<()> {
        let mut events = [EpollEvent::empty(); MOST_READY];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error).context("cannot wait for gateways"),
        };
        let mut ready: Vec<u64> = events[..count].iter().map(EpollEvent::data).collect();
        // Another one is first each time: who says very much does not silence those behind him.
        self.looks = self.looks.wrapping_add(1);
        ready.rotate_left(self.looks % count.max(1));
        // Who is through the handshake comes before who is not: many that begin one keep him waiting for milliseconds only.
        let is_through = |id: &u64| self.open.get(id).is_some_and(|one| one.key.is_some());
        let (known, others): (Vec<u64>, Vec<u64>) = ready.into_iter().partition(is_through);
        for id in known {
            if self.heard.len() < ENOUGH_HEARD {
                self.turn(id, keys, roster, now);
            }
        }
        let mut steps = MOST_STEPS;
        for id in others {
            if let Some(&socket) = usize::try_from(id).ok().and_then(|at| PORTS.get(at)) {
                self.accept(socket, roster, now)?;
            } else if steps > 0 {
                steps -= 1;
                self.turn(id, keys, roster, now);
            }
        }
        Ok(())
    }

    /// Lets go of those whose handshake takes too long, and of strangers that are too many; once a second.
    pub(super) fn look_around(&mut self, roster: &Roster, now: u64) -> Result<()> {
        while let Some(&(id, began)) = self.beginning.front() {
            let is_through = self.open.get(&id).is_none_or(|one| one.key.is_some());
            if !is_through && now < began + HANDSHAKE {
                break;
            }
            self.beginning.pop_front();
            if !is_through {
                self.close(id, "no handshake in time");
            }
        }
        let silent = self.strangers(roster);
        for &id in &silent[..silent.len().saturating_sub(MOST_STRANGERS)] {
            self.close(id, "there are too many strangers");
        }
        self.was_full &= self.open.len() >= self.most / 2;
        self.accept_again()
    }

    fn accept_again(&mut self) -> Result<()> {
        if !self.accepting {
            for (id, port) in (0..).zip(&self.ports) {
                let event = EpollEvent::new(EpollFlags::EPOLLIN, id);
                self.epoll.add(port, event).context("cannot listen for gateways")?;
            }
            self.accepting = true;
        }
        Ok(())
    }

    fn accept(&mut self, socket: Socket, roster: &Roster, now: u64) -> Result<()> {
        let port = usize::from(socket == Socket::Pub);
        for _ in 0..MOST_ACCEPTED {
            if !self.accepting {
                break;
            }
            match listen::accept(&self.ports[port])? {
                Accepted::One(stream, address) => {
                    if self.open.len() < self.most || self.make_room(roster) {
                        self.begin(stream, address, socket, now);
                    }
                }
                Accepted::Nobody => break,
                Accepted::NoRoom => {
                    self.make_room(roster);
                    // Those that wait would wake the daemon again and again.
                    for port in &self.ports {
                        self.epoll.delete(port).context("cannot stop to listen for gateways")?;
                    }
                    self.accepting = false;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, stream: TcpStream, address: IpAddr, socket: Socket, now: u64) {
        let id = self.next;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, id);
        if let Err(error) = self.epoll.add(&stream, event) {
            log::debug!("{address} cannot be listened to: {error}");
            return;
        }
        self.next += 1;
        self.beginning.push_back((id, now));
        let connection = Connection {
            stream,
            socket,
            protocol: Server::begin(socket, LONGEST_OF_STRANGERS),
            address,
            key: None,
            heard: now,
            idle: Allowance::full(IDLE, now),
            is_blocked: false,
            subscriptions: BTreeSet::new(),
        };
        self.open.insert(id, connection);
        self.write(id);
    }

    /// Connections that belong to no member, the one first that is silent for the longest time.
    fn strangers(&self, roster: &Roster) -> Vec<u64> {
        let all = self.open.iter().filter(|(_, one)| !one.is_of_member(roster));
        let mut silent: Vec<(u64, u64)> = all.map(|(&id, one)| (one.heard, id)).collect();
        silent.sort_unstable();
        silent.into_iter().map(|(_, id)| id).collect()
    }

    /// Lets go of some that do not belong to members. Gives whether there are any.
    fn make_room(&mut self, roster: &Roster) -> bool {
        if !self.was_full {
            self.was_full = true;
            log::warn!(
                "{} connections are open, as many as there may be: those of gateways that are not let in are closed, the silent \
                 ones first; see who is connected, or raise the limit (LimitNOFILE= in systemd, --ulimit nofile in a container)",
                self.open.len()
            );
        }
        let silent = self.strangers(roster);
        // Several at once: to look for them takes a while.
        for &id in &silent[..silent.len().div_ceil(16)] {
            self.close(id, "others need the room");
        }
        !silent.is_empty()
    }

    /// Reads what has come on one connection, and writes what waits for it.
    fn turn(&mut self, id: u64, keys: &Keys<'_>, roster: &Roster, now: u64) {
        if let Err(why) = self.read(id, keys, roster, now) {
            self.close(id, &why);
            return;
        }
        self.write(id);
    }

    fn read(&mut self, id: u64, keys: &Keys<'_>, roster: &Roster, now: u64) -> Result<(), String> {
        let Some(one) = self.open.get_mut(&id) else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        match one.stream.read(&mut chunk) {
            Ok(0) => return Err("it has closed the connection".to_owned()),
            Ok(length) => one.protocol.hear(&chunk[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        }
        one.heard = now;
        one.protocol.limit(if one.is_of_member(roster) {
            MAX_FRAME_TO_SERVER
        } else {
            LONGEST_OF_STRANGERS
        });
        let words = |error: Error| error.to_string();
        while let Some(one) = self.open.get_mut(&id)
            && let Some(event) = one.protocol.next(keys).map_err(words)?
        {
            let is_free = matches!(event, Event::Asks(_) | Event::Message(_));
            if !is_free && !one.idle.pay(MESSAGE, IDLE, now) {
                return Err("it says too much that is no message".to_owned());
            }
            match event {
                Event::Asks(key) => self.admit(id, PublicKey(key), roster)?,
                Event::Message(frame) => self.note(id, Some(frame)),
                Event::SeveralFrames => self.note(id, None),
                Event::Idle => {}
                Event::Subscribe(name) => {
                    if name.len() > LONGEST_SUBSCRIPTION
                        || one.subscriptions.len() >= MOST_SUBSCRIPTIONS
                    {
                        return Err("too many subscriptions".to_owned());
                    }
                    one.subscriptions.insert(name);
                }
                Event::Cancel(name) => {
                    one.subscriptions.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// Somebody has shown whose key he has. Who is not welcome now may be later: without a word, as after one libzmq would
    /// not connect again, and a gateway that is let in once more would not come until it is restarted.
    fn admit(&mut self, id: u64, key: PublicKey, roster: &Roster) -> Result<(), String> {
        let Some(one) = self.open.get_mut(&id) else { return Ok(()) };
        let standing = roster.standing(&key);
        let is_welcome = match one.socket {
            Socket::Router => standing != Standing::Revoked,
            Socket::Pub => standing == Standing::Member,
        };
        log::debug!(
            "{} from {}: {standing:?}, {}",
            key.fingerprint(),
            one.address,
            if is_welcome { "may connect" } else { "refused" }
        );
        if !is_welcome {
            return Err("it is not welcome".to_owned());
        }
        one.protocol.admit();
        one.key = Some(key);
        let (of, most) = match one.socket {
            Socket::Router => (&mut self.routes, MOST_OF_A_KEY),
            Socket::Pub => (&mut self.monitors, MOST_MONITORS_OF_A_KEY),
        };
        let of_key = of.entry(key).or_default();
        of_key.push(id);
        if of_key.len() > most {
            let oldest = of_key[0];
            self.close(oldest, "that gateway has newer ones");
        }
        Ok(())
    }

    /// Who has this key hears of no announcement any more.
    pub(super) fn close_monitors(&mut self, key: &PublicKey) {
        for id in self.monitors.remove(key).unwrap_or_default() {
            self.close(id, "it is not let in any more");
        }
    }

    fn note(&mut self, id: u64, frame: Option<Zeroizing<Vec<u8>>>) {
        let Some(&Connection { key: Some(from), address, .. }) = self.open.get(&id) else { return };
        if let Some(routes) = self.routes.get_mut(&from)
            && let Some(at) = routes.iter().position(|route| *route == id)
        {
            routes[at..].rotate_left(1);
        }
        self.heard.push_back(Heard { from, address, frame });
    }

    /// Sends a frame to where this gateway was heard last.
    pub(super) fn send(&mut self, to: &PublicKey, frame: &[u8]) -> Result<(), Unsent> {
        let route = self.routes.get(to).and_then(|routes| routes.last().copied());
        let id = route.ok_or(Unsent::NotConnected)?;
        if self.say(id, &[frame]) { Ok(()) } else { Err(Unsent::SlowReader) }
    }

    /// Publishes frames to those that want what begins with the first one. Gives how many of them did not take it.
    pub(super) fn publish(&mut self, frames: &[&[u8]]) -> u64 {
        let name = frames.first().copied().unwrap_or_default();
        let wants =
            |one: &Connection| one.subscriptions.iter().any(|begin| name.starts_with(begin));
        let of: Vec<u64> = self
            .monitors
            .values()
            .flatten()
            .copied()
            .filter(|id| self.open.get(id).is_some_and(wants))
            .collect();
        let taken = |id: &u64| self.say(*id, frames);
        of.len() as u64 - of.iter().copied().filter(taken).count() as u64
    }

    /// Gives whether there was room for it.
    fn say(&mut self, id: u64, frames: &[&[u8]]) -> bool {
        let Some(one) = self.open.get_mut(&id) else { return false };
        let waits = one.protocol.output().len();
        let more: usize = frames.iter().map(|frame| frame.len()).sum();
        if waits > 0 && waits + more > MOST_WAITING {
            return false;
        }
        one.protocol.say(frames);
        self.write(id);
        true
    }

    fn write(&mut self, id: u64) {
        let Some(one) = self.open.get_mut(&id) else { return };
        while !one.protocol.output().is_empty() {
            match one.stream.write(one.protocol.output()) {
                Ok(length) => one.protocol.written(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(id, &error.to_string()),
            }
        }
        let is_blocked = !one.protocol.output().is_empty();
        if is_blocked != one.is_blocked {
            one.is_blocked = is_blocked;
            let room = if is_blocked { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, id);
            if let Err(error) = self.epoll.modify(&one.stream, &mut event) {
                self.close(id, &error.to_string());
            }
        }
    }

    fn close(&mut self, id: u64, why: &str) {
        let Some(one) = self.open.remove(&id) else { return };
        log::debug!("the connection of {} has ended: {why}", one.address);
        let of = match one.socket {
            Socket::Router => &mut self.routes,
            Socket::Pub => &mut self.monitors,
        };
        if let Some(key) = one.key
            && let Some(of_key) = of.get_mut(&key)
        {
            of_key.retain(|other| *other != id);
            if of_key.is_empty() {
                of.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
