//! The server itself, and its audit trail.

mod shapes;

use super::{App, Body, Failures, Json, Outcome, Problem, Program, Wanted, answer, check_number};
use crate::database::AuditFilter;
use crate::operations::Operation;
use crate::web::download;
use axum::response::Response;
use shapes::{AuditLine, NewBackup, Status, Traffic, Verdict, WhichLines};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(traffic))
        .routes(routes!(audit))
        .routes(routes!(verify_audit))
        .routes(routes!(backup))
}

/// How everything is
#[utoipa::path(
    get,
    path = "/status",
    tag = "server",
    responses((status = 200, body = Status), Failures),
)]
async fn status(program: Program) -> Outcome<Status> {
    let found = answer!(program.ask(Operation::Status {}).await?, Status)?;
    Ok(Json((*found).into()))
}

/// Packets in the last hour
#[utoipa::path(
    get,
    path = "/traffic",
    tag = "server",
    responses((status = 200, body = Traffic), Failures),
)]
async fn traffic(program: Program) -> Outcome<Traffic> {
    let found = answer!(program.ask(Operation::Traffic {}).await?, Traffic)?;
    Ok(Json(found.into()))
}

/// The audit trail, newest first
#[utoipa::path(
    get,
    path = "/audit",
    tag = "server",
    params(WhichLines),
    responses((status = 200, body = Vec<AuditLine>), Failures),
)]
async fn audit(program: Program, Wanted(which): Wanted<WhichLines>) -> Outcome<Vec<AuditLine>> {
    let WhichLines { text, before, since, until, limit } = which;
    check_number("limit", limit, 1..=10_000)?;
    let filter = AuditFilter { most: limit, before, text, since, until };
    let found = answer!(program.ask(Operation::AuditList(filter)).await?, Audit)?;
    Ok(Json(found.into_iter().map(AuditLine::from).collect()))
}

/// Is the audit trail as it was written?
#[utoipa::path(
    get,
    path = "/audit/verdict",
    tag = "server",
    responses((status = 200, body = Verdict), Failures),
)]
async fn verify_audit(program: Program) -> Outcome<Verdict> {
    let found = answer!(program.ask(Operation::AuditVerify {}).await?, AuditVerdict)?;
    Ok(Json(found.into()))
}

/// All that a new machine needs, encrypted for some recipients
#[utoipa::path(
    post,
    path = "/backup",
    tag = "server",
    request_body = NewBackup,
    responses(
        (status = 200, description = "The file, in the format age", body = [u8], content_type = "application/octet-stream"),
        Failures,
    ),
)]
async fn backup(program: Program, Body(new): Body<NewBackup>) -> Result<Response, Problem> {
    Ok(download::backup(program.app(), program.caller(), new.recipients).await?)
}
