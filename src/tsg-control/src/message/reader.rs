//! MessagePack from outside, read by what is expected at each place.
//!
//! `rmp-serde` reads by what is there, and the compiler makes the code for everything that could be there anew for each
//! type that serde visits: half a megabyte on a router. Here each type is only asked for what it can be: a structure
//! for names, a number for a number. Tests compare the two.

use rmp::Marker;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Lists in lists in lists: no message has more of them, and each costs stack.
const DEEPEST: usize = 32;

/// The name by which a type asks for a value's bytes as they are.
const RAW: &str = "a value's own bytes";

/// Reads a value, and nothing may stand behind it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut reader = Reader { rest: bytes, depth: DEEPEST };
    let value = T::deserialize(&mut reader)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(Error::new("something stands behind the end"))
    }
}

/// Why bytes are no such value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Error(Box<str>);

impl Error {
    fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string().into())
    }
}

/// The bytes of one value, to be read once it is known what they are. They stay where they are.
pub(super) struct Raw<'de>(pub(super) &'de [u8]);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes<'de>(PhantomData<&'de [u8]>);
        impl<'de> Visitor<'de> for Bytes<'de> {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(RAW)
            }

            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(bytes))
            }
        }
        deserializer.deserialize_newtype_struct(RAW, Bytes(PhantomData))
    }
}

/// What a value begins with, and all of it but for lists and maps.
#[derive(Clone, Copy)]
enum Token<'de> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'de str),
    Bytes(&'de [u8]),
    List(usize),
    Map(usize),
}

impl Token<'_> {
    /// For the words of an error.
    fn unexpected(&self) -> Unexpected<'_> {
        match *self {
            Self::Nil => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(value),
            Self::Unsigned(value) => Unexpected::Unsigned(value),
            Self::Signed(value) => Unexpected::Signed(value),
            Self::Float(value) => Unexpected::Float(value),
            Self::Text(text) => Unexpected::Str(text),
            // Not shown: it may be a secret.
            Self::Bytes(_) => Unexpected::Other("bytes"),
            Self::List(_) => Unexpected::Seq,
            Self::Map(_) => Unexpected::Map,
        }
    }

    fn instead_of(&self, expected: &dyn de::Expected) -> Error {
        de::Error::invalid_type(self.unexpected(), expected)
    }
}

struct Reader<'de> {
    rest: &'de [u8],
    /// So many lists may still be in one another.
    depth: usize,
}

impl<'de> Reader<'de> {
    fn take(&mut self, count: usize) -> Result<&'de [u8], Error> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| Error::new("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of so many bytes, not more than eight.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Error> {
        Ok(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn signed(&mut self, bytes: usize) -> Result<Token<'de>, Error> {
        let unused = 64 - 8 * bytes;
        let value = (self.unsigned(bytes)? << unused).cast_signed() >> unused;
        Ok(u64::try_from(value).map_or(Token::Signed(value), Token::Unsigned))
    }

    /// A length of so many bytes: of things that take one byte at least, each.
    fn length(&mut self, bytes: usize) -> Result<usize, Error> {
        let length = self.unsigned(bytes)?;
        self.there(length)
    }

