//! Statements: `package`, `config`, `option` and `list`, with the place each one takes in the text.

use std::ops::Range;

use super::{
    error::{ParseError, Reason},
    lex::{Lexer, Word},
};

/// One statement and the bytes it spans, from its keyword to the end of its last word.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) what: What,
    pub(super) span: Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `package NAME`: checked and then ignored, as `uci` does when it loads a file.
    Package,
    Config {
        kind: String,
        name: Option<String>,
    },
    Option {
        name: String,
        value: String,
    },
    List {
        name: String,
        value: String,
    },
}

/// Cuts a text into statements.
pub(super) fn statements(text: &[u8]) -> Result<Vec<Statement>, ParseError> {
    if let Some(at) = text.iter().position(|&byte| byte == 0) {
        return Err(ParseError::at(text, at, Reason::Nul));
    }
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    while lexer.start_line() {
        lexer.skip_whitespace();
        while let Some(statement) = next_statement(&mut lexer)? {
            found.push(statement);
        }
    }
    Ok(found)
}

fn next_statement(lexer: &mut Lexer<'_>) -> Result<Option<Statement>, ParseError> {
    let Some((keyword, at)) = lexer.keyword() else { return Ok(None) };
    let (what, end) = match keyword {
        b"p" | b"package" => package(lexer, &at)?,
        b"c" | b"config" => config(lexer, &at)?,
        b"o" | b"option" => {
            let (name, value, end) = name_and_value(lexer, &at)?;
            (What::Option { name, value }, end)
        }
        b"l" | b"list" => {
            let (name, value, end) = name_and_value(lexer, &at)?;
            (What::List { name, value }, end)
        }
        _ => return Err(lexer.error(at.start, Reason::UnknownStatement)),
    };
    expect_end(lexer)?;
    Ok(Some(Statement { what, span: at.start..end }))
}

fn package(lexer: &mut Lexer<'_>, at: &Range<usize>) -> Result<(What, usize), ParseError> {
    let name = required(lexer, at)?;
    let valid = |byte: u8| is_name_byte(byte) || byte == b'-';
    if !name.text.bytes().all(valid) {
        return Err(lexer.error(name.span.start, Reason::BadName));
    }
    Ok((What::Package, name.span.end))
}

fn config(lexer: &mut Lexer<'_>, at: &Range<usize>) -> Result<(What, usize), ParseError> {
    let kind = required(lexer, at)?;
    if !is_type(&kind.text) {
        return Err(lexer.error(kind.span.start, Reason::BadType));
    }
    let name = lexer.word()?;
    if name.text.is_empty() {
        return Ok((
            What::Config { kind: kind.text, name: None },
            kind.span.end.max(name.span.end),
        ));
    }
    check_name(lexer, &name)?;
    Ok((What::Config { kind: kind.text, name: Some(name.text) }, name.span.end))
}

fn name_and_value(
    lexer: &mut Lexer<'_>,
    at: &Range<usize>,
) -> Result<(String, String, usize), ParseError> {
    let name = required(lexer, at)?;
    check_name(lexer, &name)?;
    let value = lexer.word()?;
    Ok((name.text, value.text, name.span.end.max(value.span.end)))
}

fn required(lexer: &mut Lexer<'_>, keyword: &Range<usize>) -> Result<Word, ParseError> {
    let missing = |lexer: &Lexer<'_>| lexer.error(keyword.start, Reason::MissingArgument);
    if !lexer.step_past_keyword() {
        return Err(missing(lexer));
    }
    let word = lexer.word()?;
    if word.text.is_empty() {
        return Err(missing(lexer));
    }
    Ok(word)
}

fn check_name(lexer: &Lexer<'_>, word: &Word) -> Result<(), ParseError> {
    if is_name(&word.text) { Ok(()) } else { Err(lexer.error(word.span.start, Reason::BadName)) }
}

fn expect_end(lexer: &mut Lexer<'_>) -> Result<(), ParseError> {
    let extra = lexer.word()?;
    if extra.text.is_empty() {
        return Ok(());
    }
    Err(lexer.error(extra.span.start, Reason::TooManyArguments))
}

/// Whether libuci takes this as the name of a section or option.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_name_byte)
}

/// Whether libuci takes this as a section type.
pub(super) fn is_type(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
