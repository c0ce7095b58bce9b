//! The arguments of a question to the daemon, typed, whichever door it comes through: JSON on the Unix socket,
//! blobmsg on ubus ([`crate::ubus`]).
//!
//! What is not known is left out, as LuCI's web server adds an `ubus_rpc_session` to everything. What is known and of
//! another type is an error. Texts may be secrets: they are zeroed, and in no error.

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use zeroize::Zeroizing;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// Yes or no.
    Flag,
    /// A list of texts.
    Texts,
}

/// What a method can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// It must be there.
    pub required: bool,
}

impl Parameter {
    /// One that must be there.
    pub const fn required(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: true }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false }
    }
}

/// A value as it came.
#[derive(Clone, PartialEq)]
pub enum Given {
    /// `null`: as if it were left out.
    Nothing,
    /// A text.
    Text(Zeroizing<String>),
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<Zeroizing<String>>),
    /// What no parameter takes.
    Other,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "<text>",
            Self::Number(_) => "<number>",
            Self::Flag(_) => "<flag>",
            Self::Texts(_) => "<texts>",
            Self::Other => "<other>",
        })
    }
}

impl Given {
    fn is(&self, kind: Kind) -> bool {
        match self {
            Self::Text(_) => kind == Kind::Text,
            Self::Number(_) => kind == Kind::Number,
            Self::Flag(_) => kind == Kind::Flag,
            Self::Texts(_) => kind == Kind::Texts,
            Self::Nothing | Self::Other => false,
        }
    }
}

/// Values by name, as they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unchecked(pub Vec<(String, Given)>);

/// The arguments of a method, of the types that it takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments(Vec<(&'static str, Given)>);

/// What is wrong with the arguments, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongArgument {
    /// It is not there.
    Missing(Parameter),
    /// It is of another type.
    Mistyped(Parameter),
}

impl Unchecked {
    /// Those of `parameters`; of several with the same name the last.
    ///
    /// # Errors
    /// One is missing, or of another type.
    pub fn check(self, parameters: &[Parameter]) -> Result<Arguments, WrongArgument> {
        let mut checked: Vec<(&'static str, Given)> = Vec::new();
        for (name, given) in self.0 {
            let Some(parameter) = parameters.iter().find(|known| known.name == name) else {
                continue;
            };
            if given == Given::Nothing {
                continue;
            }
            if !given.is(parameter.kind) {
                return Err(WrongArgument::Mistyped(*parameter));
            }
            checked.retain(|(known, _)| *known != parameter.name);
            checked.push((parameter.name, given));
        }
        let is_there = |name: &str| checked.iter().any(|(known, _)| *known == name);
        match parameters.iter().find(|known| known.required && !is_there(known.name)) {
            Some(missing) => Err(WrongArgument::Missing(*missing)),
            None => Ok(Arguments(checked)),
        }
    }
}

impl Arguments {
    /// The text of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        let Given::Text(text) = self.given(name)? else { return None };
        Some(text)
    }

    /// The number of this name.
    pub fn number(&self, name: &str) -> Option<i64> {
        let Given::Number(number) = self.given(name)? else { return None };
        Some(*number)
    }

    /// The flag of this name.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let Given::Flag(flag) = self.given(name)? else { return None };
        Some(*flag)
    }

    /// The list of this name; nothing is an empty one.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let Some(Given::Texts(texts)) = self.given(name) else { return Vec::new() };
        texts.iter().map(|text| text.as_str()).collect()
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, given)| given)
    }
}

impl fmt::Display for WrongArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parameter, wrong) = match self {
            Self::Missing(parameter) => (parameter, "is missing; it is"),
            Self::Mistyped(parameter) => (parameter, "must be"),
        };
        let kind = match parameter.kind {
            Kind::Text => "a text",
            Kind::Number => "a whole number",
            Kind::Flag => "true or false",
            Kind::Texts => "a list of texts",
        };
        write!(f, "argument {} {wrong} {kind}", parameter.name)
    }
}

