//! Changes of two UCI files, collected one by one; what would change nothing is none.

use super::Files;
use crate::uci::{Opt, Package, Section, Value};
use anyhow::{Result, bail};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Network,
    Tsg,
}

impl Place {
    pub(crate) const ALL: [Self; 2] = [Self::Network, Self::Tsg];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Tsg => "tsg",
        }
    }
}

/// A verb of `uci`, then file, section and so on, as the method `setup` gives it.
pub(crate) type Change = Vec<String>;

/// The files as they will be, and how they come to be so.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) network: Package,
    pub(crate) tsg: Package,
    before: [Package; 2],
    changes: Vec<Change>,
    /// What was touched: file, number of the section, option.
    touched: Vec<(Place, usize, String)>,
}

impl Draft {
    pub(super) fn new(files: &Files) -> Self {
        Self {
            network: files.network.clone(),
            tsg: files.tsg.clone(),
            before: [files.network.clone(), files.tsg.clone()],
            changes: Vec::new(),
            touched: Vec::new(),
        }
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What a file was when the draft was begun.
    pub(crate) fn before(&self, place: Place) -> &Package {
        let [network, tsg] = &self.before;
        match place {
            Place::Network => network,
            Place::Tsg => tsg,
        }
    }

    /// What is set where in a file: section, option, and the value, or none if the option is to go.
    pub(crate) fn edits(
        &self,
        place: Place,
    ) -> impl Iterator<Item = (usize, &Section, &str, Option<&Value>)> {
        let package = self.package(place);
        self.touched.iter().filter(move |(touched, ..)| *touched == place).map(
            move |(_, at, option)| {
                let section = &package.sections[*at];
                (*at, section, option.as_str(), section.value(option))
            },
        )
    }

    const fn package(&self, place: Place) -> &Package {
        match place {
            Place::Network => &self.network,
            Place::Tsg => &self.tsg,
        }
    }

    /// The number of a section of that name, which is made if there is none.
    pub(super) fn section(&mut self, place: Place, kind: &str, name: &str) -> Result<usize> {
        let sections = &mut self.package_mut(place).sections;
        match sections.iter().position(|section| section.name.as_deref() == Some(name)) {
            Some(at) if sections[at].kind == kind => Ok(at),
            Some(at) => bail!(
                "section {name} of /etc/config/{} is a `config {}` and not a `config {kind}`; rename it first",
                place.name(),
                sections[at].kind
            ),
            None => {
                let section = Section {
                    kind: kind.to_owned(),
                    name: Some(name.to_owned()),
                    options: Vec::new(),
                };
                sections.push(section);
                let at = sections.len() - 1;
                self.changes.push(["set", place.name(), name, kind].map(str::to_owned).to_vec());
                Ok(at)
            }
        }
    }

    pub(super) fn set(&mut self, place: Place, at: usize, option: &str, text: &str) {
        let value = Value::Text(text.to_owned());
        if self.package(place).sections[at].value(option) != Some(&value) {
            let label = self.put(place, at, option, Some(value));
            self.note(&["set", place.name(), &label, option, text]);
        }
    }

    pub(super) fn set_list(&mut self, place: Place, at: usize, option: &str, texts: &[String]) {
        let value = Value::List(texts.to_vec());
        let before = self.package(place).sections[at].value(option);
        if before == Some(&value) {
            return;
        }
        let was_there = before.is_some();
        let label = self.put(place, at, option, Some(value));
        if was_there {
            self.note(&["delete", place.name(), &label, option]);
        }
        for text in texts {
            self.note(&["add_list", place.name(), &label, option, text]);
        }
    }

    pub(super) fn delete(&mut self, place: Place, at: usize, option: &str) {
        if self.package(place).sections[at].value(option).is_some() {
            let label = self.put(place, at, option, None);
            self.note(&["delete", place.name(), &label, option]);
        }
    }

    fn package_mut(&mut self, place: Place) -> &mut Package {
        match place {
            Place::Network => &mut self.network,
            Place::Tsg => &mut self.tsg,
        }
    }

    /// Gives the section as `uci` names it.
    fn put(&mut self, place: Place, at: usize, option: &str, value: Option<Value>) -> String {
        let sections = &mut self.package_mut(place).sections;
        let kind = sections[at].kind.clone();
        let nth = sections[..at].iter().filter(|section| section.kind == kind).count();
        let section = &mut sections[at];
        section.options.retain(|opt| opt.name != option);
        let value = value.map(|value| Opt { name: option.to_owned(), value });
        section.options.extend(value);
        let label = section.name.clone().unwrap_or_else(|| format!("@{kind}[{nth}]"));
        let touched = (place, at, option.to_owned());
        if !self.touched.contains(&touched) {
            self.touched.push(touched);
        }
        label
    }

    fn note(&mut self, change: &[&str]) {
        self.changes.push(change.iter().map(ToString::to_string).collect());
    }
}

/// A change as a command line of `uci`.
pub(crate) fn command(change: &[String]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    match change {
        [verb, config, section, value] if verb == "set" => {
            format!("uci set {config}.{section}={}", quoted(value))
        }
        [verb, config, section, option, value] => {
            format!("uci {verb} {}={}", place(&[config, section, option]), quoted(value))
        }
        [verb, path @ ..] => {
            format!("uci {verb} {}", place(&path.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        [] => String::new(),
    }
}

/// Brackets mean something to a shell.
fn place(path: &[&str]) -> String {
    let path = path.join(".");
    if path.contains('[') { format!("'{path}'") } else { path }
}
