//! Why a UCI file cannot be read, and where.

use std::fmt;

/// What is wrong, in words that say what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Nul,
    NotUtf8,
    Unterminated(char),
    UnknownStatement,
    MissingArgument,
    TooManyArguments,
    BadName,
    BadType,
    OptionOutsideSection,
    TypeConflict,
    LostStatement,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Self::Nul => "the file has a byte 0 in it; write it again as plain text",
            Self::NotUtf8 => "this value is not UTF-8 text; save the file as UTF-8",
            Self::Unterminated('"') => "this \" is never closed; add the closing quote",
            Self::Unterminated(_) => "this ' is never closed; add the closing quote",
            Self::UnknownStatement => {
                "a line starts with `config`, `option`, `list`, `package` or `#`, followed by a blank"
            }
            Self::MissingArgument => "a name or type is missing after this word",
            Self::TooManyArguments => {
                "there is more on this line than fits; put a value with blanks into '…'"
            }
            Self::BadName => "a name has only the letters a-z and A-Z, digits and _",
            Self::BadType => "a section type has no blanks and only plain ASCII characters",
            Self::OptionOutsideSection => {
                "an option needs a section above it; start one with `config TYPE 'NAME'`"
            }
            Self::TypeConflict => {
                "a section of this name exists above with another type; rename one of them"
            }
            Self::LostStatement => {
                "uci ignores what follows this `;`; put the next statement on a line of its own"
            }
        }
    }
}

/// A syntax error at a line and column, both counted from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    line: usize,
    column: usize,
    reason: Reason,
}

impl ParseError {
    pub(super) fn at(text: &[u8], offset: usize, reason: Reason) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let is_char_start = |byte: &&u8| **byte & 0xc0 != 0x80;
        let column = before[line_start..].iter().filter(is_char_start).count() + 1;
        Self { line, column, reason }
    }

    /// Line of the error, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column of the error in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.reason.text())
    }
}

impl std::error::Error for ParseError {}
