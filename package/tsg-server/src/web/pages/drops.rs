//! Dropped packets by their reason, in words. What to do about each is in docs/operations.md.

use crate::operations::TrafficView;
use std::cmp::Reverse;

/// Why packets are dropped, by the counter's name without `drop_`.
const REASONS: [(&str, &str); 27] = [
    ("in_clear", "came in clear, and the rules want it sealed"),
    ("unknown_epoch", "sealed with keys that the gateway has not"),
    ("stale", "sealed too long ago: the other end has another time, or it was recorded"),
    ("future", "sealed later than it is here: the other end has another time"),
    ("replayed", "came twice"),
    ("too_old", "came long after those that were sent with it"),
    ("unauthentic", "changed on the way, or forged"),
    ("sealed_fragment", "was cut on the way: set path_mtu"),
    ("too_big", "too big once sealed, and its sender was told"),
    ("too_big_silent", "too big once sealed, and nobody could be told"),
    ("outbox_full", "in more pieces than can be sent at once"),
    ("too_long", "longer than a sealed packet can be: set the machine's MTU to 1500"),
    ("no_room", "no room left to seal it: set the machine's MTU to 1500"),
    ("unknown_sender", "of a sender number that nobody was given: forged"),
    ("inside_policy", "sealed, but not by the rules: do all gateways have the same policy?"),
    ("exhausted", "sender numbers are used up: is the key server reachable?"),
    ("no_key", "no key to seal it with"),
    ("policy", "a drop rule, or no rule where the default is drop"),
    ("gate", "stopped at the port, past the rules"),
    ("budget", "too many unknown senders at once"),
    ("malformed_ip", "no whole IP packet"),
    ("icmp_about_sealed", "an ICMP error that may be forged"),
    ("icmp_bad_quote", "an ICMP error that cannot be read"),
    ("source_route", "wants to say itself which way it goes"),
    ("malformed", "no whole sealed packet"),
    ("bad_inner", "what was sealed is no packet"),
    ("wrong_padding", "padded otherwise than gateways do"),
];

/// More lines are not on the first page.
const MOST: usize = 12;

/// A line of the table.
pub(super) struct Line {
    pub(super) group: String,
    pub(super) why: String,
    pub(super) recent: u64,
    pub(super) total: u64,
}

/// Why a counter counts drops; its name if that is not known.
pub(super) fn reason(counter: &str) -> Option<&'static str> {
    let name = counter.strip_prefix("drop_")?;
    REASONS.iter().find(|(known, _)| *known == name).map(|(_, words)| *words)
}

/// The most of all groups.
pub(super) fn of_all(traffic: &TrafficView) -> Vec<Line> {
    let mut lines: Vec<_> = traffic.drops.keys().flat_map(|group| of(traffic, group)).collect();
    sort(&mut lines);
    lines.truncate(MOST);
    lines
}

/// All of a group.
pub(super) fn of(traffic: &TrafficView, group: &str) -> Vec<Line> {
    let drops = traffic.drops.get(group).into_iter().flatten();
    let mut lines: Vec<_> = drops
        .map(|(name, drops)| Line {
            group: group.to_owned(),
            why: super::words::counter(name),
            recent: drops.recent,
            total: drops.total,
        })
        .collect();
    sort(&mut lines);
    lines
}

fn sort(lines: &mut [Line]) {
    lines.sort_by_key(|line| (Reverse(line.recent), Reverse(line.total)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::Drops;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_reason_of_the_handbook_has_words() {
        let page = include_str!("../../../../../docs/operations.md");
        let section = page.split("## Dropped packets").nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `drop_"));
        let named: BTreeSet<&str> = cells
            .flat_map(|line| line.split(" |").next().unwrap().split('`'))
            .map(|word| word.trim_start_matches("drop_"))
            .filter(|word| !word.is_empty() && *word != ", ")
            .collect();
        let known: BTreeSet<&str> = REASONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, named);
        assert_eq!(reason("drop_policy"), Some(REASONS[17].1));
        assert_eq!((reason("drop_weather"), reason("policy")), (None, None));
    }

    #[test]
    fn what_grows_now_comes_first() {
        let drops = |recent, total| Drops { recent, total };
        let plant = [("drop_stale", drops(0, 900)), ("drop_policy", drops(3, 3))];
        let traffic = TrafficView {
            at: 0,
            every: 10,
            groups: BTreeMap::new(),
            totals: BTreeMap::new(),
            drops: [
                ("plant".to_owned(), plant.map(|(name, n)| (name.to_owned(), n)).into()),
                ("other".to_owned(), [("drop_x".to_owned(), drops(9, 9))].into()),
            ]
            .into(),
        };
        let shown: Vec<_> =
            of_all(&traffic).into_iter().map(|line| (line.group, line.total)).collect();
        let expected = [("other", 9), ("plant", 3), ("plant", 900)];
        assert_eq!(shown, expected.map(|(group, total)| (group.to_owned(), total)));
        assert_eq!(of(&traffic, "plant").len(), 2);
        assert!(of(&traffic, "none").is_empty());
    }
}
