//! What an epoch's TEK leaves in the gateway's memory, from the key server's frame to the view of the
//! data path and the file of the next process: nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use traces::Traces;
use tsg_bridge::pipeline::EpochView;
use tsg_control::gateway::{Gateway, Identity, Saved};
use tsg_control::group::{Carriage, Settings};
use tsg_control::keys::make_tek;
use tsg_control::message::*;
use tsg_control::timeline::Stage;
use tsg_esp::crypto::Suite;
use tsg_sodium::wipe_stack;
use zeroize::Zeroizing;

/// The frame that answers this request, and what to look for.
fn frame(request: u64) -> (Zeroizing<Vec<u8>>, Traces) {
    let tek = make_tek(|bytes| tsg_sodium::random(bytes));
    let traces = Traces::of(tek.expose());
    let keys = EpochKeys {
        tek: TekField(tek),
        suite: Suite::ChaCha20Poly1305,
        carriage: Carriage::Protocol(253),
        clock: 1,
        origin: 0,
        ends: 1_000_000,
        senders: vec![1, 2],
        highest_sender: 256,
    };
    let epoch = Epoch { id: 1, stage: Stage::Active, revokes: false, keys: Some(keys) };
    let state = State {
        request,
        instance: 1,
        revision: 1,
        time: Reading { clock: 1, now: 1_000 },
        group: "plant".to_owned(),
        name: "gwa".to_owned(),
        epochs: vec![epoch],
        policies: Vec::new(),
        settings: GroupSettings::from(&Settings::default()),
    };
    (ToGateway::State(Box::new(state)).frame(), traces)
}

fn gateway() -> Gateway {
    let identity = Identity {
        name: "gwa".to_owned(),
        version: String::new(),
        aes: false,
        senders: 2,
        kept: 0,
        token: None,
    };
    Gateway::new(identity, 7, 0)
}

/// Not inlined: what is in its frame is to be below the caller's.
#[inline(never)]
fn take_over() -> (Gateway, Gateway, Vec<EpochView>, Traces) {
    let mut first = gateway();
    first.handle_timeout(0);
    let Some(ToServer::Register(register)) = first.poll_transmit() else {
        panic!("it asks nothing")
    };
    let (frame, traces) = frame(register.request);
    first.handle_heard(from_server(&frame).unwrap(), 100);
    let views: Vec<_> = first.keys(100).into_iter().filter_map(EpochView::new).collect();
    assert_eq!(views.len(), 1);
    let file = encode(&first.save().unwrap());
    let mut second = gateway();
    second.restore(decode::<Saved>(&file, MAX_FRAME).unwrap(), 200);
    assert_eq!(second.keys(200).len(), 1);
    (first, second, views, traces)
}

#[test]
fn a_tek_is_in_one_place_of_a_process_and_then_in_none() {
    tsg_sodium::init().unwrap();
    let (first, second, views, traces) = take_over();
    wipe_stack();
    assert_eq!(traces.count(), 8, "one place for each of two processes");
    drop(second);
    assert_eq!(traces.count(), 4);
    drop((first, views));
    assert_eq!(traces.count(), 0);
}
