//! The `jsep` member of a message.

use serde_json::{Map, Value};

use crate::base::error::{ApiError, ErrorCode};
use crate::base::limits::Limits;
use crate::gateway::plugin::{Jsep, JsepKind};
use crate::media::OfferOptions;
use crate::wire::sdp::{RidOrder, SdpError, SessionDescription};

/// Reads a `jsep` member.
///
/// # Errors
///
/// 455, 456, 464, 465 and 467, with the texts of Janus.
pub(super) fn parse(value: &Value, limits: &Limits) -> Result<Jsep, ApiError> {
    let Value::Object(object) = value else {
        return Err(ApiError::new(
            ErrorCode::InvalidJsonObject,
            "Invalid jsep object",
        ));
    };
    let word = need_text(object, "type")?;
    may(object, "trickle", "a boolean", Value::is_boolean)?;
    may(object, "rid_order", "a string", Value::is_string)?;
    may(object, "force_relay", "a boolean", Value::is_boolean)?;
    may(object, "e2ee", "a boolean", Value::is_boolean)?;
    let kind = if word.eq_ignore_ascii_case("offer") {
        JsepKind::Offer
    } else if word.eq_ignore_ascii_case("answer") {
        JsepKind::Answer
    } else {
        return Err(ApiError::new(
            ErrorCode::JsepUnknownType,
            format!("JSEP error: unknown message type '{word}'"),
        ));
    };
    let text = need_text(object, "sdp")?;
    let invalid = |fault: SdpError| ApiError::new(ErrorCode::JsepInvalidSdp, fault.to_string());
    let mut sdp = SessionDescription::parse_within(text, limits).map_err(invalid)?;
    if kind == JsepKind::Offer {
        sdp.normalise().map_err(invalid)?;
    }
    let flag = |name: &str| object.get(name).and_then(Value::as_bool);
    let rid_order = object
        .get("rid_order")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Jsep {
        kind,
        sdp,
        options: OfferOptions {
            rid_order: RidOrder::parse(rid_order),
            ..OfferOptions::default()
        },
        is_trickling: flag("trickle").unwrap_or(true),
        e2ee: flag("e2ee").unwrap_or(false),
        svc: object.get("svc").map(layered).unwrap_or_default(),
    })
}

/// The sections that `svc` lists. As in Janus, items that say nothing of use are passed over.
fn layered(svc: &Value) -> Vec<usize> {
    let sections = svc.as_array().into_iter().flatten().filter_map(|item| {
        item.get("svc")?.as_str()?;
        usize::try_from(item.get("mindex")?.as_u64()?).ok()
    });
    sections.collect()
}

fn need_text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, ApiError> {
    match object.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(bad_type(name, "a string")),
        None => Err(ApiError::new(
            ErrorCode::MissingMandatoryElement,
            format!("JSEP error: missing mandatory element ({name})"),
        )),
    }
}

fn may(
    object: &Map<String, Value>,
    name: &str,
    kind: &str,
    is_right: fn(&Value) -> bool,
) -> Result<(), ApiError> {
    match object.get(name) {
        Some(value) if !is_right(value) => Err(bad_type(name, kind)),
        Some(_) | None => Ok(()),
    }
}

fn bad_type(name: &str, kind: &str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidElementType,
        format!("JSEP error: invalid element type ({name} should be {kind})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let fault = parse(&value, &Limits::default()).expect_err("this is no good jsep");
        assert_eq!(fault.to_string(), expected);
    }

    #[test]
    fn names_what_is_wrong() {
        check("null", "455 Invalid jsep object");
        check("[]", "455 Invalid jsep object");
        check(
            r#"{"sdp":"v=0"}"#,
            "456 JSEP error: missing mandatory element (type)",
        );
        check(
            r#"{"type":"offer"}"#,
            "456 JSEP error: missing mandatory element (sdp)",
        );
        check(
            r#"{"type":5,"sdp":"v=0"}"#,
            "467 JSEP error: invalid element type (type should be a string)",
        );
        check(
            r#"{"type":"offer","sdp":"v=0","trickle":1}"#,
            "467 JSEP error: invalid element type (trickle should be a boolean)",
        );
        check(
            r#"{"type":"pranswer","sdp":"v=0"}"#,
            "464 JSEP error: unknown message type 'pranswer'",
        );
        check(
            r#"{"type":"offer","sdp":"x"}"#,
            "465 Invalid SDP (doesn't start with v=)",
        );
    }
}
