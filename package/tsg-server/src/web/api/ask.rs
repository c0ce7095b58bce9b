//! What a request brings along: who asks, what for, and with what. What cannot be read is a [`Problem`].

use super::Problem;
use crate::clock::Reading;
use crate::operations::{Answer, Operation, Operator, Refusal, read_api_token};
use crate::web::desk::Caller;
use crate::web::{App, Peer};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;

/// A program with a token.
pub(super) struct Program {
    caller: Caller,
    app: App,
}

impl Program {
    /// Has it carried out.
    pub(super) async fn ask(&self, operation: Operation) -> Result<Answer, Refusal> {
        self.app.desk.ask(&self.caller, operation).await
    }

    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) const fn app(&self) -> &App {
        &self.app
    }
}

impl FromRequestParts<App> for Program {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let from =
            parts.extensions.get().map_or(std::net::IpAddr::from([0; 4]), |peer: &Peer| peer.0);
        let shown = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let secret = shown
            .and_then(|value| value.split_once(' '))
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, token)| read_api_token(token.trim()));
        let now = Reading::now().map_or(u64::MAX, |now| now.wall / 1000);
        let accounts = app.directory.now();
        let token = secret.and_then(|secret| accounts.token(&secret, now)).ok_or_else(|| {
            let detail = "send `Authorization: Bearer TOKEN`, with a token of the page Users, or of `tsg-server api-token \
                          create`, that has not expired";
            Problem::new(StatusCode::UNAUTHORIZED, detail)
        })?;
        let operator = Operator::token(&token.name, token.id, from);
        Ok(Self { caller: Caller { role: token.role, operator }, app: app.clone() })
    }
}

/// The variable parts of the path.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, app).await {
            Ok(Path(at)) => Ok(Self(at)),
            Err(error) => Err(Problem::not_found(error.body_text())),
        }
    }
}

/// What stands behind the path.
pub(super) struct Wanted<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Wanted<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, app).await {
            Ok(Query(wanted)) => Ok(Self(wanted)),
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, error.body_text())),
        }
    }
}

/// As many as the description allows.
pub(super) fn check_number(
    name: &str,
    number: u32,
    allowed: RangeInclusive<u32>,
) -> Result<(), Problem> {
    if allowed.contains(&number) {
        return Ok(());
    }
    let detail =
        format!("`{name}` is {number}: it can be {} to {}", allowed.start(), allowed.end());
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

/// How many are shown, unless asked for otherwise.
pub(super) const fn hundred() -> u32 {
    100
}

/// A value in JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            let detail = "send `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(|error| Problem::new(error.status(), error.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let status = if error.is_data() {
                StatusCode::UNPROCESSABLE_ENTITY
            } else {
                StatusCode::BAD_REQUEST
            };
            Problem::new(status, error.to_string())
        })
    }
}

/// The version that an edit began with: the tag that the answer to a GET had.
pub(super) struct Since(pub(super) String);

impl FromRequestParts<App> for Since {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        tag(&parts.headers).map(Self).ok_or_else(|| {
            let detail = "send `If-Match: ETAG` with the ETag of what you have changed, so that nobody's work is lost";
            Problem::new(StatusCode::PRECONDITION_REQUIRED, detail)
        })
    }
}

fn tag(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(IF_MATCH)?.to_str().ok()?.trim();
    let tag = text.strip_prefix('"')?.strip_suffix('"')?;
    Some(tag.to_owned()).filter(|tag| !tag.is_empty())
}
