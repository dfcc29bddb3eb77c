//! A request of the Janus API: the JSON object that every transport carries, checked field by
//! field in the order in which Janus checks.
//!
//! Invariant: an [`Envelope`] has a transaction and a verb; which session and handle it names is
//! settled, path and payload agreeing.

use serde_json::Value;

use crate::base::error::{ApiError, ErrorCode};
use crate::base::flat::Flat;
use crate::base::json::{self, Fields, Parsed};
use crate::base::limits::Limits;
use crate::base::members::Members;
use crate::gateway::reply::{Reply, error};

/// What the URL of an HTTP request names. Zero is "no such component".
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// The session's component.
    pub session: u64,
    /// The handle's component.
    pub handle: u64,
}

/// Which handle a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleField {
    /// None.
    Absent,
    /// One that cannot exist: zero, or not an integer.
    Invalid,
    /// This one.
    Named(u64),
}

/// A request whose common fields are in order.
#[derive(Debug)]
pub struct Envelope {
    /// The verb as sent.
    pub verb: Box<str>,
    /// The client's name for the request.
    pub transaction: Box<str>,
    /// The session, zero for none. Negative numbers are seen as unsigned, as Janus prints them.
    pub session: u64,
    /// The handle.
    pub handle: HandleField,
    /// The other members, those that name session and handle included.
    pub members: Members,
}

impl Envelope {
    /// Reads a request from its text.
    ///
    /// # Errors
    ///
    /// The complete reply that says what is wrong: 454 and 455 for the text, 457 when path and
    /// payload name different things, 456 and 467 for `transaction`, `janus` and `id`. These
    /// replies carry no transaction, as in Janus.
    pub fn parse(text: &[u8], path: Path, limits: &Limits) -> Result<Self, Reply> {
        let parsed = json::parse_object(text, limits.json_depth).map_err(|fault| {
            let reason = format!("JSON error: on line {}: {}", fault.line, fault.detail);
            error(None, None, &ApiError::new(ErrorCode::InvalidJson, reason))
        })?;
        match parsed {
            None => {
                let fault =
                    ApiError::new(ErrorCode::InvalidJsonObject, "JSON error: not an object");
                Err(error(None, None, &fault))
            }
            Some(Parsed::Flat(flat)) => match Self::of_texts(&flat, path, limits) {
                Some(envelope) => Ok(envelope),
                None => Self::check(flat.into(), path, limits),
            },
            Some(Parsed::Members(members)) => Self::check(members, path, limits),
        }
    }

    /// Reads the requests of one WebSocket message, several objects in a row.
    ///
    /// # Errors
    ///
    /// The reply to the message as a whole, if any part of it is not JSON. Otherwise each request
    /// is there with its own success or fault.
    pub fn parse_row(text: &[u8], limits: &Limits) -> Result<Vec<Result<Self, Reply>>, Reply> {
        let malformed = |line: usize, column: usize, detail: &str| {
            let reason = format!("Invalid Janus API request - <string>({line},{column}): {detail}");
            error(None, None, &ApiError::new(ErrorCode::InvalidJson, reason))
        };
        let values = json::parse_row(text, limits.json_depth, limits.ws_batch_count)
            .map_err(|fault| malformed(fault.line, fault.column, &fault.detail))?;
        let is_object_or_array = |value: &Value| value.is_object() || value.is_array();
        if !values.iter().all(is_object_or_array) {
            return Err(malformed(1, 1, "'[' or '{' expected"));
        }
        let read = |value| match value {
            Value::Object(members) => Self::check(members.into(), Path::default(), limits),
            // Janus looks for the members of an array, too.
            Value::Array(_)
            | Value::Bool(_)
            | Value::Null
            | Value::Number(_)
            | Value::String(_) => {
                let fault = ApiError::missing("transaction");
                Err(error(None, None, &fault))
            }
        };
        Ok(values.into_iter().map(read).collect())
    }

