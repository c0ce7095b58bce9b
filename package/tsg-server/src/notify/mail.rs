//! Alarms by mail: plain text, all that waits in one message.

use super::channel::{Channel, Failure};
use super::said;
use super::target::Target;
use super::trust::Trust;
use super::webhook::summary;
use crate::alarms::Event;
use crate::files;
use anyhow::{Context, Result, anyhow, ensure};
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport as _};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// The server has so long for each answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Mails in an hour.
const AN_HOUR: u64 = 12;

/// More alarms are not listed in one mail.
const MOST_LISTED: usize = 50;

/// A longer subject is cut, in characters.
const LONGEST_SUBJECT: usize = 120;

/// Where mail goes by default, with TLS from the start and without.
pub(super) const KINDS: [(&str, u16); 2] = [("smtps", 465), ("smtp", 587)];

/// How mail is sent.
pub(super) struct Mail {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
    server: String,
}

/// What was given for it.
pub(super) struct Given<'a> {
    pub(super) to: &'a [String],
    pub(super) from: Option<&'a str>,
    pub(super) smtp: &'a Target,
    pub(super) user: Option<&'a str>,
    pub(super) password_file: Option<&'a Path>,
}

impl Mail {
    /// Checks what was given. Without `trust` nothing is encrypted, which only this machine's own mail server may see.
    pub(super) fn new(given: &Given<'_>, trust: Option<&Trust>, server: String) -> Result<Self> {
        let mailbox = |option: &str, text: &str| -> Result<Mailbox> {
            text.parse().map_err(|_| {
                anyhow!("{option}: {text:?} is no mail address such as ops@example.com")
            })
        };
        let to =
            given.to.iter().map(|text| mailbox("--alarm-mail", text)).collect::<Result<_>>()?;
        let own = format!("tsg-server@{server}");
        let from = match given.from {
            Some(text) => mailbox("--alarm-mail-from", text)?,
            None => own.parse().map_err(|_| {
                anyhow!("--alarm-mail-from is missing: {own:?}, the default, is no mail address")
            })?,
        };
        let Target { host, port, scheme } = given.smtp;
        let tls = match trust {
            None => Tls::None,
            Some(trust) if *scheme == "smtps" => Tls::Wrapper(trust.lettre(host)?),
            Some(trust) => Tls::Required(trust.lettre(host)?),
        };
        let mut transport = SmtpTransport::builder_dangerous(host)
            .port(*port)
            .tls(tls)
            .timeout(Some(PATIENCE))
            .hello_name(ClientId::Domain(server.clone()));
        if let Some((user, file)) = given.user.zip(given.password_file) {
            let password = files::read_named(file, "--smtp-password-file")?;
            let password = password.trim_end_matches(['\r', '\n']);
            ensure!(!password.is_empty(), "{} is empty", file.display());
            transport =
                transport.credentials(Credentials::new(user.to_owned(), password.to_owned()));
        }
        Ok(Self { transport: transport.build(), from, to, server })
    }

    fn message(&self, events: &[Event]) -> Result<Message> {
        let mut message = Message::builder().from(self.from.clone()).header(AutoSubmitted);
        for to in &self.to {
            message = message.to(to.clone());
        }
        message
            .subject(self.subject(events))
            .message_id(Some(self.id(events)))
            .date_now()
            .singlepart(SinglePart::plain(self.body(events)))
            .context("the mail cannot be made")
    }

    /// The same when it is tried again, so that a mail which arrived all the same is known for what it is.
    fn id(&self, events: &[Event]) -> String {
        let of = |event: Option<&Event>| event.map_or((0, 0), |event| (event.number, event.at));
        let ((first, at), (last, _)) = (of(events.first()), of(events.last()));
        format!("<tsg-{at}-{first}-{last}@{}>", self.server)
    }

    fn subject(&self, events: &[Event]) -> String {
        let what = match events {
            [one] => one.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
            [] => String::new(),
        };
        let subject = format!("[TSG {}] {what}", self.server);
        match subject.chars().count() > LONGEST_SUBJECT {
            true => subject.chars().take(LONGEST_SUBJECT - 1).chain(['…']).collect(),
            false => subject,
        }
    }

    fn body(&self, events: &[Event]) -> String {
        let mut text = String::new();
        for Event { state, at, alarm, .. } in events.iter().take(MOST_LISTED) {
            let state = state.name().to_uppercase();
            let about = alarm.about();
            let about = if about.is_empty() { "key server" } else { &about };
            let _ = write!(
                text,
                "{state}: {about}\n  {}\n  {}, {} UTC",
                alarm.text,
                alarm.severity.name(),
                tsg_bundle::utc(at / 1000)
            );
            let _ = match alarm.since / 1000 {
                since if since == at / 1000 => writeln!(text, "\n"),
                since => writeln!(text, ", since {} UTC\n", tsg_bundle::utc(since)),
            };
        }
        if events.len() > MOST_LISTED {
            let _ = writeln!(text, "And more: {}.\n", summary(events));
        }
        let _ = writeln!(
            text,
            "This is the key server {}. `tsg-server alarms` lists what stands, docs/operations.md says what to do.",
            self.server
        );
        text
    }
}

