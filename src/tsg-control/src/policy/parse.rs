//! The words of a rule as text: in UCI, in JSON and on the command line they are the same.

use super::{Action, Block, Policy, Ports, Proto, Rule};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// More rules than this are refused: nobody reads them, and the kernel walks them for each packet.
pub const MAX_RULES: usize = 256;

/// How long a rule's name may be.
const MAX_NAME: usize = 64;

/// More values than this in one option of a rule are refused.
const MAX_VALUES: usize = 64;

/// What is wrong with a word, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ParseError {}

fn wrong<T>(value: &str, wanted: &str) -> Result<T, ParseError> {
    let shown: String = value.chars().take(60).collect();
    Err(ParseError(format!("{shown:?} is not {wanted}")))
}

const PROTOCOLS: [(&str, u8); 8] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("esp", 50),
    ("icmpv6", 58),
    ("ospf", 89),
    ("sctp", 132),
];

impl FromStr for Proto {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let named = PROTOCOLS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        match named.map(|&(_, number)| number).or_else(|| number(text)) {
            Some(number) => Ok(Self(number)),
            None => wrong(text, "a protocol: tcp, udp, icmp, icmpv6, sctp or a number to 255"),
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|&&(_, number)| number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Ports {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => wrong(text, "a port (502) or a range (44818-44820)"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Decimal digits only: no sign, no blanks.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl FromStr for Block {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return wrong(text, "an address (192.0.2.7) or a block (192.0.2.0/24)");
        };
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => match number::<u8>(digits) {
                Some(prefix) if prefix <= longest => prefix,
                _ => return wrong(text, &format!("a block: its length goes from 0 to {longest}")),
            },
        };
        Ok(Self { address: masked(address, prefix), prefix })
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix == longest {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

impl FromStr for Action {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.to_ascii_lowercase().as_str() {
            "bypass" => Ok(Self::Bypass),
            "encrypt" => Ok(Self::Encrypt),
            "drop" => Ok(Self::Drop),
            _ => wrong(text, "an action: encrypt, bypass or drop"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bypass => "bypass",
            Self::Encrypt => "encrypt",
            Self::Drop => "drop",
        })
    }
}

impl Rule {
    /// A rule that does `action` with everything.
    pub const fn any(action: Action) -> Self {
        Self {
            name: String::new(),
            action,
            proto: Vec::new(),
            src_ip: Vec::new(),
            dest_ip: Vec::new(),
            src_port: Vec::new(),
            dest_port: Vec::new(),
        }
    }

    /// Sets one option by its UCI name; a value may hold several words between commas or blanks.
    ///
    /// # Errors
    /// What is wrong with the option or its value, in words for the person who typed it.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), ParseError> {
        match option {
            "name" => self.name = value.to_owned(),
            "action" => self.action = value.parse()?,
            "proto" if value == "any" || value == "all" => self.proto.clear(),
            "proto" => extend(&mut self.proto, value)?,
            "src_ip" => extend(&mut self.src_ip, value)?,
            "dest_ip" => extend(&mut self.dest_ip, value)?,
            "src_port" => extend(&mut self.src_port, value)?,
            "dest_port" => extend(&mut self.dest_port, value)?,
            _ => {
                return wrong(
                    option,
                    "an option of a rule: name, action, proto, src_ip, dest_ip, src_port, dest_port",
                );
            }
        }
        Ok(())
    }

    /// Looks at the rule as a whole.
    ///
    /// # Errors
    /// Options that do not go together, or are too long.
    pub fn check(&self) -> Result<(), ParseError> {
        let has_port = !self.src_port.is_empty() || !self.dest_port.is_empty();
        if has_port && (self.proto.is_empty() || !self.proto.iter().all(|p| p.has_ports())) {
            return Err(ParseError(
                "a rule with ports needs `proto` tcp, udp or sctp, and no other".to_owned(),
            ));
        }
        if self.name.len() > MAX_NAME || self.name.chars().any(char::is_control) {
            return Err(ParseError(format!(
                "a rule's name has at most {MAX_NAME} bytes and no control characters"
            )));
        }
        let longest = (self.proto.len().max(self.src_ip.len()).max(self.dest_ip.len()))
            .max(self.src_port.len().max(self.dest_port.len()));
        if longest > MAX_VALUES {
            return Err(ParseError(format!("an option of a rule has at most {MAX_VALUES} values")));
        }
        Ok(())
    }
}

/// `encrypt proto=tcp dest_port=502 name=modbus`: the action, then options; for the command line.
impl FromStr for Rule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut words = text.split_ascii_whitespace();
        let mut rule = Self::any(words.next().unwrap_or_default().parse()?);
        for word in words {
            match word.split_once('=') {
                Some((option, value)) => rule.set(option, value)?,
                None => return wrong(word, "an option with its value, such as dest_port=502"),
            }
        }
        rule.check()?;
        Ok(rule)
    }
}

