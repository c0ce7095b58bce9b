//! Nothing secret leaves the machine: what is known as a secret here and what looks like a key is replaced.
//!
//! Three nets, since each has holes: options that are called like a secret ([`options`]), the machine's own secrets
//! in every form in which they are written, and what has the shape of a key or a token. What is lost by the last is
//! a long word here and there; public keys that are known as such stay.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use zeroize::Zeroizing;

/// What stands in place of a secret.
pub const HIDDEN: &str = "<hidden>";

/// Names of options contain one of these if their value is a secret.
const TELLING: [&str; 7] = ["key", "secret", "pass", "psk", "token", "pincode", "auth"];

/// These contain one too, and are none.
const HARMLESS: [&str; 4] = ["server_key", "cache_keys", "public", "bypass"];

/// Fewer bytes than this are no secret, and would be found everywhere.
const SHORTEST: usize = 8;

/// A key of 32 bytes in base64, without padding.
const KEY_CHARACTERS: usize = 43;

/// The least that is hidden as hex: 16 bytes.
const HEX_CHARACTERS: usize = 32;

/// The least that is hidden as base64 because it ends as base64 does: 16 bytes.
const PADDED_CHARACTERS: usize = 22;

/// What must not be shown, and what may although it looks the same.
#[derive(Default)]
pub struct Secrets {
    forms: Vec<Zeroizing<Vec<u8>>>,
    public: BTreeSet<String>,
}

impl Secrets {
    /// These bytes must not be shown: neither as they are nor in hex, base64 or Z85.
    pub fn hide(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        let texts = [
            hex(secret),
            hex(secret).to_ascii_uppercase(),
            // The longer ones first, which contain the others.
            STANDARD.encode(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        let forms = texts.into_iter().chain(z85(secret)).map(String::into_bytes);
        self.forms.extend(forms.chain([secret.to_vec()]).map(Zeroizing::new));
    }

    /// This text is a public key.
    pub fn may_show(&mut self, key: &str) {
        self.public.insert(key.trim_end_matches('=').to_owned());
    }

    /// The lines `public KEY` and `secret KEY` of an identity's file, whatever its state.
    pub fn hide_identity(&mut self, path: &Path) {
        let Ok(bytes) = fs::read(path).map(Zeroizing::new) else { return };
        for line in bytes.split(|&byte| byte == b'\n') {
            let Ok(line) = str::from_utf8(line) else { continue };
            match line.trim().split_once(' ') {
                Some(("public", key)) => self.may_show(key),
                Some(("secret", key)) => self.hide_text(key.trim()),
                Some(_) | None => {}
            }
        }
    }

    fn hide_text(&mut self, text: &str) {
        if let Ok(bytes) = STANDARD.decode(text).map(Zeroizing::new) {
            self.hide(&bytes);
        }
        if text.len() >= SHORTEST {
            self.forms.push(Zeroizing::new(text.as_bytes().to_vec()));
        }
    }

    /// The text without them.
    pub(crate) fn clean(&self, text: &[u8]) -> Vec<u8> {
        let text = self.without_known(text);
        let mut clean = Vec::with_capacity(text.len());
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_-".contains(byte);
            let word = rest.iter().position(|byte| !is_word(byte)).unwrap_or(rest.len());
            if word == 0 {
                clean.push(rest[0]);
                rest = &rest[1..];
                continue;
            }
            let (found, after) = rest.split_at(word);
            let padding = after.iter().take_while(|&&byte| byte == b'=').count();
            let ends = after.get(padding).is_none_or(|byte| !byte.is_ascii_alphanumeric());
            let padding = if ends { padding } else { 0 };
            if self.looks_secret(found, padding) {
                clean.extend(HIDDEN.bytes());
                rest = &after[padding..];
            } else {
                clean.extend(found);
                rest = after;
            }
        }
        clean
    }

    fn without_known(&self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for form in &self.forms {
            while let Some(at) = find(&text, form) {
                text.splice(at..at + form.len(), HIDDEN.bytes());
            }
        }
        text
    }

    fn looks_secret(&self, word: &[u8], padding: usize) -> bool {
        let Ok(word) = str::from_utf8(word) else { return false };
        if word.starts_with("tsg1-") {
            return true;
        }
        let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
        let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_long = word.len() >= KEY_CHARACTERS && has(u8::is_ascii_digit);
        let is_padded = (1..=2).contains(&padding) && word.len() >= PADDED_CHARACTERS;
        let is_base64 = is_mixed && (is_long || is_padded);
        (is_base64 && !self.public.contains(word)) || (is_hex && word.len() >= HEX_CHARACTERS)
    }
}

/// A UCI file without the values of options that are called like a secret. It need not be right: a line that is
/// not understood goes too.
pub fn options(text: &str) -> String {
    text.lines().map(|line| option_line(line) + "\n").collect()
}

fn option_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_plain = !line.contains(';') && is_whole(line);
    match words.as_slice() {
        [] => String::new(),
        ["option" | "o" | "list" | "l", name, _, ..] if is_telling(name) => {
            format!("{}{name} {HIDDEN}", &line[..line.find(name).unwrap_or(0)])
        }
        ["option" | "o" | "list" | "l", _, _, ..] if is_plain => line.to_owned(),
        ["config" | "c" | "package" | "p", ..] if is_plain && !speaks_of_secrets(line) => {
            line.to_owned()
        }
        [first, ..] if first.starts_with('#') => match speaks_of_secrets(line) {
            true => format!("# {HIDDEN}"),
            false => line.to_owned(),
        },
        // The rest of a value that began above, several statements, or none.
        _ => HIDDEN.to_owned(),
    }
}

fn speaks_of_secrets(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_telling)
}

