//! Rules between the editor and the policy: rows of text, what is wrong with each, and what differs between two lists.

use tsg_control::policy::{Action, MAX_RULES, Policy, Rule};

/// The fields of a row, as forms name them.
pub(super) const FIELDS: [&str; 7] =
    ["action", "name", "proto", "src_ip", "src_port", "dest_ip", "dest_port"];

/// A rule as it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) action: String,
    pub(super) name: String,
    pub(super) proto: String,
    pub(super) src_ip: String,
    pub(super) src_port: String,
    pub(super) dest_ip: String,
    pub(super) dest_port: String,
    /// What is wrong with it.
    pub(super) wrong: String,
}

/// A service that plants have, with its usual ports.
pub(super) struct Service {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    rules: &'static [(&'static str, &'static str)],
}

impl Service {
    /// It is on this port.
    pub(super) fn is_on(&self, proto: &str, port: u16) -> bool {
        self.rules.iter().any(|(protos, ports)| {
            protos.split(' ').any(|one| one == proto)
                && ports.split(' ').any(|one| one.parse() == Ok(port))
        })
    }
}

/// What an operator picks from.
pub(super) const SERVICES: [Service; 11] = [
    Service { key: "own", title: "anything (an empty rule)", rules: &[("", "")] },
    Service { key: "modbus", title: "Modbus/TCP (TCP 502)", rules: &[("tcp", "502")] },
    Service { key: "s7", title: "S7 (TCP 102)", rules: &[("tcp", "102")] },
    Service {
        key: "ethernet-ip",
        title: "EtherNet/IP (TCP and UDP 44818, UDP 2222)",
        rules: &[("tcp udp", "44818"), ("udp", "2222")],
    },
    Service { key: "dnp3", title: "DNP3 (TCP and UDP 20000)", rules: &[("tcp udp", "20000")] },
    Service { key: "iec-104", title: "IEC 60870-5-104 (TCP 2404)", rules: &[("tcp", "2404")] },
    Service { key: "opc-ua", title: "OPC UA (TCP 4840)", rules: &[("tcp", "4840")] },
    Service { key: "bacnet", title: "BACnet/IP (UDP 47808)", rules: &[("udp", "47808")] },
    Service { key: "iec-61850", title: "IEC 61850 MMS (TCP 102)", rules: &[("tcp", "102")] },
    Service { key: "telnet", title: "Telnet (TCP 23)", rules: &[("tcp", "23")] },
    Service {
        key: "http",
        title: "Web pages of machines (TCP 80, 443)",
        rules: &[("tcp", "80 443")],
    },
];

impl Row {
    pub(super) fn of(rule: &Rule) -> Self {
        fn words<T: ToString>(all: &[T]) -> String {
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Self {
            action: rule.action.to_string(),
            name: rule.name.clone(),
            proto: words(&rule.proto),
            src_ip: words(&rule.src_ip),
            src_port: words(&rule.src_port),
            dest_ip: words(&rule.dest_ip),
            dest_port: words(&rule.dest_port),
            wrong: String::new(),
        }
    }

    /// Rows for a service.
    pub(super) fn for_service(key: &str) -> Vec<Self> {
        let found = SERVICES.iter().find(|service| service.key == key);
        let rules = found.map(|service| service.rules).unwrap_or_default();
        let name = if key == "own" { String::new() } else { key.to_owned() };
        let row = |(proto, port): &(&str, &str)| Self {
            action: "encrypt".to_owned(),
            name: name.clone(),
            proto: (*proto).to_owned(),
            dest_port: (*port).to_owned(),
            ..Self::default()
        };
        rules.iter().map(row).collect()
    }

    pub(super) fn fields(&self) -> [(&'static str, &str); 7] {
        let values = [
            &self.action,
            &self.name,
            &self.proto,
            &self.src_ip,
            &self.src_port,
            &self.dest_ip,
            &self.dest_port,
        ];
        let mut fields = [("", ""); 7];
        for ((field, name), value) in fields.iter_mut().zip(FIELDS).zip(values) {
            *field = (name, value.as_str());
        }
        fields
    }

    fn field(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "action" => &mut self.action,
            "name" => &mut self.name,
            "proto" => &mut self.proto,
            "src_ip" => &mut self.src_ip,
            "src_port" => &mut self.src_port,
            "dest_ip" => &mut self.dest_ip,
            "dest_port" => &mut self.dest_port,
            _ => return None,
        })
    }

