//! Gateways.

mod shapes;

use super::{
    App, At, Body, Failures, Json, Outcome, Problem, Program, Wanted, answer, check_number,
};
use crate::operations::{Answer, GatewayName, Operation, command_kind};
use axum::http::StatusCode;
use shapes::{
    Approve, ApproveListed, Approved, ApprovedList, ChangeGateway, Command, CommandOutcome,
    Gateway, Gateways, Revoke, Sent, Which,
};
use std::net::IpAddr;
use tsg_control::server::GatewayFilter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, change, remove))
        .routes(routes!(approve))
        // Not below `/gateways`: each word there may be the name of one.
        .routes(routes!(approve_listed))
        .routes(routes!(revoke))
        .routes(routes!(command))
        .routes(routes!(outcome))
}

/// Some gateways, or all
#[utoipa::path(
    get,
    path = "/gateways",
    tag = "gateways",
    params(Which),
    responses((status = 200, body = Gateways), Failures),
)]
async fn list(program: Program, Wanted(which): Wanted<Which>) -> Outcome<Gateways> {
    check_number("skip", which.skip, 0..=1_000_000)?;
    check_number("limit", which.limit, 1..=1_000)?;
    let filter = GatewayFilter {
        state: which.state.map(Into::into),
        group: which.group,
        alarmed: which.alarmed,
        tag: which.tag,
        text: which.text,
        skip: which.skip as usize,
        most: which.limit as usize,
    };
    let found = answer!(program.ask(Operation::GatewayFind(filter)).await?, Found)?;
    Ok(Json(found.into()))
}

/// One gateway
#[utoipa::path(
    get,
    path = "/gateways/{gateway}",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    responses((status = 200, body = Gateway), Failures),
)]
async fn one(program: Program, At(gateway): At<String>) -> Outcome<Gateway> {
    show(&program, gateway).await
}

async fn show(program: &Program, gateway: String) -> Outcome<Gateway> {
    let asked = Operation::GatewayShow { gateway: GatewayName(gateway) };
    let found = answer!(program.ask(asked).await?, Gateway)?;
    Ok(Json((*found).into()))
}

/// Give a gateway another name or tags, or say which machines are behind it
///
/// All of it is done, or nothing.
#[utoipa::path(
    patch,
    path = "/gateways/{gateway}",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    request_body = ChangeGateway,
    responses((status = 200, body = Gateway), Failures),
)]
async fn change(
    program: Program,
    At(gateway): At<String>,
    Body(change): Body<ChangeGateway>,
) -> Outcome<Gateway> {
    let ChangeGateway { name, pinned, tags } = change;
    let read = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("pinned: {text:?} is no address"),
            )
        })
    };
    let read_all = |pinned: Vec<String>| pinned.iter().map(read).collect::<Result<_, _>>();
    let machines = pinned.map(read_all).transpose()?;
    let asked = Operation::GatewayChange { gateway: GatewayName(gateway), name, machines, tags };
    let found = answer!(program.ask(asked).await?, Gateway)?;
    Ok(Json((*found).into()))
}

/// Forget a gateway; a member is thrown out by that
#[utoipa::path(
    delete,
    path = "/gateways/{gateway}",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    responses((status = 204), Failures),
)]
async fn remove(program: Program, At(gateway): At<String>) -> Result<StatusCode, Problem> {
    program.ask(Operation::GatewayRemove { gateway: GatewayName(gateway) }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a gateway in
#[utoipa::path(
    post,
    path = "/gateways/{gateway}/approve",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    request_body = Approve,
    responses((status = 200, body = Approved), Failures),
)]
async fn approve(
    program: Program,
    At(gateway): At<String>,
    Body(approve): Body<Approve>,
) -> Outcome<Approved> {
    let Approve { group, fingerprint } = approve;
    let asked = Operation::GatewayApprove { gateway: GatewayName(gateway), group, fingerprint };
    let done = answer!(program.ask(asked).await?, Approved)?;
    Ok(Json(done.into()))
}

/// Let all gateways in that wait and whose fingerprint is in a list
///
/// All others stay as they are. If a fingerprint is not whole, nobody is let in.
#[utoipa::path(
    post,
    path = "/approvals",
    tag = "gateways",
    request_body = ApproveListed,
    responses((status = 200, body = ApprovedList), Failures),
)]
async fn approve_listed(
    program: Program,
    Body(ApproveListed { group, fingerprints }): Body<ApproveListed>,
) -> Outcome<ApprovedList> {
    let asked = Operation::GatewayApproveListed { group, fingerprints };
    let done = answer!(program.ask(asked).await?, ApprovedList)?;
    Ok(Json(done.into()))
}

/// Throw a gateway out: its group is given new keys
#[utoipa::path(
    post,
    path = "/gateways/{gateway}/revoke",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    request_body = Revoke,
    responses((status = 204), Failures),
)]
async fn revoke(
    program: Program,
    At(gateway): At<String>,
    Body(Revoke { reason }): Body<Revoke>,
) -> Result<StatusCode, Problem> {
    program.ask(Operation::GatewayRevoke { gateway: GatewayName(gateway), reason }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tell a gateway to do something
#[utoipa::path(
    post,
    path = "/gateways/{gateway}/commands",
    tag = "gateways",
    params(("gateway" = String, Path, description = "Fingerprint, name or key")),
    request_body = Command,
    responses((status = 202, body = Sent), Failures),
)]
async fn command(
    program: Program,
    At(gateway): At<String>,
    Body(Command { command }): Body<Command>,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let kind = command_kind(&command).map_err(|known| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("command: {known}"))
    })?;
    let sent =
        program.ask(Operation::GatewayCommand { gateway: GatewayName(gateway), kind }).await?;
    let Answer::Commanded { command } = sent else {
        return Err(Problem::unavailable("the key server answered something else"));
    };
    Ok((StatusCode::ACCEPTED, Json(Sent { command })))
}

/// What came of a command
#[utoipa::path(
    get,
    path = "/commands/{command}",
    tag = "gateways",
    params(("command" = u64, Path, description = "Its number")),
    responses((status = 200, body = CommandOutcome), Failures),
)]
async fn outcome(program: Program, At(command): At<u64>) -> Outcome<CommandOutcome> {
    let found = answer!(program.ask(Operation::GatewayOutcome { command }).await?, Outcome)?;
    Ok(Json(CommandOutcome { answered: found.answered, ok: found.ok, text: found.text }))
}
