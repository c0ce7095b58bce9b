//! Words: quotes, backslashes, comments and continued lines, as libuci's `next_arg` and `parse_str` do it.
//!
//! libuci works on one line at a time and pulls in the next one inside quotes and after a backslash. Here
//! the whole text stays in place, and `end` is where libuci's line buffer would end.

use std::ops::Range;

use super::error::{ParseError, Reason};

/// One word with its quotes resolved, and where it stood.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// A reading position in a UCI text.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    pos: usize,
    /// End of the current (possibly continued) line, or the start of its comment.
    end: usize,
    /// Start of the line after it.
    next_line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, pos: 0, end: 0, next_line: 0 }
    }

    /// Moves to the start of the next line; false at the end of the text.
    pub(super) fn start_line(&mut self) -> bool {
        if self.next_line >= self.text.len() {
            return false;
        }
        self.pull_line();
        true
    }

    pub(super) fn skip_whitespace(&mut self) {
        while self.current().is_some_and(is_space) {
            self.pos += 1;
        }
    }

    /// The statement's first word with its span, or none at the end of the line or at a comment.
    ///
    /// Only blanks and tabs end it, and something must follow: that is libuci's `strtok`.
    pub(super) fn keyword(&mut self) -> Option<(&'a [u8], Range<usize>)> {
        while self.current().is_some_and(is_blank) {
            self.pos += 1;
        }
        let start = self.pos;
        let line = &self.text[start..self.end];
        if line.is_empty() || line[0] == b'#' {
            return None;
        }
        let len = line.iter().position(|&byte| is_blank(byte)).unwrap_or(line.len());
        self.pos = start + len;
        Some((&line[..len], start..self.pos))
    }

    /// Steps over the blank after a keyword; false if the line ends there.
    pub(super) fn step_past_keyword(&mut self) -> bool {
        let more = self.pos < self.end;
        self.pos += usize::from(more);
        more
    }

    /// The next word; empty at the end of the statement. Swallows one `;` that stands where a word could.
    pub(super) fn word(&mut self) -> Result<Word, ParseError> {
        self.skip_whitespace();
        let start = self.pos;
        let mut bytes = Vec::new();
        if self.current() == Some(b';') {
            self.pos += 1;
            return Ok(Word { text: String::new(), span: start..start });
        }
        let end = self.word_body(start, &mut bytes)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Word { text, span: start..end }),
            Err(_) => Err(self.error(start, Reason::NotUtf8)),
        }
    }

    pub(super) fn error(&self, offset: usize, reason: Reason) -> ParseError {
        ParseError::at(self.text, offset, reason)
    }

    /// Reads up to the end of a word that starts at `start`; returns where the word ended.
    fn word_body(&mut self, start: usize, bytes: &mut Vec<u8>) -> Result<usize, ParseError> {
        loop {
            match self.current() {
                Some(b'\'') => self.single_quoted(bytes)?,
                Some(b'"') => self.double_quoted(bytes)?,
                Some(b'#') => {
                    self.end = self.pos;
                    return Ok(self.pos);
                }
                Some(b';') => {
                    self.check_semicolon(start, bytes.len())?;
                    return Ok(self.pos);
                }
                Some(b'\\') => self.escaped(bytes),
                Some(byte) => {
                    bytes.push(byte);
                    self.pos += 1;
                }
                None => return Ok(self.pos),
            }
            match self.current() {
                Some(byte) if is_space(byte) => {
                    self.pos += 1;
                    return Ok(self.pos - 1);
                }
                Some(_) => {}
                None => return Ok(self.pos),
            }
        }
    }

    /// Resolves a backslash outside single quotes. One at the end of a line joins the next line.
    fn escaped(&mut self, bytes: &mut Vec<u8>) {
        self.pos += 1;
        match &self.text[self.pos..self.end] {
            [] | [b'\n'] | [b'\r', b'\n'] => self.pull_line(),
            [byte, ..] => {
                bytes.push(*byte);
                self.pos += 1;
            }
        }
    }

    fn single_quoted(&mut self, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let open = self.pos;
        self.pos += 1;
        loop {
            match self.quoted_byte(open, '\'')? {
                b'\'' => {
                    self.pos += 1;
                    return Ok(());
                }
                byte => {
                    bytes.push(byte);
                    self.pos += 1;
                }
            }
        }
    }

    fn double_quoted(&mut self, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let open = self.pos;
        self.pos += 1;
        loop {
            match self.quoted_byte(open, '"')? {
                b'"' => {
                    self.pos += 1;
                    return Ok(());
                }
                b'\\' => self.escaped(bytes),
                byte => {
                    bytes.push(byte);
                    self.pos += 1;
                }
            }
        }
    }

    /// The byte under the cursor inside quotes, which may lie on the next line.
    fn quoted_byte(&mut self, open: usize, quote: char) -> Result<u8, ParseError> {
        if self.current().is_none() {
            self.pull_line();
        }
        self.current().ok_or_else(|| self.error(open, Reason::Unterminated(quote)))
    }

    /// A `;` right after a plain word: libuci writes the word's terminator over it and forgets the rest.
    fn check_semicolon(&mut self, start: usize, word_len: usize) -> Result<(), ParseError> {
        let word_was_plain = self.pos - start == word_len;
        if !word_was_plain {
            return Ok(());
        }
        let rest = &self.text[self.pos + 1..self.end];
        let first = rest.iter().find(|&&byte| !is_space(byte));
        if first.is_some_and(|&byte| byte != b'#') {
            return Err(self.error(self.pos, Reason::LostStatement));
        }
        self.end = self.pos;
        Ok(())
    }

    fn current(&self) -> Option<u8> {
        self.text[self.pos..self.end].first().copied()
    }

    fn pull_line(&mut self) {
        self.pos = self.next_line;
        let rest = &self.text[self.next_line..];
        let len = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.end = self.next_line + len;
        self.next_line = self.end;
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// C's `isspace`, which has the vertical tab that `u8::is_ascii_whitespace` lacks.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
