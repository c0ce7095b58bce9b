//! The audit trail: looked through, checked, taken along.

use super::{Frame, or_refuse, show, words};
use crate::database::{AuditFilter, AuditRow, AuditVerdict};
use crate::operations::{Operation, Refusal};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream;
use serde::{Deserialize, Serialize};

/// On one page.
const MOST: u32 = 100;

/// Read at once for a file.
const AT_ONCE: u32 = 1_000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/audit", get(page))
        .route("/audit.jsonl", get(json_lines))
        .route("/audit.csv", get(csv))
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Asked {
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    /// Days, as a date field has them.
    #[serde(skip_serializing_if = "String::is_empty")]
    since: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing)]
    verify: String,
    #[serde(skip)]
    query: String,
    #[serde(skip)]
    older: Option<String>,
}

impl Asked {
    fn filter(&self, most: u32) -> AuditFilter {
        AuditFilter {
            most,
            before: self.before,
            text: self.text.clone(),
            since: day(&self.since),
            until: day(&self.until).map(|at| at + 86_400_000),
        }
    }
}

/// When a day begins, in milliseconds since 1970: `2026-11-29`.
fn day(text: &str) -> Option<u64> {
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    if !(1970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil: years begin in March, so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days).ok().map(|days| days * 86_400_000)
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    rows: Vec<AuditRow>,
    verdict: Option<AuditVerdict>,
}

async fn rows(app: &App, visitor: &Visitor, filter: AuditFilter) -> Result<Vec<AuditRow>, Refusal> {
    let found = app.desk.ask(&visitor.caller(), Operation::AuditList(filter)).await?;
    answer!(found, Audit)
}

async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(mut asked): Query<Asked>,
) -> Response {
    let mut rows = or_refuse!(app, visitor, rows(&app, &visitor, asked.filter(MOST + 1)).await);
    let verdict = match asked.verify.as_str() {
        "" => None,
        _ => {
            let found = app.desk.ask(&visitor.caller(), Operation::AuditVerify {}).await;
            Some(or_refuse!(app, visitor, found.and_then(|found| answer!(found, AuditVerdict))))
        }
    };
    let link =
        |asked: &Asked| format!("?{}", serde_html_form::to_string(asked).unwrap_or_default());
    asked.query = link(&Asked { before: None, ..asked.clone() });
    if rows.len() > MOST as usize {
        rows.truncate(MOST as usize);
        let before = rows.last().map(|row| row.id);
        asked.older = Some(format!("/audit{}", link(&Asked { before, ..asked.clone() })));
    }
    show(&Page { frame: Frame::new(&app, &visitor, "/audit", "Audit trail"), asked, rows, verdict })
}

async fn json_lines(
    State(app): State<App>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Response {
    let line = |row: &AuditRow| serde_json::to_string(row).unwrap_or_default() + "\n";
    file(app, visitor, asked.filter(AT_ONCE), ("application/jsonl", "jsonl", ""), line).await
}

async fn csv(State(app): State<App>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let line = |row: &AuditRow| {
        let cells = [&row.who, &row.action, &row.object, &row.outcome].map(|cell| cell_of(cell));
        format!("{},{},{},{}\r\n", row.id, words::date(&row.at), cells.join(","), row.chain)
    };
    let head = "id,time,who,action,object,outcome,chain\r\n";
    file(app, visitor, asked.filter(AT_ONCE), ("text/csv; charset=utf-8", "csv", head), line).await
}

/// All lines, the newest first, sent as they are read: years of them are no page.
async fn file(
    app: App,
    visitor: Visitor,
    filter: AuditFilter,
    (kind, ends, head): (&'static str, &str, &'static str),
    line: fn(&AuditRow) -> String,
) -> Response {
    let first = or_refuse!(app, visitor, rows(&app, &visitor, filter.clone()).await);
    let named = format!("attachment; filename=\"tsg-audit.{ends}\"");
    let next = move |(text, now): (String, Option<Vec<AuditRow>>)| {
        let (app, visitor, filter) = (app.clone(), visitor.clone(), filter.clone());
        async move {
            let Some(now) = now else { return Ok(None) };
            let text = now.iter().fold(text, |text, row| text + &line(row));
            let before = now.last().map(|row| row.id).filter(|_| now.len() == AT_ONCE as usize);
            let then = match before {
                None => None,
                Some(_) => {
                    let older = rows(&app, &visitor, AuditFilter { before, ..filter }).await;
                    // The browser sees that the file is not whole.
                    Some(older.map_err(|refusal| std::io::Error::other(refusal.message))?)
                }
            };
            Ok::<_, std::io::Error>(Some((text, (String::new(), then))))
        }
    };
    let lines = stream::try_unfold((head.to_owned(), Some(first)), next);
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, named)];
    (headers, Body::from_stream(lines)).into_response()
}

/// In quotes, and never a formula to a spreadsheet: names are chosen by gateways.
fn cell_of(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        assert_eq!(day("1970-01-01"), Some(0));
        assert_eq!(
            day("2024-02-29").map(|at| tsg_bundle::utc(at / 1000)),
            Some("2024-02-29 00:00:00".to_owned())
        );
        assert_eq!(
            day("2026-11-29").map(|at| tsg_bundle::utc(at / 1000)),
            Some("2026-11-29 00:00:00".to_owned())
        );
        for wrong in
            ["", "2026", "2026-13-01", "1969-12-31", "2026-11-29-1", "x-y-z", "99999-01-01"]
        {
            assert_eq!(day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell_of("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(cell_of("=cmd()"), "\"'=cmd()\"");
    }
}
