//! Alarms to a webhook: one POST of a JSON object for each event.

use super::channel::{Channel, Failure};
use super::said;
use super::target::is_loopback;
use super::trust::Trust;
use crate::alarms::{Event, State};
use crate::files;
use anyhow::{Result, bail, ensure};
use ring::hmac;
use serde::Serialize;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use ureq::http::Uri;

/// A receiver has so long to take a message and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Messages in an hour.
const AN_HOUR: u64 = 120;

/// A shorter secret can be found by trying.
const SHORTEST_SECRET: usize = 16;

/// A receiver of POSTs.
pub(super) struct Webhook {
    agent: ureq::Agent,
    url: Uri,
    secret: Option<hmac::Key>,
    server: String,
}

/// What is sent. Fields are only ever added: docs/server.md.
#[derive(Serialize)]
struct Body<'a> {
    version: u8,
    server: &'a str,
    id: &'a str,
    kind: &'a str,
    severity: &'a str,
    state: &'a str,
    group: Option<&'a str>,
    gateway: Option<&'a str>,
    text: &'a str,
    /// Seconds since 1970.
    since: u64,
    at: u64,
}

impl Webhook {
    /// Checks what was given.
    pub(super) fn new(
        url: &str,
        secret: Option<&Path>,
        trust: Option<&Trust>,
        server: String,
    ) -> Result<Self> {
        let uri = read(url)?;
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .max_response_header_size(16 * 1024)
            .max_idle_connections(0)
            .user_agent(concat!("tsg-server/", env!("CARGO_PKG_VERSION")));
        match trust {
            Some(trust) => config = config.tls_config(trust.ureq()),
            // What stays on this machine goes through no proxy.
            None => config = config.proxy(None),
        }
        let secret = secret.map(read_secret).transpose()?;
        Ok(Self { agent: config.build().into(), url: uri, secret, server })
    }

    /// Where it goes, without what may be secret in the address.
    pub(super) fn shown(&self) -> String {
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{host}", self.url.scheme_str().unwrap_or_default())
    }

    fn body(&self, events: &[Event]) -> Vec<u8> {
        let many = summary(events);
        let body = match events {
            [Event { alarm, state, at, .. }] => Body {
                version: 1,
                server: &self.server,
                id: &alarm.id,
                kind: alarm.kind.name(),
                severity: alarm.severity.name(),
                state: state.name(),
                group: alarm.group.as_deref(),
                gateway: alarm.gateway.as_deref(),
                text: &alarm.text,
                since: alarm.since / 1000,
                at: at / 1000,
            },
            _ => Body {
                version: 1,
                server: &self.server,
                id: "summary",
                kind: "summary",
                severity: "warning",
                state: State::Raised.name(),
                group: None,
                gateway: None,
                text: &many,
                since: events.first().map_or(0, |event| event.at / 1000),
                at: events.last().map_or(0, |event| event.at / 1000),
            },
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Channel for Webhook {
    fn most(&self) -> usize {
        1
    }

    fn an_hour(&self) -> u64 {
        AN_HOUR
    }

    fn send(&self, events: &[Event]) -> Result<String, Failure> {
        let body = self.body(events);
        let mut request = self.agent.post(self.url.clone()).content_type("application/json");
        if let Some(secret) = &self.secret {
            request =
                request.header("x-tsg-signature", format!("sha256={}", signature(secret, &body)));
        }
        let answer =
            request.send(&body[..]).map_err(|error| Failure::Later(said(&error.to_string())))?;
        // What else it says is not read.
        let status = answer.status();
        let text = said(&format!("HTTP {status}"));
        match status.as_u16() {
            200..=299 => Ok(text),
            300..=399 => Err(Failure::Later(format!("{text}: redirects are not followed"))),
            400 | 413 | 422 => Err(Failure::Never(text)),
            _ => Err(Failure::Later(text)),
        }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.shown())
    }
}

/// Needs the address TLS?
pub(super) fn is_safe(url: &str) -> bool {
    url.starts_with("https://")
}

fn read(url: &str) -> Result<Uri> {
    // The address may have a secret in it: it is not repeated.
    let Ok(uri) = url.parse::<Uri>() else {
        bail!("--alarm-webhook: this is no address: give https://HOST/PATH");
    };
    let host = uri.host().unwrap_or_default();
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => ensure!(
            is_loopback(host),
            "--alarm-webhook: http:// goes to this machine only (127.0.0.1, [::1], localhost): give https://"
        ),
        _ => bail!("--alarm-webhook: this is no address: give https://HOST/PATH"),
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    ensure!(!host.is_empty(), "--alarm-webhook: there is no host in it: give https://HOST/PATH");
    ensure!(
        !authority.contains('@'),
        "--alarm-webhook takes no user and password: sign the messages with --alarm-webhook-secret"
    );
    Ok(uri)
}

fn read_secret(file: &Path) -> Result<hmac::Key> {
    let shown = file.display();
    let secret = files::read_named(file, "--alarm-webhook-secret")?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    ensure!(
        secret.len() >= SHORTEST_SECRET,
        "{shown}: a secret has {SHORTEST_SECRET} characters at least: `openssl rand -hex 32` makes one"
    );
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
}

fn signature(secret: &hmac::Key, body: &[u8]) -> String {
    hmac::sign(secret, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many, when there are too many to be told one by one.
pub(super) fn summary(events: &[Event]) -> String {
    let raised = events.iter().filter(|event| event.state == State::Raised).count();
    format!(
        "{raised} alarms were raised and {} are over, too many to be told one by one: `tsg-server alarms` lists what stands",
        events.len() - raised
    )
}

#[cfg(test)]
mod tests {
    use super::super::outbox::tests::event;
    use super::*;

    fn webhook() -> Webhook {
        Webhook::new("http://127.0.0.1:1/x", None, None, "server".to_owned()).unwrap()
    }

    #[test]
    fn only_what_is_safe_is_taken() {
        for url in
            ["https://example.com/hook?key=secret", "http://127.0.0.1:9000/", "http://[::1]/"]
        {
            read(url).unwrap();
        }
        for url in [
            "http://example.com/secret",
            "http://127.0.0.1.example/secret",
            "ftp://example.com",
            "https://user:secret@example.com",
            "https://",
            "example.com",
            "",
            "http://localhost.example/secret",
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.starts_with("--alarm-webhook") && !error.contains("example"), "{error}");
        }
    }

    #[test]
    fn one_event_has_the_documented_shape() {
        let mut event = event(1);
        (event.at, event.alarm.since) = (1_795_000_065_999, 1_795_000_000_999);
        let body = String::from_utf8(webhook().body(&[event])).unwrap();
        assert_eq!(
            body,
            r#"{"version":1,"server":"server","id":"ID","kind":"disk","severity":"critical","state":"raised","group":null,"gateway":null,"text":"the disk is full","since":1795000000,"at":1795000065}"#
                .replace("ID", &super::super::outbox::tests::event(1).alarm.id)
        );
    }

    #[test]
    fn many_come_as_a_summary() {
        let mut over = event(2);
        over.state = State::Over;
        let body: serde_json::Value =
            serde_json::from_slice(&webhook().body(&[event(1), over, event(3)])).unwrap();
        assert_eq!((&body["id"], &body["kind"]), (&"summary".into(), &"summary".into()));
        assert!(body["text"].as_str().unwrap().starts_with("2 alarms were raised and 1 are over"));
    }

    /// RFC 4231, test case 2.
    #[test]
    fn signatures_are_hmac_sha256() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        assert_eq!(
            signature(&key, b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
