//! What holds for every answer, and for every form.

use super::App;
use super::api::{PROBLEM, Problem};
use super::session::Visitor;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts as _, Request};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The longest form: a policy of 256 rules.
const MOST_BODY: usize = 512 * 1024;

/// A request may take so long, its body included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing but what comes from here, and no script within a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Why not, in words, is not longer.
const MOST_SAID: usize = 4 * 1024;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Puts it around all routes.
pub(super) fn around(routes: Router<App>) -> Router<App> {
    routes
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(from_here))
        .layer(middleware::from_fn(for_programs))
        .layer(middleware::from_fn(with_headers))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "this took too long").into_response(),
    }
}

/// What changes something comes from one of our own pages, if it comes from a page at all.
async fn from_here(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !is_from_here(request.headers())
    {
        return (StatusCode::FORBIDDEN, "this form is not of this site").into_response();
    }
    next.run(request).await
}

fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&FETCH_SITE) {
        return matches!(site, "same-origin" | "none");
    }
    // Older browsers; a program sends neither.
    let host = text(&axum::http::header::HOST).unwrap_or_default();
    text(&ORIGIN)
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, from)| from == host))
}

/// A program is told why not as the API has it, whoever says so: a path that takes no such method, a form that is too long, one of
/// the above.
async fn for_programs(request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let method = request.method().clone();
    let has_body = !request.body().is_end_stream();
    let mut answer = next.run(request).await;
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return answer;
    }
    if answer.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != PROBLEM) {
        answer = as_problem(answer, &method).await;
    }
    // What it brings along may not have been read: then the connection ends, and whoever would use it again has to know.
    if has_body {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

async fn as_problem(answer: Response, method: &Method) -> Response {
    let status = answer.status();
    let (parts, body) = answer.into_parts();
    let said = to_bytes(body, MOST_SAID).await.unwrap_or_default();
    let detail = if status == StatusCode::METHOD_NOT_ALLOWED {
        format!("this path does not take {method}")
    } else if said.is_empty() {
        status.to_string()
    } else {
        String::from_utf8_lossy(&said).into_owned()
    };
    let mut answer = Problem::new(status, detail).into_response();
    if let Some(allowed) = parts.headers.get(ALLOW) {
        answer.headers_mut().insert(ALLOW, allowed.clone());
    }
    answer
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// A form of somebody who is signed in: it brings along what only our page could have told it.
pub(super) struct Posted<T>(pub(super) Visitor, pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Posted<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app)
            .await
            .map_err(axum::response::IntoResponse::into_response)?;
        let fields = form(Request::from_parts(parts, body), app).await?;
        let token = fields.iter().find(|(name, _)| name == "csrf").map(|(_, value)| value.as_str());
        // Both are random and as long: how long the comparison takes says nothing.
        if token != Some(visitor.csrf.as_str()) {
            return Err((
                StatusCode::FORBIDDEN,
                "this form is too old: go back, reload the page, and try again",
            )
                .into_response());
        }
        let own: Vec<_> = fields.iter().filter(|(name, _)| name != "csrf").collect();
        read(&own).map(|form| Self(visitor, form)).map_err(unreadable)
    }
}

/// A form of somebody who is not signed in.
pub(super) struct Open<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Open<T> {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Self, Response> {
        let fields = form(request, app).await?;
        read(&fields.iter().collect::<Vec<_>>()).map(Self).map_err(unreadable)
    }
}

type Fields = Vec<(String, String)>;

async fn form(request: Request<Body>, app: &App) -> Result<Fields, Response> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_none_or(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is no form").into_response());
    }
    let body = Bytes::from_request(request, app)
        .await
        .map_err(axum::response::IntoResponse::into_response)?;
    serde_html_form::from_bytes(&body).map_err(unreadable)
}

fn read<T: DeserializeOwned>(
    fields: &[&(String, String)],
) -> Result<T, serde_html_form::de::Error> {
    // The crate reads a form from text only, and what it has read it can write.
    let text = serde_html_form::to_string(fields).unwrap_or_default();
    serde_html_form::from_str(&text)
}

fn unreadable(why: serde_html_form::de::Error) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, format!("this form cannot be read: {why}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_form_of_another_site_is_not_of_this_one() {
        let host = ("host", "server:8888");
        for good in [
            &[host][..],
            &[host, ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "none")],
            &[host, ("origin", "https://server:8888")],
        ] {
            assert!(is_from_here(&headers(good)), "{good:?}");
        }
        for bad in [
            &[host, ("sec-fetch-site", "cross-site")][..],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "cross-site"), ("origin", "https://server:8888")],
            &[host, ("origin", "https://server:8889")],
            &[host, ("origin", "https://evil")],
            &[host, ("origin", "null")],
            &[("origin", "https://evil")],
        ] {
            assert!(!is_from_here(&headers(bad)), "{bad:?}");
        }
    }
}
