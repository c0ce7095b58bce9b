//! For the fuzz targets: a connection that hears what they make up, from anybody or from the server itself.
#![allow(clippy::expect_used, reason = "for tests")]

use tsg_sodium::public_key;

use crate::peer::Peer;
use crate::{Connection, Keys};

/// The first byte says how far the handshake has gone; what follows is heard as it is, or, if the byte is 3 or
/// more, as what the server has sealed: metadata first, then messages, each with its length and flags in front.
pub fn hear(bytes: &[u8]) {
    tsg_sodium::init().expect("libsodium");
    let Some((&stage, bytes)) = bytes.split_first() else { return };
    let (server, public) = (public_key(&[1; 32]), public_key(&[2; 32]));
    let keys = Keys { server: &server, public: &public, secret: &[2; 32] };
    let mut connection = Connection::begin(&keys, 4_096).expect("a sound key");
    let drain = |connection: &mut Connection| {
        while let Ok(Some(_)) = connection.next(&keys) {}
        let said = connection.output().to_vec();
        connection.written(said.len());
        said
    };
    if stage == 0 {
        connection.hear(bytes);
        drain(&mut connection);
        return;
    }
    connection.hear(&Peer::greeting());
    let mut peer = Peer::hearing([1; 32], &drain(&mut connection));
    if stage > 1 {
        connection.hear(&peer.welcome());
        drain(&mut connection);
    }
    if stage < 3 {
        connection.hear(bytes);
        drain(&mut connection);
        assert!(!connection.is_open(), "opened by a stranger");
        return;
    }
    let mut rest = bytes;
    let mut first = true;
    while let Some((&[length, flags], after)) = rest.split_first_chunk() {
        let (part, after) = after.split_at(usize::from(length).min(after.len()));
        let said = if first { peer.ready(part) } else { peer.message(flags, part) };
        connection.hear(&said);
        assert!(drain(&mut connection).len() <= 200, "an answer is short");
        (rest, first) = (after, false);
    }
}
