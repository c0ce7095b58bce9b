//! Gateways: who waits, who is in, and all about one of them.

use super::{Frame, approvals, or_refuse, order, show, words};
use crate::accounts::Role;
use crate::operations::{GatewayName, Operation, Outcome, Refusal, RefusalKind};
use crate::web::App;
use crate::web::desk::{Caller, answer};
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use tsg_control::message::CommandKind;
use tsg_control::server::{GatewayFilter, GatewayPage, GatewayState, GatewayView};

/// On one page.
const MOST: usize = 50;

/// A gateway may take so long to do what it is told; what comes later is in the log.
const COMMAND: Duration = Duration::from_secs(8);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/gateways", get(list))
        .route("/gateways/{gateway}", get(one))
        .route("/gateways/{gateway}/approve", post(approve))
        .route("/gateways/{gateway}/rename", post(rename))
        .route("/gateways/{gateway}/pin", post(pin))
        .route("/gateways/{gateway}/tag", post(tag))
        .route("/gateways/{gateway}/command", post(command))
        .route("/gateways/{gateway}/revoke", post(revoke))
        .route("/gateways/{gateway}/remove", post(remove))
}

/// What is looked for, as in the address.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Asked {
    text: String,
    state: String,
    group: String,
    alarmed: String,
    tag: String,
    #[serde(skip_serializing_if = "is_first")]
    page: usize,
    #[serde(skip)]
    first: usize,
    #[serde(skip)]
    last: usize,
    #[serde(skip)]
    before: Option<String>,
    #[serde(skip)]
    after: Option<String>,
}

const fn is_first(page: &usize) -> bool {
    *page == 0
}

impl Asked {
    fn is_narrow(&self) -> bool {
        [&self.text, &self.state, &self.group, &self.alarmed, &self.tag]
            .iter()
            .any(|text| !text.is_empty())
    }

    fn filter(&self) -> GatewayFilter {
        GatewayFilter {
            state: match self.state.as_str() {
                "pending" => Some(GatewayState::Pending),
                "online" => Some(GatewayState::Online),
                "offline" => Some(GatewayState::Offline),
                "revoked" => Some(GatewayState::Revoked),
                _ => None,
            },
            group: Some(self.group.clone()).filter(|group| !group.is_empty()),
            alarmed: !self.alarmed.is_empty(),
            tag: Some(self.tag.trim().to_owned()).filter(|tag| !tag.is_empty()),
            text: self.text.clone(),
            skip: self.page.saturating_mul(MOST),
            most: MOST,
        }
    }

    fn at(&self, page: usize) -> String {
        let other = Self { page, ..self.clone() };
        format!("/gateways?{}", serde_html_form::to_string(other).unwrap_or_default())
    }

    /// Where it is in all that was found.
    fn place(&mut self, total: usize) {
        self.first = self.page * MOST + 1;
        self.last = (self.first - 1 + MOST).min(total);
        self.before = self.page.checked_sub(1).map(|page| self.at(page));
        self.after = (self.last < total).then(|| self.at(self.page + 1));
    }
}

#[derive(Template)]
#[template(path = "gateways.html")]
struct List {
    frame: Frame,
    asked: Asked,
    groups: Vec<String>,
    page: GatewayPage,
    listed: Option<approvals::Form>,
}

impl List {
    const fn states(&self) -> [(&'static str, &'static str); 5] {
        [
            ("", "all"),
            ("pending", "waiting"),
            ("online", "online"),
            ("offline", "offline"),
            ("revoked", "revoked"),
        ]
    }
}

#[derive(Template)]
#[template(path = "gateway.html")]
struct One {
    frame: Frame,
    gateway: Box<GatewayView>,
    groups: Vec<String>,
}

/// The names of all groups.
pub(super) async fn groups(app: &App, caller: &Caller) -> Result<Vec<String>, Refusal> {
    let found = app.desk.ask(caller, Operation::GroupList {}).await?;
    let groups = answer!(found, Groups)?;
    Ok(groups.into_iter().map(|group| group.name).collect())
}

async fn list(
    State(app): State<App>,
    visitor: Visitor,
    Query(mut asked): Query<Asked>,
) -> Response {
    let caller = visitor.caller();
    asked.page = asked.page.min(1_000);
    let found = app.desk.ask(&caller, Operation::GatewayFind(asked.filter())).await;
    let page = or_refuse!(app, visitor, found.and_then(|found| answer!(found, Found)));
    let groups = or_refuse!(app, visitor, groups(&app, &caller).await);
    let listed = or_refuse!(app, visitor, approvals::form(&app, &caller, &groups).await);
    asked.place(page.total);
    let frame = Frame::new(&app, &visitor, "/gateways", "Gateways");
    show(&List { frame, asked, groups, page, listed })
}

