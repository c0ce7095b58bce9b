//! The predecessor's configuration, `cb.conf`: `name=value` lines, keys in Z85.
//!
//! For: moving a gateway over with its key, so that the key server knows it at once. Not for: anything that
//! `cb.conf` did with shell text. What is not known is reported with its line and left out.

use std::fmt;

use tsg_control::keys::PublicKey;

use crate::{
    config::Endpoint,
    identity::{Identity, SecretKey},
};

/// More than this is no `cb.conf`.
pub const MAX_BYTES: usize = 64 * 1024;

const MAX_NAME_BYTES: usize = 64;

/// What a `cb.conf` holds.
#[derive(Debug)]
pub struct CbConf {
    /// From `server_ip`, with port 5555 if it has none.
    pub server: Endpoint,
    /// From `server_pub`.
    pub server_key: PublicKey,
    /// From `node_name`.
    pub name: Option<String>,
    /// From `client_secret`, checked against `client_pub`.
    pub identity: Identity,
    /// Lines that were left out, as text for people.
    pub left_out: Vec<String>,
}

/// What is wrong, and in which line (from 1; 0 if it is about the file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Line number from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "{line}: {}", self.message),
        }
    }
}

/// One or more things that are wrong in a `cb.conf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCbConf(pub Vec<BadLine>);

impl fmt::Display for BadCbConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BadCbConf {}

impl CbConf {
    /// Reads a `cb.conf`.
    ///
    /// # Errors
    /// Everything that is wrong with it, with line numbers.
    pub fn parse(text: &[u8]) -> Result<Self, BadCbConf> {
        let mut draft = Draft::default();
        let mut bad = Vec::new();
        if text.len() > MAX_BYTES {
            let message = format!("the file is larger than {} KiB", MAX_BYTES / 1024);
            return Err(BadCbConf(vec![BadLine { line: 0, message }]));
        }
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if let Err(message) = draft.line(at + 1, line) {
                bad.push(BadLine { line: at + 1, message });
            }
        }
        draft.finish(bad)
    }
}

/// A value and the line it stood in.
type Found<T> = Option<(usize, T)>;

#[derive(Default)]
struct Draft {
    server: Found<Endpoint>,
    server_key: Found<PublicKey>,
    name: Found<String>,
    public: Found<PublicKey>,
    secret: Found<SecretKey>,
    seen: Vec<(String, usize)>,
    left_out: Vec<String>,
}

impl Draft {
    fn line(&mut self, at: usize, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line)
            .map_err(|_| "this line is not UTF-8 text; correct it by hand".to_owned())?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.chars().any(char::is_control) {
            return Err("there is a control character in this line; remove it".to_owned());
        }
        let (name, value) = line.split_once('=').ok_or("this line has no `=`; write name=value")?;
        let (name, value) = (name.trim(), unquoted(value.trim()));
        if let Some((_, first)) = self.seen.iter().find(|(seen, _)| seen == name) {
            return Err(format!("{} stands in line {first} already; remove one", shown(name)));
        }
        self.seen.push((name.to_owned(), at));
        self.set(at, name, value)
    }

    fn set(&mut self, at: usize, name: &str, value: &str) -> Result<(), String> {
        let key = "is not a key; copy its 40 characters (Z85) again";
        match name {
            "server_ip" => {
                let server =
                    value.parse().map_err(|wanted| format!("server_ip is not {wanted}"))?;
                self.server = Some((at, server));
            }
            "server_pub" => {
                self.server_key = Some((at, public(value).ok_or(format!("server_pub {key}"))?))
            }
            "client_pub" => {
                self.public = Some((at, public(value).ok_or(format!("client_pub {key}"))?))
            }
            "client_secret" => {
                let secret = SecretKey::parse(value).map_err(|_| format!("client_secret {key}"))?;
                self.secret = Some((at, secret));
            }
            "node_name" if value.is_empty() || value.len() > MAX_NAME_BYTES => {
                return Err(format!("node_name must have 1 to {MAX_NAME_BYTES} bytes; shorten it"));
            }
            "node_name" => self.name = Some((at, value.to_owned())),
            other => {
                self.left_out.push(format!("line {at}: {} is not known and left out", shown(other)))
            }
        }
        Ok(())
    }

    fn finish(self, mut bad: Vec<BadLine>) -> Result<CbConf, BadCbConf> {
        for name in ["server_ip", "server_pub", "client_pub", "client_secret"] {
            if !self.seen.iter().any(|(seen, _)| seen == name) {
                let message = format!("{name}= is missing; this is not a whole cb.conf");
                bad.push(BadLine { line: 0, message });
            }
        }
        let (Some((_, server)), Some((_, server_key)), Some((_, public)), Some((line, secret))) =
            (self.server, self.server_key, self.public, self.secret)
        else {
            return Err(BadCbConf(bad));
        };
        let identity = Identity::from_secret(secret);
        if *identity.public() != public {
            let message = "client_secret and client_pub do not belong together; copy both again";
            bad.push(BadLine { line, message: message.to_owned() });
        }
        if !bad.is_empty() {
            return Err(BadCbConf(bad));
        }
        Ok(CbConf {
            server,
            server_key,
            name: self.name.map(|(_, name)| name),
            identity,
            left_out: self.left_out,
        })
    }
}

fn public(text: &str) -> Option<PublicKey> {
    text.parse::<PublicKey>().ok().filter(|key| key.0 != [0; 32])
}

/// Z85 has neither quote, so a pair around a value is only a pair of quotes.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inside = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        if let Some(inside) = inside {
            return inside;
        }
    }
    value
}

fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(40).collect::<String>())
}