    /// The rule that it is.
    pub(super) fn rule(&self) -> Result<Rule, String> {
        let action: Action = self.action.parse().map_err(|error| format!("{error}"))?;
        let mut rule = Rule::any(action);
        for (name, value) in self.fields() {
            if name != "action" && !value.trim().is_empty() {
                rule.set(name, value.trim()).map_err(|error| format!("{name}: {error}"))?;
            }
        }
        // With its own check: ports need a protocol that has them.
        Policy::new(vec![rule.clone()]).check().map_err(|error| {
            let text = error.to_string();
            text.split_once("\": ").map_or(text.clone(), |(_, why)| why.to_owned())
        })?;
        Ok(rule)
    }
}

/// The rows in a form: a row begins with each `action`. One more than a policy may have is enough to say so.
pub(super) fn rows(fields: &[(String, String)]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (name, value) in fields {
        if name == "action" {
            if rows.len() > MAX_RULES {
                break;
            }
            rows.push(Row::default());
        }
        if let Some(field) = rows.last_mut().and_then(|row| row.field(name)) {
            field.clone_from(value);
        }
    }
    rows
}

/// All rules, or notes in each row what is wrong with it.
pub(super) fn read(rows: &mut [Row]) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for row in rows.iter_mut() {
        match row.rule() {
            Ok(rule) => {
                row.wrong.clear();
                rules.push(rule);
            }
            Err(why) => row.wrong = why,
        }
    }
    (rules.len() == rows.len()).then_some(rules)
}

/// A rule that is new, gone, or stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) text: String,
    pub(super) is: Is,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    Added,
    Removed,
    Kept,
}

impl Change {
    pub(super) const fn kind(&self) -> &'static str {
        match self.is {
            Is::Added => "added",
            Is::Removed => "removed",
            Is::Kept => "kept",
        }
    }

    pub(super) const fn sign(&self) -> &'static str {
        match self.is {
            Is::Added => "+",
            Is::Removed => "−",
            Is::Kept => " ",
        }
    }
}

/// A rule in a line.
pub(super) fn line(rule: &Rule) -> String {
    let row = Row::of(rule);
    let mut text = row.action.clone();
    for (name, value) in row.fields().into_iter().skip(1) {
        if !value.is_empty() {
            text = format!("{text} {name}={}", value.replace(' ', ","));
        }
    }
    text
}

