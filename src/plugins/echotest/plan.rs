//! What EchoTest answers to an offer: every line that it can echo, with one codec each.

use crate::media::TrackKind;
use crate::wire::sdp::{
    AnswerPlan, Codec, Direction, LinePlan, MediaDescription, MediaKind, MediaPlan, Msid,
    SessionDescription, SimulcastPlan, accepted_extensions, answer_feedback, answer_fmtp,
    extension, first_codec,
};

use super::settings::Settings;

/// A line that is echoed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Track {
    /// Its position in the session description.
    pub(super) line: usize,
    pub(super) kind: TrackKind,
    /// The codec's name in lower case.
    pub(super) codec: String,
}

const AUDIO_CODECS: [&str; 4] = ["opus", "pcmu", "pcma", "g722"];
const VIDEO_CODECS: [&str; 5] = ["vp8", "vp9", "h264", "av1", "h265"];

const EXTENSIONS: [&str; 11] = [
    extension::MID,
    extension::RID,
    extension::REPAIRED_RID,
    extension::AUDIO_LEVEL,
    extension::ORIENTATION,
    extension::PLAYOUT_DELAY,
    extension::TRANSPORT_CC,
    extension::DEPENDENCY_DESCRIPTOR,
    extension::ABS_SEND_TIME,
    extension::ABS_CAPTURE_TIME,
    extension::VIDEO_LAYERS_ALLOCATION,
];

/// The port that data channels use within DTLS (RFC 8841 §5).
const SCTP_PORT: u16 = 5000;

/// Decides on every line of an offer, and names those that send.
pub(super) fn echo(offer: &SessionDescription, settings: &Settings) -> (AnswerPlan, Vec<Track>) {
    let mut tracks = Vec::new();
    let lines = offer
        .media
        .iter()
        .enumerate()
        .map(|(line, media)| {
            let Some((kind, codec)) = choose(media, settings) else {
                return without_media(media);
            };
            let plan = media_plan(line, media, codec, settings);
            if plan.direction.receives() {
                tracks.push(Track {
                    line,
                    kind,
                    codec: codec.name.to_ascii_lowercase(),
                });
            }
            LinePlan::Media(Box::new(plan))
        })
        .collect();
    (AnswerPlan { name: None, lines }, tracks)
}

fn without_media(media: &MediaDescription) -> LinePlan {
    if media.is_data() && !media.is_rejected() {
        LinePlan::Application {
            sctp_port: SCTP_PORT,
            max_message_size: None,
        }
    } else {
        LinePlan::Rejected
    }
}

/// The codec of a line: the one that the client names, or the offer's first that is known here.
fn choose<'a>(media: &'a MediaDescription, settings: &Settings) -> Option<(TrackKind, &'a Codec)> {
    if media.is_rejected() || !media.is_rtp() {
        return None;
    }
    let (kind, known, forced) = match media.kind {
        MediaKind::Audio => (
            TrackKind::Audio,
            &AUDIO_CODECS[..],
            settings.audio_codec.as_deref(),
        ),
        MediaKind::Video => (
            TrackKind::Video,
            &VIDEO_CODECS[..],
            settings.video_codec.as_deref(),
        ),
        MediaKind::Application | MediaKind::Other(_) => return None,
    };
    let forced = forced
        .and_then(|name| known.iter().find(|known| known.eq_ignore_ascii_case(name)))
        .and_then(|&name| with_profile(media, name, settings.video_profile.as_deref()));
    forced
        .or_else(|| first_codec(media, known))
        .map(|codec| (kind, codec))
}

fn with_profile<'a>(
    media: &'a MediaDescription,
    name: &str,
    profile: Option<&str>,
) -> Option<&'a Codec> {
    let fits = |codec: &&Codec| {
        let Some(profile) = profile else { return true };
        ["profile-level-id", "profile-id"].iter().any(|parameter| {
            codec
                .parameter(parameter)
                .is_some_and(|value| value.eq_ignore_ascii_case(profile))
        })
    };
    media
        .codecs
        .iter()
        .filter(|codec| codec.is(name))
        .find(fits)
}

fn media_plan(
    line: usize,
    media: &MediaDescription,
    codec: &Codec,
    settings: &Settings,
) -> MediaPlan {
    let extensions = accepted_extensions(media, &EXTENSIONS);
    // There is nothing to echo to a client that sends nothing.
    let direction = match media.direction.reversed() {
        Direction::SendOnly => Direction::Inactive,
        direction @ (Direction::Inactive | Direction::RecvOnly | Direction::SendRecv) => direction,
    };
    MediaPlan {
        pt: codec.pt,
        red: settings.opus_red.then(|| media.red_of(codec.pt)).flatten(),
        fmtp: answer_fmtp(codec),
        feedback: answer_feedback(media, codec, &extensions),
        direction,
        extensions,
        bandwidth: Vec::new(),
        msid: Some(msid(line, media)),
        ssrc: None,
        rtx_ssrc: None,
        simulcast: SimulcastPlan::Accept,
    }
}

/// Names what comes back, so that a browser puts its tracks into one stream.
fn msid(line: usize, media: &MediaDescription) -> Msid {
    let mid = media.mid.clone().unwrap_or_else(|| line.to_string());
    Msid {
        stream: "janus".to_owned(),
        track: Some(format!("janus{mid}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn tracks_of_an_answer_belong_to_one_stream() {
        let offer = include_str!("../../../tests/fixtures/sdp/offers/chrome.sdp");
        let offer = SessionDescription::parse(offer).unwrap();
        let settings = Settings::read(&Map::<String, Value>::new(), true).unwrap();

        let (plan, _) = echo(&offer, &settings);

        let names = plan.lines.iter().map(|line| match line {
            LinePlan::Media(plan) => plan.msid.as_ref().map(|msid| {
                let track = msid.track.as_deref().unwrap_or_default();
                format!("{} {track}", msid.stream)
            }),
            LinePlan::Application { .. } | LinePlan::Rejected => None,
        });
        let names: Vec<_> = names.map(Option::unwrap).collect();
        assert_eq!(names, ["janus janus0", "janus janus1"]);
    }
}
