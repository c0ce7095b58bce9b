//! The address of a key server.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// The key server's port if none is given.
pub const DEFAULT_PORT: u16 = 5555;

const MAX_HOST_CHARS: usize = 253;
const MAX_LABEL_CHARS: usize = 63;

/// `tcp://host:port`, in the form that ZeroMQ takes. The host is a name, an IPv4 address or an IPv6
/// address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// A text that is no key server's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEndpoint;

impl Endpoint {
    /// Host name or address, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    /// Also takes `host:port` and `host` alone.
    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        let text = match text.split_once("://") {
            Some(("tcp", rest)) => rest,
            Some(_) => return Err(NotAnEndpoint),
            None => text,
        };
        let port_at = match text.rfind(']') {
            Some(bracket) => text[bracket..].find(':').map(|colon| bracket + colon),
            None => text.find(':'),
        };
        let (host, port) = match port_at {
            Some(colon) => (&text[..colon], port(&text[colon + 1..])?),
            None => (text, DEFAULT_PORT),
        };
        if is_bracketed_ipv6(host) || is_host_name(host) {
            Ok(Self { host: host.to_owned(), port })
        } else {
            Err(NotAnEndpoint)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}

impl fmt::Display for NotAnEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address like tcp://192.0.2.10:5555, tcp://[2001:db8::10]:5555 or tcp://keys.plant:5555")
    }
}

impl std::error::Error for NotAnEndpoint {}

fn port(digits: &str) -> Result<u16, NotAnEndpoint> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotAnEndpoint);
    }
    digits.parse().ok().filter(|&port| port != 0).ok_or(NotAnEndpoint)
}

fn is_bracketed_ipv6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// A name or an IPv4 address. A last label of digits only makes it an address, which must then be one.
fn is_host_name(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| !address.is_unspecified());
    }
    host.len() <= MAX_HOST_CHARS && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_CHARS).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_every_usual_form() {
        let cases = [
            ("tcp://192.0.2.10:5555", "tcp://192.0.2.10:5555"),
            ("192.0.2.10", "tcp://192.0.2.10:5555"),
            ("192.0.2.10:7000", "tcp://192.0.2.10:7000"),
            ("tcp://[2001:db8::1]:5555", "tcp://[2001:db8::1]:5555"),
            ("[2001:db8::1]", "tcp://[2001:db8::1]:5555"),
            ("keys.plant-1.example:1", "tcp://keys.plant-1.example:1"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let cases = [
            "",
            "tcp://",
            "udp://192.0.2.1:1",
            "ipc:///tmp/x",
            "192.0.2.10:0",
            "192.0.2.10:65536",
            "192.0.2.10:",
            "192.0.2.10:+1",
            "192.0.2.256",
            "192.0.2",
            "1.2.3.4.5",
            "0.0.0.0",
            "2001:db8::1",
            "[2001:db8::1",
            "[2001:db8::1]5555",
            "[plant]",
            "a b",
            "-a",
            "a..b",
            "host:1:2",
            "h\u{f6}st",
            "*:5555",
            "host;tcp://x",
        ];
        for text in cases {
            assert_eq!(text.parse::<Endpoint>(), Err(NotAnEndpoint), "{text:?}");
        }
    }
}
