//! JSON into blobmsg, and what callers send as arguments out of it.
//!
//! Every whole number becomes an INT64, so that no field changes its type when it grows; `null` an empty UNSPEC, as
//! libblobmsg_json has it.

use crate::arguments::{Given, Kind, Parameter, Unchecked};
use ::ubus::bounded::BlobSliceBuilder;
use ::ubus::wire::MAX_MSG_LEN;
use ::ubus::{BlobIter, BlobRef, BlobType, BlobValue, BufferError, UbusError};
use serde_json::Value;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What a message takes, less room for what is around it.
const MOST_BYTES: usize = MAX_MSG_LEN - 64;

/// Most answers fit into the first buffer.
const FIRST_BYTES: usize = 4 * 1024;

type Builder<'a> = BlobSliceBuilder<'a, 16>;

/// The fields of a JSON object as the content of a table.
///
/// # Errors
/// There is no room for it in a message, or it is nested too deeply.
pub(super) fn table(value: &Value) -> Result<Vec<u8>, BufferError> {
    build(|builder| fields(builder, value))
}

/// How an object describes its methods: a table for each, with the type of each parameter.
pub(super) fn signature(
    methods: impl Iterator<Item = (&'static str, &'static [Parameter])> + Clone,
) -> Result<Vec<u8>, BufferError> {
    build(|builder| {
        for (name, parameters) in methods.clone() {
            builder.open_table(Some(name))?;
            for parameter in parameters {
                builder.put_i32(Some(parameter.name), kind(parameter.kind) as i32)?;
            }
            builder.close()?;
        }
        Ok(())
    })
}

/// A caller's arguments.
///
/// # Errors
/// They are no blobmsg.
pub(super) fn arguments(data: &[u8]) -> Result<Unchecked, UbusError> {
    let mut values = Vec::new();
    let mut attributes = BlobIter::new(data);
    while let Some(attribute) = attributes.try_next()? {
        let name = attribute.name.unwrap_or_default().to_owned();
        values.push((name, given(&attribute)?));
    }
    Ok(Unchecked(values))
}

