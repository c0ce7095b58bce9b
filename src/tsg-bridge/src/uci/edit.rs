//! Changing one option of a file and leaving the rest as its owner wrote it, comments included.

use std::ops::Range;

use super::{
    Opt, Package, ParseError, Section, Value,
    statement::{What, statements},
    write::{config_line, option_lines, write},
};

/// A UCI text that can be changed option by option.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    package: Package,
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// Where and why it is not a UCI file.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let package = Package::parse(text)?;
        Ok(Self { text: String::from_utf8_lossy(text).into_owned(), package })
    }

    /// What the text says.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// The text with all changes so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Sets an option of the named section and makes the section if there is none; an empty value
    /// removes the option.
    ///
    /// A text that cannot be changed in place (several statements on one line, a section in two parts)
    /// is written anew, without its comments.
    pub fn set(&mut self, kind: &str, name: &str, option: &str, value: Value) {
        let sections = &self.package.sections;
        let known = sections.iter().position(|section| section.name.as_deref() == Some(name));
        let at = known.unwrap_or(sections.len());
        self.set_in(at, kind, Some(name), option, Some(value));
    }

    /// Sets an option of the section that stands at that place among all of them, anonymous ones too; makes the
    /// section if it is the first after the last. Without a value the option is removed.
    pub fn set_in(
        &mut self,
        at: usize,
        kind: &str,
        name: Option<&str>,
        option: &str,
        value: Option<Value>,
    ) {
        let wanted = self.package.with(at, kind, name, option, value);
        let edited = self.edited(&wanted, at, option);
        let faithful = Package::parse(edited.as_bytes()).is_ok_and(|read| same(&read, &wanted));
        self.text = if faithful { edited } else { write(&wanted) };
        self.package = wanted;
    }

    fn edited(&self, wanted: &Package, at: usize, option: &str) -> String {
        let Some(section) = wanted.sections.get(at) else { return self.text.clone() };
        let lines = section.option(option).map(option_lines).unwrap_or_default();
        let Some(place) = self.place(at, option) else {
            let gap = if self.text.is_empty() || self.text.ends_with("\n\n") { "" } else { "\n" };
            let line_end =
                if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
            return format!(
                "{}{line_end}{gap}{}{lines}",
                self.text,
                config_line(&section.kind, section.name.as_deref())
            );
        };
        let mut text = self.text.clone();
        let old = self.lines_of(&place.old);
        if old.is_empty() {
            let at = self.whole_lines(&(place.after..place.after)).end;
            let line_end = if text[..at].ends_with('\n') { "" } else { "\n" };
            text.insert_str(at, &format!("{line_end}{lines}"));
        }
        for (number, range) in old.into_iter().enumerate().rev() {
            text.replace_range(range, if number == 0 { &lines } else { "" });
        }
        text
    }

    /// Where the option stands in the section of that place, or where it would go.
    fn place(&self, wanted: usize, option: &str) -> Option<Place> {
        let mut place: Option<Place> = None;
        let mut names: Vec<Option<String>> = Vec::new();
        let mut inside = false;
        for statement in statements(self.text.as_bytes()).unwrap_or_default() {
            match statement.what {
                What::Package => {}
                What::Config { name: found, .. } => {
                    // A section of a name that was there before goes on.
                    let known = names.iter().position(|name| found.is_some() && *name == found);
                    inside = known.unwrap_or(names.len()) == wanted;
                    if known.is_none() {
                        names.push(found);
                    }
                    if inside {
                        let old = place.take().map(|place| place.old).unwrap_or_default();
                        place = Some(Place { old, after: statement.span.end });
                    }
                }
                What::Option { name: found, .. } | What::List { name: found, .. } => {
                    if let Some(place) = place.as_mut().filter(|_| inside) {
                        place.after = statement.span.end;
                        if found == option {
                            place.old.push(statement.span);
                        }
                    }
                }
            }
        }
        place
    }

    /// The lines that spans lie on, each once.
    fn lines_of(&self, spans: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut all: Vec<Range<usize>> = Vec::new();
        for lines in spans.iter().map(|span| self.whole_lines(span)) {
            match all.last_mut() {
                Some(last) if lines.start < last.end => last.end = last.end.max(lines.end),
                _ => all.push(lines),
            }
        }
        all
    }

    /// The lines that a span lies on, line ends included.
    fn whole_lines(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.end..].find('\n').map_or(self.text.len(), |at| span.end + at + 1);
        start..end
    }
}

struct Place {
    old: Vec<Range<usize>>,
    after: usize,
}

impl Package {
    fn with(
        &self,
        at: usize,
        kind: &str,
        name: Option<&str>,
        option: &str,
        value: Option<Value>,
    ) -> Self {
        let mut package = self.clone();
        let at = at.min(package.sections.len());
        if at == package.sections.len() {
            let name = name.map(str::to_owned);
            package.sections.push(Section { kind: kind.to_owned(), name, options: Vec::new() });
        }
        let options = &mut package.sections[at].options;
        let value = value.filter(|value| !value.texts().iter().all(String::is_empty));
        let Some(value) = value else {
            options.retain(|opt| opt.name != option);
            return package;
        };
        match options.iter_mut().find(|opt| opt.name == option) {
            Some(opt) => opt.value = value,
            None => options.push(Opt { name: option.to_owned(), value }),
        }
        package
    }
}

/// Equal but for the order of options, which means nothing.
fn same(a: &Package, b: &Package) -> bool {
    let sorted = |package: &Package| {
        let mut package = package.clone();
        for section in &mut package.sections {
            section.options.sort_by(|a, b| a.name.cmp(&b.name));
        }
        package
    };
    sorted(a) == sorted(b)
}