async fn one(State(app): State<App>, visitor: Visitor, Path(gateway): Path<String>) -> Response {
    let caller = visitor.caller();
    let found =
        app.desk.ask(&caller, Operation::GatewayShow { gateway: GatewayName(gateway) }).await;
    let gateway = or_refuse!(app, visitor, found.and_then(|found| answer!(found, Gateway)));
    let groups = or_refuse!(app, visitor, groups(&app, &caller).await);
    let title = if gateway.name.is_empty() { "A gateway without a name" } else { &gateway.name };
    show(&One { frame: Frame::new(&app, &visitor, "/gateways", title), gateway, groups })
}

fn page_of(gateway: &str) -> String {
    let plain: String =
        gateway.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("/gateways/{plain}")
}

#[derive(Deserialize)]
struct Approve {
    group: String,
    compared: String,
}

async fn approve(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, form): Posted<Approve>,
) -> Response {
    let to = page_of(&gateway);
    let operation = Operation::GatewayApprove {
        gateway: GatewayName(gateway),
        group: form.group,
        fingerprint: Some(form.compared.trim().to_owned()),
    };
    order(&app, &visitor, operation, &to).await
}

#[derive(Deserialize)]
struct Rename {
    name: String,
}

async fn rename(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, Rename { name }): Posted<Rename>,
) -> Response {
    let to = page_of(&gateway);
    order(&app, &visitor, Operation::GatewayRename { gateway: GatewayName(gateway), name }, &to)
        .await
}

#[derive(Deserialize)]
struct Pin {
    machines: String,
}

async fn pin(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, Pin { machines }): Posted<Pin>,
) -> Response {
    let to = page_of(&gateway);
    let words = machines.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let read: Result<Vec<IpAddr>, _> = words.map(|word| word.parse().map_err(|_| word)).collect();
    match read {
        Ok(machines) => {
            let operation = Operation::GatewayPin { gateway: GatewayName(gateway), machines };
            order(&app, &visitor, operation, &to).await
        }
        Err(word) => {
            let shown: String = word.chars().take(60).collect();
            app.sessions.tell(
                &visitor,
                format!("{shown:?} is no address, such as 192.0.2.7. Nothing was changed."),
                true,
            );
            Redirect::to(&to).into_response()
        }
    }
}

#[derive(Deserialize)]
struct Tag {
    tags: String,
}

async fn tag(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, Tag { tags }): Posted<Tag>,
) -> Response {
    let to = page_of(&gateway);
    let words = tags.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    let tags = words.map(str::to_lowercase).collect();
    order(&app, &visitor, Operation::GatewayTag { gateway: GatewayName(gateway), tags }, &to).await
}

#[derive(Deserialize)]
struct Command {
    command: String,
}

async fn command(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, Command { command }): Posted<Command>,
) -> Response {
    let to = page_of(&gateway);
    let outcome = match kind(&command) {
        None => Err(Refusal::new(RefusalKind::Invalid, "there is no such command")),
        Some(kind) => carry_out(&app, &visitor.caller(), GatewayName(gateway), kind).await,
    };
    let (text, is_error) = match outcome {
        Ok(Some(outcome)) if outcome.text.is_empty() => (
            if outcome.ok { "Done.".to_owned() } else { "It could not do it.".to_owned() },
            !outcome.ok,
        ),
        Ok(Some(outcome)) => (outcome.text, !outcome.ok),
        Ok(None) => (
            "Sent. It has not answered yet: what comes of it will be in the server's log."
                .to_owned(),
            false,
        ),
        Err(refusal) => (super::capital(&refusal.message), true),
    };
    app.sessions.tell(&visitor, text, is_error);
    Redirect::to(&to).into_response()
}

fn kind(text: &str) -> Option<CommandKind> {
    crate::operations::command_kind(text).ok()
}

/// Sends a command, and waits a while for what comes of it.
async fn carry_out(
    app: &App,
    caller: &Caller,
    gateway: GatewayName,
    kind: CommandKind,
) -> Result<Option<Outcome>, Refusal> {
    let sent = app.desk.ask(caller, Operation::GatewayCommand { gateway, kind }).await?;
    let crate::operations::Answer::Commanded { command } = sent else { return Ok(None) };
    let until = tokio::time::Instant::now() + COMMAND;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let found = app.desk.ask(caller, Operation::GatewayOutcome { command }).await?;
        let outcome = answer!(found, Outcome)?;
        if outcome.answered {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct Revoke {
    reason: String,
}

async fn revoke(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, Revoke { reason }): Posted<Revoke>,
) -> Response {
    let to = page_of(&gateway);
    order(&app, &visitor, Operation::GatewayRevoke { gateway: GatewayName(gateway), reason }, &to)
        .await
}

async fn remove(
    State(app): State<App>,
    Path(gateway): Path<String>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    order(&app, &visitor, Operation::GatewayRemove { gateway: GatewayName(gateway) }, "/gateways")
        .await
}
