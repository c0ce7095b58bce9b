//! Values on the command line, as people type them.

use tsg_control::group::seconds;

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').ok_or("a setting is given as name=value")?;
    Ok((split.0.to_owned(), split.1.to_owned()))
}

pub(super) fn duration(text: &str) -> Result<u32, String> {
    seconds(text).filter(|&s| s > 0).ok_or_else(|| "a time such as 90s, 15m, 24h, 7d".to_owned())
}

pub(super) fn range(text: &str) -> Result<(u32, u32), String> {
    let (first, last) = text.split_once("..").ok_or("two numbers such as 1..100")?;
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        _ => Err("two numbers such as 1..100".to_owned()),
    }
}
