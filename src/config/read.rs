//! One setting as the type that its key wants, or an error that says where and why not.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::tree::{ConfigError, Node, Value, Warning, WarningKind};

/// A key and its value, on the way into the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// The key with its sections, as the author of the file wrote it.
    pub(super) key: &'a str,
    pub(super) node: &'a Node,
}

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
}

impl Setting<'_> {
    /// Any scalar, as text without blanks around it.
    pub(super) fn text(&self) -> Result<String, ConfigError> {
        let text = self
            .node
            .text()
            .ok_or_else(|| self.fail("must be one value"))?;
        Ok(text.trim().to_owned())
    }

    /// A text; `None` when it is empty.
    pub(super) fn filled(&self) -> Result<Option<String>, ConfigError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    /// True for `yes`, `true` and `1` in any case. Everything else is false, as in Janus, but what
    /// does not look like a no is warned of.
    pub(super) fn flag(&self, warnings: &mut Vec<Warning>) -> Result<bool, ConfigError> {
        let text = self.text()?.to_ascii_lowercase();
        let is_true = matches!(text.as_str(), "yes" | "true" | "1");
        if !is_true && !matches!(text.as_str(), "no" | "false" | "0" | "") {
            let message = format!("`{text}` is neither true nor false and is taken as false");
            warnings.push(self.warn(WarningKind::Suspicious, message));
        }
        Ok(is_true)
    }

    /// Returns whether the setting asks for nothing: an empty text, zero, or a no.
    pub(super) fn is_off(&self) -> bool {
        self.node.text().is_some_and(|text| {
            let text = text.trim().to_ascii_lowercase();
            matches!(text.as_str(), "" | "0" | "no" | "false")
        })
    }

    pub(super) fn number<N>(&self, range: RangeInclusive<N>) -> Result<N, ConfigError>
    where
        N: FromStr + PartialOrd + Display,
    {
        let text = self.text()?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (low, high) = (range.start(), range.end());
        number.ok_or_else(|| self.fail(format!("must be from {low} to {high}, not `{text}`")))
    }

    /// A time: a number of `unit`, or a text with `ms`, `s`, `m` or `h` behind the number.
    pub(super) fn duration(
        &self,
        unit: Unit,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let text = self.text()?;
        let duration = parse_duration(&text, unit).filter(|duration| range.contains(duration));
        let (low, high) = (range.start(), range.end());
        let message = || format!("must be a time from {low:?} to {high:?}, not `{text}`");
        duration.ok_or_else(|| self.fail(message()))
    }

    /// As [`duration`](Self::duration); zero switches off.
    pub(super) fn duration_or_off(
        &self,
        unit: Unit,
        range: RangeInclusive<Duration>,
    ) -> Result<Option<Duration>, ConfigError> {
        if parse_duration(&self.text()?, unit) == Some(Duration::ZERO) {
            return Ok(None);
        }
        self.duration(unit, range).map(Some)
    }

    /// The elements of an array, or of a text with commas.
    pub(super) fn list(&self) -> Result<Vec<String>, ConfigError> {
        if let Value::List(nodes) = &self.node.value {
            return nodes
                .iter()
                .map(|node| Setting { node, ..*self }.text())
                .collect();
        }
        let text = self.text()?;
        let elements = text
            .split(',')
            .map(str::trim)
            .filter(|element| !element.is_empty());
        Ok(elements.map(str::to_owned).collect())
    }

    /// A list of which every element can be read; `example` shows how one looks.
    pub(super) fn list_of<T: FromStr>(&self, example: &str) -> Result<Vec<T>, ConfigError> {
        let read = |text: String| {
            let message = || format!("`{text}` cannot be read; write it like {example}");
            text.parse().map_err(|_| self.fail(message()))
        };
        self.list()?.into_iter().map(read).collect()
    }

    /// An address; `None` when it is empty.
    pub(super) fn address(&self) -> Result<Option<IpAddr>, ConfigError> {
        let Some(text) = self.filled()? else {
            return Ok(None);
        };
        let message = format!("`{text}` is not an address; write it like 192.0.2.1");
        text.parse().map(Some).map_err(|_| self.fail(message))
    }

    /// One of a few words, in any case.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?;
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fail(format!("`{text}` is none of {}", words.join(", ")))
        })
    }

    pub(super) fn fail(&self, message: impl Into<String>) -> ConfigError {
        ConfigError {
            at: Some(self.node.at.clone()),
            key: self.key.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn warn(&self, kind: WarningKind, message: impl Into<String>) -> Warning {
        Warning {
            at: Some(self.node.at.clone()),
            key: self.key.to_owned(),
            kind,
            message: message.into(),
        }
    }
}

fn parse_duration(text: &str, unit: Unit) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let millis_each = match (&text[digits.len()..], unit) {
        ("ms", _) | ("", Unit::Milliseconds) => 1,
        ("s", _) | ("", Unit::Seconds) => 1_000,
        ("m", _) => 60_000,
        ("h", _) => 3_600_000,
        _ => return None,
    };
    let number: u64 = digits.trim_end().parse().ok()?;
    number.checked_mul(millis_each).map(Duration::from_millis)
}
