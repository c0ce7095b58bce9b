//! Before somebody is signed in, and about themselves: set-up, sign-in, the own password.

use super::{Frame, show};
use crate::accounts::{AccountError, PasswordHash, Role, User};
use crate::operations::{Operation, Operator, Refusal};
use crate::web::safety::{Open, Posted};
use crate::web::session::{Visitor, with_cookie};
use crate::web::{App, Peer};
use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use std::sync::LazyLock;
use std::time::Instant;
use zeroize::Zeroizing;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/login", get(login).post(sign_in))
        .route("/logout", axum::routing::post(sign_out))
        .route("/setup", get(setup).post(set_up))
        .route("/account", get(account).post(change_password))
}

struct Door {
    wrong: String,
}

impl Door {
    fn assets(&self) -> &'static str {
        &super::ASSETS
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    door: Door,
    name: String,
    to: String,
}

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    door: Door,
    code: String,
    name: String,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
}

#[derive(Deserialize)]
struct To {
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: Zeroizing<String>,
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
struct First {
    code: String,
    name: String,
    password: Zeroizing<String>,
    again: Zeroizing<String>,
}

#[derive(Deserialize)]
struct NewPassword {
    old: Zeroizing<String>,
    password: Zeroizing<String>,
    again: Zeroizing<String>,
}

async fn login(State(app): State<App>, Query(To { to }): Query<To>) -> Response {
    if app.directory.now().is_empty() {
        return Redirect::to("/setup").into_response();
    }
    show(&Login { door: Door { wrong: String::new() }, name: String::new(), to })
}

async fn sign_in(
    State(app): State<App>,
    Peer(from): Peer,
    Open(Credentials { name, password, to }): Open<Credentials>,
) -> Response {
    let again = |status: StatusCode, wrong: String| {
        let name: String = name.chars().take(64).collect();
        (status, show(&Login { door: Door { wrong }, name, to: to.clone() })).into_response()
    };
    if let Err(wait) = app.throttle.begin(&name, from, Instant::now()) {
        let wrong = format!("Too many attempts: wait {} s and try again.", wait.as_secs() + 1);
        return again(StatusCode::TOO_MANY_REQUESTS, wrong);
    }
    let known =
        app.directory.now().user(&name).map(|user| (user.password.clone(), user.session_version()));
    // Whoever is not there takes as long.
    let hash = known.as_ref().map_or_else(|| NOBODY.clone(), |(hash, _)| Some(hash.clone()));
    let fits = match hash {
        Some(hash) => hashing(&app, move || hash.fits(&password)).await,
        None => None,
    };
    let (Some(true), Some((_, version))) = (fits, known) else {
        log::warn!("{from}: wrong name or password for the pages");
        return again(StatusCode::UNAUTHORIZED, "Name or password is wrong.".to_owned());
    };
    app.throttle.right(&name, from);
    log::info!("{} signs in to the pages", Operator::user(&name, from).0);
    let cookie = app.sessions.begin(&name, version, app.secure, Instant::now());
    with_cookie(cookie, inside(&to))
}

/// Of no user: the password is compared with this if there is none.
static NOBODY: LazyLock<Option<PasswordHash>> = LazyLock::new(|| {
    let mut random = [0_u8; 16];
    tsg_sodium::random(&mut random);
    PasswordHash::of(&random.map(|byte| format!("{byte:02x}")).concat()).ok()
});

/// Only a page of ours is gone to.
fn inside(to: &str) -> &str {
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    // Anything else is no header's value.
    if is_path && to.bytes().all(|byte| byte.is_ascii_graphic()) { to } else { "/" }
}

async fn sign_out(State(app): State<App>, Posted(visitor, ()): Posted<()>) -> Response {
    with_cookie(app.sessions.end(&visitor, app.secure), "/login")
}

async fn setup(State(app): State<App>) -> Response {
    if !app.directory.now().is_empty() {
        return Redirect::to("/").into_response();
    }
    app.setup.open();
    show(&SetupPage {
        door: Door { wrong: String::new() },
        code: String::new(),
        name: String::new(),
    })
}

async fn set_up(
    State(app): State<App>,
    Peer(from): Peer,
    Open(First { code, name, password, again }): Open<First>,
) -> Response {
    if !app.directory.now().is_empty() {
        return Redirect::to("/").into_response();
    }
    let wrong = |wrong: String| {
        let page = SetupPage { door: Door { wrong }, code: code.clone(), name: name.clone() };
        (StatusCode::UNPROCESSABLE_ENTITY, show(&page)).into_response()
    };
    if let Err(wait) = app.throttle.begin("", from, Instant::now()) {
        return wrong(format!("Too many attempts: wait {} s and try again.", wait.as_secs() + 1));
    }
    if !app.setup.is_code(&code) {
        return wrong("This is not the set-up code: take the newest one in the log.".to_owned());
    }
    if password != again {
        return wrong("These are two different passwords.".to_owned());
    }
    let hash = match new_hash(&app, password).await {
        Ok(hash) => hash,
        Err(refusal) => return wrong(super::capital(&refusal.message)),
    };
    let operation = Operation::UserAdd { name: name.clone(), role: Role::Admin, password: hash };
    let operator = Operator(format!("set-up code ({from})"));
    match app.desk.carry_out(operator, operation).await {
        Ok(_) => {
            app.setup.close();
            let version = app.directory.now().user(&name).map_or((0, 0), User::session_version);
            let cookie = app.sessions.begin(&name, version, app.secure, Instant::now());
            with_cookie(cookie, "/")
        }
        Err(refusal) => wrong(super::capital(&refusal.message)),
    }
}

async fn account(State(app): State<App>, visitor: Visitor) -> Response {
    show(&Account { frame: Frame::new(&app, &visitor, "", "You") })
}

async fn change_password(
    State(app): State<App>,
    Posted(visitor, NewPassword { old, password, again }): Posted<NewPassword>,
) -> Response {
    let wrong = |text: String| {
        app.sessions.tell(&visitor, text, true);
        Redirect::to("/account").into_response()
    };
    if password != again {
        return wrong("These are two different passwords.".to_owned());
    }
    if let Err(wait) = app.throttle.begin(&visitor.user, visitor.from, Instant::now()) {
        return wrong(format!("Too many attempts: wait {} s and try again.", wait.as_secs() + 1));
    }
    let Some(known) = app.directory.now().user(&visitor.user).map(|user| user.password.clone())
    else {
        return Redirect::to("/login").into_response();
    };
    if hashing(&app, move || known.fits(&old)).await != Some(true) {
        return wrong("The password that you have is another one.".to_owned());
    }
    app.throttle.right(&visitor.user, visitor.from);
    let hash = match new_hash(&app, password).await {
        Ok(hash) => hash,
        Err(refusal) => return wrong(super::capital(&refusal.message)),
    };
    let operation = Operation::UserSetPassword { name: visitor.user.clone(), password: hash };
    match app.desk.carry_out(visitor.caller().operator, operation).await {
        Ok(_) => {
            // All other sessions end with this; the one that asked goes on.
            let version =
                app.directory.now().user(&visitor.user).map_or((0, 0), User::session_version);
            let cookie = app.sessions.begin(&visitor.user, version, app.secure, Instant::now());
            with_cookie(cookie, "/account")
        }
        Err(refusal) => wrong(super::capital(&refusal.message)),
    }
}

/// Passwords are hashed on other threads, a few at once.
async fn hashing<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let _room = app.hashing.acquire().await.ok()?;
    tokio::task::spawn_blocking(work).await.ok()
}

/// The hash of a new password.
pub(in crate::web) async fn new_hash(
    app: &App,
    password: Zeroizing<String>,
) -> Result<PasswordHash, Refusal> {
    let made = hashing(app, move || PasswordHash::of(&password)).await;
    let gone = || AccountError::Conflict("the server is ending".to_owned());
    made.unwrap_or_else(|| Err(gone())).map_err(Refusal::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_away_from_here() {
        for good in ["/", "/gateways?state=pending", "/groups/plant/policy"] {
            assert_eq!(inside(good), good);
        }
        for bad in
            ["", "//evil", "https://evil", "/\\evil", "/a\r\nb", "evil", "/\u{e9}", "/\0", "/a b"]
        {
            assert_eq!(inside(bad), "/", "{bad:?}");
        }
    }
}
