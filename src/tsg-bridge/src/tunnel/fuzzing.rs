//! A door for the fuzzers (tests/fuzz), and in no other build.

use super::Key;
use super::agreement::{Agreement, Heard};
use super::hello::{Able, Hello};
use super::peer::Peer;
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};

/// ESP as it came in, and the same bytes as a hello under the right key.
pub fn hear(bytes: &[u8]) {
    let mut room = [vec![0; HEAD_ROOM], bytes.to_vec(), vec![0; TAIL_ROOM]].concat();
    let mut say = Vec::new();
    if let Ok(mut packet) = Packet::new(&mut room, HEAD_ROOM..HEAD_ROOM + bytes.len()) {
        let peer = Peer::new(Key::generate(), Able::alone(false));
        let heard = peer.turn(0, 0).hear(&mut packet, &mut say);
        assert!(heard.is_err() && say.is_empty(), "nobody has this key");
    }
    let Some(hello) = Hello::parse(bytes) else { return };
    let mut agreement = Agreement::new(Key::generate(), Able::alone(false));
    match agreement.hear(&hello) {
        Heard::Answer(answer) => assert_eq!(answer.heard, Some(hello.own)),
        Heard::Own | Heard::Again | Heard::Agreed(..) => panic!("nobody has heard this half"),
    }
    // As one that has heard the half that is offered.
    let hello = Hello { heard: Some(agreement.offer().own), ..hello };
    let heard = agreement.hear(&hello);
    assert!(
        matches!(heard, Heard::Agreed(..) | Heard::Own),
        "it is agreed, or a half that nobody honest has"
    );
}
