//! Looks for alarms, and has them told.

use super::Daemon;
use crate::alarms::{Alarm, Kind, Watch};
use crate::clock::Reading;
use crate::notify::Notifier;

/// It is looked this often, in milliseconds.
const EVERY: u64 = 2_000;

/// What was raised before the start goes on. The first look is when gateways had time to be heard.
pub(super) fn begin(notifier: &Notifier, after: u32, started: Reading) -> (Watch, u64) {
    let delay = u64::from(after) * 1000;
    let (raised, next) = notifier.raised();
    (Watch::new(raised, next, delay, started.boot), started.boot + 2 * delay)
}

impl Daemon {
    pub(super) fn look_for_alarms(&mut self, reading: Reading) {
        if reading.boot < self.next_alarms {
            return;
        }
        self.next_alarms = reading.boot + EVERY;
        let now = self.clock.at(reading);
        let troubles = self.server.troubles(now);
        let mut found: Vec<_> = troubles.iter().map(|trouble| Alarm::of(trouble, now)).collect();
        if let Some(refusal) = self.no_room() {
            found.push(Alarm::of_server(Kind::Disk, "", &refusal.message, now));
        }
        found.extend(self.notifier.troubles(now));
        self.notifier.tell(self.alarms.follow(found, reading.boot, now));
    }
}
