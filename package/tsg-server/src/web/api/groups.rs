//! Groups, their policies, and tokens for gateways that join them.

mod shapes;

use super::ask::Since;
use super::{App, At, Body, Failures, Json, Outcome, Problem, Program, answer};
use crate::operations::{Answer, Operation, settings, settings_tag};
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
pub(super) use shapes::Action;
use shapes::{
    Accepted, Group, MadeToken, NewGroup, NewToken, Policy, PolicyVersion, Rekeying, Rule, Rules,
    Token,
};
use std::collections::BTreeMap;
use tsg_control::server::GroupView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(one, remove))
        .routes(routes!(show_settings, set))
        .routes(routes!(show_policy, set_policy))
        .routes(routes!(history))
        .routes(routes!(rekey))
        .routes(routes!(tokens, create_token))
        .routes(routes!(revoke_token))
}

async fn group(program: &Program, group: String) -> Result<Box<GroupView>, Problem> {
    Ok(answer!(program.ask(Operation::GroupShow { group }).await?, Group)?)
}

/// All groups
#[utoipa::path(
    get,
    path = "/groups",
    tag = "groups",
    responses((status = 200, body = Vec<Group>), Failures),
)]
async fn list(program: Program) -> Outcome<Vec<Group>> {
    let found = answer!(program.ask(Operation::GroupList {}).await?, Groups)?;
    Ok(Json(found.into_iter().map(Group::from).collect()))
}

/// A new group
#[utoipa::path(
    post,
    path = "/groups",
    tag = "groups",
    request_body = NewGroup,
    responses((status = 201, body = Group), Failures),
)]
async fn add(
    program: Program,
    Body(NewGroup { name }): Body<NewGroup>,
) -> Result<(StatusCode, Json<Group>), Problem> {
    program.ask(Operation::GroupAdd { group: name.clone() }).await?;
    let made = *group(&program, name).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// One group
#[utoipa::path(
    get,
    path = "/groups/{group}",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses((status = 200, body = Group), Failures),
)]
async fn one(program: Program, At(name): At<String>) -> Outcome<Group> {
    Ok(Json((*group(&program, name).await?).into()))
}

/// Remove a group that nobody is in
#[utoipa::path(
    delete,
    path = "/groups/{group}",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses((status = 204), Failures),
)]
async fn remove(program: Program, At(group): At<String>) -> Result<StatusCode, Problem> {
    program.ask(Operation::GroupRemove { group }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The settings of a group
#[utoipa::path(
    get,
    path = "/groups/{group}/settings",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = BTreeMap<String, String>, headers(("ETag" = String, description = "For If-Match"))),
        Failures
    ),
)]
async fn show_settings(program: Program, At(name): At<String>) -> Result<Response, Problem> {
    let group = group(&program, name).await?;
    Ok(tagged(&settings_tag(&group.settings), Json(settings(&group.settings))))
}

/// Change settings of a group, all of them or none
#[utoipa::path(
    patch,
    path = "/groups/{group}/settings",
    tag = "groups",
    params(
        ("group" = String, Path, description = "Its name"),
        ("If-Match" = String, Header, description = "The ETag that the change began with")
    ),
    request_body = BTreeMap<String,
    String>,
    responses((status = 200, body = BTreeMap<String, String>), Failures),
)]
async fn set(
    program: Program,
    At(name): At<String>,
    Since(base): Since,
    Body(changed): Body<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let order = Operation::GroupSet {
        group: name.clone(),
        settings: changed.into_iter().collect(),
        base: Some(base),
    };
    program.ask(order).await?;
    let group = group(&program, name).await?;
    Ok(tagged(&settings_tag(&group.settings), Json(settings(&group.settings))))
}

fn tagged(tag: &str, body: impl axum::response::IntoResponse) -> Response {
    ([(ETAG, format!("\"{tag}\""))], body).into_response()
}

