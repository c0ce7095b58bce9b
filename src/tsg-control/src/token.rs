//! One-time enrolment tokens: what an operator hands to a gateway that shall join.
//!
//! `tsg1-` and, in base64 for URLs, MessagePack with field names. A token carries a secret: it is
//! passed on standard input or in a file, never as an argument.

use crate::keys::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;
use serde::{Deserialize, Serialize, de};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The mark and version in front of every token.
const PREFIX: &str = "tsg1-";

/// Longer texts are not looked at.
const MAX_TEXT: usize = 4096;

/// More addresses than this are refused.
const MAX_SERVERS: usize = 16;

/// What a token holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Addresses of the key server, `tcp://host:port`.
    pub servers: Vec<String>,
    /// The key server's public key.
    pub server_key: PublicKey,
    /// The secret that lets one gateway in.
    pub secret: TokenSecret,
    /// When it stops being good, in seconds since 1970, by the key server's clock.
    pub expires: u64,
    /// The group that the gateway will be in.
    pub group: String,
}

/// A token's secret: its bytes stay where they are when it moves, and are zeroed with the last who has
/// it. The key server keeps only their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(Arc<Zeroizing<[u8; 16]>>);

impl TokenSecret {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// One whose bytes `fill` writes where they stay.
    pub fn make(fill: impl FnOnce(&mut [u8; 16])) -> Self {
        let mut secret = Arc::new(Zeroizing::new([0; 16]));
        fill(Arc::<Zeroizing<_>>::make_mut(&mut secret));
        Self(secret)
    }

    /// The bytes. Named so that a reader notices.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Serialize for TokenSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.expose())
    }
}

impl<'de> Deserialize<'de> for TokenSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = TokenSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the 16 bytes of a token's secret")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<TokenSecret, E> {
                if bytes.len() != TokenSecret::LEN {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(TokenSecret::make(|secret| secret.copy_from_slice(bytes)))
            }

            /// As an array of numbers, which tokens were before.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<TokenSecret, A::Error> {
                let mut read = Ok(());
                let secret = TokenSecret::make(|secret| {
                    read = secret.iter_mut().enumerate().try_for_each(|(at, byte)| {
                        let next = seq.next_element()?;
                        *byte = next.ok_or_else(|| de::Error::invalid_length(at, &self))?;
                        Ok(())
                    });
                });
                read.map(|()| secret)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A text that is not a token, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAToken;

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an enrolment token, or not all of it: copy the whole line that begins with \
             \"tsg1-\" from the key server",
        )
    }
}

impl core::error::Error for NotAToken {}

impl Token {
    /// The token as one line of text.
    pub fn encode(&self) -> Zeroizing<String> {
        let packed = crate::message::pack(self);
        // Growing would leave parts of it in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * packed.len()));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(packed.as_slice(), &mut text);
        text
    }

    /// Reads what [`Token::encode`] wrote; blanks around it do not matter.
    ///
    /// # Errors
    /// The text is not a whole token.
    pub fn decode(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(NotAToken);
        }
        let body = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
        let mut packed = Zeroizing::new([0; MAX_TEXT]);
        let length = URL_SAFE_NO_PAD.decode_slice(body, packed.as_mut_slice());
        let packed = packed.get(..length.map_err(|_| NotAToken)?).ok_or(NotAToken)?;
        let token: Self = crate::message::parse(packed).map_err(|_| NotAToken)?;
        let servers = token.servers.len();
        if servers == 0 || servers > MAX_SERVERS || !token.servers.iter().all(|s| plausible(s)) {
            return Err(NotAToken);
        }
        Ok(token)
    }
}

fn plausible(server: &str) -> bool {
    server.starts_with("tcp://")
        && server.len() <= 262
        && server.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\".contains(&b))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token for {:?} at {:?}", self.group, self.servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            servers: vec!["tcp://192.0.2.10:5555".to_owned()],
            server_key: PublicKey([7; 32]),
            secret: TokenSecret::make(|secret| secret.fill(238)),
            expires: 1_800_000_000,
            group: "plant".to_owned(),
        }
    }

    #[test]
    fn a_token_comes_back() {
        let text = token().encode();
        assert!(text.starts_with("tsg1-"));
        assert_eq!(Token::decode(&format!("  {}\n", *text)).unwrap(), token());
    }

    #[test]
    fn a_secret_is_read_as_bytes_and_as_numbers() {
        let packed = rmp_serde::to_vec(&[238_u8; 16]).unwrap();
        assert_eq!(rmp_serde::from_slice::<TokenSecret>(&packed).unwrap(), token().secret);
        let packed = rmp_serde::to_vec(&token().secret).unwrap();
        assert_eq!(packed[..2], [0xc4, 16]);
        assert_eq!(rmp_serde::from_slice::<TokenSecret>(&packed).unwrap(), token().secret);
        for length in [0_usize, 15, 17] {
            let packed = rmp_serde::to_vec(&vec![238_u8; length]).unwrap();
            assert!(rmp_serde::from_slice::<TokenSecret>(&packed).is_err(), "{length} numbers");
            let packed = [&[0xc4, length as u8][..], &vec![238; length]].concat();
            assert!(rmp_serde::from_slice::<TokenSecret>(&packed).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_part_of_a_token_is_no_token() {
        let text = token().encode();
        for length in 0..text.len() {
            assert!(Token::decode(&text[..length]).is_err(), "{length}");
        }
        let mut hostile = token();
        hostile.servers = vec!["tcp://x:5555'\noption y".to_owned()];
        assert!(Token::decode(&hostile.encode()).is_err());
    }

    #[test]
    fn a_token_does_not_print_its_secret() {
        assert!(!format!("{:?}", token()).contains("238"));
    }
}
