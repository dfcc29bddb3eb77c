//! Why a description was refused.

use std::fmt;

/// The reason a session description, or a candidate, cannot be used.
///
/// The text goes to the client as the reason of error 465. Where Janus has a text for the same
/// reason it is worded alike, because clients are known to compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// Two media sections carry the same identification.
    DuplicateMid(String),
    /// A candidate that cannot be read.
    InvalidCandidate(String),
    /// A line with a value that cannot be read, or that holds control characters.
    InvalidLine(String),
    /// There is no origin or no media section.
    MissingMandatory,
    /// A media line without formats.
    NoFormats(String),
    /// The text does not begin with a version line.
    NoVersion,
    /// A line whose second character is not `=`.
    NotALine(String),
    /// A line too short to have a value.
    ShortLine(String),
    /// More of something than the gateway takes.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are taken.
        max: usize,
    },
    /// Media sections on more than one transport.
    Unbundled,
}

impl SdpError {
    pub(super) fn invalid_line(line: &str) -> Self {
        Self::InvalidLine(excerpt(line))
    }
}

/// Cuts a line to what is worth repeating in an error.
pub(super) fn excerpt(line: &str) -> String {
    const CHARS_MAX: usize = 200;
    line.chars().take(CHARS_MAX).collect()
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateMid(mid) => write!(f, "Two m= lines with the same mid: {mid}"),
            Self::InvalidCandidate(text) => write!(f, "Invalid candidate: {text}"),
            Self::InvalidLine(line) => match line.split_once('=') {
                Some((kind, _)) => write!(f, "Invalid {kind}= line: {line}"),
                None => write!(f, "Invalid line: {line}"),
            },
            Self::MissingMandatory => f.write_str("Missing mandatory lines (o=, s= or m=)"),
            Self::NoFormats(line) => {
                write!(f, "Invalid m= line (no payload types/formats): {line}")
            }
            Self::NoVersion => f.write_str("Invalid SDP (doesn't start with v=)"),
            Self::NotALine(line) => write!(f, "Invalid line (2nd char is not '='): {line}"),
            Self::ShortLine(line) => write!(f, "Invalid line ({} bytes): {line}", line.len()),
            Self::TooMany { what, max } => write!(f, "Too many {what} (at most {max})"),
            Self::Unbundled => f.write_str("Media sections without a common BUNDLE group"),
        }
    }
}

impl std::error::Error for SdpError {}