    /// A short way for a request whose members are texts. `None` when it names ids or is not in
    /// order: [`Self::check`] knows what that means.
    fn of_texts(flat: &Flat<'_>, path: Path, limits: &Limits) -> Option<Self> {
        let (verb, transaction) = (flat.get("janus")?, flat.get("transaction")?);
        let names_ids = IDS.iter().any(|name| flat.get(name).is_some());
        if names_ids || transaction.len() > limits.transaction_bytes {
            return None;
        }
        Some(Self {
            verb: verb.into(),
            transaction: transaction.into(),
            session: path.session,
            handle: match path.handle {
                0 => HandleField::Absent,
                named => HandleField::Named(named),
            },
            members: flat.without(&["janus", "transaction"]),
        })
    }

    fn check(mut members: Members, path: Path, limits: &Limits) -> Result<Self, Reply> {
        let in_payload = integer(members.get("session_id")).unwrap_or(0);
        let session = agree(path.session, in_payload)
            .ok_or_else(|| conflict("Conflicting session ID (payload and path)"))?;
        let handle = match (members.get("handle_id"), path.handle) {
            (None | Some(Value::Null), 0) => HandleField::Absent,
            (None | Some(Value::Null), named) => HandleField::Named(named),
            (value, in_path) => match integer(value) {
                Some(0) | None if in_path == 0 => HandleField::Invalid,
                Some(0) | None => HandleField::Named(in_path),
                Some(named) => agree(in_path, named)
                    .map(HandleField::Named)
                    .ok_or_else(|| conflict("Conflicting handle ID (payload and path)"))?,
            },
        };
        Self::check_common(&Fields::of(&members), limits)
            .map_err(|fault| error((session != 0).then_some(session), None, &fault))?;
        let transaction = take_text(&mut members, "transaction");
        let verb = take_text(&mut members, "janus");
        Ok(Self {
            verb,
            transaction,
            session,
            handle,
            members,
        })
    }

    fn check_common(fields: &Fields<'_>, limits: &Limits) -> Result<(), ApiError> {
        let transaction = fields.need_str("transaction")?;
        fields.need_str("janus")?;
        if transaction.len() > limits.transaction_bytes {
            return Err(ApiError::new(
                ErrorCode::InvalidElementType,
                "Invalid element type (transaction should be a short string)",
            ));
        }
        let id_fits = match fields.get("id") {
            None => true,
            Some(id) => id.as_i64().is_some_and(|id| id >= 0),
        };
        if !id_fits {
            return Err(ApiError::invalid_type("id", "a positive integer"));
        }
        Ok(())
    }

    /// The members, to be read by name and type.
    pub const fn fields(&self) -> Fields<'_> {
        Fields::of(&self.members)
    }

    /// The session as replies name it: `None` for a request without one.
    pub const fn session_shown(&self) -> Option<u64> {
        if self.session == 0 {
            None
        } else {
            Some(self.session)
        }
    }

    /// The reply that says that this request failed.
    pub fn fail(&self, fault: &ApiError) -> Reply {
        error(self.session_shown(), Some(&self.transaction), fault)
    }
}

/// Members that are looked at for more than their text.
const IDS: [&str; 3] = ["session_id", "handle_id", "id"];

/// Takes out a member that was found to be a string.
fn take_text(members: &mut Members, name: &str) -> Box<str> {
    let Some(Value::String(text)) = members.remove(name) else {
        unreachable!("it is a string");
    };
    text.into()
}

/// A JSON integer as unsigned 64 bits; anything else, `null` included, is none.
fn integer(value: Option<&Value>) -> Option<u64> {
    value?.as_i64().map(i64::cast_unsigned)
}

/// The one id that path and payload name, or `None` when they name two.
const fn agree(in_path: u64, in_payload: u64) -> Option<u64> {
    match (in_path, in_payload) {
        (0, named) | (named, 0) => Some(named),
        (path, payload) if path == payload => Some(path),
        _ => None,
    }
}