    fn there(&self, length: u64) -> Result<usize, Error> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
        length.ok_or_else(|| Error::new("it ends too early"))
    }

    fn text(&mut self, length: usize) -> Result<Token<'de>, Error> {
        let text = std::str::from_utf8(self.take(length)?);
        text.map(Token::Text).map_err(|_| Error::new("a text is not UTF-8"))
    }

    fn token(&mut self) -> Result<Token<'de>, Error> {
        let marker = self.take(1)?.first().copied().unwrap_or_default();
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(value) => Token::Unsigned(u64::from(value)),
            Marker::FixNeg(value) => Token::Signed(i64::from(value)),
            Marker::U8 => Token::Unsigned(self.unsigned(1)?),
            Marker::U16 => Token::Unsigned(self.unsigned(2)?),
            Marker::U32 => Token::Unsigned(self.unsigned(4)?),
            Marker::U64 => Token::Unsigned(self.unsigned(8)?),
            Marker::I8 => self.signed(1)?,
            Marker::I16 => self.signed(2)?,
            Marker::I32 => self.signed(4)?,
            Marker::I64 => self.signed(8)?,
            Marker::F32 => {
                let bits = u32::try_from(self.unsigned(4)?).unwrap_or_default();
                Token::Float(f64::from(f32::from_bits(bits)))
            }
            Marker::F64 => Token::Float(f64::from_bits(self.unsigned(8)?)),
            Marker::FixStr(length) => self.text(usize::from(length))?,
            Marker::Str8 => self.length(1).and_then(|length| self.text(length))?,
            Marker::Str16 => self.length(2).and_then(|length| self.text(length))?,
            Marker::Str32 => self.length(4).and_then(|length| self.text(length))?,
            Marker::Bin8 => {
                self.length(1).and_then(|length| self.take(length)).map(Token::Bytes)?
            }
            Marker::Bin16 => {
                self.length(2).and_then(|length| self.take(length)).map(Token::Bytes)?
            }
            Marker::Bin32 => {
                self.length(4).and_then(|length| self.take(length)).map(Token::Bytes)?
            }
            Marker::FixArray(length) => Token::List(self.there(u64::from(length))?),
            Marker::Array16 => Token::List(self.length(2)?),
            Marker::Array32 => Token::List(self.length(4)?),
            Marker::FixMap(length) => Token::Map(self.there(u64::from(length))?),
            Marker::Map16 => Token::Map(self.length(2)?),
            Marker::Map32 => Token::Map(self.length(4)?),
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32
            | Marker::Reserved => return Err(Error::new("a kind of value that no message has")),
        })
    }

    /// The bytes of the next value, whatever it is.
    fn skip(&mut self) -> Result<&'de [u8], Error> {
        let from = self.rest;
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            left += match self.token()? {
                Token::List(length) => length,
                Token::Map(length) => 2 * length,
                Token::Nil
                | Token::Bool(_)
                | Token::Unsigned(_)
                | Token::Signed(_)
                | Token::Float(_)
                | Token::Text(_)
                | Token::Bytes(_) => 0,
            };
        }
        Ok(&from[..from.len() - self.rest.len()])
    }

    /// Reads what is in a list or a map, one deeper, and all of it.
    fn inside<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Items<'_, 'de>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.depth =
            self.depth.checked_sub(1).ok_or_else(|| Error::new("it is nested too deep"))?;
        let mut items = Items { reader: self, left: length };
        let value = read(&mut items)?;
        if items.left > 0 {
            return Err(Error::new("a list is too long"));
        }
        self.depth += 1;
        Ok(value)
    }

    fn list<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.inside(length, |items| visitor.visit_seq(items))
    }

    fn map<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.inside(length, |items| visitor.visit_map(items))
    }
}

/// What is left of a list or a map.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
}

impl Items<'_, '_> {
    fn has_next(&mut self) -> bool {
        let more = self.left > 0;
        self.left -= usize::from(more);
        more
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if self.has_next() { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        if self.has_next() { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.reader)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// A variant's name, and where to read what stands behind it, if anything does.
struct Variant<'a, 'de> {
    name: &'de str,
    reader: Option<&'a mut Reader<'de>>,
}

impl<'a, 'de> Variant<'a, 'de> {
    fn behind(self) -> Result<&'a mut Reader<'de>, Error> {
        self.reader.ok_or_else(|| Error::new("a name has nothing behind it"))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.reader.map_or(Ok(()), <()>::deserialize)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.behind()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.behind()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.behind()?.deserialize_map(visitor)
    }
}

/// All that is a number to MessagePack.
macro_rules! numbers {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.token()? {
                Token::Unsigned(value) => visitor.visit_u64(value),
                Token::Signed(value) => visitor.visit_i64(value),
                Token::Float(value) => visitor.visit_f64(value),
                other => Err(other.instead_of(&visitor)),
            }
        }
    )* };
}

/// Others of the same kind.
macro_rules! like {
    ($target:ident: $($method:ident($($ignored:ty),*))*) => { $(
        fn $method<V: Visitor<'de>>(self, $(_: $ignored,)* visitor: V) -> Result<V::Value, Error> {
            self.$target(visitor)
        }
    )* };
}

#[expect(clippy::wildcard_enum_match_arm, reason = "some are wanted, and all others are wrong")]
impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_f32 deserialize_f64
    }

    like! { deserialize_str: deserialize_string() deserialize_char() deserialize_identifier() }
    like! { deserialize_bytes: deserialize_byte_buf() }
    like! { deserialize_unit: deserialize_unit_struct(&'static str) }
    like! { deserialize_seq: deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize) }
    like! { deserialize_map: deserialize_struct(&'static str, &'static [&'static str]) }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Nil => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Unsigned(value) => visitor.visit_u64(value),
            Token::Signed(value) => visitor.visit_i64(value),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Text(text) => visitor.visit_borrowed_str(text),
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::List(length) => self.list(length, visitor),
            Token::Map(length) => self.map(length, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Bool(value) => visitor.visit_bool(value),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Text(text) => visitor.visit_borrowed_str(text),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::List(length) => self.list(length, visitor),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.rest.first().is_some_and(|&byte| Marker::from_u8(byte) == Marker::Null) {
            self.take(1)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Nil => visitor.visit_unit(),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW {
            return visitor.visit_borrowed_bytes(self.skip()?);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::List(length) => self.list(length, visitor),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Map(length) => self.map(length, visitor),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Text(name) => visitor.visit_enum(Variant { name, reader: None }),
            Token::Map(1) => self.inside(1, |items| {
                items.left = 0;
                let Token::Text(name) = items.reader.token()? else {
                    return Err(Error::new("the name of a kind is no text"));
                };
                visitor.visit_enum(Variant { name, reader: Some(&mut *items.reader) })
            }),
            other => Err(other.instead_of(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
