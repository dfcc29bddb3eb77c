//! The `candidate` and `candidates` members of a trickle request.
//!
//! Invariant: before there is a PeerConnection anything is taken, as in Janus; with one, a single
//! candidate is checked and what is wrong inside a list is passed over.

use serde_json::Value;

use crate::base::error::{ApiError, ErrorCode};
use crate::base::json::Fields;
use crate::gateway::handle::Trickled;

/// Reads what a trickle request carries.
///
/// # Errors
///
/// 456, 454 and 467, with the texts of Janus.
pub(super) fn parse(fields: &Fields<'_>, has_peer: bool) -> Result<Vec<Trickled>, ApiError> {
    match (fields.get("candidate"), fields.get("candidates")) {
        (None, None) => Err(ApiError::missing("candidate|candidates")),
        (Some(_), Some(_)) => Err(ApiError::new(
            ErrorCode::InvalidJson,
            "Can't have both candidate and candidates",
        )),
        (Some(single), None) => match one(single) {
            Ok(trickled) => Ok(vec![trickled]),
            Err(_) if !has_peer => Ok(Vec::new()),
            Err(fault) => Err(fault),
        },
        (None, Some(Value::Array(list))) => {
            Ok(list.iter().filter_map(|item| one(item).ok()).collect())
        }
        (None, Some(_)) if !has_peer => Ok(Vec::new()),
        (None, Some(_)) => Err(ApiError::new(
            ErrorCode::InvalidElementType,
            "candidates is not an array",
        )),
    }
}

/// One candidate. `null`, what is not an object, and anything with `completed` mean the end.
fn one(value: &Value) -> Result<Trickled, ApiError> {
    let Some(object) = value
        .as_object()
        .filter(|object| !object.contains_key("completed"))
    else {
        return Ok(Trickled::Completed);
    };
    let bad_type = |name: &str, kind: &str| {
        ApiError::new(
            ErrorCode::InvalidElementType,
            format!("Trickle error: invalid element type ({name} should be {kind})"),
        )
    };
    let missing = |name: &str| {
        ApiError::new(
            ErrorCode::MissingMandatoryElement,
            format!("Trickle error: missing mandatory element ({name})"),
        )
    };
    let (mid, index) = (object.get("sdpMid"), object.get("sdpMLineIndex"));
    if mid.is_none() && index.is_none() {
        return Err(missing("sdpMid or sdpMLineIndex"));
    }
    if mid.is_some_and(|mid| !mid.is_string() && !mid.is_null()) {
        return Err(bad_type("sdpMid", "a string"));
    }
    if index.is_some_and(|index| index.as_u64().is_none() && !index.is_null()) {
        return Err(bad_type("sdpMLineIndex", "a positive integer"));
    }
    match object.get("candidate") {
        None => Err(missing("candidate")),
        Some(Value::String(line)) if line.is_empty() => Ok(Trickled::Completed),
        Some(Value::String(line)) => Ok(Trickled::Candidate(line.as_str().into())),
        Some(_) => Err(bad_type("candidate", "a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, has_peer: bool, expected: Result<&[Trickled], &str>) {
        let value: Value = serde_json::from_str(text).unwrap();
        let parsed = parse(&Fields::new(value.as_object().unwrap()), has_peer);
        let shown = parsed.as_deref().map_err(|fault| fault.to_string());
        assert_eq!(shown, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn reads_what_janus_reads() {
        let line = || Trickled::Candidate("candidate:1".into());
        check(
            r#"{"candidate":{"sdpMid":"0","candidate":"candidate:1"}}"#,
            true,
            Ok(&[line()]),
        );
        check(r#"{"candidate":null}"#, true, Ok(&[Trickled::Completed]));
        check(
            r#"{"candidate":{"completed":false}}"#,
            true,
            Ok(&[Trickled::Completed]),
        );
        check(
            r#"{"candidates":[{"sdpMLineIndex":0,"candidate":"candidate:1"},{"sdpMid":7},{"completed":true}]}"#,
            true,
            Ok(&[line(), Trickled::Completed]),
        );
    }

    #[test]
    fn names_what_is_wrong() {
        check(
            "{}",
            true,
            Err("456 Missing mandatory element (candidate|candidates)"),
        );
        check(
            r#"{"candidate":null,"candidates":[]}"#,
            false,
            Err("454 Can't have both candidate and candidates"),
        );
        check(
            r#"{"candidate":{"candidate":"x"}}"#,
            true,
            Err("456 Trickle error: missing mandatory element (sdpMid or sdpMLineIndex)"),
        );
        check(
            r#"{"candidate":{"sdpMid":"0"}}"#,
            true,
            Err("456 Trickle error: missing mandatory element (candidate)"),
        );
        check(
            r#"{"candidate":{"sdpMid":5,"candidate":"x"}}"#,
            true,
            Err("467 Trickle error: invalid element type (sdpMid should be a string)"),
        );
        check(
            r#"{"candidates":5}"#,
            true,
            Err("467 candidates is not an array"),
        );
    }

    #[test]
    fn takes_anything_before_there_is_a_peer() {
        check(
            r#"{"candidate":{"sdpMid":5,"candidate":"x"}}"#,
            false,
            Ok(&[]),
        );
        check(r#"{"candidate":"x"}"#, false, Ok(&[Trickled::Completed]));
    }
}
