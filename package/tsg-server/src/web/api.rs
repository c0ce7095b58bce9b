//! `/api/v1`: what the pages can, for programs. A program shows a token; what the API looks like is in
//! `/api/v1/openapi.json`, which is made from the code below.
//!
//! The shapes are the API's own (`shapes`, of each subject): what changes inside does not change them.

mod alarms;
mod ask;
mod flows;
mod gateways;
mod groups;
mod metrics;
mod people;
mod problem;
mod server;

use super::App;
use super::desk::answer;
use ask::{At, Body, Program, Wanted, check_number};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
pub(super) use metrics::Readiness;
use problem::Failures;
pub(super) use problem::{PROBLEM, Problem};
use serde::Serialize;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

/// An answer in JSON, or why there is none.
type Outcome<T> = Result<Json<T>, Problem>;

/// A value as JSON.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
            Err(error) => Problem::unavailable(error.to_string()).into_response(),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "TSG key server", description = "Lets gateways in, pushes policy, rotates keys."),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security(("token" = [])),
    tags(
        (name = "server", description = "How everything is"),
        (name = "alarms", description = "What is wrong, and who is told"),
        (name = "gateways", description = "Who asks to join, who is in"),
        (name = "groups", description = "Gateways that share keys and policy"),
        (name = "enrolment", description = "One-time tokens for gateways"),
        (name = "accounts", description = "Who may use the pages and the API"),
    )
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, described: &mut utoipa::openapi::OpenApi) {
        let components = described.components.get_or_insert_default();
        components
            .add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

pub(super) fn routes() -> Router<App> {
    let (router, described) = OpenApiRouter::with_openapi(Described::openapi())
        .nest(
            "/api/v1",
            OpenApiRouter::new()
                .merge(server::routes())
                .merge(alarms::routes())
                .merge(gateways::routes())
                .merge(groups::routes())
                .merge(flows::routes())
                .merge(people::routes()),
        )
        .split_for_parts();
    let text = described.to_json().unwrap_or_default();
    let document = move || async move { ([(CONTENT_TYPE, "application/json")], text) };
    router
        .route("/api/v1/openapi.json", get(document))
        .route(
            "/api/v1/{*rest}",
            axum::routing::any(async || Problem::not_found("there is no such path in the API")),
        )
        .merge(metrics::routes())
}
