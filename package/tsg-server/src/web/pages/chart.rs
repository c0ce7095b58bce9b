//! A chart of the last hour, as SVG within the page.

use crate::operations::{Sample, TrafficView};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 160.0;
/// Where the lines begin, and end.
const LEFT: f64 = 52.0;
const FLOOR: f64 = 136.0;
const TOP: f64 = 12.0;

/// The drawing, and what it shows in words.
pub(super) struct Chart {
    /// Made of numbers only.
    pub(super) svg: String,
    pub(super) sealed: String,
    pub(super) opened: String,
    pub(super) dropped: String,
}

/// Of all groups together; `None` if nothing was counted.
pub(super) fn draw(traffic: &TrafficView) -> Option<Chart> {
    let longest = traffic.groups.values().map(Vec::len).max().filter(|&length| length > 1)?;
    let mut sums = vec![Sample::default(); longest];
    for samples in traffic.groups.values() {
        // They all end now.
        for (sum, sample) in sums.iter_mut().rev().zip(samples.iter().rev()) {
            sum.add(*sample);
        }
    }
    let rate = |count: u64| count as f64 / traffic.every.max(1) as f64;
    let lines = [
        ("sealed", of(&sums, |s| s.sealed)),
        ("opened", of(&sums, |s| s.opened)),
        ("dropped", of(&sums, |s| s.dropped)),
    ];
    let highest = lines.iter().flat_map(|(_, counts)| counts).copied().max().unwrap_or(0);
    let most = round_up(rate(highest));
    let total =
        |counts: &[u64]| counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
    let words: Vec<_> = lines.iter().map(|(_, counts)| counted(total(counts))).collect();
    let (sealed, opened, dropped) = (&words[0], &words[1], &words[2]);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Packets a second in the last \
         hour: {sealed} sealed, {opened} opened, {dropped} dropped\">"
    );
    for (share, at) in [(0.0, FLOOR), (0.5, f64::midpoint(FLOOR, TOP)), (1.0, TOP)] {
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at}\" y2=\"{at}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(share * most)
        );
    }
    for (minutes, at) in [
        (60, LEFT),
        (45, LEFT + (WIDTH - LEFT) * 0.25),
        (30, LEFT + (WIDTH - LEFT) * 0.5),
        (15, LEFT + (WIDTH - LEFT) * 0.75),
    ] {
        let _ = write!(svg, "<text x=\"{at}\" y=\"{}\">{minutes} min ago</text>", HEIGHT - 6.0);
    }
    for (class, counts) in &lines {
        let _ = write!(
            svg,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            points(counts, rate, most, traffic.every)
        );
    }
    svg.push_str("</svg>");
    Some(Chart { svg, sealed: sealed.clone(), opened: opened.clone(), dropped: dropped.clone() })
}

fn of(sums: &[Sample], count: fn(&Sample) -> u64) -> Vec<u64> {
    sums.iter().map(count).collect()
}

/// The newest is at the right, an hour ago at the left.
fn points(counts: &[u64], rate: impl Fn(u64) -> f64, most: f64, every: u64) -> String {
    let step = (WIDTH - LEFT) * every as f64 / 3_600.0;
    let place = |(back, count): (usize, &u64)| {
        let x = back as f64 * -step + WIDTH;
        let y = FLOOR - (FLOOR - TOP) * rate(*count) / most;
        format!("{x:.1},{y:.1}")
    };
    counts.iter().rev().enumerate().map(place).collect::<Vec<_>>().join(" ")
}

/// The next of 1, 2, 5, 10, 20, 50 …
fn round_up(rate: f64) -> f64 {
    let mut step = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if factor * step >= rate {
                return factor * step;
            }
        }
        step *= 10.0;
    }
}

fn short(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{} M/s", r / 1e6),
        r if r >= 1e3 => format!("{} k/s", r / 1e3),
        r => format!("{r}/s"),
    }
}

fn counted(count: u64) -> String {
    match count {
        c @ 10_000_000.. => format!("{} million", c / 1_000_000),
        c @ 10_000.. => format!("{} thousand", c / 1_000),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_newest_sample_is_at_the_right() {
        let sample = |sealed| Sample { sealed, ..Sample::default() };
        let traffic = |samples: Vec<Sample>| TrafficView {
            at: 0,
            every: 10,
            groups: [("plant".to_owned(), samples)].into(),
            totals: BTreeMap::new(),
            drops: BTreeMap::new(),
        };
        assert!(draw(&traffic(vec![sample(1)])).is_none(), "one is no line");
        let chart = draw(&traffic(vec![sample(0), sample(1_000)])).unwrap();
        assert_eq!(chart.sealed, "1000");
        assert!(chart.svg.contains("points=\"900.0,12.0 897.6,136.0\""), "{}", chart.svg);
        assert!(chart.svg.contains(">100/s<"));
    }

    #[test]
    fn scales_are_round() {
        assert_eq!(
            [0.0, 1.0, 1.1, 3.0, 101.0, 2_000.0].map(round_up),
            [1.0, 1.0, 2.0, 5.0, 200.0, 2_000.0]
        );
    }
}
