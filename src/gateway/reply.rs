//! Replies and events as JSON text, members in Janus' order: `janus`, `session_id`,
//! `transaction`, `sender`, `opaque_id`, payload.
//!
//! Invariant: the text is compact JSON; a transport that wants another layout derives it.

use serde_json::Value;

use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::HandleId;
use crate::base::json::push_string;

/// A complete message to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    text: String,
    fault: Option<ErrorCode>,
}

impl Reply {
    /// The message, compact JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The code of the error that it reports, if it does.
    pub const fn fault(&self) -> Option<ErrorCode> {
        self.fault
    }

    /// The message, compact JSON.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A message under construction.
#[derive(Debug)]
pub struct Message {
    text: String,
}

impl Message {
    /// Begins a message of a kind, for instance `success`.
    pub fn new(kind: &str) -> Self {
        let mut text = String::with_capacity(128);
        text.push_str("{\"janus\":\"");
        text.push_str(kind);
        text.push('"');
        Self { text }
    }

    /// Names the session, if there is one.
    #[must_use]
    pub fn session(self, session: Option<u64>) -> Self {
        if let Some(session) = session {
            return self.integer("session_id", session);
        }
        self
    }

    /// Repeats the transaction, if there is one.
    #[must_use]
    pub fn transaction(self, transaction: Option<&str>) -> Self {
        match transaction {
            Some(transaction) => self.string("transaction", transaction),
            None => self,
        }
    }

    /// Names the handle that it comes from.
    #[must_use]
    pub fn sender(self, handle: HandleId) -> Self {
        self.integer("sender", handle.0)
    }

    /// Adds a number. `name` needs no escaping.
    #[must_use]
    pub fn integer(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        self.text.push_str(itoa::Buffer::new().format(value));
        self
    }

    /// Adds a text. `name` needs no escaping.
    #[must_use]
    pub fn string(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_string(&mut self.text, value);
        self
    }

    /// Adds a truth. `name` needs no escaping.
    #[must_use]
    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// Adds a value. `name` needs no escaping.
    #[must_use]
    pub fn value(mut self, name: &str, value: &Value) -> Self {
        self.name(name);
        // Formatting would do the same at twice the instructions (`json_out` in benches/).
        let text = serde_json::to_string(value).expect("a value has a text");
        self.text.push_str(&text);
        self
    }

    /// Adds what is JSON already. `name` needs no escaping.
    #[must_use]
    pub fn raw(mut self, name: &str, json: &str) -> Self {
        self.name(name);
        self.text.push_str(json);
        self
    }

    /// Ends the message.
    #[must_use]
    pub fn finish(mut self) -> Reply {
        self.text.push('}');
        Reply {
            text: self.text,
            fault: None,
        }
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(",\"");
        self.text.push_str(name);
        self.text.push_str("\":");
    }
}

/// An `error`.
pub fn error(session: Option<u64>, transaction: Option<&str>, fault: &ApiError) -> Reply {
    let mut reason = String::new();
    push_string(&mut reason, &fault.reason);
    let code = fault.code.number();
    let mut reply = Message::new("error")
        .session(session)
        .transaction(transaction)
        .raw("error", &format!("{{\"code\":{code},\"reason\":{reason}}}"))
        .finish();
    reply.fault = Some(fault.code);
    reply
}

/// The answer to a long poll that has nothing to tell.
pub const KEEPALIVE: &str = "{\"janus\":\"keepalive\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_of_janus() {
        let reply = Message::new("event")
            .session(Some(1))
            .transaction(Some("a\"b"))
            .sender(HandleId(2))
            .value(
                "plugindata",
                &serde_json::json!({"plugin": "p", "data": {}}),
            )
            .finish();
        assert_eq!(
            reply.text(),
            r#"{"janus":"event","session_id":1,"transaction":"a\"b","sender":2,"plugindata":{"plugin":"p","data":{}}}"#
        );
    }

    #[test]
    fn an_error_names_code_and_reason() {
        let fault = ApiError::new(ErrorCode::SessionNotFound, "No such session 9");
        assert_eq!(
            error(Some(9), Some("t"), &fault).text(),
            r#"{"janus":"error","session_id":9,"transaction":"t","error":{"code":458,"reason":"No such session 9"}}"#
        );
    }
}
