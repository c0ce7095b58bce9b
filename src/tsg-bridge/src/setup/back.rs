//! Takes a set-up out of /etc/config/tsg when that was changed since, as `tsg enrol` does: the sections that say which
//! ports are the gateway's go back, and the rest stays.

use crate::uci::{Document, Package, Section};

/// The text with those sections as they were; none if somebody has changed them, too. `before` and `after` are the file
/// around the set-up.
pub(super) fn with_ports_of(before: &str, after: &str, there: &str) -> Option<String> {
    let read = |text: &str| Package::parse(text.as_bytes()).ok();
    let (was, made) = (bridges(&read(before)?), bridges(&read(after)?));
    let package = read(there)?;
    let now = bridges(&package);
    // A set-up adds a section at most, behind the others.
    if !all_same(&now, &made) || was.len() > now.len() {
        return None;
    }
    let (kept, added) = now.split_at(was.len());
    let mut document = Document::parse(there.as_bytes()).ok()?;
    for ((at, section), (_, old)) in kept.iter().zip(&was) {
        let gone = section.options.iter().filter(|opt| old.value(&opt.name).is_none());
        let other = old.options.iter().filter(|opt| section.value(&opt.name) != Some(&opt.value));
        let values = gone
            .map(|opt| (&opt.name, None))
            .chain(other.map(|opt| (&opt.name, Some(opt.value.clone()))));
        for (option, value) in values {
            document.set_in(*at, &section.kind, section.name.as_deref(), option, value);
        }
    }
    let text = added
        .iter()
        .rev()
        .fold(document.text().to_owned(), |text, (at, _)| without_section(&text, *at));
    // What cannot be taken out in place stays as it is.
    let result = read(&text)?;
    let is_right = all_same(&bridges(&result), &was) && others(&result) == others(&package);
    is_right.then_some(text)
}

type Numbered = Vec<(usize, Section)>;

/// With their places among all sections.
fn bridges(package: &Package) -> Numbered {
    let sections = package.sections.iter().cloned().enumerate();
    sections.filter(|(_, section)| section.kind == "bridge").collect()
}

fn others(package: &Package) -> Vec<&Section> {
    package.sections.iter().filter(|section| section.kind != "bridge").collect()
}

/// In whichever order their options stand.
fn all_same(some: &Numbered, others: &Numbered) -> bool {
    let sorted = |(_, section): &(usize, Section)| {
        let mut section = section.clone();
        section.options.sort_by(|a, b| a.name.cmp(&b.name));
        section
    };
    some.iter().map(sorted).eq(others.iter().map(sorted))
}

/// The lines from a section's first one to that of the next.
fn without_section(text: &str, wanted: usize) -> String {
    let is_first = |line: &&str| line.split_whitespace().next() == Some("config");
    let mut begun = 0;
    let lines = text.split_inclusive('\n').filter(|line| {
        begun += usize::from(is_first(line));
        begun != wanted + 1
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "config tsg 'main'\n\toption fail 'closed'\n\nconfig bridge 'bridge'\n\t# the machine's\n\tlist lan 'lan1'\n\
                          \toption wan 'wan'\n\toption device 'br-lan'\n";
    const AFTER: &str = "config tsg 'main'\n\toption fail 'closed'\n\nconfig bridge 'bridge'\n\t# the machine's\n\tlist lan 'lan2'\n\
                         \tlist lan 'lan3'\n\toption wan 'wan'\n\toption standalone '1'\n";

    #[test]
    fn what_was_changed_elsewhere_stays() {
        let enrolled = |text: &str| {
            text.replace("'closed'\n", "'closed'\n\toption server 'tcp://192.0.2.10:5555'\n")
        };
        let back = with_ports_of(BEFORE, AFTER, &enrolled(AFTER)).unwrap();
        let expected = Package::parse(enrolled(BEFORE).as_bytes()).unwrap();
        let result = Package::parse(back.as_bytes()).unwrap();
        assert!(all_same(&bridges(&result), &bridges(&expected)), "{back}");
        assert_eq!(others(&result), others(&expected));
        assert!(back.contains("# the machine's"), "{back}");
    }

    #[test]
    fn what_is_somebody_elses_is_not_undone() {
        for change in [("lan3", "lan4"), ("config bridge 'bridge'", "config bridge 'other'")] {
            assert_eq!(with_ports_of(BEFORE, AFTER, &AFTER.replace(change.0, change.1)), None);
        }
        let further = format!("{AFTER}\nconfig bridge\n\toption wan 'eth1'\n");
        assert_eq!(with_ports_of(BEFORE, AFTER, &further), None);
        assert_eq!(with_ports_of(BEFORE, AFTER, "config 'tsg\n"), None);
    }

    #[test]
    fn a_section_of_the_set_up_goes() {
        let before = "config tsg 'main'\n";
        let after =
            "config tsg 'main'\n\nconfig bridge 'bridge'\n\tlist lan 'lan1'\n\toption wan 'wan'\n";
        let there = format!("{after}\nconfig rule\n\toption action 'drop'\n");
        let back = with_ports_of(before, after, &there).unwrap();
        assert_eq!(back, "config tsg 'main'\n\nconfig rule\n\toption action 'drop'\n");
    }
}
