//! Many gateways let in at once, by a list of their fingerprints.

use super::{Answer, Approval, Desk, Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use tsg_control::keys::Fingerprint;
use tsg_control::server::{ListedGateway, MOST_LISTED};

/// What a list came to; in its order, each fingerprint once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedList {
    /// The group that they were let into.
    pub group: String,
    /// They waited, and are in now.
    pub approved: Vec<Approval>,
    /// They were in before, in this group or another.
    pub members: Vec<Approval>,
    /// They were thrown out once, and stay so.
    pub revoked: Vec<Approval>,
    /// Nobody with these fingerprints has asked to join.
    pub absent: Vec<String>,
}

impl ApprovedList {
    /// How many of which kind, in words.
    pub fn summary(&self) -> String {
        let mut parts = vec![format!("{} let in", self.approved.len())];
        let others = [
            (self.absent.len(), "have not asked yet", "has not asked yet"),
            (self.members.len(), "were in before", "was in before"),
            (self.revoked.len(), "stay thrown out", "stays thrown out"),
        ];
        for (count, many, one) in others.into_iter().filter(|(count, _, _)| *count > 0) {
            parts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
        parts.join(", ")
    }
}

pub(super) fn approve(
    desk: &mut Desk<'_>,
    group: &str,
    fingerprints: &[String],
) -> Result<Answer, Refusal> {
    let read = |(at, text): (usize, &String)| {
        text.parse::<Fingerprint>()
            .map_err(|why| refusal(&format!("fingerprint {}", at + 1), text, why))
    };
    // So many are refused below, and need not be read.
    let some = fingerprints.iter().take(MOST_LISTED + 1).enumerate();
    let listed: Vec<_> = some.map(read).collect::<Result<_, _>>()?;
    let came = desk.server.approve_listed(&listed, group, desk.now / 1000, desk.now)?;
    let shown = |all: Vec<ListedGateway>| all.into_iter().map(approval).collect();
    Ok(Answer::ApprovedList(ApprovedList {
        group: group.to_owned(),
        approved: shown(came.approved),
        members: shown(came.members),
        revoked: shown(came.revoked),
        absent: came.absent.iter().map(ToString::to_string).collect(),
    }))
}

fn approval(gateway: ListedGateway) -> Approval {
    let ListedGateway { name, fingerprint, group } = gateway;
    Approval { name, fingerprint: fingerprint.to_string(), group }
}

fn refusal(place: &str, text: &str, why: impl std::fmt::Display) -> Refusal {
    let shown: String = text.chars().take(60).collect();
    let message = format!("{place}: {shown:?} is {why}. Nobody was let in");
    Refusal::new(RefusalKind::Invalid, message)
}

/// The fingerprints in a text: one at the beginning of each line, and what stands behind it, after a blank, a comma or
/// a semicolon, is for people. Empty lines and those that begin with `#` say nothing.
///
/// # Errors
/// A line begins with something else, named by its number, or there are too many.
pub fn read_list(text: &str) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    // Programs of Windows put a mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
        let first = line.split(ends).next().unwrap_or_default();
        let print = first
            .parse::<Fingerprint>()
            .map_err(|why| refusal(&format!("line {}", at + 1), first, why))?;
        if found.len() == MOST_LISTED {
            let text = format!("there are more than {MOST_LISTED} fingerprints: use several lists");
            return Err(Refusal::new(RefusalKind::Invalid, text));
        }
        found.push(print.to_string());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tsg_control::keys::PublicKey;

    fn print(number: u8) -> String {
        PublicKey([number; 32]).fingerprint().to_string()
    }

    #[test]
    fn a_list_as_people_and_spreadsheets_write_it() {
        let [one, two, three, four] = [1, 2, 3, 4].map(print);
        let text = format!(
            "\u{feff}{one}\r\n# hall 3\n\n  {}  press 7\t\n{},pump,\"hall 3\"\n{four};drive",
            two.to_uppercase(),
            three.replace('-', ":"),
        );
        assert_eq!(read_list(&text).unwrap(), [one, two, three, four]);
        assert!(read_list("").unwrap().is_empty() && read_list("#\n \n").unwrap().is_empty());
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let good = print(1);
        let cut = &good[..38];
        let wrong = ["pump", cut, "\u{1b}[2J", &format!("pump,{good}"), &format!("\"{good}\"")];
        for wrong in wrong {
            let told = read_list(&format!("# list\n{good}\n\n{wrong}\n")).unwrap_err().message;
            assert!(told.starts_with("line 4: ") && told.contains("is not a whole"), "{told}");
            assert!(!told.contains('\u{1b}') && told.contains("Nobody was let in"), "{told}");
        }
    }

    #[test]
    fn a_list_has_an_end() {
        let line = print(1) + "\n";
        assert_eq!(read_list(&line.repeat(MOST_LISTED)).unwrap().len(), MOST_LISTED);
        let told = read_list(&line.repeat(MOST_LISTED + 1)).unwrap_err().message;
        assert!(told.contains("more than 1000"), "{told}");
    }

    #[test]
    fn what_came_of_it_in_words() {
        let one = || Approval { name: "pump".into(), fingerprint: print(1), group: "plant".into() };
        let mut list = ApprovedList {
            group: "plant".to_owned(),
            approved: vec![one(), one()],
            members: Vec::new(),
            revoked: Vec::new(),
            absent: Vec::new(),
        };
        assert_eq!(list.summary(), "2 let in");
        (list.members, list.absent) = (vec![one()], vec![print(2), print(3)]);
        assert_eq!(list.summary(), "2 let in, 2 have not asked yet, 1 was in before");
        list.revoked.push(one());
        assert!(list.summary().ends_with("1 stays thrown out"));
    }
}
