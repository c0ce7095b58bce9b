//! The process of a tunnel: packets from the TUN device go out sealed, what comes in sealed goes to the device.

use super::hello::Suites;
use super::other::Other;
use super::path::{self, PORT};
use super::peer::Peer;
use super::standing::Standing;
use super::{Key, sys};
use crate::boottime;
use crate::interface;
use crate::run::quitting;
use anyhow::{Context as _, Result, ensure};
use core::net::{IpAddr, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::Suite;
use tsg_esp::ip::{Outline, protocol, set_traffic_class, traffic_class, v4};
use tsg_esp::{ecn, udp};

/// The longest packet.
const LONGEST: usize = 65_535;

/// The least MTU that IPv6 works with (RFC 8200 section 5).
const V6_LEAST: u16 = 1_280;

/// Packets of one end before the other has its turn.
const BATCH: usize = 64;

/// So often it is looked whether something is to be said, in milliseconds.
const TICK: u16 = 250;

/// The traffic class of what the ends say to each other: internetwork control.
const CONTROL: u8 = 0xc0;

/// What is told to the two ends with the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The interface that ESP goes out of.
    pub interface: String,
    /// The other end.
    pub peer: IpAddr,
    /// The name of the TUN device.
    pub device: String,
    /// The file of the key; made if there is none.
    pub key_file: PathBuf,
    /// In UDP on port 4500 instead of IP protocol 50: for paths that do not take that.
    pub udp: bool,
    /// Static keys for this cipher, instead of those that the ends agree on.
    pub standing: Option<Suite>,
    /// Where sequence numbers of static keys are leased: no backup copies it.
    pub cache: PathBuf,
}

/// Runs the tunnel until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: the key, the interface, the device, the way to the other end.
pub fn run(tunnel: &Tunnel) -> Result<()> {
    let signals = quitting()?;
    tsg_sodium::init()?;
    tsg_sodium::self_test()
        .context("the cipher does not compute what it should, so nothing would be safe")?;
    let key = key(&tunnel.key_file)?;
    let mut ends = Ends::open(tunnel, key)?;
    log::info!("{}: to {} over {}", tunnel.device, tunnel.peer, ends.carrier());
    ends.serve(&signals)
}

/// The key of the file, or a new one where there is none.
fn key(file: &std::path::Path) -> Result<Key> {
    if file.exists() {
        return Key::load(file);
    }
    let key = Key::generate();
    key.save(file)?;
    log::warn!("made {}: copy it to the other end, by a way that nobody reads", file.display());
    Ok(key)
}

/// Both ends of the process: the device and the wire.
struct Ends {
    device: File,
    name: String,
    wire: OwnedFd,
    udp: bool,
    to: IpAddr,
    peer: Other,
    said: State,
    mtu: u16,
    buffer: Vec<u8>,
    say: Vec<Vec<u8>>,
}

impl Ends {
    fn open(tunnel: &Tunnel, key: Key) -> Result<Self> {
        let Tunnel { interface, peer, device: name, udp, .. } = tunnel;
        ensure!(
            interface::exists(interface),
            "there is no interface {interface}: name the one that {peer} is reached by"
        );
        let to = SocketAddr::new(*peer, PORT);
        let wire = sys::wire(*udp, protocol::ESP, to, interface)
            .with_context(|| format!("cannot reach {peer} by {interface}"))?;
        let device = sys::tun(name).with_context(|| {
            format!(
                "cannot make {name}: is it in use, or the kernel module tun (kmod-tun) not loaded?"
            )
        })?;
        // Last, as a start with static keys costs numbers.
        let other = match tunnel.standing {
            None => {
                let suites = Suites { aes: tsg_sodium::aes_available() };
                Other::Agreeing(Box::new(Peer::new(key, suites)))
            }
            Some(suite) => Other::Standing(Box::new(Standing::open(tunnel, &key, suite)?)),
        };
        let mut ends = Self {
            device,
            name: name.clone(),
            wire,
            udp: *udp,
            to: *peer,
            peer: other,
            said: State::Down,
            mtu: 0,
            buffer: vec![0; HEAD_ROOM + LONGEST + TAIL_ROOM],
            say: Vec::new(),
        };
        ends.fit()?;
        interface::bring_up(name).with_context(|| format!("cannot set up {name}"))?;
        Ok(ends)
    }

