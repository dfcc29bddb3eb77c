//! The members of a request: a list, because there are few and each is asked for once or twice.
//!
//! A map with its table of hashes costs more than all that is done with it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The members of an object. Of equal names the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Vec<(Box<str>, Value)>);

impl Members {
    /// Makes it of texts whose names are different.
    pub(super) fn of_texts<'a>(texts: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Self {
        let members = texts.map(|&(name, text)| (name.into(), text.into()));
        Self(members.collect())
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(each, _)| **each == *name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(each, _)| **each == *name);
        found.map(|(_, value)| value)
    }
}

impl From<serde_json::Map<String, Value>> for Members {
    fn from(map: serde_json::Map<String, Value>) -> Self {
        let members = map.into_iter().map(|(name, value)| (name.into(), value));
        Self(members.collect())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

/// Above this many members a request takes longer to search than it should: names are looked up
/// in a map while it is read.
const LISTED_MAX: usize = 32;

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
        let mut members: Vec<(Box<str>, Value)> = Vec::with_capacity(4);
        while let Some((name, value)) = access.next_entry::<Box<str>, Value>()? {
            if members.len() == LISTED_MAX {
                return read_on(members, (name, value), access);
            }
            match members.iter_mut().find(|(each, _)| *each == name) {
                Some(member) => member.1 = value,
                None => members.push((name, value)),
            }
        }
        Ok(Members(members))
    }
}

/// Reads what is too long to be searched for each of its names.
fn read_on<'de, A: MapAccess<'de>>(
    members: Vec<(Box<str>, Value)>,
    next: (Box<str>, Value),
    mut access: A,
) -> Result<Members, A::Error> {
    let owned = |(name, value): (Box<str>, Value)| (String::from(name), value);
    let mut map: serde_json::Map<String, Value> = members.into_iter().map(owned).collect();
    let (name, value) = owned(next);
    map.insert(name, value);
    while let Some((name, value)) = access.next_entry()? {
        map.insert(name, value);
    }
    Ok(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_member_is_taken_out_once() {
        let mut members: Members = serde_json::from_str(r#"{"a":1,"b":[2]}"#).unwrap();
        assert_eq!(members.remove("a"), Some(Value::from(1)));
        assert_eq!(members.remove("a"), None);
        assert_eq!(members.get("b"), Some(&serde_json::json!([2])));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(serde_json::from_str::<Members>("[]").is_err());
        assert!(serde_json::from_str::<Members>(r#"{"a":1,}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_list_says_what_a_map_does(names in prop::collection::vec("[a-p]{1,2}", 0..90)) {
            let numbered = names.iter().enumerate();
            let texts: Vec<String> =
                numbered.map(|(at, name)| format!("\"{name}\":{at}")).collect();
            let text = format!("{{{}}}", texts.join(","));
            let members: Members = serde_json::from_str(&text).unwrap();
            let map: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&members, &Members::from(map));
        }
    }
}
