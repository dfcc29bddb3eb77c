//! Why a description was refused.

use std::fmt;

/// The reason a session description, or a candidate, cannot be used.
///
/// The text goes to the client as the reason of error 465. The first four are worded as Janus words
/// them, because clients are known to compare them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdpError {
    /// The text does not begin with a version line.
    NoVersion,
    /// There is no origin, no name or no media section.
    MissingMandatory,
    /// A line whose second character is not `=`.
    InvalidLine(String),
    /// A media line that cannot be read.
    InvalidMedia(String),
    /// Another line that cannot be read: its text.
    InvalidValue(String),
    /// A candidate that cannot be read: its text.
    InvalidCandidate(String),
    /// More of something than the gateway takes.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are taken.
        max: usize,
    },
    /// Two media sections carry the same identification.
    DuplicateMid(String),
    /// Media sections on more than one transport.
    Unbundled,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion => f.write_str("Invalid SDP (doesn't start with v=)"),
            Self::MissingMandatory => f.write_str("Missing mandatory lines (o=, s= or m=)"),
            Self::InvalidLine(line) => {
                write!(f, "Invalid line (2nd char is not '='): {line}")
            }
            Self::InvalidMedia(line) => write!(f, "Invalid m= line: {line}"),
            Self::InvalidValue(line) => write!(f, "Invalid line: {line}"),
            Self::InvalidCandidate(line) => write!(f, "Invalid candidate: {line}"),
            Self::TooMany { what, max } => write!(f, "Too many {what} (at most {max})"),
            Self::DuplicateMid(mid) => write!(f, "Two m= lines with the same mid: {mid}"),
            Self::Unbundled => f.write_str("Media sections without a BUNDLE group"),
        }
    }
}

impl std::error::Error for SdpError {}
