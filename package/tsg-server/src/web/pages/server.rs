//! The server itself, for administrators: how its secrets lie on the disk, and a backup to take along.

use super::{Frame, or_refuse, refused, show};
use crate::accounts::Role;
use crate::operations::{Operation, Refusal, RefusalKind, Status};
use crate::web::desk::answer;
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use crate::web::{App, download};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/server", get(page)).route("/server/backup", post(backup))
}

#[derive(Template)]
#[template(path = "server.html")]
struct Page {
    frame: Frame,
    status: Box<Status>,
}

async fn page(State(app): State<App>, visitor: Visitor) -> Response {
    if visitor.role < Role::Admin {
        let refusal = Refusal::new(RefusalKind::Forbidden, "this takes the role admin");
        return refused(&app, &visitor, &refusal);
    }
    let status = app.desk.ask(&visitor.caller(), Operation::Status {}).await;
    let status = or_refuse!(app, visitor, status.and_then(|found| answer!(found, Status)));
    show(&Page { frame: Frame::new(&app, &visitor, "/server", "Server"), status })
}

#[derive(Deserialize)]
struct Backup {
    recipients: String,
}

async fn backup(
    State(app): State<App>,
    Posted(visitor, Backup { recipients }): Posted<Backup>,
) -> Response {
    let recipients = recipients.split_whitespace().map(str::to_owned).collect();
    or_refuse!(app, visitor, download::backup(&app, &visitor.caller(), recipients).await)
}
