//! What a publisher's offer is answered with: every line in one codec that the room takes.

use crate::base::id::PeerId;
use crate::media::LineRef;
use crate::plugins::videoroom::options::RoomOptions;
use crate::plugins::videoroom::stream::{StreamInfo, StreamKind};
use crate::wire::sdp::{
    AnswerPlan, Codec, Direction, LinePlan, MediaDescription, MediaKind, MediaPlan, Msid, RidOrder,
    SessionDescription, SimulcastPlan, accepted_extensions, answer_feedback, extension,
    simulcast_layers,
};

/// The port that data channels use within DTLS (RFC 8841 section 5).
const SCTP_PORT: u16 = 5000;

/// The codecs that a publisher wants to be held to.
#[derive(Clone, Debug, Default)]
pub(super) struct Forced {
    pub(super) audio: Option<Box<str>>,
    pub(super) video: Option<Box<str>>,
}

/// How a publisher wants its offer to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublishWish<'a> {
    pub(super) forced: &'a Forced,
    pub(super) rid_order: RidOrder,
    /// Sections whose layers are in one stream.
    pub(super) svc: &'a [usize],
}

/// Decides on every line of an offer, and names the streams that it makes. Their peer is not known
/// yet; [`locate`] puts it in.
pub(super) fn publication(
    offer: &SessionDescription,
    room: &RoomOptions,
    name: &str,
    wish: &PublishWish<'_>,
    described: impl Fn(&str) -> Option<Box<str>>,
) -> (AnswerPlan, Vec<StreamInfo>) {
    let mut streams = Vec::new();
    let lines = offer.media.iter().enumerate().map(|(index, media)| {
        let mid = media.mid.clone().unwrap_or_default();
        let Some(kind) = kind_of(media) else {
            return LinePlan::Rejected;
        };
        let line = LineRef {
            peer: PeerId(0),
            line: index,
        };
        let described = described(&mid);
        let mut stream = StreamInfo::new(kind, index, mid.into(), line);
        stream.description = described;
        let plan = match kind {
            StreamKind::Data => LinePlan::Application {
                sctp_port: SCTP_PORT,
                max_message_size: None,
            },
            StreamKind::Audio | StreamKind::Video => match choose(media, kind, room, wish.forced) {
                Some(choice) => {
                    let plan = media_plan(media, choice, room, wish.rid_order, &mut stream);
                    let is_named = wish.svc.contains(&index);
                    stream.is_svc = is_named && has_layers(&stream.codec) && !stream.is_simulcast;
                    LinePlan::Media(Box::new(plan))
                }
                None => {
                    stream.is_disabled = true;
                    // As in Janus, which refuses video only.
                    let plan = idle_plan(media).filter(|_| kind == StreamKind::Audio);
                    plan.map_or(LinePlan::Rejected, |plan| LinePlan::Media(Box::new(plan)))
                }
            },
        };
        streams.push(stream);
        plan
    });
    let lines = lines.collect();
    let name = Some(name.to_owned());
    (AnswerPlan { name, lines }, streams)
}

/// Whether one stream of a codec may have spatial layers.
pub(super) fn has_layers(codec: &str) -> bool {
    matches!(codec, "av1" | "vp9")
}

/// Notes which peer the streams come from.
pub(super) fn locate(streams: &mut [StreamInfo], peer: PeerId) {
    for stream in streams {
        stream.line.peer = peer;
    }
}

fn kind_of(media: &MediaDescription) -> Option<StreamKind> {
    if media.is_rejected() {
        return None;
    }
    match media.kind {
        MediaKind::Audio if media.is_rtp() => Some(StreamKind::Audio),
        MediaKind::Video if media.is_rtp() => Some(StreamKind::Video),
        MediaKind::Application if media.is_data() => Some(StreamKind::Data),
        MediaKind::Application | MediaKind::Audio | MediaKind::Other(_) | MediaKind::Video => None,
    }
}

/// What a line is taken with.
#[derive(Clone, Copy)]
struct Choice<'a> {
    codec: &'a Codec,
    /// The payload type of redundant audio.
    red: Option<u8>,
}

/// The name that rooms have for a codec.
fn codec_name(codec: &Codec) -> String {
    match (codec.name.to_ascii_lowercase(), codec.clock_rate) {
        (name, 48_000) if name == "l16" => "l16-48".to_owned(),
        (name, _) => name,
    }
}

