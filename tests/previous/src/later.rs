//! What a later version might write: recorded messages with something new in them.

#![allow(clippy::wildcard_enum_match_arm, reason = "what is neither a map nor a list is a value")]

use rmpv::Value;

/// Names of fields whose maps are no structures, since what is in them is a name by itself; and the policy, which is not
/// followed if there is something new in it.
const NO_STRUCTURES: [&str; 9] =
    ["body", "kind", "carriage", "counters", "machines", "mine", "others", "policy", "rules"];

/// A message that can be changed.
#[derive(Clone, Debug)]
pub struct Message(Value);

impl Message {
    /// # Panics
    /// It is no MessagePack.
    pub fn read(mut frame: &[u8]) -> Self {
        let value = rmpv::decode::read_value(&mut frame);
        Self(value.unwrap_or_else(|error| panic!("no MessagePack: {error}")))
    }

    /// As a frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let written = rmpv::encode::write_value(&mut frame, &self.0);
        written.unwrap_or_else(|error| panic!("{error}"));
        frame
    }

    /// With a field that nobody knows in every structure; gives how many there are.
    pub fn with_fields(&self) -> (Self, usize) {
        let mut count = 0;
        (Self(with_fields(&self.0, true, &mut count)), count)
    }

    /// With another value at a place: names of fields and numbers in lists, from the outside in.
    ///
    /// # Panics
    /// There is no such place.
    pub fn with(&self, place: &[&str], value: Value) -> Self {
        let mut changed = self.clone();
        *at(&mut changed.0, place) = value;
        changed
    }

    /// With one more field in the structure at a place.
    ///
    /// # Panics
    /// There is no such place.
    pub fn with_field(&self, place: &[&str], name: &str, value: Value) -> Self {
        let mut changed = self.clone();
        match at(&mut changed.0, place) {
            Value::Map(fields) => fields.push((name.into(), value)),
            other => panic!("{place:?} is {other}"),
        }
        changed
    }

    /// What is at a place.
    ///
    /// # Panics
    /// There is no such place.
    pub fn value(&self, place: &[&str]) -> Value {
        at(&mut self.0.clone(), place).clone()
    }
}

fn at<'a>(value: &'a mut Value, place: &[&str]) -> &'a mut Value {
    let Some((first, rest)) = place.split_first() else { return value };
    let shown = value.to_string();
    let inner = match value {
        Value::Map(fields) => {
            fields.iter_mut().find(|(name, _)| name.as_str() == Some(first)).map(|(_, value)| value)
        }
        Value::Array(items) => first.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
        _ => None,
    };
    at(inner.unwrap_or_else(|| panic!("no {first} in {shown}")), rest)
}

fn with_fields(value: &Value, structure: bool, count: &mut usize) -> Value {
    match value {
        Value::Map(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| {
                    let structure = !NO_STRUCTURES.contains(&name.as_str().unwrap_or_default());
                    (name.clone(), with_fields(value, structure, count))
                })
                .collect();
            if structure {
                fields.push(("from_a_later_version".into(), Value::Array(vec![Value::Nil])));
                *count += 1;
            }
            Value::Map(fields)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| with_fields(item, structure, count)).collect())
        }
        other => other.clone(),
    }
}