fn build(
    write: impl Fn(&mut Builder<'_>) -> Result<(), BufferError>,
) -> Result<Vec<u8>, BufferError> {
    let mut size = FIRST_BYTES;
    loop {
        let mut bytes = vec![0; size];
        let mut builder = Builder::new(&mut bytes);
        let written = write(&mut builder).and_then(|()| Ok(builder.finish()?.len()));
        match written {
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(BufferError::Capacity { .. }) if size < MOST_BYTES => {
                size = (size * 4).min(MOST_BYTES);
            }
            Err(error) => return Err(error),
        }
    }
}

fn fields(builder: &mut Builder<'_>, value: &Value) -> Result<(), BufferError> {
    let entries = value.as_object().into_iter().flatten();
    entries.into_iter().try_for_each(|(name, value)| put(builder, Some(&plain(name)), value))
}

fn put(builder: &mut Builder<'_>, name: Option<&str>, value: &Value) -> Result<(), BufferError> {
    match value {
        Value::Null => builder.put_raw(BlobType::Unspec, name, &[]),
        Value::Bool(flag) => builder.put_bool(name, *flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => builder.put_i64(name, number),
            (None, Some(fraction)) if number.is_f64() => builder.put_double(name, fraction),
            // Above what the type holds.
            (None, _) => builder.put_i64(name, i64::MAX),
        },
        Value::String(text) => builder.put_str(name, &plain(text)),
        Value::Array(items) => {
            builder.open_array(name)?;
            items.iter().try_for_each(|item| put(builder, None, item))?;
            builder.close()
        }
        Value::Object(_) => {
            builder.open_table(name)?;
            fields(builder, value)?;
            builder.close()
        }
    }
}

/// A text ends at its first zero byte for whoever reads it.
fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

const fn kind(kind: Kind) -> BlobType {
    match kind {
        Kind::Text => BlobType::String,
        Kind::Number => BlobType::Int32,
        Kind::Flag => BlobType::Int8,
        Kind::Texts => BlobType::Array,
    }
}

fn given(attribute: &BlobRef<'_>) -> Result<Given, UbusError> {
    Ok(match attribute.value()? {
        BlobValue::String(text) => Given::Text(Zeroizing::new(text.to_owned())),
        BlobValue::Int8(flag) => Given::Flag(flag != 0),
        BlobValue::Int16(number) => Given::Number(number.into()),
        BlobValue::Int32(number) => Given::Number(number.into()),
        BlobValue::Int64(number) => Given::Number(number),
        BlobValue::Array(items) => texts(items)?,
        BlobValue::Raw(_) => Given::Nothing,
        BlobValue::Double(_) | BlobValue::Table(_) => Given::Other,
    })
}

fn texts(items: &[u8]) -> Result<Given, UbusError> {
    let mut texts = Vec::new();
    let mut attributes = BlobIter::new(items);
    while let Some(attribute) = attributes.try_next()? {
        let BlobValue::String(text) = attribute.value()? else { return Ok(Given::Other) };
        texts.push(Zeroizing::new(text.to_owned()));
    }
    Ok(Given::Texts(texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(bytes: &[u8], name: &str) -> String {
        let found = ::ubus::blobmsg::lookup(bytes, name).unwrap();
        format!("{:?} {:?}", found.ty, found.value().unwrap())
    }

    #[test]
    fn numbers_are_64_bits_wide_and_null_is_nothing() {
        let bytes = table(&json!({
            "small": 1, "large": 1_u64 << 62, "larger": u64::MAX, "below": -1, "half": 0.5,
            "yes": true, "no": null, "text": "a\0b", "list": ["x"], "inside": { "n": 2 },
        }));
        let bytes = bytes.unwrap();
        assert_eq!(entry(&bytes, "small"), "Int64 Int64(1)");
        assert_eq!(entry(&bytes, "large"), format!("Int64 Int64({})", 1_u64 << 62));
        assert_eq!(entry(&bytes, "larger"), format!("Int64 Int64({})", i64::MAX));
        assert_eq!(entry(&bytes, "below"), "Int64 Int64(-1)");
        assert_eq!(entry(&bytes, "half"), "Double Double(0.5)");
        assert_eq!(entry(&bytes, "yes"), "Int8 Int8(1)");
        assert_eq!(entry(&bytes, "no"), "Unspec Raw([])");
        assert_eq!(entry(&bytes, "text"), "String String(\"a\u{fffd}b\")");
        assert!(entry(&bytes, "list").starts_with("Array Array("));
        assert!(entry(&bytes, "inside").starts_with("Table Table("));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = |length: usize| json!({ "text": "x".repeat(length) });
        assert_eq!(table(&long(900_000)).unwrap().len(), 900_016);
        assert!(table(&long(MOST_BYTES)).is_err());
        let deep = (0..40).fold(json!(1), |inside, _| json!({ "a": inside }));
        assert_eq!(table(&deep), Err(BufferError::NestingLimit));
        assert!(table(&json!([1])).unwrap().is_empty());
    }

    #[test]
    fn arguments_are_read_by_type() {
        let sent = json!({
            "token": "t", "seconds": 900, "now": true, "lan": ["a", "b"], "mixed": ["a", 1],
            "none": null, "half": 0.5, "inside": {},
        });
        let Unchecked(values) = arguments(&table(&sent).unwrap()).unwrap();
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let expected = [
            ("half", Given::Other),
            ("inside", Given::Other),
            ("lan", Given::Texts(vec![text("a"), text("b")])),
            ("mixed", Given::Other),
            ("none", Given::Nothing),
            ("now", Given::Flag(true)),
            ("seconds", Given::Number(900)),
            ("token", Given::Text(text("t"))),
        ];
        assert_eq!(values, expected.map(|(name, given)| (name.to_owned(), given)));
        assert!(arguments(b"garbage").is_err());
    }
}
