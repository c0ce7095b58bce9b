//! Bech32 (BIP 173), of any length: 32 bytes as letters that are told apart, with a checksum.

use anyhow::{Context, Result, ensure};
use zeroize::{Zeroize, Zeroizing};

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM: usize = 6;

/// What 32 bytes are in groups of five bits.
const GROUPS: usize = 52;

/// `prefix`, `1`, the bytes, a checksum; in small letters.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut groups = Zeroizing::new(Vec::with_capacity(bytes.len() * 8 / 5 + 1));
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in bytes {
        bits = (bits << 8 | u32::from(byte)) & 0xfff;
        count += 8;
        while count >= 5 {
            count -= 5;
            groups.push((bits >> count & 31) as u8);
        }
    }
    if count > 0 {
        groups.push((bits << (5 - count) & 31) as u8);
    }
    let sum = checksum(prefix, groups.iter().copied().chain([0; CHECKSUM])) ^ 1;
    let mut text =
        Zeroizing::new(String::with_capacity(prefix.len() + 1 + groups.len() + CHECKSUM));
    text.push_str(prefix);
    text.push('1');
    let ends = (0..CHECKSUM).map(|at| (sum >> (5 * (CHECKSUM - 1 - at)) & 31) as u8);
    for group in groups.iter().copied().chain(ends) {
        text.push(char::from(LETTERS[usize::from(group)]));
    }
    text
}

/// The 32 bytes of such a text in small letters.
pub(super) fn decode(prefix: &str, text: &str, bytes: &mut [u8; 32]) -> Result<()> {
    let rest = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('1'));
    let rest = rest.with_context(|| format!("it does not begin with {prefix}1"))?;
    ensure!(rest.len() == GROUPS + CHECKSUM, "it is too short or too long");
    let mut groups = Zeroizing::new([0; GROUPS + CHECKSUM]);
    for (group, letter) in groups.iter_mut().zip(rest.bytes()) {
        let value = LETTERS.iter().position(|&known| known == letter);
        *group = value.context("it has a sign that does not belong there")? as u8;
    }
    ensure!(checksum(prefix, groups.iter().copied()) == 1, "it has a typing error");
    let (mut bits, mut count, mut at) = (0_u32, 0, 0);
    for &group in &groups[..GROUPS] {
        bits = (bits << 5 | u32::from(group)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes[at] = (bits >> count & 0xff) as u8;
            at += 1;
        }
    }
    if at != bytes.len() || bits & ((1 << count) - 1) != 0 {
        bytes.zeroize();
        anyhow::bail!("it has bits too many");
    }
    Ok(())
}

fn checksum(prefix: &str, groups: impl Iterator<Item = u8>) -> u32 {
    const STEPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(groups).fold(1, |sum, group| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(group);
        let taken = STEPS.iter().enumerate().filter(|(at, _)| top >> at & 1 == 1);
        taken.fold(next, |sum, (_, step)| sum ^ step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_typing_error_is_seen() {
        let bytes = std::array::from_fn(|at| 7 * at as u8);
        let text = encode("age", &bytes);
        let mut read = [0; 32];
        decode("age", &text, &mut read).unwrap();
        assert_eq!(read, bytes);
        let mut cases = 0;
        for at in 4..text.len() {
            for &letter in LETTERS {
                let mut typed = text.as_bytes().to_vec();
                typed[at] = letter;
                let typed = String::from_utf8(typed).unwrap();
                cases += u32::from(decode("age", &typed, &mut read).is_err());
            }
        }
        assert_eq!(cases, 58 * 31);
    }

    /// BIP 173, test vectors: the first one.
    #[test]
    fn a_published_checksum() {
        assert_eq!(*encode("a", &[]), "a12uel5l");
    }
}
