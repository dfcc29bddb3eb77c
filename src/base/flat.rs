//! A short way for the commonest requests: objects of a few texts without escapes.
//!
//! Invariant: what is read here is what the parser of [`json`](crate::base::json) makes of the
//! same text. Anything else, be it JSON or not, is left to that parser.

use crate::base::members::Members;

/// An object of texts, borrowed from the text that it was read from. Their names are different.
#[derive(Clone, Copy, Debug)]
pub struct Flat<'a> {
    pairs: [(&'a str, &'a str); COUNT_MAX],
    count: usize,
}

impl<'a> Flat<'a> {
    /// A member.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.pairs().iter().find(|(each, _)| *each == name);
        found.map(|&(_, text)| text)
    }

    /// All members but those of these names.
    pub fn without(&self, names: &[&str]) -> Members {
        let others = self.pairs().iter();
        Members::of_texts(others.filter(|(each, _)| !names.contains(each)))
    }

    fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs[..self.count]
    }
}

impl From<Flat<'_>> for Members {
    fn from(flat: Flat<'_>) -> Self {
        flat.without(&[])
    }
}

/// Longest text that is read here, bytes, and most members: no request without parameters has
/// more.
const SIZE_MAX: usize = 192;
const COUNT_MAX: usize = 6;

/// Reads an object of texts. `None` says nothing about the text.
pub(super) fn read(text: &str) -> Option<Flat<'_>> {
    let mut rest = text.strip_prefix('{')?;
    if rest.len() > SIZE_MAX || !is_plain(rest) {
        return None;
    }
    let mut pairs = [("", ""); COUNT_MAX];
    let mut count = 0;
    loop {
        let (name, value_on) = string(rest)?;
        let (value, next_on) = string(behind(":", value_on)?)?;
        if pairs[..count].iter().any(|(each, _)| *each == name) {
            return None;
        }
        *pairs.get_mut(count)? = (name, value);
        count += 1;
        let Some(next) = behind(",", next_on) else {
            let is_all = behind("}", next_on)?.is_empty();
            return is_all.then_some(Flat { pairs, count });
        };
        rest = next;
    }
}

/// Whether nothing in `text` is escaped, nested or to be refused in a string.
fn is_plain(text: &str) -> bool {
    let is_odd = |byte: u8| byte < b' ' || byte == b'\\' || byte == b'{';
    // Without an early end this looks at many bytes at a time.
    !text.bytes().fold(false, |odd, byte| odd | is_odd(byte))
}

/// Splits off the string that `text` begins with.
fn string(text: &str) -> Option<(&str, &str)> {
    let content = behind("\"", text)?;
    let end = content.as_bytes().iter().position(|&byte| byte == b'"')?;
    Some((&content[..end], &content[end + 1..]))
}

/// What follows `mark`, which has to come next, or after a blank as some libraries put one.
fn behind<'a>(mark: &str, text: &'a str) -> Option<&'a str> {
    text.strip_prefix(' ').unwrap_or(text).strip_prefix(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use proptest::prelude::*;

    #[test]
    fn requests_of_texts_are_read() {
        for text in [
            r#"{"janus":"ping","transaction":"bench"}"#,
            r#"{ "janus": "create", "transaction" : "" }"#,
            r#"{"janus":"attach","plugin":"p","opaque_id":"é","transaction":"t"}"#,
        ] {
            assert!(read(text).is_some(), "{text}");
        }
    }

    #[test]
    fn all_else_is_left_alone() {
        for text in [
            "",
            "{}",
            r#"{"a":"b"} x"#,
            r#"{"a":"b",}"#,
            r#"{"a":"b" "c":"d"}"#,
            r#"{"a":1}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":"\u0000"}"#,
            "{\"a\":\"\u{1f}\"}",
            r#"{"a":"b","a":"c"}"#,
            r#"{"a":"b"#,
            r#"{"a":"","b":"","c":"","d":"","e":"","f":"","g":""}"#,
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_reads(
            pairs in prop::collection::vec(("[a-c]{0,2}", "[ -~\u{7}é]{0,4}"), 0..5),
            blank in "[ \t\r\n\u{b}]{0,1}",
            end in "[ ,}x]{0,2}",
        ) {
            let members: Vec<_> = pairs
                .iter()
                .map(|(name, value)| format!("\"{name}\"{blank}:{blank}\"{value}\""))
                .collect();
            let text = format!("{blank}{{{}}}{end}", members.join(&format!("{blank},")));
            if let Some(flat) = read(&text) {
                for (name, value) in flat.pairs() {
                    prop_assert_eq!(flat.get(name), Some(*value));
                }
                let (others, mut fewer) = (flat.without(&["a"]), Members::from(flat));
                fewer.remove("a");
                for name in ["a", "b", "c"] {
                    prop_assert_eq!(others.get(name), fewer.get(name));
                }
                let members = Members::from(flat);
                let value = json::parse(text.as_bytes(), 1).unwrap();
                let map = value.as_object().unwrap().clone();
                prop_assert_eq!(members, Members::from(map));
            }
        }
    }
}
