//! Commands to gateways, as operators type them.

use tsg_control::message::{CommandKind, LogLevel};

/// `rekey`, `log-level=debug`.
///
/// # Errors
/// What there is.
pub(crate) fn command_kind(text: &str) -> Result<CommandKind, String> {
    Ok(match text {
        "rekey" => CommandKind::Rekey,
        "reload" => CommandKind::Reload,
        "reregister" => CommandKind::Reregister,
        "diagnostics" => CommandKind::Diagnostics,
        "reboot" => CommandKind::Reboot,
        _ => {
            let level = match text.strip_prefix("log-level=") {
                Some("error") => LogLevel::Error,
                Some("warn") => LogLevel::Warn,
                Some("info") => LogLevel::Info,
                Some("debug") => LogLevel::Debug,
                Some("trace") => LogLevel::Trace,
                Some(_) | None => {
                    return Err("one of rekey, reload, reregister, diagnostics, reboot, \
                         log-level=error|warn|info|debug|trace"
                        .to_owned());
                }
            };
            CommandKind::LogLevel(level)
        }
    })
}