/// The codec of a line: the one the publisher names, or the first of the room's that it offers.
fn choose<'a>(
    media: &'a MediaDescription,
    kind: StreamKind,
    room: &RoomOptions,
    forced: &Forced,
) -> Option<Choice<'a>> {
    let (list, forced) = match kind {
        StreamKind::Audio => (&room.audio_codecs, &forced.audio),
        StreamKind::Data => return None,
        StreamKind::Video => (&room.video_codecs, &forced.video),
    };
    let names: Vec<&str> = match forced {
        Some(name) => vec![name],
        None => list.iter().map(String::as_str).collect(),
    };
    names.iter().find_map(|name| {
        let profile = match *name {
            "vp9" => ("profile-id", &room.vp9_profile),
            "h264" => ("profile-level-id", &room.h264_profile),
            _ => ("", &None),
        };
        let rate = match *name {
            "l16" => Some(16_000),
            "l16-48" => Some(48_000),
            _ => None,
        };
        let (name, wants_red) = match *name {
            "l16-48" => ("l16", false),
            // Redundant audio is Opus, with copies where both sides know how.
            "red" => ("opus", true),
            name => (name, false),
        };
        let offered = || {
            let codecs = media.codecs.iter().filter(|codec| codec.is(name));
            codecs
                .filter(|codec| rate.is_none_or(|rate| codec.clock_rate == rate))
                .filter(|codec| !wants_red || media.red_of(codec.pt).is_some())
                .map(|codec| Choice {
                    codec,
                    red: wants_red.then(|| media.red_of(codec.pt)).flatten(),
                })
        };
        let fits = |choice: &Choice<'_>| match profile {
            (parameter, Some(profile)) => choice
                .codec
                .parameter(parameter)
                .is_some_and(|value| value.eq_ignore_ascii_case(profile)),
            (_, None) => false,
        };
        offered().find(fits).or_else(|| offered().next())
    })
}

fn media_plan(
    media: &MediaDescription,
    Choice { codec, red }: Choice<'_>,
    room: &RoomOptions,
    rid_order: RidOrder,
    stream: &mut StreamInfo,
) -> MediaPlan {
    let extensions = accepted_extensions(media, &wanted_extensions(stream.kind, room));
    let accepted = |uri| {
        let id = media.extension_id(uri)?;
        extensions.contains(&id).then_some(id)
    };
    let is_sending = media.direction.sends();
    stream.codec = codec_name(codec).into();
    stream.has_red = red.is_some();
    stream.is_disabled = !is_sending;
    stream.is_simulcast = simulcast_layers(media, rid_order).len() > 1;
    stream.audiolevel_ext_id = accepted(extension::AUDIO_LEVEL);
    stream.videoorient_ext_id = accepted(extension::ORIENTATION);
    stream.playoutdelay_ext_id = accepted(extension::PLAYOUT_DELAY);
    if has_layers(&stream.codec) {
        stream.dependencydesc_ext_id = accepted(extension::DEPENDENCY_DESCRIPTOR);
    }
    let fmtp = if codec.is("opus") {
        let is_on = |name| codec.parameter(name) == Some("1");
        stream.has_fec = room.opus_fec && is_on("useinbandfec");
        stream.has_dtx = room.opus_dtx && is_on("usedtx");
        stream.is_stereo = is_on("stereo");
        let parameters = [
            ("useinbandfec=1", stream.has_fec),
            ("usedtx=1", stream.has_dtx),
            ("stereo=1", stream.is_stereo),
        ];
        let taken = parameters.iter().filter(|(_, is_taken)| *is_taken);
        let taken: Vec<&str> = taken.map(|(parameter, _)| *parameter).collect();
        (!taken.is_empty()).then(|| taken.join(";"))
    } else {
        let profile = |name| codec.parameter(name).map(Box::from);
        match &*stream.codec {
            "h264" => stream.h264_profile = profile("profile-level-id"),
            "vp9" => stream.vp9_profile = profile("profile-id"),
            _ => {}
        }
        codec.fmtp.clone()
    };
    stream.fmtp = fmtp.as_deref().map(Box::from);
    MediaPlan {
        pt: codec.pt,
        red,
        fmtp,
        feedback: answer_feedback(media, codec, &extensions),
        direction: if is_sending {
            Direction::RecvOnly
        } else {
            Direction::Inactive
        },
        extensions,
        bandwidth: Vec::new(),
        // Nothing is sent under these names; clients of Janus have them in their answers.
        msid: Some(Msid {
            stream: "janus".to_owned(),
            track: Some(format!("janus{}", stream.mid)),
        }),
        ssrc: None,
        rtx_ssrc: None,
        simulcast: SimulcastPlan::Accept,
    }
}

/// Takes a line in no codec of the room: nothing is sent on it, and unlike one that is refused it can
/// be taken later. Its number is one that was offered; Janus answers with 0, which may not be.
fn idle_plan(media: &MediaDescription) -> Option<MediaPlan> {
    Some(MediaPlan {
        pt: media.codecs.iter().find(|codec| !codec.is("rtx"))?.pt,
        red: None,
        fmtp: None,
        feedback: Vec::new(),
        direction: Direction::Inactive,
        extensions: accepted_extensions(media, &[extension::MID]),
        bandwidth: Vec::new(),
        msid: None,
        ssrc: None,
        rtx_ssrc: None,
        simulcast: SimulcastPlan::Ignore,
    })
}

fn wanted_extensions(kind: StreamKind, room: &RoomOptions) -> Vec<&'static str> {
    let mut wanted = vec![extension::MID, extension::RID, extension::REPAIRED_RID];
    if room.transport_wide_cc_ext {
        wanted.push(extension::TRANSPORT_CC);
    }
    match kind {
        StreamKind::Audio => {
            if room.audiolevel_ext {
                wanted.push(extension::AUDIO_LEVEL);
            }
        }
        StreamKind::Data => {}
        StreamKind::Video => {
            wanted.push(extension::DEPENDENCY_DESCRIPTOR);
            if room.videoorient_ext {
                wanted.push(extension::ORIENTATION);
            }
            if room.playoutdelay_ext {
                wanted.push(extension::PLAYOUT_DELAY);
            }
        }
    }
    wanted
}
