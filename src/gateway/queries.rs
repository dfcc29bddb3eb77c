//! What the Admin API asks of transports, event handlers and loggers by their names.
//!
//! Whatever one of them refuses is a success with an error inside, as in Janus.

use serde_json::{Map, Value, json};

use crate::base::error::{ApiError, ErrorCode};
use crate::base::json::Fields;
use crate::gateway::Gateway;
use crate::gateway::gather::{Change, Question};
use crate::gateway::reports::Transport;
use crate::gateway::tweaks::Handler;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Handler(&'a str),
    /// There is none of any name.
    Logger,
    Transport(&'a str),
}

impl Gateway {
    /// Asks whoever has this name; a change is for all shards.
    pub(super) fn query(
        &self,
        target: Target<'_>,
        query: Option<&Map<String, Value>>,
    ) -> Result<Queried, ApiError> {
        let none = Map::new();
        // One that is missing asks for nothing, which is for the one who is asked to refuse.
        let fields = Fields::new(query.unwrap_or(&none));
        let invalid = |what: &'static str| ApiError::new(ErrorCode::PluginNotFound, what);
        let outcome = match target {
            Target::Handler(name) => Handler::running(name, &self.config.events)
                .ok_or_else(|| invalid("Invalid event handler"))?
                .query(&fields),
            Target::Logger => return Err(invalid("Invalid logger")),
            Target::Transport(name) => Transport::served(name, &self.config)
                .ok_or_else(|| invalid("Invalid transport"))?
                .query(&fields, &self.config),
        };
        Ok(outcome.unwrap_or_else(Queried::from))
    }
}

/// What becomes of a query.
#[derive(Debug)]
pub(super) enum Queried {
    /// It is answered.
    Answered(Value),
    /// All shards are asked.
    Asked(Question),
    /// All shards change something.
    Changed(Change),
}

impl From<Refusal> for Queried {
    fn from(refusal: Refusal) -> Self {
        Self::Answered(refusal.shown())
    }
}

/// A query that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    code: u16,
    text: String,
}

impl Refusal {
    const INVALID: u16 = 413;
    const MISSING: u16 = 412;
    const UNKNOWN: u16 = 411;

    /// A member that is not what it has to be.
    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self {
            code: Self::INVALID,
            text: text.into(),
        }
    }

    /// A request that there is not.
    pub(super) fn unknown(request: &str) -> Self {
        Self {
            code: Self::UNKNOWN,
            text: format!("Unknown request '{request}'"),
        }
    }

    fn shown(&self) -> Value {
        json!({"error_code": self.code, "error": self.text})
    }
}

impl From<ApiError> for Refusal {
    fn from(fault: ApiError) -> Self {
        let code = if fault.code == ErrorCode::MissingMandatoryElement {
            Self::MISSING
        } else {
            Self::INVALID
        };
        let text = fault.reason.into_owned();
        Self { code, text }
    }
}

/// The answer to a change that was made, with what there is to say about it.
pub(super) fn changed(notes: &[String]) -> Value {
    if notes.is_empty() {
        return json!({"result": 200});
    }
    json!({"result": 200, "notes": notes})
}
