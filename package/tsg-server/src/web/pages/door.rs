//! Before somebody is signed in: set-up, and sign-in with a password and, for who wants it so, a code.

use super::show;
use crate::accounts::{PasswordHash, Role, User};
use crate::clock::Reading;
use crate::operations::{Operation, Operator};
use crate::web::safety::{Open, Posted};
use crate::web::session::with_cookie;
use crate::web::{App, Peer};
use askama::Template;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Nobody knows yet who sends these forms.
const MOST_BYTES: usize = 8 * 1024;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/login", get(login).post(sign_in))
        .route("/login/code", post(type_code))
        .route("/setup", get(setup).post(set_up))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .route("/logout", post(sign_out))
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
#[template(path = "code.html")]
struct CodePage {
    door: Door,
    ticket: String,
    to: String,
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
struct TypedCode {
    ticket: String,
    code: Zeroizing<String>,
    #[serde(default)]
    to: String,
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
        return again(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    let known = app.directory.now().user(&name).cloned();
    // Whoever is not there takes as long.
    let hash = known.as_ref().map_or_else(|| NOBODY.clone(), |user| Some(user.password.clone()));
    let fits = match hash {
        Some(hash) => app.hashing.fits(hash, password).await,
        None => false,
    };
    let Some(user) = known.filter(|_| fits) else {
        log::warn!("{from}: wrong name or password for the pages");
        return again(StatusCode::UNAUTHORIZED, "Name or password is wrong.".to_owned());
    };
    if user.totp.is_some() {
        // It counts as a wrong attempt until the code is right, too.
        let ticket = app.codes.wait_for(&user.name, user.session_version(), Instant::now());
        return show(&CodePage { door: Door { wrong: String::new() }, ticket, to });
    }
    let_in(&app, &user, from, &to)
}

fn let_in(app: &App, user: &User, from: IpAddr, to: &str) -> Response {
    app.throttle.right(&user.name, from);
    log::info!("{} signs in to the pages", Operator::user(&user.name, from).0);
    let version = user.session_version();
    let cookie = app.sessions.begin(&user.name, version, app.secure, Instant::now());
    with_cookie(cookie, inside(to))
}

async fn type_code(
    State(app): State<App>,
    Peer(from): Peer,
    Open(TypedCode { ticket, code, to }): Open<TypedCode>,
) -> Response {
    let Some((name, version)) = app.codes.attempt(&ticket, Instant::now()) else {
        let wrong = "That took too long, or too many codes were wrong: sign in again.".to_owned();
        let page = Login { door: Door { wrong }, name: String::new(), to };
        return (StatusCode::UNAUTHORIZED, show(&page)).into_response();
    };
    let again = |status: StatusCode, wrong: String| {
        let page = CodePage { door: Door { wrong }, ticket: ticket.clone(), to: to.clone() };
        (status, show(&page)).into_response()
    };
    if let Err(wait) = app.throttle.begin(&name, from, Instant::now()) {
        return again(StatusCode::TOO_MANY_REQUESTS, too_many(wait));
    }
    let accounts = app.directory.now();
    let user = accounts.user(&name).filter(|user| user.session_version() == version);
    let Some(user) = user.filter(|user| app.codes.fits(user, &code, now())) else {
        log::warn!("{from}: wrong code of the second factor for the pages");
        let wrong = "This code is wrong, or was used already: take the next one.".to_owned();
        return again(StatusCode::UNAUTHORIZED, wrong);
    };
    app.codes.done(&ticket);
    let_in(&app, user, from, &to)
}

/// In seconds since 1970.
pub(super) fn now() -> u64 {
    Reading::now().map_or(0, |now| now.wall / 1000)
}

/// What whoever tried too often is told.
pub(super) fn too_many(wait: Duration) -> String {
    format!("Too many attempts: wait {} s and try again.", wait.as_secs() + 1)
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
        return wrong(too_many(wait));
    }
    if !app.setup.is_code(&code) {
        return wrong("This is not the set-up code: take the newest one in the log.".to_owned());
    }
    if password != again {
        return wrong("These are two different passwords.".to_owned());
    }
    let hash = match app.hashing.hash(password).await {
        Ok(hash) => hash,
        Err(refusal) => return wrong(super::capital(&refusal.message)),
    };
    let (name_of, role) = (name.clone(), Role::Admin);
    let operation = Operation::UserAdd { name: name_of, role, password: hash, first: true };
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
