//! Error codes of the Janus API, and an error as the client is told it.

use std::borrow::Cow;
use std::fmt;

/// Codes of `error.code`. The numbers are those of Janus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// Secret or token missing or wrong.
    Unauthorized = 403,
    /// The token does not allow this plugin.
    UnauthorizedPlugin = 405,
    /// What only one transport can say, such as an unsupported HTTP method.
    TransportSpecific = 450,
    /// The verb does not exist, or not at this level.
    UnknownRequest = 453,
    /// Not JSON.
    InvalidJson = 454,
    /// JSON, but not an object.
    InvalidJsonObject = 455,
    /// A field is missing.
    MissingMandatoryElement = 456,
    /// The verb does not belong at this level, or ids in path and body differ.
    InvalidRequestPath = 457,
    /// No such session.
    SessionNotFound = 458,
    /// No such handle in this session.
    HandleNotFound = 459,
    /// No such plugin.
    PluginNotFound = 460,
    /// The plugin, or a limit, refused the handle.
    PluginAttach = 461,
    /// The plugin did not take the message.
    PluginMessage = 462,
    /// The plugin did not let go of the handle.
    PluginDetach = 463,
    /// `jsep.type` is neither `offer` nor `answer`.
    JsepUnknownType = 464,
    /// The session description cannot be used.
    JsepInvalidSdp = 465,
    /// Trickle for a PeerConnection that is gone.
    TrickleInvalidStream = 466,
    /// A field has the wrong type or an impossible value.
    InvalidElementType = 467,
    /// The id that the client chose is taken.
    SessionConflict = 468,
    /// An answer without our offer.
    UnexpectedAnswer = 469,
    /// No such token.
    TokenNotFound = 470,
    /// The PeerConnection is not in a state for this.
    WebrtcState = 471,
    /// New sessions are refused for the time being.
    NotAcceptingSessions = 472,
    /// Anything else.
    Unknown = 490,
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// A request that failed by the client's fault, or by a limit: what the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// The text; it names the element that is at fault.
    pub reason: Cow<'static, str>,
}

impl ApiError {
    /// An error with a text of its own.
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// `Missing mandatory element (NAME)`.
    pub fn missing(name: &str) -> Self {
        Self::new(
            ErrorCode::MissingMandatoryElement,
            format!("Missing mandatory element ({name})"),
        )
    }

    /// `Invalid element type (NAME should be KIND)`, for instance `a string`.
    pub fn invalid_type(name: &str, kind: &str) -> Self {
        Self::new(
            ErrorCode::InvalidElementType,
            format!("Invalid element type ({name} should be {kind})"),
        )
    }

    /// `Unauthorized request (wrong or missing secret/token)`.
    pub const fn unauthorized() -> Self {
        Self {
            code: ErrorCode::Unauthorized,
            reason: Cow::Borrowed("Unauthorized request (wrong or missing secret/token)"),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.number(), self.reason)
    }
}

impl std::error::Error for ApiError {}
