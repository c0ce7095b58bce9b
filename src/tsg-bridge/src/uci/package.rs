//! What a UCI file says, without how it is written: sections in order, options in order.

use super::{
    error::{ParseError, Reason},
    statement::{What, statements},
};

/// The sections of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// In the order of the file.
    pub sections: Vec<Section>,
}

/// `config KIND 'NAME'` and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The section's type: `tsg`, `bridge`, `rule`.
    pub kind: String,
    /// None for an anonymous section.
    pub name: Option<String>,
    /// In libuci's order: an option that is set again moves to the end.
    pub options: Vec<Opt>,
}

/// One option of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Letters, digits and `_`.
    pub name: String,
    /// What it is set to.
    pub value: Value,
}

/// `option` holds one text, `list` several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// From `option`; never empty, since libuci takes an empty option for none.
    Text(String),
    /// From one or more `list`; the texts may be empty.
    List(Vec<String>),
}

impl Package {
    /// Reads a UCI text.
    ///
    /// # Errors
    /// The first place where libuci would refuse the text or lose a part of it.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut package = Self::default();
        let mut open = None;
        for statement in statements(text)? {
            let refuse = |reason| ParseError::at(text, statement.span.start, reason);
            match statement.what {
                What::Package => {}
                What::Config { kind, name } => {
                    open = Some(package.open(kind, name).map_err(refuse)?);
                }
                What::Option { name, value } => {
                    package.current(open).map_err(refuse)?.set_text(name, value);
                }
                What::List { name, value } => {
                    package.current(open).map_err(refuse)?.add_to_list(name, value);
                }
            }
        }
        Ok(package)
    }

    /// The section of this type and name.
    pub fn named(&self, kind: &str, name: &str) -> Option<&Section> {
        let is_it = |s: &&Section| s.kind == kind && s.name.as_deref() == Some(name);
        self.sections.iter().find(is_it)
    }

    /// All sections of a type, named and anonymous.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind == kind)
    }

    /// A section of a name that was there before goes on; an anonymous one is always new.
    fn open(&mut self, kind: String, name: Option<String>) -> Result<usize, Reason> {
        let known = self.sections.iter().position(|s| name.is_some() && s.name == name);
        if let Some(at) = known {
            let same_kind = self.sections[at].kind == kind;
            return if same_kind { Ok(at) } else { Err(Reason::TypeConflict) };
        }
        self.sections.push(Section { kind, name, options: Vec::new() });
        Ok(self.sections.len() - 1)
    }

    fn current(&mut self, open: Option<usize>) -> Result<&mut Section, Reason> {
        open.and_then(|at| self.sections.get_mut(at)).ok_or(Reason::OptionOutsideSection)
    }
}

impl Section {
    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&Opt> {
        self.options.iter().find(|opt| opt.name == name)
    }

    /// What an option is set to.
    pub fn value(&self, option: &str) -> Option<&Value> {
        self.option(option).map(|opt| &opt.value)
    }

    /// The text of an option, or the last one of a list.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.value(option).and_then(|value| value.texts().last()).map(String::as_str)
    }

    fn set_text(&mut self, name: String, text: String) {
        if text.is_empty() {
            return;
        }
        let value = Value::Text(text);
        let known = self.options.iter().position(|opt| opt.name == name);
        if let Some(at) = known {
            if self.options[at].value == value {
                return;
            }
            self.options.remove(at);
        }
        self.options.push(Opt { name, value });
    }

    fn add_to_list(&mut self, name: String, text: String) {
        let known = self.options.iter().position(|opt| opt.name == name);
        let Some(at) = known else {
            self.options.push(Opt { name, value: Value::List(vec![text]) });
            return;
        };
        match &mut self.options[at].value {
            Value::List(texts) => texts.push(text),
            Value::Text(first) => {
                let texts = vec![std::mem::take(first), text];
                self.options.remove(at);
                self.options.push(Opt { name, value: Value::List(texts) });
            }
        }
    }
}

impl Value {
    /// All texts: one for an option, any number for a list.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_value(text: &str) -> Value {
        let package = Package::parse(text.as_bytes()).unwrap();
        package.sections[0].options[0].value.clone()
    }

    #[test]
    fn quoting_follows_libuci() {
        let cases = [
            ("c t\no a plain", "plain"),
            ("c t\no a 'two words'", "two words"),
            ("c t\no a 'it'\\''s'", "it's"),
            ("c t\no a \"it's \\\"quoted\\\"\"", "it's \"quoted\""),
            ("c t\no a one\\ word", "one word"),
            ("c t\no a 'one'two\"three\"", "onetwothree"),
            ("c t\no a half\\\nhalf", "halfhalf"),
            ("c t\no a half\\\r\nhalf\r\n", "halfhalf"),
            ("c t\no a 'line\nline'", "line\nline"),
            ("c t\no a word#comment", "word"),
            ("c t\no a 'word' # comment", "word"),
            ("c t\no a '#;'", "#;"),
            ("c t\no a plain ; o b c", "plain"),
            ("c t\no a 'quoted';o b c", "quoted"),
            ("c t\no a '\\'", "\\"),
        ];
        for (text, expected) in cases {
            assert_eq!(only_value(text), Value::Text(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_option_and_a_list_of_one_name_become_a_list() {
        let list = |texts: &[&str]| Value::List(texts.iter().map(|&t| t.to_owned()).collect());
        assert_eq!(only_value("c t\no a x\nl a y"), list(&["x", "y"]));
        assert_eq!(only_value("c t\nl a x\no a y"), Value::Text("y".to_owned()));
        assert_eq!(only_value("c t\nl a x\nl a ''"), list(&["x", ""]));
        assert_eq!(only_value("c t\no a x\no a ''"), Value::Text("x".to_owned()));
    }

    #[test]
    fn a_named_section_goes_on_and_an_anonymous_one_does_not() {
        let text = b"config rule 'a'\n option x 1\nconfig rule\nconfig rule a\n option y 2\n";
        let package = Package::parse(text).unwrap();
        assert_eq!(package.sections.len(), 2);
        assert_eq!(package.named("rule", "a").unwrap().text("y"), Some("2"));
    }

    #[test]
    fn an_error_has_line_column_and_advice() {
        let cases: [(&[u8], &str); 12] = [
            (b"config tsg 'main'\n\toption a 'b\n\n", "2:11: this ' is never closed"),
            (b"config tsg\n\toption \xc3\xa4 b\n", "2:9: a name has only"),
            (b"config tsg\n\toption a \"\xc3\xa4\" b\n", "2:15: there is more on this line"),
            (b"option a b\n", "1:1: an option needs a section"),
            (b"config\n", "1:1: a line starts with"),
            (b"config \n", "1:1: a name or type is missing"),
            (b"config tsg\nfoo bar\n", "2:1: a line starts with"),
            (b"config a x\nconfig b x\n", "2:1: a section of this name exists"),
            (b"config a\n\toption x y;option z w\n", "2:12: uci ignores"),
            (b"config a\n\toption x 'a\0b'\n", "2:13: the file has a byte 0"),
            (b"config a\n\toption x '\xff'\n", "2:11: this value is not UTF-8"),
            (b"config \xc3\xa4\n", "1:8: a section type has"),
        ];
        for (text, expected) in cases {
            let error = Package::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{:?}: {error}", String::from_utf8_lossy(text));
        }
    }
}
