//! The alarms that stand, and who is told of them.

use super::{Frame, capital, or_refuse, show, words};
use crate::accounts::Role;
use crate::operations::{AlarmsView, Operation};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

/// More alarms are not listed.
const MOST: usize = 100;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/alarms", get(page)).route("/alarms/test", post(test))
}

#[derive(Template)]
#[template(path = "alarms.html")]
struct Page {
    frame: Frame,
    all: AlarmsView,
    /// So many more there are.
    more: usize,
}

async fn page(State(app): State<App>, visitor: Visitor) -> Response {
    let found = app.desk.ask(&visitor.caller(), Operation::AlarmList {}).await;
    let mut all = or_refuse!(app, visitor, found.and_then(|found| answer!(found, Alarms)));
    let more = all.alarms.len().saturating_sub(MOST);
    all.alarms.truncate(MOST);
    show(&Page { frame: Frame::new(&app, &visitor, "/alarms", "Alarms"), all, more })
}

async fn test(State(app): State<App>, Posted(visitor, ()): Posted<()>) -> Response {
    let found = app.desk.ask(&visitor.caller(), Operation::AlarmTest {}).await;
    let (text, is_error) = match found.and_then(|found| answer!(found, AlarmTest)) {
        Ok(tested) => {
            let of = |one: &crate::notify::Tested| {
                let arrived = if one.arrived { "arrived" } else { "did not arrive" };
                format!("{} {arrived}: {}", one.channel, one.text)
            };
            let all: Vec<_> = tested.iter().map(of).collect();
            (all.join("; "), tested.iter().any(|one| !one.arrived))
        }
        Err(refusal) => (refusal.message, true),
    };
    app.sessions.tell(&visitor, capital(&text), is_error);
    Redirect::to("/alarms").into_response()
}
