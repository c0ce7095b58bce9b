//! The first page: what is wrong, who waits, and how the groups are.

use super::{Frame, chart, drops, or_refuse, show, words};
use crate::accounts::Role;
use crate::operations::{GatewayAlarm, Operation, Status};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

/// More alarms are not listed here.
const MOST_ALARMS: usize = 10;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/", get(overview))
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    status: Box<Status>,
    alarms: Vec<GatewayAlarm>,
    chart: Option<chart::Chart>,
    drops: Vec<drops::Line>,
}

async fn overview(State(app): State<App>, visitor: Visitor) -> Response {
    let caller = visitor.caller();
    let status = app.desk.ask(&caller, Operation::Status {}).await;
    let status = or_refuse!(app, visitor, status.and_then(|found| answer!(found, Status)));
    let traffic = app.desk.ask(&caller, Operation::Traffic {}).await;
    let traffic = or_refuse!(app, visitor, traffic.and_then(|found| answer!(found, Traffic)));
    show(&Overview {
        frame: Frame::new(&app, &visitor, "/", "Overview"),
        alarms: status.alarms.iter().take(MOST_ALARMS).cloned().collect(),
        status,
        chart: chart::draw(&traffic),
        drops: drops::of_all(&traffic),
    })
}
