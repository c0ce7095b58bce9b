//! From the options to channels that run. What was given wrongly is said at the start, not in the night when it is needed.

use super::bell::Bell;
use super::channel::{Channel, Meter, deliver};
use super::mail::{self, Mail};
use super::outbox::Outbox;
use super::syslog::{self, Syslog};
use super::target::Target;
use super::trust::Trust;
use super::webhook::{self, Webhook};
use super::{Notifier, host_name};
use crate::database::Lookout;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who is told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The syslog collector: `udp://…`, `tcp://…`, `tls://…`.
    pub syslog: Option<String>,
    /// Where alarms are posted to.
    pub webhook: Option<String>,
    /// A file with the secret that signs what is posted.
    pub webhook_secret: Option<PathBuf>,
    /// Who gets alarms by mail.
    pub mail: Vec<String>,
    /// From whom.
    pub mail_from: Option<String>,
    /// The mail server: `smtp://…`, `smtps://…`.
    pub smtp: Option<String>,
    /// To sign in there.
    pub smtp_user: Option<String>,
    /// A file with the password.
    pub smtp_password_file: Option<PathBuf>,
    /// Authorities whose certificates are believed, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// An alarm has to stand, and to be gone, for so many seconds.
    pub alarm_after: u32,
}

/// The channels that the options ask for.
struct Channels {
    syslog: Option<Syslog>,
    webhook: Option<Webhook>,
    mail: Option<(Mail, String)>,
}

impl Notifier {
    /// Starts the threads of all channels. `data` is the data folder, with the database in it.
    ///
    /// # Errors
    /// Names the option that is wrong, and what to do.
    pub fn open(options: &Options, data: &Path) -> Result<Self> {
        let Channels { syslog, webhook, mail } = channels(options)?;
        let meter = |name, to| Arc::new(Meter::new(name, to));
        let syslog = syslog.map(|syslog| (meter("syslog", syslog.shown()), Arc::new(syslog)));
        let mut simple: Vec<(Arc<Meter>, Arc<dyn Channel>)> = Vec::new();
        if let Some(webhook) = webhook {
            simple.push((meter("webhook", webhook.shown()), Arc::new(webhook)));
        }
        if let Some((mail, to)) = mail {
            simple.push((meter("mail", to), Arc::new(mail)));
        }
        let meters =
            syslog.iter().map(|(meter, _)| meter).chain(simple.iter().map(|(meter, _)| meter));
        let outbox = Arc::new(Outbox::open(data, meters.cloned().collect()));
        let mut notifier = Self::new(Arc::clone(&outbox));
        if let Some((meter, syslog)) = syslog {
            let bell = Arc::new(Bell::default());
            let work = syslog::Work {
                syslog: Arc::clone(&syslog),
                reader: Lookout::open(data)?,
                folder: data.to_owned(),
                outbox: Arc::clone(&outbox),
                meter: Arc::clone(&meter),
                bell: Arc::clone(&bell),
                end: Arc::clone(&notifier.end),
            };
            let sender = work.begin()?;
            notifier.start("syslog", bell, move || sender.run())?;
            notifier.channels.push((meter, syslog));
        }
        for (meter, channel) in simple {
            let (bell, end) = (Arc::new(Bell::default()), Arc::clone(&notifier.end));
            let (rung, outbox) = (Arc::clone(&bell), Arc::clone(&outbox));
            let (counted, told) = (Arc::clone(&meter), Arc::clone(&channel));
            notifier
                .start(meter.name, bell, move || deliver(&*told, &counted, &outbox, &rung, &end))?;
            notifier.channels.push((meter, channel));
        }
        Ok(notifier)
    }
}

fn channels(options: &Options) -> Result<Channels> {
    let target = options
        .syslog
        .as_deref()
        .map(|text| Target::read("--syslog", text, &syslog::KINDS))
        .transpose()?;
    let smtp = options
        .smtp
        .as_deref()
        .map(|text| Target::read("--smtp", text, &mail::KINDS))
        .transpose()?;
    ensure!(
        options.mail.is_empty() || smtp.is_some(),
        "--alarm-mail needs a mail server: give --smtp smtp://HOST:587 or --smtp smtps://HOST:465"
    );
    ensure!(
        smtp.is_none() || !options.mail.is_empty(),
        "--smtp sends alarms to nobody: say to whom with --alarm-mail ADDRESS"
    );
    mail::check_login(options.smtp_user.as_deref(), options.smtp_password_file.as_deref())?;
    ensure!(
        options.webhook_secret.is_none() || options.webhook.is_some(),
        "--alarm-webhook-secret signs nothing without --alarm-webhook"
    );
    let secure_syslog = target.as_ref().is_some_and(|target| target.scheme == "tls");
    let secure_webhook = options.webhook.as_deref().is_some_and(webhook::is_safe);
    // To a mail server elsewhere nothing goes unencrypted.
    let secure_mail =
        smtp.as_ref().is_some_and(|smtp| smtp.scheme == "smtps" || !smtp.is_loopback());
    let secure = secure_syslog || secure_webhook || secure_mail;
    let trust = secure.then(|| Trust::read(options.ca_file.as_deref())).transpose()?;
    let only = |needed: bool| trust.as_ref().filter(|_| needed);
    let server = host_name();
    let syslog = match target {
        Some(target) => Some(Syslog::new(target, only(secure_syslog), &server)?),
        None => None,
    };
    let webhook = match &options.webhook {
        Some(url) => Some(Webhook::new(
            url,
            options.webhook_secret.as_deref(),
            only(secure_webhook),
            server.clone(),
        )?),
        None => None,
    };
    let mail = match &smtp {
        Some(smtp) => {
            let given = mail::Given {
                to: &options.mail,
                from: options.mail_from.as_deref(),
                smtp,
                user: options.smtp_user.as_deref(),
                password_file: options.smtp_password_file.as_deref(),
            };
            let made = Mail::new(&given, only(secure_mail), server)?;
            Some((made, mail::shown(&options.mail, smtp)))
        }
        None => None,
    };
    Ok(Channels { syslog, webhook, mail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let some = |text: &str| Some(text.to_owned());
        let mail = || vec!["ops@example.com".to_owned()];
        for (options, said) in [
            (Options { mail: mail(), ..Options::default() }, "--alarm-mail needs a mail server"),
            (
                Options { smtp: some("smtp://127.0.0.1"), ..Options::default() },
                "--smtp sends alarms to nobody",
            ),
            (
                Options {
                    mail: mail(),
                    smtp: some("smtp://127.0.0.1"),
                    smtp_user: some("x"),
                    ..Options::default()
                },
                "--smtp-user and --smtp-password-file go together",
            ),
            (
                Options { webhook_secret: Some("/x".into()), ..Options::default() },
                "--alarm-webhook-secret signs nothing",
            ),
            (
                Options {
                    syslog: some("tls://127.0.0.1"),
                    ca_file: Some("/nothing/here".into()),
                    ..Options::default()
                },
                "cannot read --ca-file /nothing/here",
            ),
            (
                Options {
                    webhook: some("http://127.0.0.1/"),
                    webhook_secret: Some("/nothing/here".into()),
                    ..Options::default()
                },
                "/nothing/here is not there: it was given by --alarm-webhook-secret",
            ),
        ] {
            let error = format!("{:#}", channels(&options).err().unwrap());
            assert!(error.contains(said), "{error}");
        }
        let none = channels(&Options::default()).unwrap();
        assert!(none.syslog.is_none() && none.webhook.is_none() && none.mail.is_none());
    }
}
