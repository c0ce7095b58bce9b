//! Keys as lines of tshark's `esp_sa` table (Wireshark's preference "ESP SAs"): protocol, source,
//! destination, SPI, cipher, key, authentication, its key.
//!
//! tshark takes key and salt as one value. It reports the ICV as wrong where our AAD has addresses,
//! and does not know ChaCha20-Poly1305 in ESP.

use crate::operations::{RevealedGroup, RevealedKey};
use std::fmt::Write as _;
use zeroize::Zeroizing;

const HOW: &str = "\
# Save these lines as ~/.config/wireshark/esp_sa and open a capture with
#   tshark -o esp.enable_encryption_decode:TRUE -d ip.proto==253,esp -r FILE
";

/// Everything that `group keys` shows without --json.
pub(super) fn text(group: &RevealedGroup) -> Zeroizing<String> {
    // Growing would leave copies of keys behind.
    let senders: usize = group.epochs.iter().map(|epoch| epoch.senders.len()).sum();
    let room = 512 * (1 + group.epochs.len() + senders);
    let mut text = Zeroizing::new(String::with_capacity(room));
    if group.epochs.is_empty() {
        text.push_str("no epoch that this server process made lives\n");
    }
    if group.epochs.iter().any(is_known) {
        text.push_str(HOW);
    }
    for epoch in &group.epochs {
        let _ = writeln!(
            text,
            "# epoch {}, {}, sender numbers 1 to {}\n# TEK {}",
            epoch.id, epoch.cipher, epoch.last_sender, *epoch.tek
        );
        match is_known(epoch) {
            true => lines(&mut text, epoch),
            false => comments(&mut text, epoch),
        }
        let shown = epoch.senders.len() as u64;
        if shown < u64::from(epoch.last_sender) {
            let _ = writeln!(text, "# {shown} senders are shown: see --senders");
        }
    }
    text
}

/// tshark has this cipher.
fn is_known(epoch: &RevealedKey) -> bool {
    epoch.cipher == "aes-256-gcm"
}

fn lines(text: &mut String, epoch: &RevealedKey) {
    for sender in &epoch.senders {
        for version in ["IPv4", "IPv6"] {
            let _ = writeln!(
                text,
                "\"{version}\",\"*\",\"*\",\"{}\",\"AES-GCM with 16 octet ICV [RFC4106]\",\
                 \"0x{}{}\",\"NULL\",\"\"",
                sender.spi, *sender.key, *sender.salt
            );
        }
    }
}

fn comments(text: &mut String, epoch: &RevealedKey) {
    text.push_str("# tshark has no ChaCha20-Poly1305 in ESP; for other tools:\n");
    for sender in &epoch.senders {
        let (key, salt) = (&*sender.key, &*sender.salt);
        let _ = writeln!(text, "# {} key 0x{key} salt 0x{salt}", sender.spi);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::RevealedSender;

    fn shown(cipher: &str) -> Zeroizing<String> {
        let hidden = |text: &str| Zeroizing::new(text.to_owned());
        text(&RevealedGroup {
            epochs: vec![RevealedKey {
                id: 1,
                tek: hidden("TEK="),
                cipher: cipher.to_owned(),
                last_sender: 2,
                senders: vec![RevealedSender {
                    spi: "0x01000001".to_owned(),
                    key: hidden("0102"),
                    salt: hidden("aabb"),
                }],
            }],
        })
    }

    /// This form was tried with tshark 4.0: it opens the packet.
    #[test]
    fn tshark_takes_the_lines() {
        let text = shown("aes-256-gcm");
        let line = "\"IPv4\",\"*\",\"*\",\"0x01000001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\
                    \"0x0102aabb\",\"NULL\",\"\"";
        assert!(text.lines().any(|shown| shown == line), "{}", *text);
        assert!(text.contains("1 senders are shown"));
    }

    #[test]
    fn what_tshark_cannot_use_is_a_comment() {
        let text = shown("chacha20-poly1305");
        assert!(text.lines().all(|line| line.starts_with('#')), "{}", *text);
        assert!(text.contains("0x01000001 key 0x0102 salt 0xaabb"));
    }
}
