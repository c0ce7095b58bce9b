//! The server's half, one question at a time: who gets in, who gets which sender numbers, what it
//! makes of hostile gateways.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod admission;
mod epochs;
mod hostile;
mod listed;
mod machines;
mod orders;
mod tokens;

use tsg_control::keys::{PublicKey, tek_check};
use tsg_control::message::{Heartbeat, Held, Refused, Register, State, ToGateway, ToServer};
use tsg_control::server::{Random, Record, Server, Stored};

pub(crate) const NOW: u64 = 1_700_000_000_000;

pub(crate) struct Counting(pub(crate) u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

pub(crate) fn key(number: u16) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey(bytes)
}

pub(crate) fn server() -> Server {
    let mut server = Server::new(Stored::default(), Box::new(Counting(0)), NOW);
    server.add_group("plant", NOW).unwrap();
    server
}

pub(crate) fn registration(process: u64) -> Register {
    Register {
        request: 77,
        process,
        name: "press".to_owned(),
        version: "0.1.0".to_owned(),
        token: None,
        aes: true,
        senders: 2,
        holds: Vec::new(),
    }
}

pub(crate) fn say(
    server: &mut Server,
    from: PublicKey,
    message: ToServer,
    now: u64,
) -> Vec<ToGateway> {
    server.handle_message(from, message, now);
    said(server).into_iter().filter(|(to, _)| *to == from).map(|(_, message)| message).collect()
}

pub(crate) fn said(server: &mut Server) -> Vec<(PublicKey, ToGateway)> {
    std::iter::from_fn(|| server.poll_transmit()).collect()
}

pub(crate) fn register(server: &mut Server, from: PublicKey, process: u64, now: u64) -> State {
    state(say(server, from, ToServer::Register(registration(process)), now))
}

pub(crate) fn state(messages: Vec<ToGateway>) -> State {
    last_state(messages).expect("a state")
}

pub(crate) fn last_state(messages: Vec<ToGateway>) -> Option<State> {
    messages.into_iter().rev().find_map(|message| match message {
        ToGateway::State(state) => Some(*state),
        ToGateway::Pending(_)
        | ToGateway::Refused(_)
        | ToGateway::Unknown(_)
        | ToGateway::Pulse(_)
        | ToGateway::Map(_)
        | ToGateway::Command(_) => None,
    })
}

pub(crate) fn refused(messages: &[ToGateway]) -> &Refused {
    let refused = messages.iter().find_map(|message| match message {
        ToGateway::Refused(refused) => Some(refused),
        ToGateway::Pending(_)
        | ToGateway::Unknown(_)
        | ToGateway::Pulse(_)
        | ToGateway::State(_)
        | ToGateway::Map(_)
        | ToGateway::Command(_) => None,
    });
    refused.expect("a refusal")
}

pub(crate) fn held(state: &State, left: u8) -> Vec<Held> {
    let held = state.epochs.iter().filter_map(|epoch| {
        let check = tek_check(&epoch.keys.as_ref()?.tek.0);
        Some(Held { epoch: epoch.id, check, senders: left })
    });
    held.collect()
}

pub(crate) fn beat(process: u64, state: &State, left: u8) -> ToServer {
    ToServer::Heartbeat(Heartbeat {
        request: 5,
        process,
        instance: state.instance,
        revision: state.revision,
        holds: held(state, left),
        ..Heartbeat::default()
    })
}

pub(crate) fn senders(state: &State) -> Vec<u32> {
    state.epochs.last().unwrap().keys.as_ref().unwrap().senders.clone()
}

/// What is on disk after these records.
pub(crate) fn stored(records: impl Iterator<Item = Record>) -> Stored {
    let mut stored = Stored::default();
    for record in records {
        match record {
            Record::Gateway(new) => {
                stored.gateways.retain(|old| old.key != new.key);
                stored.gateways.push(new);
            }
            Record::Group(new) => {
                stored.groups.retain(|old| old.name != new.name);
                stored.groups.push(new);
            }
            Record::Token(new) => {
                stored.tokens.retain(|old| old.id != new.id);
                stored.tokens.push(new);
            }
            Record::GatewayGone(key) => stored.gateways.retain(|old| old.key != key),
            Record::GroupGone(name) => stored.groups.retain(|old| old.name != name),
            Record::TokenGone(id) => stored.tokens.retain(|old| old.id != id),
        }
    }
    stored
}
