//! What both syntaxes are read into: values that remember where they stood.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A place in a configuration: a line and a column of a file, or a flag.
///
/// Line and column count from 1, the column in characters; line 0 means the source as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub source: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl Position {
    /// The source as a whole: a flag of the command line, or a file that cannot be read.
    pub fn whole(source: &str) -> Self {
        Self {
            source: source.into(),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}

/// Why a configuration is refused: where, which setting, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// `None` when the setting has its default and does not fit another one.
    pub at: Option<Position>,
    /// The setting with its sections; empty when the text itself cannot be read.
    pub key: String,
    pub message: String,
}

impl ConfigError {
    pub(super) fn syntax(at: Position, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            key: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.at.as_ref(), &self.key)?;
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// A setting that is accepted without the effect that its author may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub at: Option<Position>,
    /// The setting with its sections; empty when a whole file is meant.
    pub key: String,
    pub kind: WarningKind,
    pub message: String,
}

/// What sort of warning it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// The setting has no meaning here, and will not get one.
    Ignored,
    /// The setting means something that is not offered.
    NotServed,
    /// The setting is served, but its value looks like a mistake.
    Suspicious,
    /// No such setting is known.
    Unknown,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.at.as_ref(), &self.key)?;
        f.write_str(&self.message)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A value of either syntax.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Bool(bool),
    Float(f64),
    Group(Vec<Entry>),
    Int(i64),
    List(Vec<Node>),
    Text(String),
}

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the name begins.
    pub(super) at: Position,
    pub(super) node: Node,
}

impl Node {
    /// Returns a scalar as the text that Janus would see; `None` for groups and lists.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match &self.value {
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Float(number) => Some(Cow::Owned(number.to_string())),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Group(_) | Value::List(_) => None,
        }
    }
}

fn write_place(f: &mut fmt::Formatter<'_>, at: Option<&Position>, key: &str) -> fmt::Result {
    if let Some(at) = at {
        write!(f, "{at}: ")?;
    }
    if !key.is_empty() {
        write!(f, "{key}: ")?;
    }
    Ok(())
}
