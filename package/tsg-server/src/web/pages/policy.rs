//! The editor for a group's rules. The rows travel with the form, so it works without JavaScript, and nothing is lost
//! when something is wrong; before anything comes into force, it shows what changes and for whom.

use super::{Frame, groups, or_refuse, outcome_text, show};
use crate::accounts::Role;
use crate::operations::{Operation, Refusal, RefusalKind};
use crate::web::App;
use crate::web::desk::answer;
use crate::web::learned::{self, Scope};
use crate::web::policy::{Change, Row, SERVICES, Service, difference, read, rows, warnings};
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use std::net::IpAddr;
use tsg_control::policy::{MAX_RULES, Rule};
use tsg_control::server::{FlowView, GroupView};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/groups/{group}/policy", get(edit).post(changed))
        .route("/groups/{group}/policy/check", post(check))
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Editor {
    frame: Frame,
    group: String,
    /// The version that the editing began with.
    base: u64,
    rows: Vec<Row>,
    wrong: String,
    /// What was put in from what gateways saw.
    added: Option<usize>,
    review: Option<Review>,
}

struct Review {
    changes: Vec<Change>,
    members: usize,
    online: usize,
    warnings: Vec<String>,
}

impl Editor {
    const fn services(&self) -> &'static [Service] {
        &SERVICES
    }
}

#[derive(Deserialize)]
struct Asked {
    /// Begin with the rules of this version.
    version: Option<u64>,
    /// Add rules for all that no rule matches: on the `servers` that were seen, or for the `services` wherever they are.
    learned: Option<String>,
    /// Add a rule for this service…
    proto: Option<String>,
    port: Option<u16>,
    /// … on this machine only.
    server: Option<IpAddr>,
}

type Fields = Vec<(String, String)>;

fn editor(app: &App, visitor: &Visitor, group: &GroupView, base: u64, rows: Vec<Row>) -> Editor {
    Editor {
        frame: Frame::new(app, visitor, "/groups", format!("Rules of {}", group.name)),
        group: group.name.clone(),
        base,
        rows,
        wrong: String::new(),
        added: None,
        review: None,
    }
}

fn may(visitor: &Visitor) -> Result<(), Refusal> {
    let text = "this takes the role security-officer";
    match visitor.role >= Role::SecurityOfficer {
        true => Ok(()),
        false => Err(Refusal::new(RefusalKind::Forbidden, text)),
    }
}

async fn edit(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    or_refuse!(app, visitor, may(&visitor));
    let caller = visitor.caller();
    let group = or_refuse!(app, visitor, groups::group(&app, &caller, &name).await);
    let rules = match asked.version {
        None => group.policy.rules.clone(),
        Some(version) => {
            let found = app.desk.ask(&caller, Operation::PolicyHistory { group: name }).await;
            let history = or_refuse!(app, visitor, found.and_then(|found| answer!(found, History)));
            let found = history.into_iter().find(|row| row.policy.version == version);
            let missing =
                || Refusal::new(RefusalKind::NotFound, "there is no such version any more");
            or_refuse!(app, visitor, found.ok_or_else(missing)).policy.policy.rules
        }
    };
    let mut rows = rules.iter().map(Row::of).collect();
    let mut added = None;
    if asked.wants_more() {
        let wanted = Operation::FlowList { group: group.name.clone() };
        let found = app.desk.ask(&caller, wanted).await;
        let seen = or_refuse!(app, visitor, found.and_then(|found| answer!(found, Flows)));
        added = Some(learned::insert(&mut rows, asked.new_rows(&seen.flows), &seen.flows));
        // What is wrong is said while editing, too.
        let _ = read(&mut rows);
    }
    show(&Editor { added, ..editor(&app, &visitor, &group, group.policy_version, rows) })
}

impl Asked {
    const fn wants_more(&self) -> bool {
        self.learned.is_some() || self.proto.is_some()
    }

    fn new_rows(&self, seen: &[FlowView]) -> Vec<Row> {
        match (self.learned.as_deref(), &self.proto) {
            (Some("servers"), _) => learned::uncovered(seen, Scope::Seen),
            (Some("services"), _) => learned::uncovered(seen, Scope::Any),
            (_, Some(proto)) => {
                let servers: Vec<_> = self.server.into_iter().collect();
                let proto = learned::protocol(proto).unwrap_or_else(|| proto.clone());
                vec![learned::row(&proto, self.port, &servers)]
            }
            (_, None) => Vec::new(),
        }
    }
}