impl Channel for Mail {
    fn most(&self) -> usize {
        usize::MAX
    }

    fn an_hour(&self) -> u64 {
        AN_HOUR
    }

    fn send(&self, events: &[Event]) -> Result<String, Failure> {
        let message =
            self.message(events).map_err(|error| Failure::Never(said(&format!("{error:#}"))))?;
        let answer = self.transport.send(&message).map_err(|error| {
            // Its cause says what is wrong.
            let error = anyhow::Error::from(error);
            Failure::Later(said(&format!("{error:#}")))
        })?;
        let words: Vec<_> = answer.message().collect();
        Ok(said(&format!("{} {}", answer.code(), words.join(" "))))
    }
}

/// Nobody is away from the desk of a program.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Has it both of what signing in takes, or neither?
pub(super) fn check_login(user: Option<&str>, password_file: Option<&Path>) -> Result<()> {
    ensure!(
        user.is_some() == password_file.is_some(),
        "--smtp-user and --smtp-password-file go together"
    );
    Ok(())
}

/// As the log and the pages show it.
pub(super) fn shown(to: &[String], smtp: &Target) -> String {
    format!("{} by {smtp}", to.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::outbox::tests::event;
    use super::*;
    use crate::alarms::Alarm;
    use tsg_control::keys::PublicKey;
    use tsg_control::server::{Trouble, TroubleKind};

    fn mail(to: &[&str], from: Option<&str>) -> Result<Mail> {
        let smtp = Target::read("--smtp", "smtp://127.0.0.1:25", &KINDS).unwrap();
        let to: Vec<_> = to.iter().map(|&to| to.to_owned()).collect();
        let given = Given { to: &to, from, smtp: &smtp, user: None, password_file: None };
        Mail::new(&given, None, "tsg.example".to_owned())
    }

    fn text(events: &[Event]) -> String {
        let mail = mail(&["ops@example.com", "Werk 2 <werk2@example.com>"], None).unwrap();
        String::from_utf8(mail.message(events).unwrap().formatted()).unwrap()
    }

    #[test]
    fn a_hostile_gateway_adds_no_header_and_no_line() {
        let gateway = Some((
            "x\r\nBcc: everybody@example.com\r\n\r\n.\r\nQUIT".to_owned(),
            PublicKey([1; 32]),
        ));
        let trouble = Trouble {
            group: "plant".to_owned(),
            gateway,
            kind: TroubleKind::Gateway,
            text: "no key\r\n.\r\nRAISED: forged\u{2028}\nSubject: forged".to_owned(),
        };
        let mut hostile = event(1);
        hostile.alarm = Alarm::of(&trouble, 1_795_000_000_000);
        let text = text(&[hostile]);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> = head
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap().to_lowercase())
            .collect();
        let mut wanted = [
            "from",
            "to",
            "subject",
            "date",
            "message-id",
            "auto-submitted",
            "content-type",
            "mime-version",
            "content-transfer-encoding",
        ];
        let mut sorted = names.clone();
        sorted.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted, "{head}");
        assert!(!body.lines().any(|line| line.starts_with(['.', 'S', 'Q', 'B'])), "{body}");
    }

    #[test]
    fn one_event_is_told_in_plain_words() {
        let mut one = event(1);
        (one.at, one.alarm.since) = (1_795_000_065_000, 1_795_000_000_000);
        let text = text(&[one]).replace("=\r\n", "");
        for part in [
            "Subject: [TSG tsg.example] raised: key server: the disk is full\r\n",
            "From: tsg-server@tsg.example\r\n",
            "To: ops@example.com, \"Werk 2\" <werk2@example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "\r\nRAISED: key server\r\n  the disk is full\r\n  critical, 2026-11-18 11:07:45 UTC, since 2026-11-18 11:06:40 UTC\r\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn many_are_listed_up_to_a_bound() {
        let events: Vec<_> = (1..=200).map(event).collect();
        let text = text(&events);
        assert!(text.replace("\r\n ", " ").contains("(and 199 more)"), "{text}");
        assert_eq!(text.matches("RAISED: key server").count(), MOST_LISTED);
        assert!(
            text.replace("=\r\n", "").contains("200 alarms were raised and 0 are over"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_address_is_named() {
        let error = |to: &str, from| mail(&[to], from).err().unwrap().to_string();
        assert!(error("ops", None).contains("--alarm-mail: \"ops\""));
        assert!(error("ops@example.com\r\nBcc: x@example.com", None).contains("--alarm-mail"));
        assert!(error("ops@example.com", Some("nobody")).contains("--alarm-mail-from: \"nobody\""));
        let own = "ä b".to_owned();
        let smtp = Target::read("--smtp", "smtp://127.0.0.1", &KINDS).unwrap();
        let given = Given {
            to: &["ops@example.com".to_owned()],
            from: None,
            smtp: &smtp,
            user: None,
            password_file: None,
        };
        let error = Mail::new(&given, None, own).err().unwrap().to_string();
        assert!(error.starts_with("--alarm-mail-from is missing"), "{error}");
    }
}
