//! What targets share: for packets forms, a buffer, and a cipher that lets everything through, so
//! that the code behind the authentication is reached too; for the control link a gateway; for rules and
//! gate a plan.

pub mod ebpf;

use std::path::{Path, PathBuf};
use tsg_bridge::rules::Plan;
use tsg_control::gateway::{Gateway, Identity};
use tsg_control::group::{Carriage, Fail, Mode, NonIp};
use tsg_control::message::PolicyVersion;
use tsg_control::policy::{Action, Policy};
use tsg_control::server::Random;
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

/// Random numbers that are not.
pub struct Counting(pub u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// A folder of this process.
pub struct Folder(PathBuf);

impl Folder {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tsg-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The plan that an input begins with, and the rest: a byte of settings, then a policy as it lies on flash or rules
/// as somebody types them, one a line and the gateway's own behind a `+`, up to a zero.
pub fn plan_and_rest(input: &[u8]) -> Option<(Plan, &[u8])> {
    let (&settings, input) = input.split_first()?;
    let end = input.iter().position(|byte| *byte == 0)?;
    let text = core::str::from_utf8(&input[..end]).ok()?;
    let bit = |at: u8| settings >> at & 1 == 1;
    let mut plan = Plan::unknown(if bit(0) { Fail::Open } else { Fail::Closed });
    plan.mode = [Mode::Enforce, Mode::Migrate, Mode::ReceiveOnly, Mode::Learn]
        [usize::from(settings >> 1 & 3)];
    plan.servers =
        vec![([192, 0, 2, 10], 5555).into(), ([0xfd00, 0, 0, 0, 0, 0, 0, 10], 5555).into()];
    if bit(3) {
        plan.carriages = vec![Carriage::Udp(4253), Carriage::Protocol(50)];
    }
    if let Ok(version) = serde_json::from_str::<PolicyVersion>(text) {
        (plan.mode, plan.fail, plan.non_ip) = (version.mode, version.fail, version.non_ip);
        plan.policies = vec![version.policy];
    } else {
        plan.non_ip = if bit(4) { NonIp::Only(vec![0x8892]) } else { NonIp::Drop };
        let (own, group): (Vec<_>, _) = text.lines().partition(|line| line.starts_with('+'));
        let rules = |lines: Vec<&str>| {
            lines.iter().filter_map(|line| line.trim_start_matches('+').parse().ok()).collect()
        };
        plan.local = Policy::new(rules(own));
        plan.policies = vec![Policy::new(rules(group))];
    }
    if bit(5) {
        plan.policies.push(Policy { default_action: Action::Drop, ..Policy::new(Vec::new()) });
    }
    let good = plan.policies.iter().chain([&plan.local]).all(|policy| policy.check().is_ok());
    good.then_some((plan, &input[end + 1..]))
}