async fn changed(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, fields): Posted<Fields>,
) -> Response {
    or_refuse!(app, visitor, may(&visitor));
    let group = or_refuse!(app, visitor, groups::group(&app, &visitor.caller(), &name).await);
    let field = |wanted: &str| {
        fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str())
    };
    let base: u64 = field("base").parse().unwrap_or(0);
    let mut typed = rows(&fields);
    let (what, at) = field("do").split_once('-').unwrap_or((field("do"), ""));
    let at: usize = at.parse().unwrap_or(usize::MAX);
    match what {
        "up" if at > 0 && at < typed.len() => typed.swap(at, at - 1),
        "down" if at < typed.len().saturating_sub(1) => typed.swap(at, at + 1),
        "away" if at < typed.len() => drop(typed.remove(at)),
        "add" => typed.extend(Row::for_service(field("service"))),
        "review" | "save" => {
            return judged(&app, &visitor, &group, base, typed, what == "save").await;
        }
        _ => {}
    }
    // What is wrong is said while editing, too.
    let _ = read(&mut typed);
    show(&editor(&app, &visitor, &group, base, typed))
}

async fn judged(
    app: &App,
    visitor: &Visitor,
    group: &GroupView,
    base: u64,
    mut typed: Vec<Row>,
    save: bool,
) -> Response {
    let again = |rows: Vec<Row>, wrong: String| {
        let page = Editor { wrong, ..editor(app, visitor, group, base, rows) };
        (axum::http::StatusCode::UNPROCESSABLE_ENTITY, show(&page)).into_response()
    };
    if typed.len() > MAX_RULES {
        return again(typed, format!("A policy has at most {MAX_RULES} rules."));
    }
    let Some(rules) = read(&mut typed) else {
        let wrong = typed.iter().filter(|row| !row.wrong.is_empty()).count();
        let what = if wrong == 1 { "One rule is".to_owned() } else { format!("{wrong} rules are") };
        return again(typed, format!("{what} wrong: see below. Nothing was changed."));
    };
    if base != group.policy_version {
        let wrong = format!(
            "Somebody else has changed the rules meanwhile: version {} is there, you began with {base}. Compare with the \
             versions; if yours are right, review and save again.",
            group.policy_version
        );
        let page = Editor { wrong, ..editor(app, visitor, group, group.policy_version, typed) };
        return (axum::http::StatusCode::CONFLICT, show(&page)).into_response();
    }
    if save {
        return put_into_force(app, visitor, group, typed, rules).await;
    }
    let review = Review {
        changes: difference(&group.policy.rules, &rules),
        members: group.members,
        online: group.online,
        warnings: warnings(&group.policy.rules, &rules),
    };
    show(&Editor { review: Some(review), ..editor(app, visitor, group, base, typed) })
}

async fn put_into_force(
    app: &App,
    visitor: &Visitor,
    group: &GroupView,
    typed: Vec<Row>,
    rules: Vec<Rule>,
) -> Response {
    let operation = Operation::PolicySet {
        group: group.name.clone(),
        rules,
        default_action: None,
        base: Some(group.policy_version),
    };
    match app.desk.ask(&visitor.caller(), operation).await {
        Ok(accepted) => {
            app.sessions.tell(visitor, super::capital(&outcome_text(&accepted)), false);
            Redirect::to(&groups::path(&group.name)).into_response()
        }
        // Whatever it is, nobody's typing is lost for it.
        Err(refusal) => {
            let wrong = super::capital(&refusal.message);
            let page = Editor { wrong, ..editor(app, visitor, group, group.policy_version, typed) };
            (super::status(&refusal), show(&page)).into_response()
        }
    }
}

/// What is wrong with each row, while somebody types.
async fn check(State(_): State<App>, Posted(_, fields): Posted<Fields>) -> Response {
    let mut typed = rows(&fields);
    let _ = read(&mut typed);
    let wrong: Vec<_> = typed.into_iter().map(|row| row.wrong).collect();
    let text = serde_json::to_string(&wrong).unwrap_or_else(|_| "[]".to_owned());
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
