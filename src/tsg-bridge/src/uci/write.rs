//! A package as text, in the form that `uci commit` gives it.

use super::{
    Opt, Package, Section, Value,
    statement::{is_name, is_type},
};

/// The whole package; what libuci cannot hold (a byte 0, a bad name) is left out.
pub fn write(package: &Package) -> String {
    let mut text = String::new();
    for section in package.sections.iter().filter(|section| is_writable(section)) {
        text.push('\n');
        text.push_str(&config_line(&section.kind, section.name.as_deref()));
        for opt in &section.options {
            text.push_str(&option_lines(opt));
        }
    }
    text.push('\n');
    text
}

pub(super) fn config_line(kind: &str, name: Option<&str>) -> String {
    let plain = is_name(&kind.replace(['-', '.'], "_"));
    let kind = if plain { kind.to_owned() } else { quoted(kind) };
    match name {
        Some(name) => format!("config {kind} {}\n", quoted(name)),
        None => format!("config {kind}\n"),
    }
}

pub(super) fn option_lines(opt: &Opt) -> String {
    let Opt { name, value } = opt;
    if !is_name(name) {
        return String::new();
    }
    let line = |keyword: &str, text: &String| match text.contains('\0') {
        true => String::new(),
        false => format!("\t{keyword} {name} {}\n", quoted(text)),
    };
    match value {
        Value::Text(text) => line("option", text),
        Value::List(texts) => texts.iter().map(|text| line("list", text)).collect(),
    }
}

fn is_writable(section: &Section) -> bool {
    is_type(&section.kind) && section.name.as_deref().is_none_or(is_name)
}

/// In single quotes nothing is special but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
