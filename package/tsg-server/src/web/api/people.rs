//! Users of the pages, and tokens of programs.

mod shapes;

use super::{App, At, Body, Failures, Json, Outcome, Problem, Program, answer};
use crate::accounts::{Totp, UserChange};
use crate::operations::Operation;
use axum::http::StatusCode;
use shapes::{ApiToken, ChangeUser, MadeApiToken, NewApiToken, NewUser, User};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(users, add))
        .routes(routes!(change, remove))
        .routes(routes!(tokens, create_token))
        .routes(routes!(revoke_token))
}

/// Who may sign in
#[utoipa::path(
    get,
    path = "/users",
    tag = "accounts",
    responses((status = 200, body = Vec<User>), Failures),
)]
async fn users(program: Program) -> Outcome<Vec<User>> {
    let found = answer!(program.ask(Operation::UserList {}).await?, Users)?;
    Ok(Json(found.into_iter().map(User::from).collect()))
}

/// Somebody who may sign in
#[utoipa::path(
    post,
    path = "/users",
    tag = "accounts",
    request_body = NewUser,
    responses((status = 204), Failures),
)]
async fn add(program: Program, Body(new): Body<NewUser>) -> Result<StatusCode, Problem> {
    // Hashing is work that only an administrator may ask for.
    program.ask(Operation::UserList {}).await?;
    let password = program.app().hashing.hash(new.password).await?;
    let role = new.role.into();
    program.ask(Operation::UserAdd { name: new.name, role, password, first: false }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Another role or password, or no second factor
#[utoipa::path(
    patch,
    path = "/users/{user}",
    tag = "accounts",
    params(("user" = String, Path, description = "The name")),
    request_body = ChangeUser,
    responses((status = 204), Failures),
)]
async fn change(
    program: Program,
    At(name): At<String>,
    Body(change): Body<ChangeUser>,
) -> Result<StatusCode, Problem> {
    program.ask(Operation::UserList {}).await?;
    let totp = match change.second_factor {
        None => None,
        Some(false) => Some(Totp::Off),
        Some(true) => {
            let detail =
                "`second_factor` can be made false here; who uses the pages turns it on there";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    };
    let password = match change.password {
        None => None,
        Some(password) => Some(program.app().hashing.hash(password).await?),
    };
    let role = change.role.map(Into::into);
    let change = UserChange { role, password, totp, base: None };
    program.ask(Operation::UserChange { name, change }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take somebody away
#[utoipa::path(
    delete,
    path = "/users/{user}",
    tag = "accounts",
    params(("user" = String, Path, description = "The name")),
    responses((status = 204), Failures),
)]
async fn remove(program: Program, At(name): At<String>) -> Result<StatusCode, Problem> {
    program.ask(Operation::UserRemove { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Tokens of programs
#[utoipa::path(
    get,
    path = "/api-tokens",
    tag = "accounts",
    responses((status = 200, body = Vec<ApiToken>), Failures),
)]
async fn tokens(program: Program) -> Outcome<Vec<ApiToken>> {
    let found = answer!(program.ask(Operation::ApiTokenList {}).await?, ApiTokens)?;
    Ok(Json(found.into_iter().map(ApiToken::from).collect()))
}

/// A token for a program
#[utoipa::path(
    post,
    path = "/api-tokens",
    tag = "accounts",
    request_body = NewApiToken,
    responses((status = 201, body = MadeApiToken), Failures),
)]
async fn create_token(
    program: Program,
    Body(new): Body<NewApiToken>,
) -> Result<(StatusCode, Json<MadeApiToken>), Problem> {
    let order =
        Operation::ApiTokenCreate { name: new.name, role: new.role.into(), lifetime: new.lifetime };
    let made = answer!(program.ask(order).await?, ApiToken)?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Make a program's token worthless
#[utoipa::path(
    delete,
    path = "/api-tokens/{token}",
    tag = "accounts",
    params(("token" = u64, Path, description = "Its number")),
    responses((status = 204), Failures),
)]
async fn revoke_token(program: Program, At(id): At<u64>) -> Result<StatusCode, Problem> {
    program.ask(Operation::ApiTokenRevoke { id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
