//! `tsg flows`: who talks in clear although a rule wants it sealed, as a table.

use std::io::Write;

use anyhow::Result;
use serde_json::Value;

use super::ask::ask;
use super::overview::{printable, span};
use crate::folders::Folders;

const HEADINGS: [&str; 8] =
    ["SOURCE", "DESTINATION", "PROTO", "PORT", "RULE", "PACKETS", "LAST", "IN ENFORCE"];

pub(super) fn run(folders: &Folders, json: bool, out: &mut dyn Write) -> Result<()> {
    let answer = ask(folders, "flows", Value::Null)?;
    if json {
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    show(&answer, out)
}

fn show(answer: &Value, out: &mut dyn Write) -> Result<()> {
    let flows = answer.get("flows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if flows.is_empty() {
        writeln!(out, "nothing that a rule wants sealed was seen in clear")?;
        return Ok(());
    }
    let rows: Vec<[String; 8]> = flows.iter().map(row).collect();
    let widths: [usize; 8] = core::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(HEADINGS.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    });
    line(&HEADINGS.map(str::to_owned), &widths, out)?;
    rows.iter().try_for_each(|row| line(row, &widths, out))
}

fn row(flow: &Value) -> [String; 8] {
    let word = |name: &str| match flow.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    };
    let fate = match word("would").as_str() {
        "drop" => "dropped".to_owned(),
        "seal" => "unreached".to_owned(),
        other => other.to_owned(),
    };
    let [src, dest, proto, port, rule, packets] =
        ["src", "dest", "proto", "dest_port", "rule", "packets"].map(word);
    let last = flow.get("last_s").and_then(Value::as_u64);
    let last = last.map_or_else(|| "-".to_owned(), |seconds| format!("{} ago", span(seconds)));
    [src, dest, proto, port, rule, packets, last, fate]
}

fn line(cells: &[String; 8], widths: &[usize; 8], out: &mut dyn Write) -> Result<()> {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    writeln!(out, "{}", padded.join("  ").trim_end())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(answer: &Value) -> String {
        let mut out = Vec::new();
        show(answer, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_for_each_pair_and_service() {
        let answer = json!({ "mode": "migrate", "flows": [
            {"src": "192.0.2.9", "dest": "192.0.2.10", "proto": "tcp", "dest_port": 502, "packets": 1200, "last_s": 7500,
             "rule": "modbus\u{1b}[2J", "would": "drop"},
            {"src": "192.0.2.10", "dest": "192.0.2.9", "proto": null, "dest_port": null, "packets": 7,
             "rule": null, "would": "seal"},
        ]});
        assert_eq!(
            shown(&answer),
            "\
SOURCE      DESTINATION  PROTO  PORT  RULE             PACKETS  LAST     IN ENFORCE
192.0.2.9   192.0.2.10   tcp    502   modbus\\u{1b}[2J  1200     2 h ago  dropped
192.0.2.10  192.0.2.9    -      -     -                7        -        unreached
"
        );
        assert!(shown(&json!({ "flows": [] })).starts_with("nothing"));
    }
}
