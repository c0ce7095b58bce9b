//! JSON that may hold keys: zeroed when it goes, and written into room of the right size, since growing
//! would leave copies behind.

use serde::Serialize;
use std::io::Write;
use zeroize::Zeroizing;

/// A value as one line.
///
/// # Errors
/// The value has no form in JSON.
pub(crate) fn line<T: Serialize>(value: &T) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    written(|to| serde_json::to_writer(to, value))
}

/// A value on several lines, for people.
///
/// # Errors
/// The value has no form in JSON.
pub(crate) fn pretty<T: Serialize>(value: &T) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    written(|to| serde_json::to_writer_pretty(to, value))
}

fn written(
    write: impl Fn(&mut dyn Write) -> serde_json::Result<()>,
) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut length = Counter(0);
    write(&mut length)?;
    let mut text = Zeroizing::new(Vec::with_capacity(length.0 + 1));
    write(&mut *text)?;
    text.push(b'\n');
    Ok(text)
}

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_from_the_beginning() {
        let value = ["a \"key\"", "é"].repeat(1_000);
        for text in [line(&value).unwrap(), pretty(&value).unwrap()] {
            assert_eq!(text.len(), text.capacity());
            assert_eq!(serde_json::from_slice::<Vec<String>>(&text).unwrap(), value);
        }
    }
}
