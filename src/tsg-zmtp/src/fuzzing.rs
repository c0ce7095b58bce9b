//! For the fuzz targets: an end that hears what they make up, from anybody or from the other end itself.
#![allow(clippy::expect_used, reason = "for tests")]

use tsg_sodium::public_key;

use crate::Keys;
use crate::client::Client;
use crate::peer::Peer;
use crate::server::{Server, Socket};

/// A client: the first byte says how far the handshake has gone; what follows is heard as it is, or, if the byte is 3 or
/// more, as what the server has sealed: metadata first, then messages, each with its length and flags in front.
pub fn hear(bytes: &[u8]) {
    tsg_sodium::init().expect("libsodium");
    let Some((&stage, bytes)) = bytes.split_first() else { return };
    let (server, public) = (public_key(&[1; 32]), public_key(&[2; 32]));
    let keys = Keys { server: &server, public: &public, secret: &[2; 32] };
    let mut connection = Client::begin(&keys, 4_096).expect("a sound key");
    let drain = |connection: &mut Client| {
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
        assert!(drain(&mut connection).len() <= 64, "no more than one answer waits");
        (rest, first) = (after, false);
    }
}

/// A server, a PUB if the first byte is odd: the second says how far the handshake has gone; what follows is heard as it is, or, if
/// that is 2 or more, as what the client has sealed: messages, each with its length and flags in front.
pub fn accept(bytes: &[u8]) {
    tsg_sodium::init().expect("libsodium");
    let Some((&[odd, stage], mut rest)) = bytes.split_first_chunk() else { return };
    let socket = if odd % 2 == 1 { Socket::Pub } else { Socket::Router };
    let (public, others) = (public_key(&[1; 32]), public_key(&[2; 32]));
    let keys = Keys { server: &public, public: &public, secret: &[1; 32] };
    let theirs = Keys { server: &public, public: &others, secret: &[2; 32] };
    let mut server = Server::begin(Socket::Router, 4_096);
    let mut client = Client::begin(&theirs, 4_096).expect("a sound key");
    let drain = |server: &mut Server| while let Ok(Some(_)) = server.next(&keys) {};
    if stage == 0 {
        server.hear(rest);
        drain(&mut server);
        assert!(!server.is_open(), "opened by a stranger");
        return;
    }
    // Greeting and HELLO; the rest is INITIATE.
    client.hear(server.output());
    let _ = client.next(&theirs);
    server.hear(client.output());
    client.written(client.output().len());
    server.written(server.output().len());
    drain(&mut server);
    if stage == 1 {
        server.hear(rest);
        drain(&mut server);
        server.admit();
        assert!(!server.is_open(), "opened by a stranger");
        return;
    }
    client.hear(server.output());
    server.written(server.output().len());
    let _ = client.next(&theirs);
    server.hear(client.output());
    client.written(client.output().len());
    assert!(matches!(server.next(&keys), Ok(Some(_))), "who asks is heard");
    server.admit();
    client.hear(server.output());
    server.written(server.output().len());
    let _ = client.next(&theirs);
    server.serve(socket);
    while let Some((&[length, flags], after)) = rest.split_first_chunk() {
        let (part, after) = after.split_at(usize::from(length).min(after.len()));
        client.put(flags, part);
        server.hear(client.output());
        client.written(client.output().len());
        drain(&mut server);
        assert!(server.output().len() <= 64, "no more than one answer waits");
        // At times the client does not read.
        if length % 2 == 0 {
            server.written(server.output().len());
        }
        rest = after;
    }
}
