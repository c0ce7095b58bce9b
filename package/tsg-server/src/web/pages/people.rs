//! Who may use the pages and the API.

use super::{Frame, or_refuse, order, show, words};
use crate::accounts::{Role, Totp, UserChange};
use crate::operations::{ApiTokenView, CreatedApiToken, Operation, Refusal, RefusalKind, UserView};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use zeroize::Zeroizing;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/people", get(list).post(add))
        .route("/people/{user}/role", post(set_role))
        .route("/people/{user}/password", post(set_password))
        .route("/people/{user}/no-second-factor", post(no_second_factor))
        .route("/people/{user}/remove", post(remove))
        .route("/people/tokens", post(create_token))
        .route("/people/tokens/{token}/revoke", post(revoke_token))
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    frame: Frame,
    made: Option<CreatedApiToken>,
    users: Vec<UserView>,
    tokens: Vec<ApiTokenView>,
}

async fn page(
    app: &App,
    visitor: &Visitor,
    made: Option<CreatedApiToken>,
) -> Result<People, Refusal> {
    let caller = visitor.caller();
    let users = app.desk.ask(&caller, Operation::UserList {}).await?;
    let tokens = app.desk.ask(&caller, Operation::ApiTokenList {}).await?;
    Ok(People {
        frame: Frame::new(app, visitor, "/people", "Users"),
        made,
        users: answer!(users, Users)?,
        tokens: answer!(tokens, ApiTokens)?,
    })
}

async fn list(State(app): State<App>, visitor: Visitor) -> Response {
    show(&or_refuse!(app, visitor, page(&app, &visitor, None).await))
}

#[derive(Deserialize)]
struct Add {
    name: String,
    role: Role,
    password: Zeroizing<String>,
}

/// Before a password is hashed, which is work.
fn admin(visitor: &Visitor) -> Result<(), Refusal> {
    let text = "this takes the role admin";
    if visitor.role >= Role::Admin {
        Ok(())
    } else {
        Err(Refusal::new(RefusalKind::Forbidden, text))
    }
}

async fn add(
    State(app): State<App>,
    Posted(visitor, Add { name, role, password }): Posted<Add>,
) -> Response {
    or_refuse!(app, visitor, admin(&visitor));
    let password = or_refuse!(app, visitor, app.hashing.hash(password).await);
    let operation = Operation::UserAdd { name, role, password, first: false };
    order(&app, &visitor, operation, "/people").await
}

#[derive(Deserialize)]
struct SetRole {
    role: Role,
}

async fn set_role(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, SetRole { role }): Posted<SetRole>,
) -> Response {
    let change = UserChange { role: Some(role), ..UserChange::default() };
    order(&app, &visitor, Operation::UserChange { name, change }, "/people").await
}

#[derive(Deserialize)]
struct SetPassword {
    password: Zeroizing<String>,
}

async fn set_password(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, SetPassword { password }): Posted<SetPassword>,
) -> Response {
    or_refuse!(app, visitor, admin(&visitor));
    let password = or_refuse!(app, visitor, app.hashing.hash(password).await);
    let change = UserChange { password: Some(password), ..UserChange::default() };
    order(&app, &visitor, Operation::UserChange { name, change }, "/people").await
}

async fn no_second_factor(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    let change = UserChange { totp: Some(Totp::Off), ..UserChange::default() };
    order(&app, &visitor, Operation::UserChange { name, change }, "/people").await
}

async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    order(&app, &visitor, Operation::UserRemove { name }, "/people").await
}

#[derive(Deserialize)]
struct CreateToken {
    name: String,
    role: Role,
    lifetime: u32,
}

async fn create_token(
    State(app): State<App>,
    Posted(visitor, CreateToken { name, role, lifetime }): Posted<CreateToken>,
) -> Response {
    let made =
        app.desk.ask(&visitor.caller(), Operation::ApiTokenCreate { name, role, lifetime }).await;
    let made = or_refuse!(app, visitor, made.and_then(|made| answer!(made, ApiToken)));
    show(&or_refuse!(app, visitor, page(&app, &visitor, Some(made)).await))
}

async fn revoke_token(
    State(app): State<App>,
    Path(id): Path<u64>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    order(&app, &visitor, Operation::ApiTokenRevoke { id }, "/people").await
}
