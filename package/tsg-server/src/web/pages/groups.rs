//! Groups: their settings, their keys, and the versions of their policy.

use super::{Frame, drops, or_refuse, order, show, words};
use crate::accounts::Role;
use crate::database::PolicyRow;
use crate::operations::{Operation, Refusal, settings, settings_tag};
use crate::web::App;
use crate::web::desk::{Caller, answer};
use crate::web::policy::{Change, difference};
use crate::web::safety::Posted;
use crate::web::session::Visitor;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tsg_control::group::Settings;
use tsg_control::server::GroupView;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/groups", get(list).post(add))
        .route("/groups/{group}", get(one))
        .route("/groups/{group}/settings", post(set))
        .route("/groups/{group}/rekey", post(rekey))
        .route("/groups/{group}/remove", post(remove))
        .route("/groups/{group}/history", get(history))
}

#[derive(Template)]
#[template(path = "groups.html")]
struct List {
    frame: Frame,
    groups: Vec<GroupView>,
}

#[derive(Template)]
#[template(path = "group.html")]
struct One {
    frame: Frame,
    group: Box<GroupView>,
    settings: Vec<Setting>,
    /// Of the settings that the form shows.
    base: String,
    drops: Vec<drops::Line>,
}

#[derive(Template)]
#[template(path = "history.html")]
struct History {
    frame: Frame,
    group: String,
    versions: Vec<Version>,
}

/// A setting as the form has it.
struct Setting {
    name: &'static str,
    title: &'static str,
    hint: &'static str,
    /// Values and what they mean; none for a text.
    choices: &'static [(&'static str, &'static str)],
    value: String,
}

struct Version {
    number: u64,
    at: u64,
    who: String,
    mode: String,
    changes: Vec<Change>,
}

type Known = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const YES_NO: &[(&str, &str)] = &[("no", "no"), ("yes", "yes")];

/// In the order in which somebody wants to see them.
const SETTINGS: [Known; 15] = [
    (
        "mode",
        "Mode",
        "How far the roll-out is.",
        &[
            ("learn", "learn: nothing is sealed, gateways report what they see"),
            ("receive-only", "receive-only: nothing is sealed, sealed packets are opened"),
            ("migrate", "migrate: sealed to machines behind a gateway, in clear to others"),
            ("enforce", "enforce: what a rule seals crosses only sealed"),
        ],
    ),
    (
        "fail",
        "Without a key",
        "What happens to sealed traffic then.",
        &[("closed", "closed: it is stopped"), ("open", "open: it goes in clear, with an alarm")],
    ),
    (
        "default_action",
        "What no rule matches",
        "",
        &[("bypass", "bypass: passes in clear"), ("drop", "drop: is stopped")],
    ),
    (
        "non_ip",
        "Frames that are not IP",
        "pass, drop, or the EtherTypes that pass, such as 0x8892 (PROFINET) or 0x88b8 (GOOSE). They are never sealed.",
        &[],
    ),
    ("key_lifetime", "Keys change every", "Such as 24h.", &[]),
    ("island_time", "Without the key server, keys serve on for", "Such as 24h, or forever.", &[]),
    ("activation_delay", "New keys and policies wait for slow members", "Such as 15s.", &[]),
    ("revoke_delay", "When one is thrown out, new keys wait for the others", "Such as 5s.", &[]),
    ("replay_window", "A sealed packet may be as old as", "Such as 4s.", &[]),
    (
        "cipher",
        "Cipher",
        "",
        &[
            ("auto", "auto: AES where all members have it in hardware"),
            ("chacha20-poly1305", "ChaCha20-Poly1305"),
            ("aes-256-gcm", "AES-256-GCM"),
        ],
    ),
    (
        "encap",
        "Sealed packets are carried",
        "",
        &[("protocol", "by their IP protocol number"), ("udp", "in UDP")],
    ),
    ("protocol", "IP protocol number", "253, 254 or 50.", &[]),
    ("encap_port", "UDP port", "", &[]),
    ("local_bypass", "A gateway's own rules may let pass what the group seals", "", YES_NO),
    (
        "timed_bypass",
        "Somebody at a gateway may let pass in clear for a while",
        "With an alarm.",
        YES_NO,
    ),
];

fn form(all: &Settings) -> Vec<Setting> {
    let mut values = settings(all);
    let shown = |&(name, title, hint, choices): &Known| Setting {
        name,
        title,
        hint,
        choices,
        value: values.remove(name).unwrap_or_default(),
    };
    SETTINGS.iter().map(shown).collect()
}

pub(super) async fn group(
    app: &App,
    caller: &Caller,
    name: &str,
) -> Result<Box<GroupView>, Refusal> {
    let found = app.desk.ask(caller, Operation::GroupShow { group: name.to_owned() }).await?;
    answer!(found, Group)
}

async fn list(State(app): State<App>, visitor: Visitor) -> Response {
    let found = app.desk.ask(&visitor.caller(), Operation::GroupList {}).await;
    let groups = or_refuse!(app, visitor, found.and_then(|found| answer!(found, Groups)));
    show(&List { frame: Frame::new(&app, &visitor, "/groups", "Groups"), groups })
}

