//! Numbers for Prometheus, and whether the server lives.

use super::{Problem, Program, answer};
use crate::accounts::Role;
use crate::notify::ChannelView;
use crate::operations::{GroupStatus, Operation, Operator, Status, TrafficView};
use crate::web::App;
use crate::web::desk::Caller;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The main thread answers in less than this, or the server is not ready.
const READY: Duration = Duration::from_secs(3);

/// An answer is good for this long.
const FRESH: Duration = Duration::from_secs(1);

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
}

/// Whether the main thread answers. Anybody may ask, so they all share one question a second.
#[derive(Default)]
pub(in crate::web) struct Readiness(tokio::sync::Mutex<Option<(Instant, bool)>>);

impl Readiness {
    async fn ask(&self, app: &App) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < FRESH
        {
            return ready;
        }
        let caller = Caller { role: Role::Viewer, operator: Operator("readyz".to_owned()) };
        let asked = tokio::time::timeout(READY, app.desk.ask(&caller, Operation::Key {})).await;
        let ready = matches!(asked, Ok(Ok(_)));
        *last = Some((Instant::now(), ready));
        ready
    }
}

async fn ready(State(app): State<App>) -> Response {
    if app.readiness.ask(&app).await {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(program: Program) -> Result<Response, Problem> {
    let status = answer!(program.ask(Operation::Status {}).await?, Status)?;
    let traffic = answer!(program.ask(Operation::Traffic {}).await?, Traffic)?;
    let alarms = answer!(program.ask(Operation::AlarmList {}).await?, Alarms)?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text(&status, &traffic, &alarms.channels)).into_response())
}

const fn count(all: usize) -> u64 {
    all as u64
}

/// All numbers in Prometheus' text form.
fn text(status: &Status, traffic: &TrafficView, channels: &[ChannelView]) -> String {
    let mut all = Metrics(String::with_capacity(4_096));
    all.begin("tsg_build_info", "gauge", "Version of the software.");
    all.put("tsg_build_info", &[("version", &status.version)], 1);
    all.one("tsg_uptime_seconds", "gauge", "Seconds since the key server started.", status.uptime);
    all.begin("tsg_gateways", "gauge", "Gateways by state.");
    for (state, number) in [
        ("pending", count(status.pending.len())),
        ("online", status.online),
        ("offline", count(status.offline.len())),
        ("revoked", status.revoked),
    ] {
        all.put("tsg_gateways", &[("state", state)], number);
    }
    all.one("tsg_alarms", "gauge", "Alarms of gateways.", count(status.alarms.len()));
    all.groups("tsg_group_members", "Members of a group.", status, |group| {
        Some(count(group.members))
    });
    all.groups("tsg_group_online", "Members that were heard lately.", status, |group| {
        Some(count(group.online))
    });
    all.groups(
        "tsg_group_late",
        "Members that are online and not in the newest state.",
        status,
        |group| Some(count(group.late.len())),
    );
    all.groups("tsg_group_epoch", "Number of the epoch in force.", status, |group| {
        Some(group.epoch)
    });
    all.groups(
        "tsg_group_key_remaining_seconds",
        "Seconds until the epoch in force ends.",
        status,
        |group| group.remaining,
    );
    all.groups("tsg_group_policy", "Number of the policy in force.", status, |group| {
        Some(group.policy)
    });
    all.begin(
        "tsg_packets_total",
        "counter",
        "Packets that gateways counted since the key server started.",
    );
    for (group, total) in &traffic.totals {
        for (what, number) in [
            ("sealed", total.sealed),
            ("opened", total.opened),
            ("dropped", total.dropped),
            ("bypassed", total.bypassed),
        ] {
            all.put("tsg_packets_total", &[("group", group), ("what", what)], number);
        }
    }
    all.begin(
        "tsg_dropped_packets_total",
        "counter",
        "Packets that gateways dropped since the key server started, by reason.",
    );
    for (group, drops) in &traffic.drops {
        for (name, drops) in drops {
            let reason = name.trim_start_matches("drop_");
            let labels = [("group", group.as_str()), ("reason", reason)];
            all.put("tsg_dropped_packets_total", &labels, drops.total);
        }
    }
    all.one(
        "tsg_connections",
        "gauge",
        "Peers whose messages can be answered.",
        status.connections,
    );
    all.begin("tsg_messages_dropped_total", "counter", "Messages that were not taken, by reason.");
    for (reason, number) in &status.dropped {
        all.put("tsg_messages_dropped_total", &[("reason", reason)], *number);
    }
    all.one(
        "tsg_clock_jumps_total",
        "counter",
        "How often the machine's clock jumped.",
        status.clock_jumps,
    );
    all.one("tsg_database_bytes", "gauge", "Size of the database.", status.database_bytes);
    all.channels(
        "tsg_notifications_sent_total",
        "counter",
        "Messages that syslog, webhook and mail took.",
        channels,
        |channel| channel.sent,
    );
    all.channels(
        "tsg_notifications_failed_total",
        "counter",
        "Tries to hand a message over that failed.",
        channels,
        |channel| channel.failed,
    );
    all.channels(
        "tsg_notifications_lost_total",
        "counter",
        "Messages that were not told and will not be.",
        channels,
        |channel| channel.lost,
    );
    all.channels(
        "tsg_notifications_failing_seconds",
        "gauge",
        "For how long nothing gets through; 0 if it does.",
        channels,
        |channel| channel.failing.map_or(0, |seconds| seconds.max(1)),
    );
    all.0
}

struct Metrics(String);

impl Metrics {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn put(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let shown = |(name, value): &(&str, &str)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        };
        let labels = labels.iter().map(shown).collect::<Vec<_>>().join(",");
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.begin(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn channels(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        channels: &[ChannelView],
        value: fn(&ChannelView) -> u64,
    ) {
        self.begin(name, kind, help);
        for channel in channels {
            self.put(name, &[("channel", &channel.channel)], value(channel));
        }
    }

    fn groups(
        &mut self,
        name: &str,
        help: &str,
        status: &Status,
        value: fn(&GroupStatus) -> Option<u64>,
    ) {
        self.begin(name, "gauge", help);
        for group in &status.groups {
            if let Some(value) = value(group) {
                self.put(name, &[("group", &group.name)], value);
            }
        }
    }
}
