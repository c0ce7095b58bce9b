//! Why something was not done, as RFC 9457 has it.

use crate::operations::{Refusal, RefusalKind};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// What kind of text it is.
pub(in crate::web) const PROBLEM: &str = "application/problem+json";

/// Why something was not done.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Problem {
    /// What kind of problem it is: `about:blank`, as the status says it.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
}

/// What every operation may be answered with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "for the description of the API")]
pub(super) enum Failures {
    /// The request is wrong, or not for this token.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Wrong(Problem),
    /// The server cannot now.
    #[response(status = "5XX", content_type = "application/problem+json")]
    NotNow(Problem),
}

impl Problem {
    pub(in crate::web) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Changed => StatusCode::PRECONDITION_FAILED,
            RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::Forbidden => StatusCode::FORBIDDEN,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(CONTENT_TYPE, PROBLEM)];
        let mut answer = (status, kind, text).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let how = axum::http::HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, how);
        }
        answer
    }
}
