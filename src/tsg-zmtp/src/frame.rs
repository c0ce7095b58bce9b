//! Frames: flags, a length of one or of eight bytes, and as many bytes.

use crate::error::Error;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What stands in front of a frame's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) is_command: bool,
    /// Its own length.
    pub(crate) size: usize,
    /// That of the frame's bytes.
    pub(crate) length: usize,
}

impl Head {
    /// Reads a head, if it is there as a whole. A frame of more than `most` bytes is refused unread.
    pub(crate) fn read(bytes: &[u8], most: usize) -> Result<Option<Self>, Error> {
        let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
        if flags & !(LONG | COMMAND) != 0 {
            let of_several = flags & MORE != 0;
            return Err(Error::Malformed(if of_several { "part of a frame" } else { "flags" }));
        }
        let (size, length) = if flags & LONG == 0 {
            let Some(&length) = rest.first() else { return Ok(None) };
            (2, u64::from(length))
        } else {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (9, u64::from_be_bytes(*length))
        };
        let bounded = usize::try_from(length).ok().filter(|length| *length <= most);
        let length = bounded.ok_or(Error::TooLong(length))?;
        Ok(Some(Self { is_command: flags & COMMAND != 0, size, length }))
    }
}

/// Appends the head of a frame.
pub(crate) fn write_head(out: &mut Vec<u8>, is_command: bool, length: usize) {
    let command = if is_command { COMMAND } else { 0 };
    match u8::try_from(length) {
        Ok(short) => out.extend([command, short]),
        Err(_) => {
            out.push(command | LONG);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for is_command in [false, true] {
            for length in [0, 1, 200, 255, 256, 65_536] {
                let mut bytes = Vec::new();
                write_head(&mut bytes, is_command, length);
                let size = bytes.len();
                assert_eq!(size, if length > 255 { 9 } else { 2 });
                let head = Head { is_command, size, length };
                assert_eq!(Head::read(&bytes, 65_536), Ok(Some(head)));
                for cut in 0..size {
                    assert_eq!(Head::read(&bytes[..cut], 65_536), Ok(None));
                }
            }
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        assert_eq!(Head::read(&[0, 201], 200), Err(Error::TooLong(201)));
        let longest = [&[LONG][..], &u64::MAX.to_be_bytes()].concat();
        assert_eq!(Head::read(&longest, usize::MAX >> 1), Err(Error::TooLong(u64::MAX)));
    }

    #[test]
    fn unknown_flags_are_refused() {
        for flags in 0..=u8::MAX {
            let known = flags & !(LONG | COMMAND) == 0;
            assert_eq!(Head::read(&[flags, 0, 0, 0, 0, 0, 0, 0, 0], 9).is_ok(), known, "{flags}");
        }
    }
}
