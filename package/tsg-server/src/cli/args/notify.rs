//! Who is told of audit trail, alarms and log.

use crate::notify::Options;
use std::path::PathBuf;

/// Seconds that an alarm has to stand.
const ALARM_AFTER: u32 = 30;

#[derive(Debug, clap::Args)]
pub(in super::super) struct Notify {
    /// Syslog collector (RFC 5424) for audit trail, alarms and log: udp://HOST:514, tcp://HOST:601 or tls://HOST:6514
    #[arg(long, env = "TSG_SERVER_SYSLOG", value_name = "ADDRESS")]
    syslog: Option<String>,
    /// Post alarms to https://HOST/PATH
    // The address may be a secret.
    #[arg(long, env = "TSG_SERVER_ALARM_WEBHOOK", hide_env_values = true, value_name = "URL")]
    alarm_webhook: Option<String>,
    /// File with the secret that signs what is posted
    #[arg(long, env = "TSG_SERVER_ALARM_WEBHOOK_SECRET", value_name = "FILE")]
    alarm_webhook_secret: Option<PathBuf>,
    /// Mail alarms to this address; may be given several times
    #[arg(long, env = "TSG_SERVER_ALARM_MAIL", value_delimiter = ',', value_name = "ADDRESS")]
    alarm_mail: Vec<String>,
    /// From this address; by default tsg-server@ this machine
    #[arg(long, env = "TSG_SERVER_ALARM_MAIL_FROM", value_name = "ADDRESS")]
    alarm_mail_from: Option<String>,
    /// Mail server: smtps://HOST:465, or smtp://HOST:587 with STARTTLS
    #[arg(long, env = "TSG_SERVER_SMTP", value_name = "ADDRESS")]
    smtp: Option<String>,
    /// User at the mail server
    #[arg(long, env = "TSG_SERVER_SMTP_USER", value_name = "NAME")]
    smtp_user: Option<String>,
    /// File with the password there
    #[arg(long, env = "TSG_SERVER_SMTP_PASSWORD_FILE", value_name = "FILE")]
    smtp_password_file: Option<PathBuf>,
    /// Certificates of the authorities that all of them are checked by, in PEM; by default the machine's
    #[arg(long, env = "TSG_SERVER_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// An alarm is told when it has stood for so many seconds, and over when it was gone for as long
    #[arg(long, env = "TSG_SERVER_ALARM_AFTER", default_value_t = ALARM_AFTER, value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    alarm_after: u32,
}

impl Notify {
    pub(in super::super) fn options(&self) -> Options {
        Options {
            syslog: self.syslog.clone(),
            webhook: self.alarm_webhook.clone(),
            webhook_secret: self.alarm_webhook_secret.clone(),
            mail: self.alarm_mail.clone(),
            mail_from: self.alarm_mail_from.clone(),
            smtp: self.smtp.clone(),
            smtp_user: self.smtp_user.clone(),
            smtp_password_file: self.smtp_password_file.clone(),
            ca_file: self.ca_file.clone(),
            alarm_after: self.alarm_after,
        }
    }
}
