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
