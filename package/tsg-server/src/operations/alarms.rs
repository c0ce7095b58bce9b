//! The alarms that stand, and how those who are told get on.

use super::{Answer, Desk};
use crate::alarms::Alarm;
use crate::notify::ChannelView;
use serde::{Deserialize, Serialize};

/// Alarms and channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmsView {
    /// What stands, the longest first.
    pub alarms: Vec<AlarmView>,
    /// Who is told.
    pub channels: Vec<ChannelView>,
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmView {
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
    /// It has stood long enough to be told.
    pub raised: bool,
}

pub(super) fn list(desk: &Desk<'_>) -> Answer {
    let standing = desk.alarms.standing().into_iter();
    let alarms = standing.map(|(alarm, raised)| AlarmView { alarm: alarm.clone(), raised });
    Answer::Alarms(AlarmsView { alarms: alarms.collect(), channels: desk.notifier.channels() })
}
