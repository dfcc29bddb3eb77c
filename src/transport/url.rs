//! Request targets: the path below a base, and the query.

use std::borrow::Cow;

use crate::base::limits::Limits;
use crate::gateway::reply::Reply;
use crate::gateway::request::{Envelope, Path};

/// The part of `path` below `base`, decoded, without slashes at its ends. `None` when the path
/// does not lead there.
///
/// As with Janus the base may stand behind a prefix, because people proxy with one in front.
/// `base` begins with a slash and, unless it is the root, does not end with one.
pub(super) fn below<'a>(path: &'a str, base: &str) -> Option<Cow<'a, str>> {
    let decoded = decode(path);
    let start = if base == "/" {
        decoded.starts_with('/').then_some(0)?
    } else {
        let ends = |at: usize| decoded[at..].is_empty() || decoded[at..].starts_with('/');
        let (at, _) = decoded
            .match_indices(base)
            .find(|(at, _)| ends(at + base.len()))?;
        at + base.len()
    };
    let range = {
        let rest = &decoded[start..];
        let trimmed = rest.strip_prefix('/').unwrap_or(rest);
        let begin = start + rest.len() - trimmed.len();
        begin..begin + trimmed.strip_suffix('/').unwrap_or(trimmed).len()
    };
    Some(match decoded {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) => Cow::Owned(text[range].to_owned()),
    })
}

/// What stands below a base: two components at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Components<'a> {
    /// The first; empty if there is none.
    pub(super) first: &'a str,
    pub(super) second: Option<&'a str>,
}

impl<'a> Components<'a> {
    /// Nothing stands there.
    pub(super) const NONE: Self = Self {
        first: "",
        second: None,
    };

    /// Splits what [`below`] returned. `None` for more than two components, or an empty second.
    pub(super) fn of(below: &'a str) -> Option<Self> {
        let mut parts = below.split('/');
        let first = parts.next().unwrap_or_default();
        let second = parts.next();
        let fits = parts.next().is_none() && second != Some("");
        fits.then_some(Self { first, second })
    }

    /// Reads the request in a body that was posted here.
    ///
    /// # Errors
    ///
    /// The reply that says what is wrong with it.
    pub(super) fn envelope(self, body: &[u8], limits: &Limits) -> Result<Envelope, Reply> {
        let path = Path {
            session: id(self.first),
            handle: self.second.map_or(0, id),
        };
        Envelope::parse(body, path, limits)
    }
}

/// A path's component as an id, as Janus reads it: the digits in front, zero without any.
pub(super) fn id(component: &str) -> u64 {
    let digits = component.bytes().take_while(u8::is_ascii_digit).count();
    component[..digits].parse().unwrap_or(0)
}

/// The value of a query's parameter, its name compared without case; the first one of several.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        key.eq_ignore_ascii_case(name).then(|| decode(value))
    })
}

/// Decodes `%XX`. What is no such sequence stays as it is; what is no UTF-8 is replaced.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| {
            bytes
                .get(at + offset)
                .and_then(|&b| char::from(b).to_digit(16))
        };
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, base: &str, expected: Option<&str>) {
        assert_eq!(
            below(path, base).as_deref(),
            expected,
            "{path} below {base}"
        );
    }

    #[test]
    fn the_base_is_found_behind_a_prefix_and_between_slashes() {
        check("/janus", "/janus", Some(""));
        check("/janus/", "/janus", Some(""));
        check("/janus/7/8/", "/janus", Some("7/8"));
        check("/foo/janus/info", "/janus", Some("info"));
        check("//janus/info", "/janus", Some("info"));
        check("/janus//info", "/janus", Some("/info"));
        check("/%6aanus/%37", "/janus", Some("7"));
        check("/janusx/janus/info", "/janus", Some("info"));
        check("/info", "/", Some("info"));
        check("/a/b/7", "/a/b", Some("7"));
    }

    #[test]
    fn other_paths_are_not_below_it() {
        for path in ["/", "/janusx", "/JANUS/info", "/janu", ""] {
            check(path, "/janus", None);
        }
    }

    #[test]
    fn ids_are_the_digits_in_front() {
        assert_eq!(
            (id("7001"), id("7001abc"), id("abc"), id("")),
            (7001, 7001, 0, 0)
        );
        assert_eq!(id("99999999999999999999999"), 0);
    }

    #[test]
    fn parameters_are_found_without_case_and_decoded() {
        let query = Some("rid=1&MaxEv=10&apisecret=a%20b");
        assert_eq!(parameter(query, "maxev").as_deref(), Some("10"));
        assert_eq!(parameter(query, "apisecret").as_deref(), Some("a b"));
        assert_eq!(parameter(query, "token"), None);
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(decode("%4%zz%41"), "%4%zzA");
    }
}
