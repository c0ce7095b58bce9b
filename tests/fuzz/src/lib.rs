//! What targets share: for packets forms, a buffer, and a cipher that lets everything through, so
//! that the code behind the authentication is reached too; for the control link a gateway.

use tsg_control::gateway::{Gateway, Identity};
use tsg_esp::buffer::{HEAD_ROOM, Packet, TAIL_ROOM};
use tsg_esp::crypto::{Cipher, ICV_LEN, Unauthentic};
use tsg_esp::form::{Aad, Encap, Form};
use tsg_esp::open::Receiver;
use tsg_esp::seal::Sender;
use tsg_esp::spi::Spi;

/// Every form.
pub const FORMS: [Form; 4] = [
    Form::TRANSPARENT,
    Form { encap: Encap::Udp { port: 4253 }, aad: Aad::WithAddresses },
    Form { encap: Encap::Protocol(50), aad: Aad::Rfc4303 },
    Form { encap: Encap::Udp { port: 4500 }, aad: Aad::Rfc4303 },
];

/// Does nothing, and finds everything authentic.
pub struct Clear;

impl Cipher for Clear {
    fn seal(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) -> [u8; ICV_LEN] {
        [0; ICV_LEN]
    }

    fn open(
        &self,
        _: &[u8; 12],
        _: &[u8],
        _: &mut [u8],
        _: &[u8; ICV_LEN],
    ) -> Result<(), Unauthentic> {
        Ok(())
    }
}

/// A sender of the first epoch that never runs out.
pub fn sender() -> Sender<Clear> {
    Sender::new(spi(), Clear, [0; 4], 1, u64::MAX)
}

/// Its receiver.
pub fn receiver() -> Receiver<Clear> {
    Receiver::new(spi(), Clear, [0; 4])
}

fn spi() -> Spi {
    Spi::new(1, 1).expect("sender 1 of epoch 1 is allowed")
}

/// A copy of a packet with the room that sealing needs.
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// The copy.
    pub fn of(packet: &[u8]) -> Self {
        let mut bytes = vec![0; HEAD_ROOM];
        bytes.extend_from_slice(packet);
        bytes.resize(bytes.len() + TAIL_ROOM, 0);
        Self(bytes)
    }

    /// The packet in it.
    pub fn packet(&mut self) -> Packet<'_> {
        let end = self.0.len() - TAIL_ROOM;
        Packet::new(&mut self.0, HEAD_ROOM..end).expect("the range is inside")
    }
}

/// The form that the first byte of an input chooses, and the rest.
pub fn form_and_rest(input: &[u8]) -> Option<(&'static Form, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((&FORMS[usize::from(*first) % FORMS.len()], rest))
}

/// A gateway that has just started, at its millisecond 1,000.
pub fn gateway() -> Gateway {
    let identity = Identity {
        name: "press".to_owned(),
        version: "0.1.0".to_owned(),
        aes: true,
        senders: 2,
        kept: 0,
        token: None,
    };
    Gateway::new(identity, 1, 1_000)
}