/// The rules of a group
#[utoipa::path(
    get,
    path = "/groups/{group}/policy",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = Policy, headers(("ETag" = String, description = "For If-Match"))),
        Failures
    ),
)]
async fn show_policy(program: Program, At(name): At<String>) -> Result<Response, Problem> {
    let group = group(&program, name).await?;
    let policy = Policy {
        version: group.policy_version,
        in_force: group.policy_in_force,
        rules: group.policy.rules.iter().map(Rule::from).collect(),
    };
    Ok(tagged(&policy.version.to_string(), Json(policy)))
}

/// New rules for a group
#[utoipa::path(
    put,
    path = "/groups/{group}/policy",
    tag = "groups",
    params(
        ("group" = String, Path, description = "Its name"),
        ("If-Match" = String, Header, description = "The ETag that the change began with")
    ),
    request_body = Rules,
    responses((status = 200, body = Accepted), Failures),
)]
async fn set_policy(
    program: Program,
    At(group): At<String>,
    Since(base): Since,
    Body(Rules { rules }): Body<Rules>,
) -> Outcome<Accepted> {
    let base = base
        .parse()
        .map_err(|_| Problem::new(StatusCode::PRECONDITION_FAILED, "If-Match is of no version"))?;
    let wrong = |at: usize, why: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("rules[{at}]: {why}"))
    };
    let rules =
        rules.iter().enumerate().map(|(at, rule)| rule.read().map_err(|why| wrong(at, why)));
    let rules = rules.collect::<Result<_, _>>()?;
    let order = Operation::PolicySet { group, rules, default_action: None, base: Some(base) };
    let Answer::Accepted { version } = program.ask(order).await? else {
        return Err(Problem::unavailable("the key server answered something else"));
    };
    Ok(Json(Accepted { version }))
}

/// The policies that a group had, newest first
#[utoipa::path(
    get,
    path = "/groups/{group}/policy/history",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses((status = 200, body = Vec<PolicyVersion>), Failures),
)]
async fn history(program: Program, At(name): At<String>) -> Outcome<Vec<PolicyVersion>> {
    group(&program, name.clone()).await?;
    let found = answer!(program.ask(Operation::PolicyHistory { group: name }).await?, History)?;
    Ok(Json(found.into_iter().map(PolicyVersion::from).collect()))
}

/// Give a group new keys
#[utoipa::path(
    post,
    path = "/groups/{group}/rekey",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses((status = 202, body = Rekeying), Failures),
)]
async fn rekey(
    program: Program,
    At(group): At<String>,
) -> Result<(StatusCode, Json<Rekeying>), Problem> {
    let Answer::Rekeying { epoch, .. } = program.ask(Operation::Rekey { group }).await? else {
        return Err(Problem::unavailable("the key server answered something else"));
    };
    Ok((StatusCode::ACCEPTED, Json(Rekeying { epoch })))
}

/// All enrolment tokens
#[utoipa::path(
    get,
    path = "/enrolment-tokens",
    tag = "enrolment",
    responses((status = 200, body = Vec<Token>), Failures),
)]
async fn tokens(program: Program) -> Outcome<Vec<Token>> {
    let found = answer!(program.ask(Operation::TokenList {}).await?, Tokens)?;
    Ok(Json(found.into_iter().map(Token::from).collect()))
}

/// A token that lets one gateway in
#[utoipa::path(
    post,
    path = "/enrolment-tokens",
    tag = "enrolment",
    request_body = NewToken,
    responses((status = 201, body = MadeToken), Failures),
)]
async fn create_token(
    program: Program,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let NewToken { group, lifetime, servers } = new;
    let made =
        answer!(program.ask(Operation::TokenCreate { group, lifetime, servers }).await?, Token)?;
    let made = MadeToken { id: made.id, token: made.token.to_string(), expires: made.expires };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Make an enrolment token worthless
#[utoipa::path(
    delete,
    path = "/enrolment-tokens/{token}",
    tag = "enrolment",
    params(("token" = u64, Path, description = "Its number")),
    responses((status = 204), Failures),
)]
async fn revoke_token(program: Program, At(id): At<u64>) -> Result<StatusCode, Problem> {
    program.ask(Operation::TokenRevoke { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
