//! Alarms that stand, and whether those who are told of them are reached.

use super::{App, Failures, Json, Outcome, Program, answer};
use crate::notify::{ChannelView, Tested};
use crate::operations::{AlarmView, Operation};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(test))
}

/// An alarm that stands.
#[derive(Debug, Serialize, ToSchema)]
struct StandingAlarm {
    /// The same as long as it stands, and when it comes again.
    id: String,
    /// `gateway`, `silent`, `late`, `keys`, `disk` or `channel`.
    kind: &'static str,
    /// `warning` or `critical`.
    severity: &'static str,
    group: Option<String>,
    gateway: Option<String>,
    /// What is wrong, in words.
    text: String,
    since: u64,
    /// It has stood long enough to be told.
    raised: bool,
}

impl From<AlarmView> for StandingAlarm {
    fn from(AlarmView { alarm, raised }: AlarmView) -> Self {
        Self {
            id: alarm.id,
            kind: alarm.kind.name(),
            severity: alarm.severity.name(),
            group: alarm.group,
            gateway: alarm.gateway,
            text: alarm.text,
            since: alarm.since / 1000,
            raised,
        }
    }
}

/// One that is told of alarms.
#[derive(Debug, Serialize, ToSchema)]
struct AlarmChannel {
    /// `syslog`, `webhook` or `mail`.
    channel: String,
    to: String,
    /// Messages that it took since the start.
    sent: u64,
    /// Tries that failed.
    failed: u64,
    /// What was not told and will not be.
    lost: u64,
    /// Alarms that wait to be told.
    waiting: usize,
    /// For so many seconds nothing gets through; null if it does.
    failing: Option<u64>,
    /// Why.
    error: Option<String>,
}

impl From<ChannelView> for AlarmChannel {
    fn from(view: ChannelView) -> Self {
        let ChannelView { channel, to, sent, failed, lost, waiting, failing, error } = view;
        Self { channel, to, sent, failed, lost, waiting, failing, error }
    }
}

/// Alarms and who is told.
#[derive(Debug, Serialize, ToSchema)]
struct Alarms {
    /// Those that stand longest first.
    alarms: Vec<StandingAlarm>,
    channels: Vec<AlarmChannel>,
}

/// What came of a test alarm.
#[derive(Debug, Serialize, ToSchema)]
struct TestedChannel {
    /// `syslog`, `webhook` or `mail`.
    channel: String,
    to: String,
    /// It was taken, as far as that can be told.
    arrived: bool,
    /// What the receiver said, or why it did not arrive.
    text: String,
}

impl From<Tested> for TestedChannel {
    fn from(Tested { channel, to, arrived, text }: Tested) -> Self {
        Self { channel, to, arrived, text }
    }
}

/// The alarms that stand
#[utoipa::path(
    get,
    path = "/alarms",
    tag = "alarms",
    responses((status = 200, body = Alarms), Failures),
)]
async fn list(program: Program) -> Outcome<Alarms> {
    let found = answer!(program.ask(Operation::AlarmList {}).await?, Alarms)?;
    Ok(Json(Alarms {
        alarms: found.alarms.into_iter().map(StandingAlarm::from).collect(),
        channels: found.channels.into_iter().map(AlarmChannel::from).collect(),
    }))
}

/// Send a test alarm to everybody who is told
#[utoipa::path(
    post,
    path = "/alarms/test",
    tag = "alarms",
    responses((status = 200, body = Vec<TestedChannel>), Failures),
)]
async fn test(program: Program) -> Outcome<Vec<TestedChannel>> {
    let tested = answer!(program.ask(Operation::AlarmTest {}).await?, AlarmTest)?;
    Ok(Json(tested.into_iter().map(TestedChannel::from).collect()))
}
