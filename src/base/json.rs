//! JSON in, as strict as Janus' own parser, and JSON text out in Janus' three forms.
//!
//! Invariant: a text that is accepted has no integer beyond 64 bits, no NUL character, and no
//! more levels than asked for, so that whoever reads the value need not check again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::ApiError;
use crate::base::flat::{self, Flat};
use crate::base::members::Members;

/// Why a text is not the JSON that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// 1-based line of the fault.
    pub line: usize,
    /// 1-based column of the fault, in bytes.
    pub column: usize,
    /// What is wrong, in a few words.
    pub detail: String,
}

/// Parses a text of at most `depth_max` nested arrays and objects.
///
/// # Errors
///
/// With the place of the fault when it is not JSON (RFC 8259), or is but has an integer that
/// does not fit 64 bits signed, or a NUL character in a string, or is nested too deeply.
pub fn parse(text: &[u8], depth_max: usize) -> Result<Value, JsonError> {
    scan(text, depth_max)?;
    serde_json::from_slice(text).map_err(|error| refused(&error))
}

/// An object.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// One of a few texts, which are borrowed.
    Flat(Flat<'a>),
    /// Any other.
    Members(Members),
}

/// Parses a text as [`parse`] does; `None` when it is JSON, but no object.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_object(text: &[u8], depth_max: usize) -> Result<Option<Parsed<'_>>, JsonError> {
    let utf8 = std::str::from_utf8(text);
    if let Ok(text) = utf8
        && depth_max > 0
        && let Some(flat) = flat::read(text)
    {
        return Ok(Some(Parsed::Flat(flat)));
    }
    scan(text, depth_max)?;
    // The parser would look at each string on its own. What is no UTF-8 it refuses, with the place.
    let members = match utf8 {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(text),
    };
    match members {
        Ok(members) => Ok(Some(Parsed::Members(members))),
        Err(error) if error.is_data() => match serde_json::from_slice::<Value>(text) {
            Ok(_) => Ok(None),
            Err(error) => Err(refused(&error)),
        },
        Err(error) => Err(refused(&error)),
    }
}

/// Parses several values in a row, with white space between them or without, as the messages of
/// a WebSocket may hold them. At least one; more than `count_max` are a fault.
///
/// # Errors
///
/// As [`parse`]; then none of the values counts.
pub fn parse_row(text: &[u8], depth_max: usize, count_max: usize) -> Result<Vec<Value>, JsonError> {
    scan(text, depth_max)?;
    let mut values = Vec::new();
    let mut row = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    while let Some(value) = row.next() {
        let value = value.map_err(|error| refused(&error))?;
        if values.len() == count_max {
            return Err(fault(text, row.byte_offset(), "too many values"));
        }
        values.push(value);
    }
    if values.is_empty() {
        return Err(fault(text, text.len(), "EOF while parsing a value"));
    }
    Ok(values)
}

fn refused(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    JsonError {
        line: error.line(),
        column: error.column(),
        detail: text[..end].to_owned(),
    }
}

/// Checks what the parser is more lenient about, without building anything. Malformed texts pass.
fn scan(text: &[u8], depth_max: usize) -> Result<(), JsonError> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at =
                    string_end(text, at).map_err(|at| fault(text, at, "\\u0000 is not allowed"))?;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Err(fault(text, at, "too many nested levels"));
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = scan_number(text, at)?,
            _ => at += 1,
        }
    }
    Ok(())
}

/// Where the string that starts at `start` ends, or the place of a NUL character in it.
fn string_end(text: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += found;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        if text[at..].starts_with(b"\\u0000") {
            return Err(at);
        }
        at += 2;
    }
    Ok(text.len())
}

fn scan_number(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let len = text[start..]
        .iter()
        .take_while(|byte| is_part(byte))
        .count();
    let token = &text[start..start + len];
    let is_integer = token.iter().skip(1).all(u8::is_ascii_digit);
    // Shorter ones fit; longer ones are read to see.
    if is_integer && len > 18 {
        let digits = std::str::from_utf8(token).ok();
        if digits
            .and_then(|digits| digits.parse::<i64>().ok())
            .is_none()
        {
            return Err(fault(text, start, "too big integer"));
        }
    }
    Ok(start + len)
}

fn fault(text: &[u8], at: usize, detail: &str) -> JsonError {
    let before = &text[..at];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    JsonError {
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        column: at - line_start + 1,
        detail: detail.to_owned(),
    }
}