impl Policy {
    /// Looks at the policy as a whole.
    ///
    /// # Errors
    /// Names the rule by number and name, and says what is wrong with it.
    pub fn check(&self) -> Result<(), ParseError> {
        if self.rules.len() > MAX_RULES {
            return Err(ParseError(format!("a policy has at most {MAX_RULES} rules")));
        }
        for (at, rule) in self.rules.iter().enumerate() {
            rule.check()
                .map_err(|error| ParseError(format!("rule {} {:?}: {error}", at + 1, rule.name)))?;
        }
        Ok(())
    }
}

fn extend<T: FromStr<Err = ParseError>>(list: &mut Vec<T>, value: &str) -> Result<(), ParseError> {
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        list.push(word.parse()?);
    }
    Ok(())
}

/// Lists travel as lists of words, and a single word is a list of one: `"502"` is `["502"]`.
pub(super) mod words {
    use super::ParseError;
    use core::fmt::Display;
    use core::str::FromStr;
    use serde::de::{Deserializer, Error as _};
    use serde::ser::Serializer;
    use serde::{Deserialize, Serialize as _};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Number(u64),
        Many(Vec<String>),
    }

    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        list: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err = ParseError>,
        D: Deserializer<'de>,
    {
        let words = match Words::deserialize(deserializer)? {
            Words::One(word) => vec![word],
            Words::Number(number) => vec![number.to_string()],
            Words::Many(words) => words,
        };
        let mut list = Vec::new();
        for word in &words {
            super::extend(&mut list, word).map_err(D::Error::custom)?;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() {
        let rule: Rule = "encrypt proto=tcp,udp dest_port=502,44818-44820 src_ip=192.0.2.9/24 \
                          name=plc"
            .parse()
            .unwrap();
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(
            json,
            r#"{"name":"plc","action":"encrypt","proto":["tcp","udp"],"src_ip":["192.0.2.0/24"],"dest_port":["502","44818-44820"]}"#
        );
        assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        let packed = rmp_serde::to_vec_named(&rule).unwrap();
        assert_eq!(rmp_serde::from_slice::<Rule>(&packed).unwrap(), rule);
        let short: Rule =
            serde_json::from_str(r#"{"action":"drop","proto":"udp","dest_port":161}"#).unwrap();
        assert_eq!(short.dest_port, [Ports { first: 161, last: 161 }]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("seal", "encrypt, bypass or drop"),
            ("encrypt dest_port=502", "needs `proto` tcp"),
            ("encrypt proto=icmp dest_port=502", "needs `proto` tcp"),
            ("encrypt proto=tcp dest_port=70000", "a port"),
            ("encrypt proto=tcp dest_port=9-5", "a port"),
            ("encrypt proto=tcp dest_port=+5", "a port"),
            ("encrypt proto=300", "a protocol"),
            ("encrypt src_ip=192.0.2.0/33", "0 to 32"),
            ("encrypt src_ip=plc", "an address"),
            ("encrypt colour=red", "an option of a rule"),
            ("encrypt proto", "dest_port=502"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
