//! What a secret has left in the memory of this process: for tests of code that must leave nothing.
//!
//! All memory that the process can write to is read through /proc/self/mem, freed memory and dead
//! stack included, and searched for every piece of eight bytes: a copy that is partly overwritten
//! counts, too. What is searched for is kept in disguise, so the search does not find itself.
//!
//! Not for: other processes (tests/lab/memory.py), and copies in another form than the test names.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// So many bytes of a secret in a row count as a trace of it.
const PIECE: usize = 8;

/// A piece is turned over by this while it is only looked for.
const DISGUISE: u64 = 0xa5c3_5a3c_9669_f00f;

/// Addresses from the first up to, not including, the second.
type Span = (u64, u64);

/// One search at a time: another one's buffer holds what it reads.
static SEARCH: Mutex<()> = Mutex::new(());

/// A secret, to be looked for.
pub struct Traces {
    pieces: Vec<u64>,
}

impl Traces {
    /// Of these bytes, of which the caller's stay the only ones.
    pub fn of(secret: &[u8]) -> Self {
        Self { pieces: words(secret, PIECE).collect() }
    }

    /// How often each piece lies in memory, summed over the pieces.
    ///
    /// # Panics
    ///
    /// /proc cannot be read.
    pub fn count(&self) -> usize {
        let _alone = SEARCH.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = vec![0; 1 << 16];
        let own = buffer.as_ptr() as u64;
        let own = (own, own + buffer.len() as u64);
        let spans = writable().into_iter().flat_map(|span| without(span, own));
        let found = spans.map(|span| self.count_in(span, &mut buffer)).sum();
        buffer.fill(0);
        black_box(&buffer);
        found
    }

    fn count_in(&self, (start, end): Span, buffer: &mut [u8]) -> usize {
        #[expect(clippy::expect_used, reason = "for tests")]
        let memory = File::open("/proc/self/mem").expect("/proc/self/mem");
        let (mut at, mut found) = (start, 0);
        while at + PIECE as u64 <= end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            // Some of what is mapped cannot be read.
            let Ok(read @ PIECE..) = memory.read_at(&mut buffer[..most], at) else { break };
            found += self.count_pieces(&buffer[..read]);
            // What lies across two readings is found by the second.
            at += (read - (PIECE - 1)) as u64;
        }
        found
    }

    fn count_pieces(&self, bytes: &[u8]) -> usize {
        words(bytes, 1).map(|word| self.pieces.iter().filter(|&&piece| piece == word).count()).sum()
    }
}

/// The pieces that begin at every `step`th byte, in disguise.
fn words(bytes: &[u8], step: usize) -> impl Iterator<Item = u64> {
    let word = |window: &[u8]| window.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    // Not to be computed backwards: then what is looked for would be in a register, and be found.
    bytes.windows(PIECE).step_by(step).map(move |window| black_box(word(window) ^ DISGUISE))
}

/// Wider is only the shadow of AddressSanitizer, where no byte is a copy of one.
const WIDEST: u64 = 1 << 40;

/// Where this process can write.
#[expect(clippy::expect_used, reason = "for tests")]
fn writable() -> Vec<Span> {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    let span = |line: &str| {
        let (span, rights) = line.split_once(' ')?;
        let (start, end) = span.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        rights.starts_with("rw").then_some((address(start)?, address(end)?))
    };
    let searched = |&(start, end): &Span| end - start <= WIDEST;
    maps.lines().filter_map(span).filter(searched).collect()
}

/// What the search itself reads into is left out.
fn without((start, end): Span, own: Span) -> [Span; 2] {
    [(start, own.0.clamp(start, end)), (own.1.clamp(start, end), end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 bytes that nothing else has: where they lie, turned over by the time.
    fn unlikely() -> Box<[u8; 32]> {
        let mut secret = Box::new([0; 32]);
        File::open("/dev/urandom").unwrap().read_exact_at(&mut secret[..], 0).unwrap();
        secret
    }

    #[test]
    fn it_finds_what_is_there_and_what_was_freed_but_not_itself() {
        let secret = unlikely();
        let traces = Traces::of(&secret[..]);
        assert_eq!(traces.count(), 4);
        let copies = vec![*secret; 3];
        assert!(traces.count() >= 16, "{}", traces.count());
        drop(copies);
        assert!(traces.count() > 4, "freed memory is not searched");
    }

    #[test]
    fn a_part_is_enough() {
        let mut secret = unlikely();
        let traces = Traces::of(&secret[..]);
        secret[..24].fill(0);
        assert_eq!(traces.count(), 1);
        secret[24..].fill(0);
        assert_eq!(traces.count(), 0);
    }
}
