//! What is wrong with a request, in the plugin's own words.

use serde_json::{Value, json};

/// Error codes of this plugin, in `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Code {
    InvalidRequest = 423,
    JoinFirst = 424,
    AlreadyJoined = 425,
    NoSuchRoom = 426,
    RoomExists = 427,
    NoSuchFeed = 428,
    MissingElement = 429,
    InvalidElement = 430,
    InvalidSdpType = 431,
    PublishersFull = 432,
    Unauthorized = 433,
    AlreadyPublished = 434,
    NotPublished = 435,
    IdExists = 436,
    InvalidSdp = 437,
    InvalidFeed = 438,
    Unknown = 499,
}

/// A request that failed by the client's fault, or by a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) text: String,
    /// A secret was shown, and it was not the right one.
    pub(super) is_guess: bool,
}

impl Fault {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            is_guess: false,
        }
    }

    pub(super) fn missing(name: &str) -> Self {
        Self::new(
            Code::MissingElement,
            format!("Missing mandatory element ({name})"),
        )
    }

    pub(super) fn wrong_type(name: &str, kind: &str) -> Self {
        Self::new(
            Code::InvalidElement,
            format!("Invalid element type ({name} should be {kind})"),
        )
    }

    pub(super) fn element(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidElement, text)
    }

    pub(super) fn unknown_request(name: &str) -> Self {
        Self::new(Code::InvalidRequest, format!("Unknown request '{name}'"))
    }

    pub(super) fn json(&self) -> Value {
        json!({"videoroom": "event", "error_code": self.code as u16, "error": self.text})
    }
}
