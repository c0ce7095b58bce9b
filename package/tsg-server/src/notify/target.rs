//! Addresses of receivers, as operators give them: `tls://HOST:6514`.

use anyhow::{Result, bail, ensure};
use std::fmt;
use ureq::http::Uri;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) scheme: &'static str,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Target {
    /// Reads one. `kinds` has the schemes that it may have, with their ports; `option` is where it was given.
    pub(super) fn read(option: &str, text: &str, kinds: &[(&'static str, u16)]) -> Result<Self> {
        let forms = || {
            let forms: Vec<_> =
                kinds.iter().map(|(scheme, port)| format!("{scheme}://HOST:{port}")).collect();
            forms.join(" or ")
        };
        let Ok(uri) = text.parse::<Uri>() else {
            bail!("{option}: this is no address: give {}", forms());
        };
        let kind = kinds.iter().find(|(scheme, _)| uri.scheme_str() == Some(*scheme));
        let (Some((scheme, port)), Some(host)) = (kind, uri.host()) else {
            bail!("{option}: this is no address: give {}", forms());
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let bare =
            !authority.contains('@') && matches!(uri.path(), "" | "/") && uri.query().is_none();
        ensure!(bare && !host.is_empty(), "{option}: give {} and nothing more", forms());
        let port = match authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')) {
            None => *port,
            Some(port) => port.parse().unwrap_or(0),
        };
        ensure!(port != 0, "{option}: that is no port: give {}", forms());
        Ok(Self { scheme, host: host.trim_matches(['[', ']']).to_owned(), port })
    }

    /// Does it stay on this machine?
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    address.map_or_else(|| host.eq_ignore_ascii_case("localhost"), |at| at.is_loopback())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [(&str, u16); 2] = [("udp", 514), ("tls", 6514)];

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("udp://collector", "udp://collector:514"),
            ("tls://192.0.2.7:7000", "tls://192.0.2.7:7000"),
            ("tls://[2001:db8::7]", "tls://[2001:db8::7]:6514"),
            ("udp://collector:514/", "udp://collector:514"),
        ] {
            assert_eq!(Target::read("--syslog", text, &KINDS).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_there_is() {
        for text in [
            "",
            "collector",
            "collector:514",
            "http://collector",
            "udp://",
            "udp://a:0",
            "udp://a:x",
            "udp://user:secret@a",
            "udp://a/path",
            "udp://a?query",
            "udp://a b",
        ] {
            let error = Target::read("--syslog", text, &KINDS).unwrap_err().to_string();
            assert!(error.starts_with("--syslog: "), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for host in ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["192.0.2.7", "localhost.example", "127.0.0.1.example", "::"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
