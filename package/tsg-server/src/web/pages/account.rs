//! About whoever is signed in: the own password, the second factor.

use super::enrol::qr;
use super::{Frame, capital, door, show};
use crate::accounts::{Totp, TotpSecret, User, UserChange};
use crate::operations::{Operation, Refusal};
use crate::web::App;
use crate::web::safety::Posted;
use crate::web::session::{Visitor, with_cookie};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use std::time::Instant;
use zeroize::Zeroizing;

/// The page.
const HERE: &str = "/account";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(HERE, get(page).post(change_password))
        .route("/account/second-factor", post(begin_second_factor))
        .route("/account/second-factor/confirm", post(confirm_second_factor))
        .route("/account/second-factor/off", post(end_second_factor))
}

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    frame: Frame,
    second_factor: bool,
    /// To be typed into an app, and confirmed with its first code.
    proposed: Option<TotpSecret>,
}

impl Account {
    fn qr(&self, secret: &TotpSecret) -> String {
        qr(&secret.uri(&self.frame.user), "The secret as a QR code")
    }

    /// In fours, as people type it.
    fn typed(secret: &TotpSecret) -> Zeroizing<String> {
        let text = secret.text();
        let fours: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        Zeroizing::new(fours.join(" "))
    }
}

#[derive(Deserialize)]
struct NewPassword {
    old: Zeroizing<String>,
    password: Zeroizing<String>,
    again: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Password {
    password: Zeroizing<String>,
}

#[derive(Deserialize)]
struct Code {
    code: Zeroizing<String>,
}

async fn page(State(app): State<App>, visitor: Visitor) -> Response {
    let known = app.directory.now();
    show(&Account {
        second_factor: known.user(&visitor.user).is_some_and(|user| user.totp.is_some()),
        proposed: app.sessions.proposed(&visitor),
        frame: Frame::new(&app, &visitor, "", "You"),
    })
}

fn back(app: &App, visitor: &Visitor, text: &str, is_error: bool) -> Response {
    app.sessions.tell(visitor, text.to_owned(), is_error);
    Redirect::to(HERE).into_response()
}

/// Whoever sits at an open browser is not the user yet: the user knows the password.
async fn with_password(
    app: &App,
    visitor: &Visitor,
    password: Zeroizing<String>,
) -> Result<User, Response> {
    if let Err(wait) = app.throttle.begin(&visitor.user, visitor.from, Instant::now()) {
        return Err(back(app, visitor, &door::too_many(wait), true));
    }
    let Some(user) = app.directory.now().user(&visitor.user).cloned() else {
        return Err(Redirect::to("/login").into_response());
    };
    if !app.hashing.fits(user.password.clone(), password).await {
        return Err(back(app, visitor, "The password that you have is another one.", true));
    }
    app.throttle.right(&visitor.user, visitor.from);
    Ok(user)
}

/// All other sessions end with this; the one that asked goes on.
async fn change(app: &App, visitor: &Visitor, change: UserChange, done: &str) -> Response {
    let operation = Operation::UserChange { name: visitor.user.clone(), change };
    match app.desk.carry_out(visitor.caller().operator, operation).await {
        Ok(_) => {
            let known = app.directory.now();
            let version = known.user(&visitor.user).map_or((0, 0), User::session_version);
            let (name, now) = (&visitor.user, Instant::now());
            let cookie = app.sessions.begin_telling(name, version, app.secure, now, Some(done));
            with_cookie(cookie, HERE)
        }
        Err(Refusal { message, .. }) => back(app, visitor, &capital(&message), true),
    }
}

async fn change_password(
    State(app): State<App>,
    Posted(visitor, NewPassword { old, password, again }): Posted<NewPassword>,
) -> Response {
    if password != again {
        return back(&app, &visitor, "These are two different passwords.", true);
    }
    let user = match with_password(&app, &visitor, old).await {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let hash = match app.hashing.hash(password).await {
        Ok(hash) => hash,
        Err(refusal) => return back(&app, &visitor, &capital(&refusal.message), true),
    };
    let base = Some(user.session_version());
    let to = UserChange { password: Some(hash), base, ..UserChange::default() };
    change(&app, &visitor, to, "You have a new password.").await
}

async fn begin_second_factor(
    State(app): State<App>,
    Posted(visitor, Password { password }): Posted<Password>,
) -> Response {
    if let Err(answer) = with_password(&app, &visitor, password).await {
        return answer;
    }
    app.sessions.propose(&visitor, Some(TotpSecret::random()));
    Redirect::to(HERE).into_response()
}

async fn confirm_second_factor(
    State(app): State<App>,
    Posted(visitor, Code { code }): Posted<Code>,
) -> Response {
    let Some(secret) = app.sessions.proposed(&visitor) else {
        return back(&app, &visitor, "That took too long: begin again.", true);
    };
    if secret.step(&code, door::now()).is_none() {
        let text = "This is not the app's code: is its clock, and the server's, right?";
        return back(&app, &visitor, text, true);
    }
    let known = app.directory.now();
    let base = known.user(&visitor.user).map(User::session_version);
    let to = UserChange { totp: Some(Totp::On(secret)), base, ..UserChange::default() };
    change(&app, &visitor, to, "From now on you sign in with a code, too.").await
}

async fn end_second_factor(
    State(app): State<App>,
    Posted(visitor, Password { password }): Posted<Password>,
) -> Response {
    let user = match with_password(&app, &visitor, password).await {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let base = Some(user.session_version());
    let to = UserChange { totp: Some(Totp::Off), base, ..UserChange::default() };
    change(&app, &visitor, to, "Your password is enough from now on.").await
}
