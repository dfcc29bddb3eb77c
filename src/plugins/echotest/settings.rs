//! The body of a message to EchoTest.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::base::json::Fields;
use crate::media::Enabled;

use super::Fault;

/// What a message sets. What is absent stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) audio: Option<Enabled>,
    pub(super) video: Option<Enabled>,
    /// In bit/s; zero is no limit.
    pub(super) bitrate: Option<u64>,
    pub(super) substream: Option<u8>,
    pub(super) temporal: Option<u8>,
    pub(super) fallback: Option<Duration>,
    pub(super) record: Option<bool>,
    pub(super) filename: Option<String>,
    pub(super) audio_codec: Option<String>,
    pub(super) video_codec: Option<String>,
    pub(super) video_profile: Option<String>,
    pub(super) opus_red: bool,
}

/// Members of which a message without an offer needs at least one.
const ATTRIBUTES: [&str; 14] = [
    "audio",
    "video",
    "videocodec",
    "videoprofile",
    "opusred",
    "bitrate",
    "substream",
    "temporal",
    "fallback",
    "spatial_layer",
    "temporal_layer",
    "record",
    "min_delay",
    "max_delay",
];

impl Settings {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 413, for a member of the wrong type or value, or when there is nothing to do.
    pub(super) fn read(body: &Map<String, Value>, has_offer: bool) -> Result<Self, Fault> {
        let fields = Fields::new(body);
        let settings = Self {
            audio: switch(&fields, "audio")?,
            video: switch(&fields, "video")?,
            bitrate: typed(fields.may_u64("bitrate"))?,
            substream: layer(&fields, "substream")?.or(layer(&fields, "spatial_layer")?),
            temporal: layer(&fields, "temporal")?.or(layer(&fields, "temporal_layer")?),
            fallback: typed(fields.may_u64("fallback"))?.map(Duration::from_micros),
            record: typed(fields.may_bool("record"))?,
            filename: typed(fields.may_str("filename"))?.map(str::to_owned),
            audio_codec: typed(fields.may_str("audiocodec"))?.map(str::to_owned),
            video_codec: typed(fields.may_str("videocodec"))?.map(str::to_owned),
            video_profile: typed(fields.may_str("videoprofile"))?.map(str::to_owned),
            opus_red: typed(fields.may_bool("opusred"))?.unwrap_or(false),
        };
        typed(fields.may_bool("svc"))?;
        typed(fields.may_i64("min_delay"))?;
        typed(fields.may_i64("max_delay"))?;
        let asks = ATTRIBUTES.iter().any(|name| body.contains_key(*name));
        if !asks && !has_offer {
            return Err(Fault::element(
                "Message error: no supported attributes found",
            ));
        }
        Ok(settings)
    }
}

fn typed<T>(read: Result<T, crate::base::error::ApiError>) -> Result<T, Fault> {
    read.map_err(|fault| Fault::element(fault.reason))
}

fn switch(fields: &Fields<'_>, name: &str) -> Result<Option<Enabled>, Fault> {
    let value = typed(fields.may_bool(name))?;
    Ok(value.map(|on| if on { Enabled::Yes } else { Enabled::No }))
}

fn layer(fields: &Fields<'_>, name: &str) -> Result<Option<u8>, Fault> {
    match typed(fields.may_u64(name))? {
        None => Ok(None),
        Some(value @ 0..=2) => Ok(Some(value as u8)),
        Some(_) => Err(Fault::element(format!(
            "Invalid value ({name} should be 0, 1 or 2)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, has_offer: bool, expected: Result<(), &str>) {
        let body: Value = serde_json::from_str(body).unwrap();
        let read = Settings::read(body.as_object().unwrap(), has_offer);
        assert_eq!(
            read.map(|_| ()).map_err(|fault| fault.text),
            expected.map_err(str::to_owned)
        );
    }

    #[test]
    fn a_message_must_ask_or_offer_something() {
        let nothing = Err("Message error: no supported attributes found");
        check("{}", false, nothing);
        check(r#"{"audiocodec":"opus"}"#, false, nothing);
        check("{}", true, Ok(()));
        check(r#"{"bitrate":0}"#, false, Ok(()));
    }

    #[test]
    fn members_of_the_wrong_type_are_named() {
        check(
            r#"{"audio":null}"#,
            false,
            Err("Invalid element type (audio should be a boolean)"),
        );
        check(
            r#"{"bitrate":-1}"#,
            false,
            Err("Invalid element type (bitrate should be a positive integer)"),
        );
        check(
            r#"{"filename":7,"audio":true}"#,
            false,
            Err("Invalid element type (filename should be a string)"),
        );
        check(
            r#"{"substream":3}"#,
            false,
            Err("Invalid value (substream should be 0, 1 or 2)"),
        );
    }
}