/// What leads from one list to the other; nothing if they are the same.
pub(super) fn difference(old: &[Rule], new: &[Rule]) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    // The longest that both have in this order, from behind: at most 256 by 256.
    let mut common = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for (a, one) in old.iter().enumerate().rev() {
        for (b, other) in new.iter().enumerate().rev() {
            common[a][b] = match one == other {
                true => common[a + 1][b + 1] + 1,
                false => common[a + 1][b].max(common[a][b + 1]),
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut changes = Vec::new();
    while a < old.len() || b < new.len() {
        let is = match (old.get(a), new.get(b)) {
            (Some(one), Some(other)) if one == other => Is::Kept,
            (Some(_), None) => Is::Removed,
            (Some(_), Some(_)) if common[a + 1][b] >= common[a][b + 1] => Is::Removed,
            (_, _) => Is::Added,
        };
        let rule = if is == Is::Added { new.get(b) } else { old.get(a) };
        changes.push(Change { text: rule.map(line).unwrap_or_default(), is });
        a += usize::from(is != Is::Added);
        b += usize::from(is != Is::Removed);
    }
    changes
}

/// What an operator should know before new rules are in force.
pub(super) fn warnings(old: &[Rule], new: &[Rule]) -> Vec<String> {
    let mut warnings = Vec::new();
    let seals = |rules: &[Rule]| rules.iter().any(|rule| rule.action == Action::Encrypt);
    if seals(old) && !seals(new) {
        warnings.push("Nothing will be sealed any more.".to_owned());
    }
    for (at, rule) in new.iter().enumerate() {
        let is_any = rule.proto.is_empty() && rule.src_ip.is_empty() && rule.dest_ip.is_empty();
        if is_any && at + 1 < new.len() {
            warnings.push(format!(
                "Rule {} matches everything: the rules behind it never decide.",
                at + 1
            ));
        }
        if is_any && rule.action == Action::Drop {
            warnings
                .push(format!("Rule {} stops everything that no rule before it matches.", at + 1));
        }
        if let Some(first) = new[..at].iter().position(|other| {
            Rule { name: rule.name.clone(), action: rule.action, ..other.clone() } == *rule
        }) {
            warnings.push(format!(
                "Rule {} never decides: rule {} matches the same.",
                at + 1,
                first + 1
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_rule_comes_back_from_its_row() {
        for text in [
            "encrypt",
            "drop name=telnet proto=tcp dest_port=23",
            "bypass proto=udp,tcp src_ip=192.0.2.0/24,2001:db8::/32 src_port=1-9 dest_ip=192.0.2.7 dest_port=502,503",
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(Row::of(&rule).rule().unwrap(), rule);
            assert_eq!(line(&rule), text);
        }
    }

    #[test]
    fn every_service_is_of_good_rules() {
        for service in &SERVICES {
            let rows = Row::for_service(service.key);
            assert_eq!(rows.len(), service.rules.len());
            assert!(rows.iter().all(|row| row.rule().is_ok()), "{}", service.title);
        }
        assert!(Row::for_service("none").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        let pairs =
            |text: &str| -> Vec<(String, String)> { serde_html_form::from_str(text).unwrap() };
        let mut rows = rows(&pairs(
            "x=1&action=encrypt&name=a&proto=tcp&dest_port=502&action=drop&dest_ip=192.0.2&action=encrypt&dest_port=7&action=?",
        ));
        assert_eq!(rows.len(), 4);
        assert!(read(&mut rows).is_none());
        let wrong: Vec<_> = rows.iter().map(|row| row.wrong.as_str()).collect();
        assert_eq!(wrong[0], "");
        assert!(wrong[1].starts_with("dest_ip: \"192.0.2\" is not an address"), "{}", wrong[1]);
        assert!(wrong[2].contains("port") && !wrong[2].contains("rule 1"), "{}", wrong[2]);
        assert!(wrong[3].contains("an action"), "{}", wrong[3]);
        rows.truncate(1);
        assert_eq!(read(&mut rows), Some(rules(&["encrypt name=a proto=tcp dest_port=502"])));
    }

    #[test]
    fn the_difference_is_the_least() {
        let texts = [
            "encrypt proto=tcp dest_port=502",
            "encrypt proto=tcp dest_port=102",
            "drop proto=tcp dest_port=23",
        ];
        let old = rules(&texts);
        assert!(difference(&old, &old).is_empty());
        let shown = |new: &[Rule]| -> Vec<(Is, String)> {
            difference(&old, new).into_iter().map(|change| (change.is, change.text)).collect()
        };
        let moved = vec![old[1].clone(), old[2].clone(), old[0].clone()];
        let text = |at: usize| texts[at].to_owned();
        assert_eq!(
            shown(&moved),
            [
                (Is::Removed, text(0)),
                (Is::Kept, text(1)),
                (Is::Kept, text(2)),
                (Is::Added, text(0))
            ]
        );
        assert_eq!(shown(&[]), [0, 1, 2].map(|at| (Is::Removed, text(at))));
        let from_nothing: Vec<_> = difference(&[], &old).iter().map(|change| change.is).collect();
        assert_eq!(from_nothing, [Is::Added; 3]);
    }

    #[test]
    fn what_is_dangerous_is_said() {
        let old = rules(&["encrypt proto=tcp dest_port=502"]);
        let told = |texts: &[&str]| warnings(&old, &rules(texts)).join(" ");
        assert_eq!(told(&["encrypt proto=tcp dest_port=502"]), "");
        assert!(told(&["bypass proto=udp"]).contains("Nothing will be sealed"));
        assert!(told(&["encrypt", "drop proto=tcp"]).contains("Rule 1 matches everything"));
        assert!(told(&["encrypt proto=tcp", "drop"]).contains("Rule 2 stops everything"));
        assert!(
            told(&["encrypt proto=tcp", "drop proto=tcp name=x"])
                .contains("Rule 2 never decides: rule 1")
        );
    }
}
