//! Who uses which service in a group.

use super::groups::Action;
use super::{App, At, Failures, Json, Outcome, Program, answer};
use crate::operations::Operation;
use serde::Serialize;
use tsg_control::server::FlowView;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A machine that uses a service of another, by any port of its own.
#[derive(Debug, Serialize, ToSchema)]
struct Flow {
    /// Address of who uses it.
    client: String,
    /// Address of who offers it; may be a multicast group.
    server: String,
    /// `tcp`, `udp`, `icmp`, or a number; null where it does not show.
    proto: Option<String>,
    /// The service's port; null without ports.
    port: Option<u16>,
    /// Packets in both directions.
    packets: u64,
    /// Bytes of them, as far as they were counted.
    bytes: u64,
    /// Seconds since this server process first heard of it.
    first: u64,
    /// Seconds since the last packet.
    last: u64,
    /// Names of the gateways that see it.
    gateways: Vec<String>,
    /// What the group's newest rules do with it.
    action: Action,
    /// The rule that does, from 1; null if no rule matches.
    rule: Option<usize>,
    /// It comes in clear although a rule wants it sealed: `enforce` drops it.
    in_clear: bool,
    /// A rule wants it sealed, and no gateway is known in front of one of the two.
    unreached: bool,
}

impl From<FlowView> for Flow {
    fn from(view: FlowView) -> Self {
        Self {
            client: view.client.to_string(),
            server: view.server.to_string(),
            proto: view.proto,
            port: view.port,
            packets: view.packets,
            bytes: view.bytes,
            first: view.first,
            last: view.last,
            gateways: view.gateways,
            action: view.action.into(),
            rule: view.rule,
            in_clear: view.in_clear,
            unreached: view.unreached,
        }
    }
}

/// Who uses which service, as the gateways of a group in `learn` or `migrate` report: what no rule matches first
#[utoipa::path(
    get,
    path = "/groups/{group}/flows",
    tag = "groups",
    params(("group" = String, Path, description = "Its name")),
    responses((status = 200, body = Vec<Flow>), Failures),
)]
async fn list(program: Program, At(group): At<String>) -> Outcome<Vec<Flow>> {
    let found = answer!(program.ask(Operation::FlowList { group }).await?, Flows)?;
    Ok(Json(found.flows.into_iter().map(Flow::from).collect()))
}