/// The layout of JSON text, as the `json` option of Janus' transports names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// No blanks.
    #[default]
    Compact,
    /// Three spaces a level, one member a line.
    Indented,
    /// One line, with a blank after commas and colons.
    Plain,
}

/// Lays out `compact`, which must be valid JSON without blanks, in a form.
pub fn layout(compact: &str, form: Form) -> String {
    match form {
        Form::Compact => compact.to_owned(),
        Form::Indented => lay_out(compact, true),
        Form::Plain => lay_out(compact, false),
    }
}

fn lay_out(compact: &str, indented: bool) -> String {
    let mut out = String::with_capacity(compact.len() + compact.len() / 2);
    let mut depth = 0_usize;
    let mut rest = compact;
    let newline = |out: &mut String, depth: usize| {
        if indented {
            out.push('\n');
            out.extend(std::iter::repeat_n("   ", depth));
        }
    };
    while let Some(first) = rest.bytes().next() {
        let mut len = 1;
        match first {
            b'"' => {
                len = string_end(rest.as_bytes(), 0).unwrap_or(rest.len());
                out.push_str(&rest[..len]);
            }
            b'{' | b'[' if rest.as_bytes().get(1) == Some(&(first + 2)) => {
                len = 2;
                out.push_str(&rest[..len]);
            }
            b'{' | b'[' => {
                depth += 1;
                out.push_str(&rest[..len]);
                newline(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push_str(&rest[..len]);
            }
            b',' => {
                out.push_str(if indented { "," } else { ", " });
                newline(&mut out, depth);
            }
            b':' => out.push_str(": "),
            _ => {
                len = rest.find([',', '}', ']', ':', '"']).unwrap_or(rest.len());
                out.push_str(&rest[..len]);
            }
        }
        rest = &rest[len..];
    }
    out
}

/// Appends `text` as a JSON string, quotes included. Only what must be is escaped.
pub fn push_string(out: &mut String, text: &str) {
    let must_be_escaped = |&byte: &u8| byte < b' ' || byte == b'"' || byte == b'\\';
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.as_bytes().iter().position(must_be_escaped) {
        out.push_str(&rest[..at]);
        push_escaped(out, rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escaped(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        b'"' => out.push_str("\\\""),
        b'\\' => out.push_str("\\\\"),
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        0x08 => out.push_str("\\b"),
        0x0c => out.push_str("\\f"),
        _ => {
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The members of an object, read by name and type, with Janus' texts for what is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(Object<'a>);

#[derive(Clone, Copy, Debug)]
enum Object<'a> {
    Map(&'a serde_json::Map<String, Value>),
    Members(&'a Members),
}

macro_rules! typed {
    ($($(#[$doc:meta])* $need:ident, $may:ident: $type:ty, $kind:literal, $read:expr;)*) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// 456 when it is missing, 467 when it has another type.
        pub fn $need(&self, name: &str) -> Result<$type, ApiError> {
            self.$may(name)?.ok_or_else(|| ApiError::missing(name))
        }

        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// 467 when it is there with another type, `null` included.
        pub fn $may(&self, name: &str) -> Result<Option<$type>, ApiError> {
            let read: fn(&'a Value) -> Option<$type> = $read;
            match self.get(name) {
                None => Ok(None),
                Some(value) => {
                    read(value).map(Some).ok_or_else(|| ApiError::invalid_type(name, $kind))
                }
            }
        }
    )* }
}

impl<'a> Fields<'a> {
    /// Reads the members of `object`.
    pub const fn new(object: &'a serde_json::Map<String, Value>) -> Self {
        Self(Object::Map(object))
    }

    /// Reads the members of a request.
    pub const fn of(members: &'a Members) -> Self {
        Self(Object::Members(members))
    }

    /// A member as it is.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        match self.0 {
            Object::Map(map) => map.get(name),
            Object::Members(members) => members.get(name),
        }
    }

    typed! {
        /// A string.
        need_str, may_str: &'a str, "a string", Value::as_str;
        /// A boolean.
        need_bool, may_bool: bool, "a boolean", Value::as_bool;
        /// An integer from zero on.
        need_u64, may_u64: u64, "a positive integer", Value::as_u64;
        /// An integer.
        need_i64, may_i64: i64, "an integer", Value::as_i64;
        /// An object.
        need_object, may_object: &'a serde_json::Map<String, Value>, "an object", Value::as_object;
        /// An array.
        need_array, may_array: &'a Vec<Value>, "an array", Value::as_array;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, accepted: bool) {
        assert_eq!(parse(text.as_bytes(), 4).is_ok(), accepted, "{text}");
    }

    fn members_of(text: &[u8], depth_max: usize) -> Result<Option<Members>, JsonError> {
        let parsed = parse_object(text, depth_max)?;
        Ok(parsed.map(|parsed| match parsed {
            Parsed::Flat(flat) => flat.into(),
            Parsed::Members(members) => members,
        }))
    }

    #[test]
    fn accepts_and_refuses_what_janus_does() {
        check(r#" {"a":[1,-2,3.5e1,"\u0041\\u0000",true,null]} "#, true);
        check(
            r#"{"a":9223372036854775807,"b":-9223372036854775808}"#,
            true,
        );
        check(r#"{"a":9223372036854775808}"#, false);
        check(r#"{"a":123456789012345678901234567890}"#, false);
        check(r#""\u0000""#, false);
        check("[[[[]]]]", true);
        check("[[[[[]]]]]", false);
        check("{\"a\":1,}", false);
        check("NaN", false);
        check("{} {}", false);
        check("{}\0", false);
        check("\u{feff}{}", false);
        assert!(parse(b"\"\xff\"", 4).is_err());
    }

    #[test]
    fn a_request_is_an_object_or_none() {
        let members = members_of(br#"{"a":{"b":1}}"#, 4).unwrap().unwrap();
        assert_eq!(Fields::of(&members).need_object("a").unwrap()["b"], 1);
        for text in ["[1]", "7", "\"x\"", " null"] {
            assert_eq!(members_of(text.as_bytes(), 4), Ok(None), "{text}");
        }
        for text in ["[1", "", "{\"a\":1", "{} {}", "[] []", "[\"\\u0000\"]"] {
            let (value, members) = (parse(text.as_bytes(), 4), members_of(text.as_bytes(), 4));
            assert_eq!(value.unwrap_err(), members.unwrap_err(), "{text}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        assert_eq!(parse(br#"{"a":1,"a":2}"#, 4).unwrap()["a"], 2);
    }

    #[test]
    fn a_fault_has_a_place() {
        let error = parse(b"{\n  \"a\": 99999999999999999999}", 4).unwrap_err();
        assert_eq!((error.line, error.column), (2, 8));
        let error = parse(b"{\n\n}}", 4).unwrap_err();
        assert_eq!(error.line, 3);
    }

    #[test]
    fn lays_out_as_janus_does() {
        let compact =
            r#"{"janus":"success","data":{"id":1},"list":[1,2],"none":[],"t":"a,b:{\"c\"}"}"#;
        assert_eq!(
            layout(compact, Form::Plain),
            r#"{"janus": "success", "data": {"id": 1}, "list": [1, 2], "none": [], "t": "a,b:{\"c\"}"}"#
        );
        assert_eq!(
            layout(r#"{"janus":"a","data":{"id":1},"l":[]}"#, Form::Indented),
            "{\n   \"janus\": \"a\",\n   \"data\": {\n      \"id\": 1\n   },\n   \"l\": []\n}"
        );
    }

    #[test]
    fn fields_name_what_is_wrong() {
        let value = parse(br#"{"a":"x","n":null}"#, 4).unwrap();
        let fields = Fields::new(value.as_object().unwrap());
        assert_eq!(fields.need_str("a"), Ok("x"));
        assert_eq!(
            fields.need_str("b").unwrap_err().reason,
            "Missing mandatory element (b)"
        );
        let error = fields.may_bool("n").unwrap_err();
        assert_eq!(error.reason, "Invalid element type (n should be a boolean)");
    }

    proptest! {
        #[test]
        fn a_pushed_string_reads_back(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let value = parse(&text, 4);
            let members = members_of(&text, 4);
            prop_assert_eq!(value.as_ref().err(), members.as_ref().err());
        }

        #[test]
        fn every_layout_means_the_same(text in any::<String>(), number in any::<i64>()) {
            let value = serde_json::json!({"t": text, "n": [number, {"e": {}, "l": []}]});
            let compact = value.to_string();
            for form in [Form::Compact, Form::Indented, Form::Plain] {
                let read: Value = serde_json::from_str(&layout(&compact, form)).unwrap();
                prop_assert_eq!(&read, &value);
            }
        }
    }
}
