//! The server's end, as far as tests need one that says what libzmq never would.
#![allow(clippy::expect_used, reason = "for tests")]

use tsg_sodium::{BOX_OVERHEAD, SharedKey, public_key};

use zeroize::Zeroizing;

use crate::curve::{MESSAGE, READY, WELCOME, long_nonce, nonce};
use crate::frame::write_head;

/// A server that does not look at what it is told, but for the client's key of the connection.
pub(crate) struct Peer {
    secret: [u8; 32],
    transient: [u8; 32],
    client: [u8; 32],
    /// That of what is said next.
    pub(crate) number: u64,
}

impl Peer {
    /// The server with this secret key, when the client has said what is in `said`: greeting and HELLO.
    pub(crate) fn hearing(secret: [u8; 32], said: &[u8]) -> Self {
        let hello = &said[64 + 2..];
        let client = hello[80..112].try_into().expect("a key");
        Self { secret, transient: [77; 32], client, number: 1 }
    }

    pub(crate) fn greeting() -> Vec<u8> {
        let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
        greeting.extend(b"CURVE");
        greeting.resize(32, 0);
        greeting.push(1);
        greeting.resize(64, 0);
        greeting
    }

    pub(crate) fn welcome(&self) -> Vec<u8> {
        let mut command = [WELCOME, &[5; 16], &[0; BOX_OVERHEAD]].concat();
        command.extend(public_key(&self.transient));
        command.extend([6; 96]);
        let key = SharedKey::agree(&self.client, &self.secret).expect("a sound key");
        key.seal(&long_nonce(b"WELCOME-", &[5; 16]), &mut command[24..]);
        framed(true, &command)
    }

    pub(crate) fn ready(&mut self, metadata: &[u8]) -> Vec<u8> {
        let command = self.boxed(READY, b"CurveZMQREADY---", metadata);
        framed(true, &command)
    }

    pub(crate) fn message(&mut self, flags: u8, bytes: &[u8]) -> Vec<u8> {
        let plain = Zeroizing::new([&[flags][..], bytes].concat());
        let command = self.boxed(MESSAGE, b"CurveZMQMESSAGES", &plain);
        framed(false, &command)
    }

    /// What the client's first message says, with its flags.
    #[cfg(test)]
    pub(crate) fn open(&self, frame: &[u8]) -> (u8, Vec<u8>) {
        let head = if frame[0] & 2 == 0 { 2 } else { 9 };
        let mut command = frame[head..].to_vec();
        let number = u64::from_be_bytes(command[8..16].try_into().expect("a number"));
        let opened = self.key().open(&nonce(b"CurveZMQMESSAGEC", number), &mut command[16..]);
        let opened = opened.expect("sealed for this server");
        (opened[0], opened[1..].to_vec())
    }

    fn boxed(&mut self, name: &[u8], prefix: &[u8; 16], plain: &[u8]) -> Vec<u8> {
        // Grown at once: nothing that was in it stays behind.
        let mut command = Vec::with_capacity(64 + plain.len());
        command.extend(name);
        command.extend(self.number.to_be_bytes());
        let at = command.len();
        command.extend([0; BOX_OVERHEAD]);
        command.extend(plain);
        self.key().seal(&nonce(prefix, self.number), &mut command[at..]);
        self.number += 1;
        command
    }

    fn key(&self) -> SharedKey {
        SharedKey::agree(&self.client, &self.transient).expect("a sound key")
    }
}

pub(crate) fn framed(is_command: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_head(&mut frame, is_command, bytes.len());
    frame.extend(bytes);
    frame
}
