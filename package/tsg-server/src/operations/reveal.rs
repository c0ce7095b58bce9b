//! The keys of a group, for an operator who looks into packets: with a reason, over root's socket
//! only, and with a line in the audit trail (DESIGN section 5).

use super::{Answer, Desk, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use tsg_control::keys::key_text;
use tsg_control::server::RevealedEpoch;
use tsg_esp::crypto::{Kdf as _, Spi};
use tsg_sodium::Sodium;
use zeroize::Zeroizing;

/// Keys of more senders in one epoch are not listed unless asked for.
const MOST_SENDERS: u32 = 1_024;

/// The keys of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealedGroup {
    /// The epochs that live and that this server process made, oldest first.
    pub epochs: Vec<RevealedKey>,
}

/// The keys of one epoch.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealedKey {
    /// Number of the epoch.
    pub id: u64,
    /// Its TEK in base64.
    pub tek: Zeroizing<String>,
    /// Its cipher, `chacha20-poly1305` or `aes-256-gcm`.
    pub cipher: String,
    /// Sender numbers 1 to this were handed out.
    pub last_sender: u32,
    /// What was derived from the TEK for senders.
    pub senders: Vec<RevealedSender>,
}

/// The key of one sender in one epoch.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealedSender {
    /// Its SPI, `0x01000001`.
    pub spi: String,
    /// The cipher's key, hexadecimal.
    pub key: Zeroizing<String>,
    /// The first four bytes of every nonce, hexadecimal.
    pub salt: Zeroizing<String>,
}

impl std::fmt::Debug for RevealedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "epoch {} <secret>", self.id)
    }
}

impl std::fmt::Debug for RevealedSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} <secret>", self.spi)
    }
}

pub(super) fn reveal(
    desk: &Desk<'_>,
    group: &str,
    reveal: bool,
    senders: Option<(u32, u32)>,
) -> Result<Answer, Refusal> {
    if !reveal {
        return Err(Refusal::new(
            RefusalKind::Forbidden,
            "these keys open everything that the group sends: repeat with --reveal if you mean \
             it; the audit trail will show that you did",
        ));
    }
    let (first, last) = senders.unwrap_or((1, MOST_SENDERS));
    if first == 0 || first > last || last - first >= MOST_SENDERS {
        return Err(Refusal::new(
            RefusalKind::Invalid,
            format!("senders count from 1, and at most {MOST_SENDERS} are shown at once"),
        ));
    }
    let epochs = desk.server.reveal(group)?;
    let epochs = epochs.iter().map(|epoch| revealed(epoch, first, last)).collect();
    Ok(Answer::Keys(RevealedGroup { epochs }))
}

fn revealed(epoch: &RevealedEpoch, first: u32, last: u32) -> RevealedKey {
    let numbers = first..=last.min(epoch.last_sender);
    let spis = numbers.filter_map(|number| Spi::new(epoch.id, number));
    RevealedKey {
        id: epoch.id,
        tek: Zeroizing::new(key_text(epoch.tek.expose())),
        cipher: epoch.suite.as_str().to_owned(),
        last_sender: epoch.last_sender,
        senders: spis.map(|spi| sender(epoch, spi)).collect(),
    }
}

fn sender(epoch: &RevealedEpoch, spi: Spi) -> RevealedSender {
    let derived = Sodium::derive(&epoch.tek, spi);
    RevealedSender { spi: spi.to_string(), key: hex(&derived.key), salt: hex(&derived.salt) }
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
