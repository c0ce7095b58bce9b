//! What there is in a group, as its gateways saw it: who uses which service, and what the rules do with it.

use super::{Frame, groups, or_refuse, show, words};
use crate::accounts::Role;
use crate::operations::{FlowsView, Operation};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::learned::service;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tsg_control::group::Mode;
use tsg_control::policy::Action;
use tsg_control::server::{FlowView, GroupView};

/// On one page.
const MOST: usize = 50;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/groups/{group}/learn", get(learn))
}

#[derive(Deserialize)]
#[serde(default)]
struct Asked {
    /// `open` for what no rule matches.
    show: String,
    page: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self { show: "all".to_owned(), page: 0 }
    }
}

#[derive(Template)]
#[template(path = "learn.html")]
struct Learn {
    frame: Frame,
    group: Box<GroupView>,
    reports: bool,
    only_open: bool,
    /// So many are there, and so many of these no rule matches.
    total: usize,
    open: usize,
    lines: Vec<Line>,
    before: Option<String>,
    after: Option<String>,
}

/// A flow as the table has it.
struct Line {
    flow: FlowView,
    service: String,
    /// What the rules do, and whether that is good.
    judged: String,
    class: &'static str,
    /// What is added to the editor's address.
    seen: String,
    any: String,
}

impl Line {
    fn of(flow: FlowView, group: &GroupView) -> Self {
        let proto = flow.proto.clone().unwrap_or_default();
        let known = flow.port.and_then(|port| service(&proto, port));
        let number =
            flow.port.map(|port| format!("{proto} {port}")).unwrap_or_else(|| proto.clone());
        let rule = flow.rule.and_then(|at| group.policy.rules.get(at - 1).map(|rule| (at, rule)));
        let judged = match rule {
            Some((at, rule)) if rule.name.is_empty() => {
                format!("{} by rule {at}", words::done(&flow.action))
            }
            Some((_, rule)) => format!("{} by {}", words::done(&flow.action), rule.name),
            None => format!("no rule: {}", words::done(&flow.action)),
        };
        let port = flow.port.map(|port| format!("&port={port}")).unwrap_or_default();
        let any = format!("proto={proto}{port}");
        Self {
            service: known.map_or_else(|| number.clone(), |known| format!("{known}, {number}")),
            judged,
            class: if flow.action == Action::Encrypt { "good" } else { "warn" },
            seen: format!("{any}&server={}", flow.server),
            any,
            flow,
        }
    }

    fn may_have_rule(&self) -> bool {
        self.flow.action != Action::Encrypt && self.flow.proto.is_some()
    }
}

async fn learn(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let caller = visitor.caller();
    let group = or_refuse!(app, visitor, groups::group(&app, &caller, &name).await);
    let found = app.desk.ask(&caller, Operation::FlowList { group: name }).await;
    let FlowsView { mut flows, mode, .. } =
        or_refuse!(app, visitor, found.and_then(|found| answer!(found, Flows)));
    let total = flows.len();
    let open = flows.iter().filter(|flow| flow.rule.is_none()).count();
    let only_open = asked.show == "open";
    if only_open {
        flows.retain(|flow| flow.rule.is_none());
    }
    let page = asked.page.min(flows.len() / MOST);
    let path = groups::path(&group.name);
    let link = |page: usize| {
        format!("{path}/learn?show={}&page={page}", if only_open { "open" } else { "all" })
    };
    let after = ((page + 1) * MOST < flows.len()).then(|| link(page + 1));
    let shown = flows.into_iter().skip(page * MOST).take(MOST);
    show(&Learn {
        frame: Frame::new(&app, &visitor, "/groups", format!("What there is in {}", group.name)),
        reports: matches!(mode, Mode::Learn | Mode::Migrate),
        only_open,
        total,
        open,
        lines: shown.map(|flow| Line::of(flow, &group)).collect(),
        before: page.checked_sub(1).map(link),
        after,
        group,
    })
}