fn is_telling(name: &str) -> bool {
    let name = name.trim_matches(['\'', '"']).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    name == "pin" || (has(&TELLING) && !has(&HARMLESS))
}

/// Ends on its line.
fn is_whole(line: &str) -> bool {
    let count = |quote: char| line.matches(quote).count();
    count('\'') % 2 == 0 && count('"') % 2 == 0 && !line.ends_with('\\')
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// ZeroMQ RFC 32.
fn z85(bytes: &[u8]) -> Option<String> {
    const DIGITS: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let (fours, []) = bytes.as_chunks::<4>() else { return None };
    let digits = fours.iter().flat_map(|four| {
        let value = u32::from_be_bytes(*four);
        [4, 3, 2, 1, 0].map(|place| DIGITS[(value / 85_u32.pow(place) % 85) as usize])
    });
    Some(digits.map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [
        0x1d, 0xe8, 0xf3, 0x5b, 0xee, 0x2e, 0xa1, 0x19, 0xd6, 0x43, 0x71, 0xe5, 0xf4, 0x93, 0x03,
        0xbb, 0xc9, 0xe1, 0x27, 0xdd, 0xf4, 0x93, 0x03, 0xbb, 0xc9, 0xe1, 0x27, 0xdd, 0x00, 0xff,
        0x8a, 0x7e,
    ];

    fn clean(secrets: &Secrets, text: &str) -> String {
        String::from_utf8_lossy(&secrets.clean(text.as_bytes())).into_owned()
    }

    #[test]
    fn a_known_secret_is_hidden_in_every_form() {
        let mut secrets = Secrets::default();
        secrets.hide(&SECRET);
        let base64 = STANDARD.encode(SECRET);
        let forms = [
            hex(&SECRET),
            hex(&SECRET).to_ascii_uppercase(),
            base64.clone(),
            base64.trim_end_matches('=').to_owned(),
            URL_SAFE.encode(SECRET),
            URL_SAFE_NO_PAD.encode(SECRET),
            z85(&SECRET).unwrap(),
        ];
        for form in &forms {
            let shown = clean(&secrets, &format!("a={form} b\nx{form}y"));
            assert!(!shown.contains(form.as_str()), "{shown}");
            assert!(shown.contains("a=<hidden>") && shown.contains("x<hidden>y"), "{shown}");
        }
        let raw = secrets.clean(&[b"tek ", SECRET.as_slice(), b" end"].concat());
        assert_eq!(raw, b"tek <hidden> end");
        // That of ZeroMQ's documentation.
        let known = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        assert_eq!(z85(&known).unwrap(), "HelloWorld");
    }

    #[test]
    fn an_identity_shows_its_public_half() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (public, secret) = (STANDARD.encode([7; 32]), STANDARD.encode(SECRET));
        fs::write(&path, format!("# mine\npublic {public}\nsecret {secret}\n")).unwrap();
        let mut secrets = Secrets::default();
        secrets.hide_identity(&path);
        secrets.hide_identity(&folder.path().join("none"));
        let shown = clean(&secrets, &format!("{public} {} {secret}", z85(&SECRET).unwrap()));
        assert_eq!(shown, format!("{public} <hidden> <hidden>"));
    }

    #[test]
    fn what_looks_like_a_key_is_hidden() {
        let secrets = Secrets::default();
        let key = STANDARD.encode(SECRET);
        for text in [
            key.as_str(),
            key.trim_end_matches('='),
            &URL_SAFE_NO_PAD.encode(SECRET),
            &hex(&SECRET),
            &hex(&SECRET[..16]),
            &STANDARD.encode(&SECRET[..16]),
            &STANDARD.encode([SECRET, SECRET].concat()),
            "tsg1-hqdzZXJ2ZXJzkbV0Y3A6Ly8",
        ] {
            assert_eq!(clean(&secrets, &format!("[{text}]")), "[<hidden>]", "{text}");
            assert_eq!(clean(&secrets, &format!("psk={text}\n")), "psk=<hidden>\n", "{text}");
        }
    }

    #[test]
    fn what_is_no_key_stays() {
        let plain = "fingerprint 6668-7aad-f862-bd77-6c8f-c18b-8e9f-8e20\n\
                     /sys/devices/platform/soc/1e100000.ethernet/net/wan/phys_switch_id\n\
                     net.bridge.bridge-nf-filter-vlan-tagged=1 table bridge tsg { } 2001:db8::1/128\n\
                     @th,0,128 0x00112233445566778899aabbccddeeff f\u{fc}r";
        assert_eq!(clean(&Secrets::default(), plain), plain);
    }

    #[test]
    fn options_that_are_called_like_a_secret_lose_their_value() {
        let shown = options(
            "config interface 'wg0'\n\
             \toption private_key 'abc'\n\
             \toption server_key 'KEYPSK='\n\
             \toption public_key 'def'\n\
             \toption cache_keys '1'\n\
             \tlist preshared_key  x y\n\
             \toption password 'first line\n\
             second line'\n\
             \toption ipaddr '192.0.2.1'; option pin '1234'\n\
             \toption pin 1234\n\
             # option wpa_psk 'old'\n\
             # a remark\n\
             \toption ipaddr '192.0.2.1'\n\
             \toption token\n\n\
             garbage",
        );
        assert_eq!(
            shown,
            "config interface 'wg0'\n\
             \toption private_key <hidden>\n\
             \toption server_key 'KEYPSK='\n\
             \toption public_key 'def'\n\
             \toption cache_keys '1'\n\
             \tlist preshared_key <hidden>\n\
             \toption password <hidden>\n\
             <hidden>\n\
             <hidden>\n\
             \toption pin <hidden>\n\
             # <hidden>\n\
             # a remark\n\
             \toption ipaddr '192.0.2.1'\n\
             <hidden>\n\n\
             <hidden>\n"
        );
    }
}