fn conflict(text: &'static str) -> Reply {
    error(
        None,
        None,
        &ApiError::new(ErrorCode::InvalidRequestPath, text),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, path: Path, expected: &str) {
        let shown = match Envelope::parse(text.as_bytes(), path, &Limits::default()) {
            Ok(envelope) => format!(
                "{} {} {:?} {}",
                envelope.verb, envelope.session, envelope.handle, envelope.transaction
            ),
            Err(reply) => reply.into_text(),
        };
        assert_eq!(shown, expected);
    }

    const NOWHERE: Path = Path {
        session: 0,
        handle: 0,
    };

    #[test]
    fn the_common_fields_are_checked_in_order() {
        check(
            r#"{"janus":"ping","transaction":"t"}"#,
            NOWHERE,
            "ping 0 Absent t",
        );
        check(
            r#"{"janus":"ping"}"#,
            NOWHERE,
            r#"{"janus":"error","error":{"code":456,"reason":"Missing mandatory element (transaction)"}}"#,
        );
        check(
            r#"{"janus":7,"transaction":"t","session_id":5}"#,
            NOWHERE,
            r#"{"janus":"error","session_id":5,"error":{"code":467,"reason":"Invalid element type (janus should be a string)"}}"#,
        );
        check(
            r#"{"janus":"keepalive","transaction":"t","id":-1}"#,
            NOWHERE,
            r#"{"janus":"error","error":{"code":467,"reason":"Invalid element type (id should be a positive integer)"}}"#,
        );
        check(
            "[]",
            NOWHERE,
            r#"{"janus":"error","error":{"code":455,"reason":"JSON error: not an object"}}"#,
        );
    }

    #[test]
    fn odd_ids_count_as_none_or_as_invalid() {
        check(
            r#"{"janus":"a","transaction":"t","session_id":"7"}"#,
            NOWHERE,
            "a 0 Absent t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":7.0}"#,
            NOWHERE,
            "a 0 Absent t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":-5}"#,
            NOWHERE,
            "a 18446744073709551611 Absent t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":7,"handle_id":null}"#,
            NOWHERE,
            "a 7 Absent t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":7,"handle_id":"x"}"#,
            NOWHERE,
            "a 7 Invalid t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":7,"handle_id":0}"#,
            NOWHERE,
            "a 7 Invalid t",
        );
    }

    proptest! {
        #[test]
        fn the_short_way_leads_where_the_long_one_does(
            names in prop::sample::subsequence(
                vec!["janus", "transaction", "session_id", "handle_id", "id", "token"], 0..=6),
            session in 0_u64..3,
            handle in 0_u64..3,
            size in 0_usize..30,
        ) {
            let limits = Limits { transaction_bytes: 20, ..Limits::default() };
            let texts: Vec<_> = names
                .iter()
                .map(|name| format!("\"{name}\":\"{}\"", "7".repeat(size)))
                .collect();
            let text = format!("{{{}}}", texts.join(","));
            let path = Path { session, handle };
            let long = Envelope::check(serde_json::from_str(&text).unwrap(), path, &limits);
            let short = Envelope::parse(text.as_bytes(), path, &limits);
            prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
        }
    }

    #[test]
    fn path_and_payload_must_agree() {
        let path = Path {
            session: 7,
            handle: 8,
        };
        check(r#"{"janus":"a","transaction":"t"}"#, path, "a 7 Named(8) t");
        check(
            r#"{"janus":"a","transaction":"t","session_id":7,"handle_id":8}"#,
            path,
            "a 7 Named(8) t",
        );
        check(
            r#"{"janus":"a","transaction":"t","session_id":9}"#,
            path,
            r#"{"janus":"error","error":{"code":457,"reason":"Conflicting session ID (payload and path)"}}"#,
        );
        check(
            r#"{"janus":"a","transaction":"t","handle_id":9}"#,
            path,
            r#"{"janus":"error","error":{"code":457,"reason":"Conflicting handle ID (payload and path)"}}"#,
        );
    }
}
