//! The pages: rendered here, whole, for the role of whoever looks.

mod account;
mod alarms;
mod approvals;
mod audit;
mod chart;
mod door;
mod drops;
mod enrol;
mod gateways;
mod groups;
mod learn;
mod overview;
mod people;
mod policy;
mod server;
mod words;

use super::App;
use super::session::{Notice, Visitor};
use crate::accounts::Role;
use crate::operations::{Answer, Operation, Refusal, RefusalKind};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../assets/style.css");
const SCRIPT: &str = include_str!("../../assets/tsg.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// Changes when an asset does, so that browsers may keep them for good.
static ASSETS: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::new().chain_update(STYLE).chain_update(SCRIPT).chain_update(ICON).finalize();
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

pub(super) fn routes() -> Router<App> {
    Router::new()
        .merge(door::routes())
        .merge(account::routes())
        .merge(overview::routes())
        .merge(alarms::routes())
        .merge(gateways::routes())
        .merge(approvals::routes())
        .merge(groups::routes())
        .merge(policy::routes())
        .merge(learn::routes())
        .merge(enrol::routes())
        .merge(audit::routes())
        .merge(people::routes())
        .merge(server::routes())
        .route("/style.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/tsg.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .route("/icon.svg", get(|| asset("image/svg+xml", ICON)))
}

#[allow(clippy::unused_async, reason = "a handler of axum is one")]
async fn asset(kind: &'static str, content: &'static str) -> Response {
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, keep)], content)
        .into_response()
}

/// What is around the content of every page of somebody who is signed in.
struct Frame {
    title: String,
    /// The place in the navigation.
    here: &'static str,
    user: String,
    role: Role,
    csrf: String,
    notice: Option<Notice>,
}

impl Frame {
    fn new(app: &App, visitor: &Visitor, here: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            here,
            user: visitor.user.clone(),
            role: visitor.role,
            csrf: visitor.csrf.clone(),
            notice: app.sessions.told(visitor),
        }
    }

    fn assets(&self) -> &'static str {
        &ASSETS
    }

    const fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn is_at(&self, path: &str) -> bool {
        self.here == path
    }

    fn places(&self) -> Vec<(&'static str, &'static str)> {
        let mut places = vec![
            ("/", "Overview"),
            ("/alarms", "Alarms"),
            ("/gateways", "Gateways"),
            ("/groups", "Groups"),
            ("/enrol", "Enrolment"),
            ("/audit", "Audit"),
        ];
        if self.role >= Role::Admin {
            places.push(("/people", "Users"));
            places.push(("/server", "Server"));
        }
        places
    }
}

fn show(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            log::error!("a page cannot be shown: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be shown").into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct Wrong {
    frame: Frame,
    why: String,
}

const fn status(refusal: &Refusal) -> StatusCode {
    match refusal.kind {
        RefusalKind::NotFound => StatusCode::NOT_FOUND,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
        RefusalKind::Changed => StatusCode::PRECONDITION_FAILED,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A page about why there is none.
fn refused(app: &App, visitor: &Visitor, refusal: &Refusal) -> Response {
    let title = match refusal.kind {
        RefusalKind::NotFound => "Not here",
        RefusalKind::Forbidden => "Not for you",
        RefusalKind::Changed => "Changed meanwhile",
        RefusalKind::Conflict => "That does not fit",
        RefusalKind::Invalid => "That is wrong",
        RefusalKind::Unavailable => "Not now",
    };
    let page = Wrong { frame: Frame::new(app, visitor, "", title), why: capital(&refusal.message) };
    (status(refusal), show(&page)).into_response()
}

pub(super) async fn nothing_here(State(app): State<App>, visitor: Visitor) -> Response {
    let refusal = Refusal::new(RefusalKind::NotFound, "there is no such page");
    refused(&app, &visitor, &refusal)
}

/// Has an order carried out and goes to a page, which says what came of it.
async fn order(app: &App, visitor: &Visitor, operation: Operation, to: &str) -> Response {
    let outcome = app.desk.ask(&visitor.caller(), operation).await;
    let (text, is_error) = match &outcome {
        Ok(answer) => (outcome_text(answer), false),
        Err(refusal) => (refusal.message.clone(), true),
    };
    app.sessions.tell(visitor, capital(&text), is_error);
    Redirect::to(to).into_response()
}

fn outcome_text(answer: &Answer) -> String {
    if let Answer::Done(done) = answer {
        done.done.clone()
    } else if let Answer::Approved(approval) = answer {
        format!("{} is in {}", approval.name, approval.group)
    } else if let Answer::Accepted { version } = answer {
        format!("policy {version} is accepted; members are being prepared for it")
    } else if let Answer::Rekeying { epoch, .. } = answer {
        format!("epoch {epoch} is ordered; members are being prepared for it")
    } else {
        "done".to_owned()
    }
}

fn capital(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map(|first| first.to_uppercase().chain(signs).collect()).unwrap_or_default()
}

/// A page, or the page about why there is none.
macro_rules! or_refuse {
    ($app:expr, $visitor:expr, $outcome:expr) => {
        match $outcome {
            Ok(value) => value,
            Err(refusal) => return $crate::web::pages::refused(&$app, &$visitor, &refusal),
        }
    };
}
use or_refuse;
