//! What the running gateway says: its attach, and the key server's last answer.

use anyhow::Result;
use serde_json::Value;

use super::{Daemon, report::Report};
use crate::cli::overview::span;

/// Heartbeats are answered every ten seconds; several that are not are no accident.
const QUIET_S: u64 = 60;

/// Is every bridge of the running gateway at work? Then nothing needs to be tried beside it, which would cost it
/// packets.
pub(super) fn attach(status: &Value, report: &mut Report<'_>) -> Result<()> {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let bridges = status.get("bridges").and_then(Value::as_array);
    for bridge in bridges.into_iter().flatten() {
        let device = text(bridge, "device").unwrap_or_default();
        match text(bridge, "attach") {
            Some(attach) => report.good("attach", &format!("{device}: {attach} is at work"))?,
            None => {
                let text =
                    format!("{device}: nothing is sealed there; see the alarms of `tsg status`");
                report.problem("attach", &text)?;
            }
        }
    }
    Ok(())
}

pub(super) fn server(daemon: Daemon<'_>, report: &mut Report<'_>) -> Result<()> {
    let status = match daemon {
        Daemon::Says(status) => status,
        Daemon::Absent => {
            let text = "no gateway runs here, so nothing is known of the key server; run \
                        `/etc/init.d/tsg start` and check again";
            return report.warning("server", text);
        }
        Daemon::Silent => {
            let text = "a gateway runs here and does not answer; make a bundle for support (`tsg bundle`), then run \
                        `/etc/init.d/tsg restart`";
            return report.problem("server", text);
        }
    };
    let state = status.get("state").and_then(Value::as_str).unwrap_or_default();
    let connected = status.get("connected").and_then(Value::as_bool) == Some(true);
    let silent = status.get("since_server_s").and_then(Value::as_u64);
    let reach = "is its address right (`uci show tsg.main.server`), can this box reach it (`ping`), does it run \
                 (`tsg-server status` there)?";
    match (silent, state) {
        (_, "pending") => {
            let text = "an operator has to approve this gateway: compare `tsg fingerprint` with `tsg-server \
                        gateway list` there";
            report.warning("server", text)
        }
        (_, "refused" | "revoked") => {
            let text =
                format!("the key server has {state} this gateway; see the alarms of `tsg status`");
            report.problem("server", &text)
        }
        (Some(silent), _) if silent > QUIET_S => {
            report.warning("server", &format!("has not answered for {}; {reach}", span(silent)))
        }
        (Some(silent), _) => report.good("server", &format!("answered {} ago", span(silent))),
        (None, _) if connected => report.good("server", "is connected"),
        (None, _) => report.problem("server", &format!("has not answered yet; {reach}")),
    }
}