    const fn carrier(&self) -> &'static str {
        match self.udp {
            true => "UDP port 4500",
            false => "IP protocol 50",
        }
    }

    /// Gives the device the MTU that fits the path: the kernel tells hosts of it, or cuts.
    fn fit(&mut self) -> Result<()> {
        let path = sys::path_mtu(&self.wire, self.to.is_ipv6())
            .context("cannot ask for the path's MTU")?;
        let most = path::inside(path, self.to.is_ipv6(), self.udp);
        let most = most.with_context(|| format!("a path of {path} bytes takes no packet"))?;
        if most != self.mtu {
            interface::set_mtu(&self.name, most)
                .with_context(|| format!("cannot set the MTU of {} to {most}", self.name))?;
            log::info!("{}: MTU {most}, as the path to {} takes {path}", self.name, self.to);
            if most < V6_LEAST {
                log::warn!("{}: no IPv6 inside, which needs {V6_LEAST}", self.name);
            }
            self.mtu = most;
        }
        Ok(())
    }

    /// The same while it runs. Without a way to the other end there is no MTU, until there is one again.
    fn refit(&mut self) {
        if let Err(error) = self.fit() {
            log::debug!("{}: {error:#}", self.name);
        }
    }

    fn serve(&mut self, signals: &impl std::os::fd::AsFd) -> Result<()> {
        let mut ticked = None;
        loop {
            let waiting = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut all = [signals.as_fd(), self.device.as_fd(), self.wire.as_fd()].map(waiting);
            match poll(&mut all, PollTimeout::from(TICK)) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
            let [quit, outward, inward] = all.map(|one| one.any() == Some(true));
            if quit {
                return Ok(());
            }
            let now = boottime::now();
            if inward {
                self.inward(now);
            }
            if outward {
                self.outward(now)?;
            }
            if ticked.is_none_or(|ticked| now >= ticked + u64::from(TICK)) {
                ticked = Some(now);
                self.peer.tick(now, &mut self.say);
            }
            self.speak();
            self.tell(now);
        }
    }

    /// From the device to the wire.
    fn outward(&mut self, now: u64) -> Result<()> {
        for _ in 0..BATCH {
            let len = match self.device.read(&mut self.buffer[HEAD_ROOM..HEAD_ROOM + LONGEST]) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context(format!("{} is gone", self.name)),
            };
            let Ok(mut packet) = Packet::new(&mut self.buffer, HEAD_ROOM..HEAD_ROOM + len) else {
                continue;
            };
            let Ok(outline) = Outline::parse(packet.bytes()) else { continue };
            let class = traffic_class(packet.bytes()).map_or(0, ecn::outer);
            if self.peer.seal(&mut packet, &outline, now).is_err() {
                continue;
            }
            let sent = sys::send(&self.wire, self.to.is_ipv6(), class, packet.bytes());
            if sent.is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE)) {
                self.refit();
            }
        }
        Ok(())
    }

    /// From the wire to the device.
    fn inward(&mut self, now: u64) {
        for _ in 0..BATCH {
            let room = &mut self.buffer[HEAD_ROOM..HEAD_ROOM + LONGEST];
            let (len, class) = match sys::receive(&self.wire, room) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The path or the other end said something about an earlier packet.
                Err(_) => {
                    self.refit();
                    continue;
                }
            };
            let Ok(mut packet) = Packet::new(&mut self.buffer, HEAD_ROOM..HEAD_ROOM + len) else {
                continue;
            };
            if !self.udp && !self.to.is_ipv6() {
                // A raw socket of IPv4 shows the header.
                let header =
                    v4::Header::new_checked(packet.bytes()).map(|header| header.header_len());
                if header.is_ok_and(|len| packet.pull_front(len).is_err()) || header.is_err() {
                    continue;
                }
            }
            if self.udp && udp::Kind::of(packet.bytes()) != udp::Kind::Esp {
                continue;
            }
            let Ok(Some(_)) = self.peer.hear(&mut packet, now, &mut self.say) else { continue };
            if let Ok(own) = traffic_class(packet.bytes())
                && let Ok(class) = ecn::inner(own, class)
                && (class == own || set_traffic_class(packet.bytes_mut(), class).is_ok())
            {
                // A device that is down, or full, drops.
                let _ = self.device.write(packet.bytes());
            }
        }
    }

    fn speak(&mut self) {
        for esp in self.say.drain(..) {
            // What is lost is said again.
            let _ = sys::send(&self.wire, self.to.is_ipv6(), CONTROL, &esp);
        }
    }

    /// Says how it is, when that has changed.
    fn tell(&mut self, now: u64) {
        let (name, to) = (&self.name, self.to);
        let state = match (self.peer.is_up(), self.peer.is_silent(now)) {
            (false, _) => State::Down,
            (true, true) => State::Silent,
            (true, false) => State::Up,
        };
        match (self.said, state) {
            (State::Silent, State::Up) => log::info!("{name}: {to} is heard again"),
            (State::Down, State::Up) => log::info!("{name}: {} {to}", self.peer.up()),
            (State::Down | State::Up, State::Silent) => {
                log::warn!("{name}: nothing comes from {to}");
            }
            (State::Down | State::Silent, State::Down)
            | (State::Up, State::Up | State::Down)
            | (State::Silent, State::Silent) => {}
        }
        self.said = state;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Up,
    Silent,
}
