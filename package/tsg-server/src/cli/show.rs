//! Answers as people read them.

mod account;
mod alarms;
mod flows;
mod gateway;
mod group;
mod status;

use super::table::Table;
use super::tshark;
use crate::json;
use crate::operations::Answer;
use anyhow::Result;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The value of an answer, for programs.
pub(super) fn json(answer: &Answer) -> Result<Zeroizing<Vec<u8>>> {
    // What has secrets does not go by way of a value, which would be freed as it is.
    if let Answer::Keys(keys) = answer {
        return Ok(json::pretty(keys)?);
    }
    if let Answer::Token(token) = answer {
        return Ok(json::pretty(token)?);
    }
    let tagged = serde_json::to_value(answer)?;
    Ok(json::pretty(tagged.get("value").unwrap_or(&serde_json::Value::Null))?)
}

/// An answer in words.
pub(super) fn text(answer: &Answer) -> Zeroizing<String> {
    Zeroizing::new(match answer {
        Answer::Keys(keys) => return tshark::text(keys),
        Answer::Done(done) => format!("{}\n", done.done),
        Answer::Key(key) => {
            format!("public key   {}\nfingerprint  {}\n", key.public_key, key.fingerprint)
        }
        Answer::Status(status) => status::status(status),
        Answer::Gateways(gateways) => gateway::list(gateways),
        Answer::Gateway(one) => gateway::show(one),
        Answer::Approved(approval) => {
            format!("{} is in {}: {}\n", approval.name, approval.group, approval.fingerprint)
        }
        Answer::ApprovedList(list) => gateway::approved(list),
        Answer::Commanded { command } => {
            format!("command {command} is sent; what comes of it will be in the server's log\n")
        }
        Answer::Groups(groups) => group::list(groups),
        Answer::Group(one) => group::show(one),
        Answer::Flows(flows) => flows::flows(flows),
        Answer::Policy(policy) => group::policy(policy),
        Answer::Accepted { version } => {
            format!("policy {version} is accepted, members are being prepared for it\n")
        }
        Answer::History(rows) => group::history(rows),
        Answer::Token(token) => return line(&token.token),
        Answer::Tokens(tokens) => {
            let mut table = Table::new(&["TOKEN", "GROUP", "EXPIRES", "USED BY"]);
            for token in tokens {
                let user =
                    token.used_by.map_or_else(String::new, |key| key.fingerprint().to_string());
                let expires = date(token.expires * 1000);
                table.line(vec![token.id.to_string(), token.group.clone(), expires, user]);
            }
            table.text("no tokens")
        }
        Answer::Rekeying { epoch, in_force: true } => format!("epoch {epoch} is in force\n"),
        Answer::Rekeying { epoch, in_force: false } => {
            format!("epoch {epoch} is ordered, members are being prepared for it\n")
        }
        Answer::Outcome(outcome) => match (outcome.ok, outcome.text.is_empty()) {
            (true, true) => "done\n".to_owned(),
            (false, true) => "failed\n".to_owned(),
            (_, false) => format!("{}\n", outcome.text.trim_end()),
        },
        Answer::Audit(rows) => {
            let mut table = Table::new(&["TIME", "WHO", "WHAT", "ON", "OUTCOME"]);
            for row in rows {
                let cells = [&row.who, &row.action, &row.object, &row.outcome];
                let cells = std::iter::once(date(row.at)).chain(cells.into_iter().cloned());
                table.line(cells.collect());
            }
            table.text("nothing was ordered yet")
        }
        Answer::Backup(ordered) => {
            format!("a backup of {} is ordered\n", ordered.server)
        }
        Answer::AuditVerdict(verdict) => account::verdict(verdict),
        Answer::Alarms(all) => alarms::list(all),
        Answer::AlarmTest(tested) => alarms::tested(tested),
        Answer::Found(page) => gateway::list(&page.gateways),
        Answer::Traffic(traffic) => account::traffic(traffic),
        Answer::Users(users) => account::users(users),
        Answer::ApiToken(token) => return line(&token.token),
        Answer::ApiTokens(tokens) => account::api_tokens(tokens),
    })
}

/// A secret and a line feed.
fn line(secret: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(secret.len() + 1));
    text.push_str(secret);
    text.push('\n');
    text
}

/// Seconds in words: `3d 4h`, `17m 5s`.
fn span(seconds: u64) -> String {
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m")];
    let mut text = String::new();
    for (count, unit) in parts.into_iter().skip_while(|&(count, _)| count == 0).take(2) {
        let _ = write!(text, "{count}{unit} ");
    }
    if seconds < 3_600 {
        let _ = write!(text, "{}s", seconds % 60);
    }
    text.trim_end().to_owned()
}

/// Milliseconds since 1970 as a date in UTC: `2026-11-20 15:04:05`.
fn date(milliseconds: u64) -> String {
    tsg_bundle::utc(milliseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_600, "1h 0m"), (90_061, "1d 1h")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
