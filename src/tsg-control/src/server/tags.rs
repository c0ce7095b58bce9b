//! Words that operators put on gateways, to find them by: a line, a hall, a shift.

use super::Server;
use super::orders::{Answer, OrderError};
use crate::keys::PublicKey;

/// More are not put on one gateway.
pub const MOST_TAGS: usize = 8;

/// A tag is at most this long.
pub const MOST_TAG: usize = 32;

impl Server {
    /// Puts these tags on a gateway, in place of those that it has. Gives what they are now, sorted.
    ///
    /// # Errors
    /// There is no such gateway, or one of the words cannot be a tag.
    pub fn tag(&mut self, key: PublicKey, mut tags: Vec<String>) -> Answer<Vec<String>> {
        if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
            return Err(OrderError::Invalid(format!(
                "{:?} is no tag: it has 1 to {MOST_TAG} of a-z, 0-9, `-`, `.` and `_`",
                super::session::shown(wrong)
            )));
        }
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > MOST_TAGS {
            return Err(OrderError::Invalid(format!("a gateway has at most {MOST_TAGS} tags")));
        }
        self.change(key, |record| record.tags.clone_from(&tags))?;
        Ok(tags)
    }
}

fn is_tag(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    (1..=MOST_TAG).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_word() {
        assert!(["hall-3", "line.b", "7", "_"].into_iter().all(is_tag));
        let long = "x".repeat(MOST_TAG + 1);
        assert!(!["", "Hall", "a b", "<b>", "ä", "a/b", &long].into_iter().any(is_tag));
    }
}
