//! Questions that plugins ask about an offer before they decide what to answer.

use super::{Codec, MediaDescription, MediaKind, SessionDescription, extension};

/// Returns the first codec of a section, in the offer's order, that is among the supported ones.
pub fn first_codec<'a>(media: &'a MediaDescription, supported: &[&str]) -> Option<&'a Codec> {
    let is_supported = |codec: &&Codec| supported.iter().any(|name| codec.is(name));
    media
        .codecs
        .iter()
        .filter(|codec| codec.is_primary())
        .find(is_supported)
}

/// Returns the codec of a section that comes first in a list of preferences.
///
/// Of several payload types with that codec, H.264 profiles for one, it is the offer's first.
pub fn codec_by_preference<'a>(
    media: &'a MediaDescription,
    preferences: &[&str],
) -> Option<&'a Codec> {
    let offered = |name: &&str| media.codecs.iter().find(|codec| codec.is(name));
    preferences.iter().find_map(offered)
}

/// Returns the identifiers of the offered extensions that are supported, in the offer's order.
pub fn accepted_extensions(media: &MediaDescription, supported: &[&str]) -> Vec<u8> {
    let accepted = media
        .extensions
        .iter()
        .filter(|each| supported.contains(&each.uri.as_str()));
    accepted.map(|each| each.id).collect()
}

/// Returns the RTCP feedback messages to answer with, once the extensions are chosen.
///
/// Video gets the messages that Janus writes, offered or not; congestion feedback needs its
/// extension, and for audio the offer as well.
pub fn answer_feedback(media: &MediaDescription, codec: &Codec, extensions: &[u8]) -> Vec<String> {
    const TRANSPORT_CC: &str = "transport-cc";
    const VIDEO: [&str; 4] = ["ccm fir", "nack", "nack pli", "goog-remb"];
    let has_numbers = media
        .extension_id(extension::TRANSPORT_CC)
        .is_some_and(|id| extensions.contains(&id));
    let offers_feedback = codec.feedback.iter().any(|each| each == TRANSPORT_CC);
    let (always, with_numbers) = match media.kind {
        MediaKind::Video => (VIDEO.as_slice(), has_numbers),
        MediaKind::Audio => ([].as_slice(), has_numbers && offers_feedback),
        MediaKind::Application | MediaKind::Other(_) => ([].as_slice(), false),
    };
    let messages = always
        .iter()
        .copied()
        .chain(with_numbers.then_some(TRANSPORT_CC));
    messages.map(str::to_owned).collect()
}

/// Returns the format parameters to answer with: those of the offer, and for Opus only the ones that
/// tell the sender what we take.
pub fn answer_fmtp(codec: &Codec) -> Option<String> {
    const OPUS: [&str; 3] = ["useinbandfec", "usedtx", "stereo"];
    if !codec.is("opus") {
        return codec.fmtp.clone();
    }
    let is_on = |name: &&&str| codec.parameter(name) == Some("1");
    let taken: Vec<String> = OPUS
        .iter()
        .filter(is_on)
        .map(|name| format!("{name}=1"))
        .collect();
    (!taken.is_empty()).then(|| taken.join(";"))
}

/// Tells whether a new description of a peer restarts ICE: its credentials are not those of the
/// description before.
pub fn is_ice_restart(before: &SessionDescription, after: &SessionDescription) -> bool {
    let credentials = |of: &SessionDescription| {
        let ice = of.transport_media().and_then(|media| of.ice_of(media));
        ice.cloned()
    };
    credentials(before) != credentials(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_chosen_by_the_order_of_the_offer_or_of_the_preferences() {
        let offer = offer();
        let pt = |codec: Option<&Codec>| codec.map(|codec| codec.pt);
        let video = &offer.media[1];
        assert_eq!(pt(first_codec(video, &["vp9", "h264", "vp8"])), Some(96));
        assert_eq!(pt(first_codec(video, &["h264", "vp9"])), Some(102));
        assert_eq!(pt(first_codec(video, &["rtx", "red"])), None);
        assert_eq!(pt(first_codec(video, &["h265"])), None);
        assert_eq!(
            pt(codec_by_preference(video, &["h265", "vp9", "vp8"])),
            Some(98)
        );
        assert_eq!(pt(codec_by_preference(video, &[])), None);
        assert_eq!(pt(codec_by_preference(&offer.media[0], &["pcma"])), Some(8));
    }

    #[test]
    fn extensions_keep_the_order_of_the_offer() {
        let video = &offer().media[1];
        let supported = [extension::RID, extension::MID, extension::AUDIO_LEVEL];
        assert_eq!(accepted_extensions(video, &supported), [4, 10]);
    }

    #[test]
    fn congestion_feedback_needs_its_extension() {
        let offer = offer();
        let (audio, video) = (&offer.media[0], &offer.media[1]);
        let (opus, vp8) = (&audio.codecs[0], &video.codecs[0]);
        let always = ["ccm fir", "nack", "nack pli", "goog-remb"];
        assert_eq!(answer_feedback(video, vp8, &[4]), always);
        assert_eq!(answer_feedback(video, vp8, &[4, 3])[..4], always);
        assert_eq!(answer_feedback(video, vp8, &[4, 3])[4..], ["transport-cc"]);
        assert_eq!(answer_feedback(audio, opus, &[3]), ["transport-cc"]);
        assert_eq!(answer_feedback(audio, opus, &[1]), [""; 0]);
        let silent = Codec {
            feedback: vec![],
            ..opus.clone()
        };
        assert_eq!(answer_feedback(audio, &silent, &[3]), [""; 0]);
    }

    #[test]
    fn opus_parameters_are_those_that_tell_the_sender_something() {
        let check = |fmtp: Option<&str>, expected: Option<&str>| {
            let codec = Codec {
                pt: 111,
                name: "Opus".to_owned(),
                clock_rate: 48_000,
                channels: Some(2),
                fmtp: fmtp.map(str::to_owned),
                feedback: vec![],
            };
            assert_eq!(answer_fmtp(&codec).as_deref(), expected);
            let other = Codec {
                name: "VP9".to_owned(),
                ..codec
            };
            assert_eq!(answer_fmtp(&other).as_deref(), fmtp);
        };
        check(None, None);
        check(Some("minptime=10;useinbandfec=1"), Some("useinbandfec=1"));
        check(
            Some("stereo=1; UseInbandFEC=1 ;usedtx=1"),
            Some("useinbandfec=1;usedtx=1;stereo=1"),
        );
        check(Some("useinbandfec=0;stereo=0"), None);
    }

    #[test]
    fn new_credentials_restart_ice() {
        let before = offer();
        let text = before.to_string();
        let check = |text: &str, expected: bool| {
            let after = SessionDescription::parse(text).unwrap();
            assert_eq!(is_ice_restart(&before, &after), expected);
        };
        check(&text, false);
        check(&text.replace("sendrecv", "inactive"), false);
        check(&text.replace("ufrag:fxAb", "ufrag:fxAc"), true);
        check(&text.replace("pwd:fixture", "pwd:another"), true);
    }

    fn offer() -> SessionDescription {
        let text = include_str!("../../../tests/fixtures/sdp/offers/chrome.sdp");
        SessionDescription::parse(text).unwrap()
    }
}
