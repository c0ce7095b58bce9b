//! Keys as lines of tshark's `esp_sa` table (Wireshark's preference "ESP SAs"): protocol, source,
//! destination, SPI, cipher, key, authentication, its key.
//!
//! tshark takes key and salt as one value. It reports the ICV as wrong where our AAD has addresses,
//! and does not know ChaCha20-Poly1305 in ESP.

use crate::operations::{RevealedGroup, RevealedKey};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Everything that `group keys` shows without --json.
pub(super) fn text(group: &RevealedGroup) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    if group.epochs.is_empty() {
        text.push_str("no epoch that this server process made lives\n");
    }
    for epoch in &group.epochs {
        let _ = writeln!(
            text,
            "# epoch {}, {}, sender numbers 1 to {}\n# TEK {}",
            epoch.id, epoch.cipher, epoch.last_sender, *epoch.tek
        );
        senders(&mut text, epoch);
        let shown = epoch.senders.len() as u64;
        if shown < u64::from(epoch.last_sender) {
            let _ = writeln!(text, "# {shown} senders are shown: see --senders");
        }
    }
    text
}

fn senders(text: &mut String, epoch: &RevealedKey) {
    let known = epoch.cipher == "aes-256-gcm";
    if !known {
        text.push_str("# tshark knows no ChaCha20-Poly1305 in ESP; for the record:\n");
    }
    for sender in &epoch.senders {
        for version in ["IPv4", "IPv6"].iter().take(if known { 2 } else { 1 }) {
            let _ = match known {
                true => writeln!(
                    text,
                    "\"{version}\",\"*\",\"*\",\"{}\",\"AES-GCM [RFC4106]\",\"0x{}{}\",\
                     \"ANY 128 bit authentication [no checking]\",\"\"",
                    sender.spi, *sender.key, *sender.salt
                ),
                false => {
                    writeln!(text, "# {} key 0x{} salt 0x{}", sender.spi, *sender.key, *sender.salt)
                }
            };
        }
    }
}
