//! One-time enrolment tokens: what an operator hands to a gateway that shall join.
//!
//! `tsg1-` and, in base64 for URLs, MessagePack with field names. A token carries a secret: it is
//! passed on standard input or in a file, never as an argument.

use crate::keys::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use core::fmt;
use serde::{Deserialize, Serialize};
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

/// A token's secret; the key server keeps only its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret(pub Zeroizing<[u8; 16]>);

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
        let packed = Zeroizing::new(rmp_serde::to_vec_named(self).unwrap_or_default());
        let mut text = Zeroizing::new(String::from(PREFIX));
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
        let packed = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| NotAToken)?);
        let token: Self = crate::message::parse(&packed).map_err(|_| NotAToken)?;
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
            secret: TokenSecret(Zeroizing::new([238; 16])),
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
