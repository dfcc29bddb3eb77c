//! The syntax of TOML files, read into the same tree as `.jcfg` files.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{ConfigError, Entry, Node, Position, Value};

/// Reads a TOML text.
///
/// # Errors
///
/// Names the place of the first thing that is not TOML, or that TOML has and we do not: a number
/// that does not fit.
pub(super) fn parse(name: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let places = Places {
        source: name.into(),
        text,
    };
    match DeTable::parse(text) {
        Ok(table) => places.entries(table.get_ref()),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            Err(ConfigError::syntax(places.position(start), error.message()))
        }
    }
}

struct Places<'a> {
    source: Arc<str>,
    text: &'a str,
}

impl Places<'_> {
    fn entries(&self, table: &DeTable<'_>) -> Result<Vec<Entry>, ConfigError> {
        let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &Spanned<std::borrow::Cow<'_, str>> = name;
            Ok(Entry {
                name: name.get_ref().to_string(),
                at: self.position(name.span().start),
                node: self.node(value)?,
            })
        };
        table.iter().map(entry).collect()
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Result<Node, ConfigError> {
        let at = self.position(spanned.span().start);
        let too_large = |at: &Position| ConfigError::syntax(at.clone(), "the number is too large");
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                Value::Int(number.map_err(|_| too_large(&at))?)
            }
            DeValue::Float(number) => {
                Value::Float(number.as_str().parse().map_err(|_| too_large(&at))?)
            }
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(values) => {
                let nodes: Result<_, _> = values.iter().map(|value| self.node(value)).collect();
                Value::List(nodes?)
            }
            DeValue::Table(table) => Value::Group(self.entries(table)?),
        };
        Ok(Node { at, value })
    }

    fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        Position {
            source: Arc::clone(&self.source),
            line: count(before.bytes().filter(|b| *b == b'\n').count()),
            column: count(before[line_start..].chars().count()),
        }
    }
}
