//! The file format age, version 1 (<https://age-encryption.org/v1>), with X25519 recipients: what backups are encrypted with.
//!
//! Who has the identity opens a backup with this program, or with any other that knows the format. Not for: passphrases,
//! SSH keys, plugins, and text armor. docs/decisions/0017 says why it is written here.

mod bech32;
mod header;
mod stream;

pub use stream::{Reader, Writer};

use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const PUBLIC: &str = "age";
const SECRET: &str = "AGE-SECRET-KEY-";

/// More identities in one file are not tried.
const MOST_IDENTITIES: usize = 100;

/// Whom a file is for: `age1…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Who opens it: `AGE-SECRET-KEY-1…`. In one place of memory however it moves, zeroed on drop.
pub struct Identity(Box<Zeroizing<[u8; 32]>>);

impl Identity {
    /// A new one, by chance.
    pub fn generate() -> Self {
        let mut made = Self(Box::default());
        tsg_sodium::random(made.0.as_mut_slice());
        made
    }

    /// Whom files for it are made out to.
    pub fn recipient(&self) -> Recipient {
        Recipient(tsg_sodium::public_key(&self.0))
    }

    /// The text to keep.
    pub fn text(&self) -> Zeroizing<String> {
        let lower = SECRET.to_ascii_lowercase();
        let mut text = bech32::encode(&lower, self.0.as_slice());
        text.make_ascii_uppercase();
        text
    }

    /// Those in a file, one a line; lines with `#` say something to people.
    ///
    /// # Errors
    /// A line is none, or there is none.
    pub fn read_all(text: &str) -> Result<Vec<Self>> {
        let lines = text.lines().map(str::trim).enumerate();
        let own = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let found = own
            .map(|(at, line)| line.parse().with_context(|| format!("line {}", at + 1)))
            .collect::<Result<Vec<_>>>()?;
        ensure!(!found.is_empty(), "it holds no line AGE-SECRET-KEY-1…");
        ensure!(found.len() <= MOST_IDENTITIES, "it holds more than {MOST_IDENTITIES} identities");
        Ok(found)
    }
}

impl FromStr for Identity {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text itself is not quoted: it may be a secret with a typing error.
        let upper = text.chars().all(|sign| !sign.is_ascii_lowercase());
        ensure!(upper && text.starts_with(SECRET), "this is no identity AGE-SECRET-KEY-1…");
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        let mut made = Self(Box::default());
        bech32::decode(&SECRET.to_ascii_lowercase(), &lower, &mut made.0)
            .context("this identity is damaged")?;
        Ok(made)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(<secret>)")
    }
}

