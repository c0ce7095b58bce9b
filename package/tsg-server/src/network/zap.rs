//! The ZAP handler (ZeroMQ RFC 27): asked about every connection before its first message.
//!
//! It proves nothing itself, CURVE has done that; it says which keys are not welcome, and writes
//! the key into every message of the connection as `User-Id`.

use super::room::Room;
use super::roster::{Roster, Standing};
use anyhow::{Context as _, Result};
use std::thread::{self, JoinHandle};
use tsg_control::keys::PublicKey;

/// The domain of the ROUTER: all but the revoked may connect, strangers to ask to be let in.
pub(super) const GATEWAYS: &str = "gateways";

/// The domain of the PUB: members only.
pub(super) const ANNOUNCEMENTS: &str = "announcements";

/// Where libzmq looks for the handler.
const ENDPOINT: &str = "inproc://zeromq.zap.01";

/// The running handler.
pub(super) struct Handler {
    context: zmq::Context,
    thread: JoinHandle<()>,
}

impl Handler {
    /// Starts to answer; must come before any socket is bound.
    pub(super) fn start(context: &zmq::Context, roster: Roster, room: Room) -> Result<Self> {
        let socket = context.socket(zmq::REP).context("cannot make the ZAP socket")?;
        socket.set_linger(0)?;
        socket.bind(ENDPOINT).context("cannot bind the ZAP socket")?;
        let thread = thread::Builder::new()
            .name("zap".to_owned())
            .spawn(move || answer_all(&socket, &roster, &room))
            .context("cannot start the ZAP thread")?;
        Ok(Self { context: context.clone(), thread })
    }

    /// It answers no more: then nobody can connect.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it, once the other sockets are closed.
    pub(super) fn end(mut self) {
        // Its receive fails, it closes its socket, and then the context can end.
        let _ = self.context.destroy();
        let _ = self.thread.join();
    }
}

fn answer_all(socket: &zmq::Socket, roster: &Roster, room: &Room) {
    loop {
        let answered = socket.recv_multipart(0).and_then(|request| {
            let reply = answer(&request, roster, room);
            socket.send_multipart(reply, 0)
        });
        match answered {
            Ok(()) | Err(zmq::Error::EINTR) => {}
            Err(zmq::Error::ETERM) => return,
            Err(error) => {
                log::error!("the ZAP handler failed: {error}");
                return;
            }
        }
    }
}