async fn one(State(app): State<App>, visitor: Visitor, Path(name): Path<String>) -> Response {
    let caller = visitor.caller();
    let group = or_refuse!(app, visitor, group(&app, &caller, &name).await);
    let traffic = app.desk.ask(&caller, Operation::Traffic {}).await;
    let traffic = or_refuse!(app, visitor, traffic.and_then(|found| answer!(found, Traffic)));
    let frame = Frame::new(&app, &visitor, "/groups", format!("Group {}", group.name));
    show(&One {
        frame,
        settings: form(&group.settings),
        base: settings_tag(&group.settings),
        drops: drops::of(&traffic, &group.name),
        group,
    })
}

#[derive(Deserialize)]
struct Add {
    group: String,
}

async fn add(State(app): State<App>, Posted(visitor, Add { group }): Posted<Add>) -> Response {
    let to = path(&group);
    let outcome = app.desk.ask(&visitor.caller(), Operation::GroupAdd { group }).await;
    match outcome {
        Ok(_) => Redirect::to(&to).into_response(),
        Err(refusal) => {
            app.sessions.tell(&visitor, super::capital(&refusal.message), true);
            Redirect::to("/groups").into_response()
        }
    }
}

/// The page of a group.
pub(super) fn path(group: &str) -> String {
    let mut path = "/groups/".to_owned();
    for byte in group.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                path.push(char::from(byte))
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

async fn set(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, fields): Posted<Vec<(String, String)>>,
) -> Response {
    let caller = visitor.caller();
    let group = or_refuse!(app, visitor, group(&app, &caller, &name).await);
    let base = fields.iter().find(|(name, _)| name == "base").map(|(_, value)| value.clone());
    let known = form(&group.settings);
    let is_changed = |(name, value): &(String, String)| {
        known.iter().any(|setting| setting.name == name && setting.value != *value)
    };
    let changed: Vec<_> = fields.into_iter().filter(is_changed).collect();
    if changed.is_empty() {
        app.sessions.tell(&visitor, "Nothing was changed.".to_owned(), false);
        return Redirect::to(&path(&name)).into_response();
    }
    order(
        &app,
        &visitor,
        Operation::GroupSet {
            group: name.clone(),
            settings: changed,
            base: base.or_else(|| Some(String::new())),
        },
        &path(&name),
    )
    .await
}

async fn rekey(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    order(&app, &visitor, Operation::Rekey { group: name.clone() }, &path(&name)).await
}

async fn remove(
    State(app): State<App>,
    Path(name): Path<String>,
    Posted(visitor, ()): Posted<()>,
) -> Response {
    let outcome =
        app.desk.ask(&visitor.caller(), Operation::GroupRemove { group: name.clone() }).await;
    let (to, text) = match &outcome {
        Ok(_) => ("/groups".to_owned(), format!("Group {name} is removed.")),
        Err(refusal) => (path(&name), super::capital(&refusal.message)),
    };
    app.sessions.tell(&visitor, text, outcome.is_err());
    Redirect::to(&to).into_response()
}

async fn history(State(app): State<App>, visitor: Visitor, Path(name): Path<String>) -> Response {
    let caller = visitor.caller();
    let group = or_refuse!(app, visitor, group(&app, &caller, &name).await);
    let found = app.desk.ask(&caller, Operation::PolicyHistory { group: name }).await;
    let rows = or_refuse!(app, visitor, found.and_then(|found| answer!(found, History)));
    let frame = Frame::new(&app, &visitor, "/groups", format!("Policies of {}", group.name));
    show(&History { frame, group: group.name.clone(), versions: versions(&rows) })
}

/// Each against the one before it; rows are newest first.
fn versions(rows: &[PolicyRow]) -> Vec<Version> {
    let older = rows.iter().skip(1).map(Some).chain([None]);
    let version = |(row, older): (&PolicyRow, Option<&PolicyRow>)| Version {
        number: row.policy.version,
        at: row.at,
        who: row.who.clone(),
        mode: serde_json::to_value(row.policy.mode)
            .ok()
            .and_then(|mode| mode.as_str().map(str::to_owned))
            .unwrap_or_default(),
        changes: difference(
            older.map(|older| older.policy.policy.rules.as_slice()).unwrap_or_default(),
            &row.policy.policy.rules,
        ),
    };
    rows.iter().zip(older).map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_setting_is_in_the_form_and_is_taken_as_it_is_shown() {
        let mut all = Settings::default();
        let names: BTreeSet<_> = SETTINGS.iter().map(|known| known.0).collect();
        assert_eq!(names, Settings::NAMES.into_iter().collect());
        for setting in form(&all.clone()) {
            all.set(setting.name, &setting.value).unwrap();
            let offered = setting.choices.iter().any(|(value, _)| *value == setting.value);
            assert!(offered || setting.choices.is_empty(), "{}: {}", setting.name, setting.value);
            for (value, _) in setting.choices {
                Settings::default().set(setting.name, value).unwrap();
            }
        }
        assert_eq!(all, Settings::default());
    }

    #[test]
    fn a_path_has_no_more_parts_than_it_should() {
        assert_eq!(path("plant"), "/groups/plant");
        assert_eq!(path("a/../b c"), "/groups/a%2F..%2Fb%20c");
    }
}