impl std::error::Error for WrongArgument {}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl<'de> Deserialize<'de> for Unchecked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyObject)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Given, E> {
        Ok(Given::Nothing)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Given, E> {
        Ok(Given::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Given, E> {
        Ok(Given::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Given, E> {
        Ok(i64::try_from(number).map_or(Given::Other, Given::Number))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Given, E> {
        Ok(Given::Other)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
        let mut texts = Some(Vec::new());
        while let Some(item) = items.next_element()? {
            match (item, &mut texts) {
                (Given::Text(text), Some(texts)) => texts.push(text),
                _ => texts = None,
            }
        }
        Ok(texts.map_or(Given::Other, Given::Texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Given, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }
}

/// Takes an object or nothing, and says of everything else only that it is neither.
struct AnyObject;

impl<'de> Visitor<'de> for AnyObject {
    type Value = Unchecked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with arguments")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Unchecked, E> {
        Ok(Unchecked::default())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Unchecked, E> {
        Err(E::invalid_type(de::Unexpected::Other("a text"), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unchecked, A::Error> {
        let mut values = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            values.push(entry);
        }
        Ok(Unchecked(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: [Parameter; 4] = [
        Parameter::required("token", Kind::Text),
        Parameter::optional("seconds", Kind::Number),
        Parameter::optional("now", Kind::Flag),
        Parameter::optional("lan", Kind::Texts),
    ];

    fn check(json: &str) -> Result<Arguments, String> {
        let unchecked: Unchecked = serde_json::from_str(json).map_err(|error| error.to_string())?;
        unchecked.check(&PARAMETERS).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_known_is_typed_and_the_rest_is_left_out() {
        let all =
            r#"{"token":"t","seconds":-7,"now":true,"lan":["a","b"],"ubus_rpc_session":"00"}"#;
        let all = check(all).unwrap();
        assert_eq!((all.text("token"), all.number("seconds")), (Some("t"), Some(-7)));
        assert_eq!((all.flag("now"), all.texts("lan")), (Some(true), vec!["a", "b"]));
        assert_eq!(all.text("ubus_rpc_session"), None);
        let least = check(r#"{"token":"a","token":"b","seconds":null,"x":{"y":[1]}}"#).unwrap();
        assert_eq!((least.text("token"), least.number("seconds")), (Some("b"), None));
        assert_eq!((least.flag("now"), least.texts("lan")), (None, vec![]));
        assert_eq!(check("null"), Err("argument token is missing; it is a text".to_owned()));
    }

    #[test]
    fn another_type_is_an_error_that_does_not_repeat_it() {
        let cases = [
            (r#"{"token":1}"#, "argument token must be a text"),
            (r#"{"token":["SECRET"]}"#, "argument token must be a text"),
            (r#"{"token":{"a":"SECRET"}}"#, "argument token must be a text"),
            (r#"{"token":"t","seconds":"SECRET"}"#, "argument seconds must be a whole number"),
            (r#"{"token":"t","seconds":1.5}"#, "argument seconds must be a whole number"),
            (r#"{"token":"t","seconds":18446744073709551615}"#, "must be a whole number"),
            (r#"{"token":"t","seconds":true}"#, "argument seconds must be a whole number"),
            (r#"{"token":"t","now":1}"#, "argument now must be true or false"),
            (r#"{"token":"t","lan":["SECRET",1]}"#, "argument lan must be a list of texts"),
            (r#"{"token":"t","lan":"SECRET"}"#, "argument lan must be a list of texts"),
            (r#""SECRET""#, "an object with arguments"),
            (r"[]", "an object with arguments"),
        ];
        for (json, expected) in cases {
            let error = check(json).unwrap_err();
            assert!(error.contains(expected) && !error.contains("SECRET"), "{json}: {error}");
        }
    }
}