impl FromStr for Recipient {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown: String = text.chars().filter(|sign| !sign.is_control()).take(70).collect();
        if text.starts_with(SECRET) {
            bail!("this is an identity, which is secret: give its recipient, age1…");
        }
        let mut made = Self([0; 32]);
        bech32::decode(PUBLIC, text, &mut made.0).with_context(|| {
            format!(
                "{shown:?} is no recipient: give one that `tsg-server backup-key` prints, age1…"
            )
        })?;
        // One that no secret key has would let everybody read.
        ensure!(
            tsg_sodium::x25519(&[1; 32], &made.0).is_ok(),
            "{shown:?} is no recipient that anybody could have made"
        );
        Ok(made)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bech32::encode(PUBLIC, &self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// Made by another program, age 1.1.1 of Debian 12, for two recipients; this is the second one's identity.
    const IDENTITY: &str = include_str!("../tests/age/identity.txt");
    const FILE: &[u8] = include_bytes!("../tests/age/hello.age");
    const LONG: &[u8] = include_bytes!("../tests/age/long.age");

    fn open(file: &[u8], identities: &[Identity]) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        Reader::open(file, identities)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn seal(plain: &[u8], recipients: &[Recipient]) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), recipients).unwrap();
        // In odd pieces, which do not show.
        plain.chunks(1_000).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn what_another_program_made_is_read() {
        tsg_sodium::init().unwrap();
        let identities = Identity::read_all(IDENTITY).unwrap();
        assert_eq!(open(FILE, &identities).unwrap(), b"a pump runs at 1450 rpm\n");
        // Two chunks.
        assert_eq!(open(LONG, &identities).unwrap(), vec![b'x'; 65_537]);
        let said = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: "));
        assert_eq!(identities[0].recipient().to_string(), said.unwrap());
        assert_eq!(*identities[0].text(), IDENTITY.lines().last().unwrap());
    }

    #[test]
    fn each_recipient_opens_it_and_nobody_else() {
        tsg_sodium::init().unwrap();
        let [one, two, other] = [(); 3].map(|()| Identity::generate());
        let both = [one.recipient(), two.recipient()];
        for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
            let plain = vec![7; length];
            let sealed = seal(&plain, &both);
            for identity in [&one, &two] {
                let identity = identity.text().parse().unwrap();
                assert!(open(&sealed, &[identity]).unwrap() == plain, "{length} bytes");
            }
            let error = open(&sealed, std::slice::from_ref(&other)).unwrap_err().to_string();
            assert!(error.contains("not made out to this identity"), "{error}");
        }
    }

    #[test]
    fn nothing_may_be_changed_cut_or_added() {
        tsg_sodium::init().unwrap();
        let identities = [Identity::generate()];
        let recipients = [identities[0].recipient()];
        let sealed = seal(&vec![7; 140_000], &recipients);
        let header = sealed.windows(4).position(|four| four == b"--- ").unwrap() + 48;
        let steps = sealed.len() / 97;
        for at in (0..header + 40).chain((0..97).map(|step| step * steps)) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &identities).is_err(), "byte {at}");
        }
        let chunk = 65_536 + 16;
        let payload = sealed.len() - (140_000 + 3 * 16) - 16;
        for length in [
            0,
            1,
            20,
            header - 1,
            header,
            payload + 16,
            payload + 16 + chunk,
            payload + 16 + 2 * chunk,
            sealed.len() - 1,
        ] {
            assert!(open(&sealed[..length], &identities).is_err(), "{length} bytes");
        }
        assert!(open(&[&sealed[..], b"x"].concat(), &identities).is_err());
        let whole = seal(&vec![7; 65_536], &recipients);
        assert!(open(&[&whole[..], &[0; 16]].concat(), &identities).is_err());
    }

    #[test]
    fn what_is_no_header_is_told() {
        tsg_sodium::init().unwrap();
        let identities = [Identity::generate()];
        let long = format!("age-encryption.org/v1\n-> X25519 {}\n", "A".repeat(100_000));
        let endless = "age-encryption.org/v1\n".to_owned() + &"-> x\n\n".repeat(100_000);
        for (file, told) in [
            ("", "no backup"),
            ("PK\u{3}\u{4} something else", "no backup"),
            ("age-encryption.org/v2\n", "no backup"),
            ("age-encryption.org/v1\n", "cut off"),
            ("age-encryption.org/v1\nhello\n", "damaged"),
            ("age-encryption.org/v1\n-> X25519 !\nAAAA\n--- AAAA\n", "damaged"),
            (&long, "damaged"),
            (&endless, "damaged"),
        ] {
            let error = format!("{:#}", open(file.as_bytes(), &identities).unwrap_err());
            assert!(error.contains(told), "{told:?} is not in {error:?}");
        }
    }

    #[test]
    fn names_that_are_wrong_are_told() {
        tsg_sodium::init().unwrap();
        let identity = Identity::generate();
        let good = identity.recipient().to_string();
        assert_eq!(good.parse::<Recipient>().unwrap(), identity.recipient());
        let typed = good.replace(&good[20..21], if &good[20..21] == "q" { "p" } else { "q" });
        let weak = Recipient([0; 32]).to_string();
        for wrong in [
            "",
            "age1",
            "x",
            &typed,
            &good[..61],
            &format!("{good}q"),
            &weak,
            &good.to_uppercase(),
            "ssh-ed25519 AAAA",
        ] {
            assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
        }
        let secret = identity.text();
        let error = format!("{:#}", secret.parse::<Recipient>().unwrap_err());
        assert!(error.contains("is secret") && !error.contains(&secret[20..]), "{error}");
        for wrong in ["", "# only words\n", &secret[..70], &secret.to_ascii_lowercase(), &good] {
            let error = format!("{:#}", Identity::read_all(wrong).unwrap_err());
            assert!(!error.contains(&secret[20..60]), "{error}");
        }
        assert!(!format!("{identity:?}").contains(&secret[20..]));
    }
}
