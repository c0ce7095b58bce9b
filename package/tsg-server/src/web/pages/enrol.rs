//! One-time enrolment tokens.

use super::{Frame, gateways, or_refuse, order, show, words};
use crate::accounts::Role;
use crate::operations::{CreatedToken, Operation, Refusal};
use crate::web::App;
use crate::web::desk::{Caller, answer};
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;
use axum::routing::{get, post};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;
use tsg_control::server::TokenView;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/enrol", get(list).post(create))
        .route("/enrol/{token}/revoke", post(revoke))
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct Enrol {
    frame: Frame,
    made: Option<CreatedToken>,
    /// Made of numbers only.
    qr: String,
    groups: Vec<String>,
    /// Where gateways reach this server, as far as it can be guessed.
    address: String,
    tokens: Vec<TokenView>,
    /// Seconds since 1970.
    now: u64,
}

async fn page(
    app: &App,
    visitor: &Visitor,
    headers: &HeaderMap,
    made: Option<CreatedToken>,
) -> Result<Enrol, Refusal> {
    let caller = visitor.caller();
    let tokens = app.desk.ask(&caller, Operation::TokenList {}).await?;
    let mut tokens = answer!(tokens, Tokens)?;
    tokens.reverse();
    let now = crate::clock::Reading::now().map_or(0, |now| now.wall / 1000);
    Ok(Enrol {
        frame: Frame::new(app, visitor, "/enrol", "Enrolment"),
        qr: made.as_ref().map(|made| qr(&made.token, "The token as a QR code")).unwrap_or_default(),
        made,
        groups: gateways::groups(app, &caller).await?,
        address: address(app, &caller, headers).await?,
        tokens,
        now,
    })
}

/// The name under which the browser reaches this server, and the port that gateways connect to.
async fn address(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<String, Refusal> {
    let status = app.desk.ask(caller, Operation::Status {}).await?;
    let listen = answer!(status, Status)?.listen;
    let port = listen.rsplit_once(':').map_or("5555", |(_, port)| port);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    Ok(format!("tcp://{name}:{port}"))
}

pub(super) fn qr(text: &str, label: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else {
        return String::new();
    };
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    // Only the drawing: the rest is for a file of its own.
    let at = drawn.find("<svg").unwrap_or(0);
    drawn[at..].replacen("<svg", &format!("<svg role=\"img\" aria-label=\"{label}\""), 1)
}

async fn list(State(app): State<App>, visitor: Visitor, headers: HeaderMap) -> Response {
    show(&or_refuse!(app, visitor, page(&app, &visitor, &headers, None).await))
}

#[derive(Deserialize)]
struct Create {
    group: String,
    lifetime: u32,
    server: String,
}

async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    Posted(visitor, Create { group, lifetime, server }): Posted<Create>,
) -> Response {
    let servers: Vec<_> =
        server.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let made =
        app.desk.ask(&visitor.caller(), Operation::TokenCreate { group, lifetime, servers }).await;
    let made = or_refuse!(app, visitor, made.and_then(|made| answer!(made, Token)));
    show(&or_refuse!(app, visitor, page(&app, &visitor, &headers, Some(made)).await))
}

async fn revoke(
    State(app): State<App>,
    Path(id): Path<u64>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    order(&app, &visitor, Operation::TokenRevoke { id }, "/enrol").await
}