/// Version, request id, domain, address, routing id, mechanism, key.
///
/// A key that is not welcome now may be later: 300, "try again". After a 400 libzmq would not connect
/// again, and a gateway that is let in once more would not come until it is restarted.
pub(super) fn answer(request: &[Vec<u8>], roster: &Roster, room: &Room) -> [Vec<u8>; 6] {
    let id = request.get(1).cloned().unwrap_or_default();
    let reply = |code: &str, text: &str, user: String| {
        [b"1.0".to_vec(), id.clone(), code.into(), text.into(), user.into_bytes(), Vec::new()]
    };
    let refused = |text: &str| reply("400", text, String::new());
    let [_, _, domain, address, _, mechanism, key] = request else {
        return refused("not a request for CURVE");
    };
    let Ok(key) = <[u8; 32]>::try_from(key.as_slice()).map(PublicKey) else {
        return refused("no key");
    };
    if mechanism != b"CURVE" {
        return refused("only CURVE");
    }
    let standing = roster.standing(&key);
    let welcome = match domain.as_slice() {
        d if d == GATEWAYS.as_bytes() => match standing {
            Standing::Member => true,
            Standing::Stranger => room.take(),
            Standing::Revoked => false,
        },
        d if d == ANNOUNCEMENTS.as_bytes() => standing == Standing::Member,
        _ => return refused("no such domain"),
    };
    log::debug!(
        "{} from {}: {standing:?}, {}",
        key.fingerprint(),
        String::from_utf8_lossy(address),
        if welcome { "may connect" } else { "refused" }
    );
    match welcome {
        true => reply("200", "OK", key.to_string()),
        false => reply("300", "this key is not welcome now", String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::server::{GatewayRecord, Record};

    fn room() -> Room {
        Room::open(1_000, 0)
    }

    fn ask(roster: &Roster, domain: &str, mechanism: &str, key: &[u8]) -> (String, String) {
        let request: Vec<Vec<u8>> = [b"1.0", &b"7"[..], domain.as_bytes(), b"192.0.2.7", b""]
            .iter()
            .copied()
            .chain([mechanism.as_bytes(), key])
            .map(<[u8]>::to_vec)
            .collect();
        let reply = answer(&request, roster, &room());
        assert_eq!(reply[0], b"1.0");
        assert_eq!(reply[1], b"7");
        let text = |at: usize| String::from_utf8(reply[at].clone()).unwrap();
        (text(2), text(4))
    }

    /// The record of a gateway with this key.
    fn approved(key: [u8; 32]) -> GatewayRecord {
        GatewayRecord {
            key: PublicKey(key),
            name: "a".to_owned(),
            group: "g".to_owned(),
            revoked: None,
            approved: 0,
            aes: false,
            machines: Vec::new(),
            pinned: Vec::new(),
            tags: Vec::new(),
        }
    }

    #[test]
    fn strangers_may_ask_and_the_revoked_may_not() {
        let roster = Roster::default();
        let mut gateway = approved([1; 32]);
        let id = gateway.key.to_string();
        let no = ("300".to_owned(), String::new());
        let yes = ("200".to_owned(), id);
        let key = [1; 32];
        assert_eq!(ask(&roster, GATEWAYS, "CURVE", &key), yes);
        assert_eq!(ask(&roster, ANNOUNCEMENTS, "CURVE", &key), no);
        roster.note(&Record::Gateway(gateway.clone()));
        assert_eq!(ask(&roster, ANNOUNCEMENTS, "CURVE", &key), yes);
        gateway.revoked = Some("lost".to_owned());
        roster.note(&Record::Gateway(gateway.clone()));
        assert_eq!(ask(&roster, GATEWAYS, "CURVE", &key), no);
        roster.note(&Record::GatewayGone(gateway.key));
        assert_eq!(ask(&roster, GATEWAYS, "CURVE", &key), yes);
    }

    #[test]
    fn anything_else_is_refused() {
        let roster = Roster::default();
        for (domain, mechanism, key) in [
            ("", "CURVE", &[1; 32][..]),
            (GATEWAYS, "NULL", &[1; 32][..]),
            (GATEWAYS, "PLAIN", b"user"),
            (GATEWAYS, "CURVE", &[1; 31][..]),
        ] {
            assert_eq!(ask(&roster, domain, mechanism, key).0, "400");
        }
        assert_eq!(answer(&[], &roster, &room())[2], b"400");
    }

    #[test]
    fn without_room_strangers_wait_and_members_do_not() {
        let request: Vec<Vec<u8>> = [b"1.0", &b"7"[..], GATEWAYS.as_bytes(), b"192.0.2.7", b""]
            .iter()
            .copied()
            .chain([&b"CURVE"[..], &[1; 32]])
            .map(<[u8]>::to_vec)
            .collect();
        let (roster, room) = (Roster::default(), Room::default());
        assert_eq!(answer(&request, &roster, &room)[2], b"300");
        roster.note(&Record::Gateway(approved([1; 32])));
        assert_eq!(answer(&request, &roster, &room)[2], b"200");
    }

    #[test]
    fn its_end_is_noticed() {
        let context = zmq::Context::new();
        let handler = Handler::start(&context, Roster::default(), room()).unwrap();
        assert!(!handler.has_ended());
        context.clone().destroy().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !handler.has_ended() {
            assert!(std::time::Instant::now() < deadline);
            thread::yield_now();
        }
    }
}
