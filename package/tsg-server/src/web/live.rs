//! Pages renew themselves: a stream of events says that something changed, and the page fetches itself anew.

use super::App;
use super::desk::{Caller, answer};
use super::session::Visitor;
use crate::accounts::Role;
use crate::operations::{Operation, Operator, Status};
use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// It is looked this often whether something changed…
const LOOK: Duration = Duration::from_secs(2);

/// …and numbers that always change are renewed this often.
const RENEW: Duration = Duration::from_secs(10);

/// A stream ends after this, and the page asks for another one, if it still may.
const LONGEST: Duration = Duration::from_secs(300);

/// Counts the changes.
pub(super) struct Live(watch::Sender<u64>);

impl Default for Live {
    fn default() -> Self {
        Self(watch::Sender::new(1))
    }
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/live", get(events))
}

/// Looks for changes, as long as somebody wants to know.
pub(super) async fn follow(app: App) {
    let (mut known, mut told) = ([0; 32], Instant::now());
    let caller = Caller { role: Role::Viewer, operator: Operator("pages".to_owned()) };
    loop {
        tokio::time::sleep(LOOK).await;
        if app.live.0.receiver_count() == 0 {
            continue;
        }
        let asked = app.desk.ask(&caller, Operation::Status {}).await;
        let Ok(status) = asked.and_then(|asked| answer!(asked, Status)) else { continue };
        let found = digest(*status);
        if found != known || told.elapsed() >= RENEW {
            (known, told) = (found, Instant::now());
            app.live.0.send_modify(|count| *count += 1);
        }
    }
}

/// Of what does not change by itself.
fn digest(mut status: Status) -> [u8; 32] {
    (status.now, status.uptime, status.database_bytes) = (0, 0, 0);
    for group in &mut status.groups {
        group.remaining = None;
    }
    Sha256::digest(serde_json::to_vec(&status).unwrap_or_default()).into()
}

async fn events(State(app): State<App>, _: Visitor) -> Response {
    let mut changes = app.live.0.subscribe();
    changes.mark_unchanged();
    let until = tokio::time::Instant::now() + LONGEST;
    let events = stream::unfold(changes, move |mut changes| async move {
        let changed = tokio::time::timeout_at(until, changes.changed()).await;
        let count = *changes.borrow_and_update();
        let event = Event::default().event("change").data(count.to_string());
        matches!(changed, Ok(Ok(()))).then_some((Ok::<_, Infallible>(event), changes))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(20))).into_response()
}
