//! Many gateways let in at once, by a list of their fingerprints: the form is on the page of all gateways.

use super::{Frame, gateways, or_refuse, refused, show, status};
use crate::accounts::Role;
use crate::operations::{ApprovedList, Operation, Refusal, RefusalKind, read_list};
use crate::web::App;
use crate::web::desk::{Caller, answer};
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use tsg_control::server::{GatewayFilter, GatewayState};

pub(super) fn routes() -> Router<App> {
    // Not below `/gateways`: each word there may be the name of one.
    Router::new().route("/approvals", post(approve))
}

/// The form, and what was typed into it.
pub(super) struct Form {
    /// So many wait.
    pub(super) waiting: usize,
    pub(super) groups: Vec<String>,
    group: String,
    list: String,
    pub(super) wrong: String,
}

impl Form {
    pub(super) fn is_chosen(&self, group: &str) -> bool {
        self.group == group
    }

    pub(super) fn typed(&self) -> &str {
        &self.list
    }
}

/// For whoever may let gateways in, while some wait.
pub(super) async fn form(
    app: &App,
    caller: &Caller,
    groups: &[String],
) -> Result<Option<Form>, Refusal> {
    if caller.role < Role::Operator {
        return Ok(None);
    }
    let waiting =
        GatewayFilter { state: Some(GatewayState::Pending), most: 1, ..GatewayFilter::default() };
    let found = app.desk.ask(caller, Operation::GatewayFind(waiting)).await?;
    let waiting = answer!(found, Found)?.total;
    let form = Form {
        waiting,
        groups: groups.to_vec(),
        group: String::new(),
        list: String::new(),
        wrong: String::new(),
    };
    Ok((waiting > 0).then_some(form))
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    frame: Frame,
    /// What came of a list…
    came: Option<ApprovedList>,
    /// … or the list once more, with what is wrong.
    form: Option<Form>,
}

#[derive(Deserialize)]
struct Listed {
    group: String,
    list: String,
}

async fn approve(
    State(app): State<App>,
    Posted(visitor, Listed { group, list }): Posted<Listed>,
) -> Response {
    let caller = visitor.caller();
    // Who may not is told that, whatever was typed.
    let may = caller.role >= Role::Operator;
    let came = match if may { read_list(&list) } else { Ok(Vec::new()) } {
        Err(refusal) => Err(refusal),
        Ok(fingerprints) => {
            let asked = Operation::GatewayApproveListed { group: group.clone(), fingerprints };
            app.desk.ask(&caller, asked).await.and_then(|came| answer!(came, ApprovedList))
        }
    };
    match came {
        Ok(came) => {
            let frame = frame(&app, &visitor);
            show(&Page { frame, came: Some(came), form: None })
        }
        Err(refusal) if refusal.kind == RefusalKind::Forbidden => refused(&app, &visitor, &refusal),
        Err(refusal) => {
            let groups = or_refuse!(app, visitor, gateways::groups(&app, &caller).await);
            let wrong = super::capital(&refusal.message);
            let form = Some(Form { waiting: 0, groups, group, list, wrong });
            let page = Page { frame: frame(&app, &visitor), came: None, form };
            (status(&refusal), show(&page)).into_response()
        }
    }
}

fn frame(app: &App, visitor: &Visitor) -> Frame {
    Frame::new(app, visitor, "/gateways", "Approve a list")
}
