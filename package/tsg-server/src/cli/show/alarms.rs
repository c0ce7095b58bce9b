//! Alarms, and how those who are told get on.

use super::super::table::Table;
use super::{date, span};
use crate::notify::Tested;
use crate::operations::AlarmsView;

pub(super) fn list(all: &AlarmsView) -> String {
    let mut alarms = Table::new(&["SINCE", "SEVERITY", "GROUP", "GATEWAY", "ALARM"]);
    for one in &all.alarms {
        let alarm = &one.alarm;
        let new = if one.raised { "" } else { " (not told yet)" };
        alarms.line(vec![
            date(alarm.since),
            alarm.severity.name().to_owned(),
            alarm.group.clone().unwrap_or_default(),
            alarm.gateway.clone().unwrap_or_default(),
            format!("{}{new}", alarm.text),
        ]);
    }
    let mut text = alarms.text("no alarms");
    if !all.channels.is_empty() {
        let mut channels =
            Table::new(&["CHANNEL", "TO", "SENT", "FAILED", "LOST", "WAITING", "STATE"]);
        for channel in &all.channels {
            let state = match (channel.failing, &channel.error) {
                (Some(seconds), Some(error)) => format!("fails for {}: {error}", span(seconds)),
                _ => "works".to_owned(),
            };
            let numbers = [channel.sent, channel.failed, channel.lost, channel.waiting as u64];
            let mut line = vec![channel.channel.clone(), channel.to.clone()];
            line.extend(numbers.map(|number| number.to_string()));
            line.push(state);
            channels.line(line);
        }
        text.push('\n');
        text.push_str(&channels.text(""));
    }
    text
}

pub(super) fn tested(tested: &[Tested]) -> String {
    let mut table = Table::new(&["CHANNEL", "TO", "ARRIVED", "ANSWER"]);
    for one in tested {
        let arrived = if one.arrived { "yes" } else { "NO" };
        let cells = [one.channel.as_str(), &one.to, arrived, &one.text];
        table.line(cells.map(str::to_owned).to_vec());
    }
    table.text("no channels")
}
