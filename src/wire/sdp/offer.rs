//! Offers of ours: what a plugin wants to send, and the description that comes of it.
//!
//! Payload types and identifiers of extensions are fixed, because those who have an offer of Janus
//! once know them: clients compare them, and a peer's state is built before all its sections are
//! known.

use super::answer::{begin_section, cname, trickle_option};
use super::{
    Codec, Direction, Extension, LocalTransport, MediaDescription, MediaKind, Msid, Origin,
    SessionDescription, Ssrc, SsrcGroup, extension,
};

/// What to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferPlan {
    /// The session name.
    pub name: String,
    /// The session id in the origin: digits.
    pub session_id: String,
    /// The version in the origin.
    pub version: u64,
    /// The media sections, in order. Sections are never taken out, only made inactive.
    pub lines: Vec<OfferLine>,
}

/// One media section to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferLine {
    /// Data channels.
    Application {
        /// The identification.
        mid: String,
        /// The local port of the SCTP association.
        sctp_port: u16,
    },
    /// Audio or video, which is sent and not received.
    Media(Box<OfferMedia>),
}

/// An audio or video section to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferMedia {
    /// The identification.
    pub mid: String,
    /// The codec, one of [`offered_codec`], with its parameters and feedback messages.
    pub codec: Codec,
    /// Whether redundant audio is offered, too, and preferred.
    pub has_red: bool,
    /// Whether it is video.
    pub is_video: bool,
    /// Whether something is sent.
    pub is_active: bool,
    /// URIs of the header extensions, of those that have a number of ours.
    pub extensions: Vec<&'static str>,
    /// The stream and track.
    pub msid: Option<Msid>,
    /// The source, and that of its retransmissions. Media fills them in.
    pub ssrc: u32,
    /// See `ssrc`.
    pub rtx_ssrc: u32,
}

/// A codec that is offered under a payload type of ours.
struct Known {
    name: &'static str,
    pt: u8,
    rtx: Option<u8>,
    written: &'static str,
    clock_rate: u32,
    channels: Option<u8>,
    is_video: bool,
}

const fn audio(
    name: &'static str,
    pt: u8,
    written: &'static str,
    clock_rate: u32,
    channels: Option<u8>,
) -> Known {
    Known {
        name,
        pt,
        rtx: None,
        written,
        clock_rate,
        channels,
        is_video: false,
    }
}

const fn video(name: &'static str, pt: u8, rtx: u8, written: &'static str) -> Known {
    Known {
        name,
        pt,
        rtx: Some(rtx),
        written,
        clock_rate: 90_000,
        channels: None,
        is_video: true,
    }
}

/// The payload type that redundant audio is offered with.
pub const RED_PT: u8 = 120;

/// The payload types of Janus. Those of retransmissions are free numbers of ours.
const CODECS: [Known; 15] = [
    audio("opus", 111, "opus", 48_000, Some(2)),
    audio("isac32", 104, "ISAC", 32_000, None),
    audio("isac16", 103, "ISAC", 16_000, None),
    audio("pcmu", 0, "PCMU", 8_000, None),
    audio("pcma", 8, "PCMA", 8_000, None),
    audio("g722", 9, "G722", 8_000, None),
    audio("red", RED_PT, "red", 48_000, Some(2)),
    audio("l16-48", 105, "L16", 48_000, None),
    audio("l16", 106, "L16", 16_000, None),
    audio("multiopus", 112, "multiopus", 48_000, Some(6)),
    video("vp8", 96, 97, "VP8"),
    video("vp9", 101, 102, "VP9"),
    video("h264", 107, 108, "H264"),
    video("av1", 98, 99, "AV1"),
    video("h265", 100, 110, "H265"),
];

/// The identifiers of Janus, which offers no dependency descriptors.
const EXTENSIONS: [(u8, &str); 8] = [
    (1, extension::AUDIO_LEVEL),
    (2, extension::ABS_SEND_TIME),
    (3, extension::TRANSPORT_CC),
    (4, extension::MID),
    (7, extension::ABS_CAPTURE_TIME),
    (9, extension::DEPENDENCY_DESCRIPTOR),
    (12, extension::PLAYOUT_DELAY),
    (13, extension::ORIENTATION),
];

/// Returns a codec under the payload type that it is offered with, by its name in lower case, with
/// the feedback messages that are always offered.
pub fn offered_codec(name: &str) -> Option<Codec> {
    let known = CODECS.iter().find(|known| known.name == name)?;
    let feedback: &[&str] = if known.is_video {
        &["ccm fir", "nack", "nack pli", "goog-remb"]
    } else {
        &[]
    };
    Some(Codec {
        pt: known.pt,
        name: known.written.to_owned(),
        clock_rate: known.clock_rate,
        channels: known.channels,
        fmtp: None,
        feedback: feedback.iter().map(|each| (*each).to_owned()).collect(),
    })
}

/// Returns the payload type of the retransmissions of a payload type of ours.
pub fn offered_rtx(pt: u8) -> Option<u8> {
    CODECS.iter().find(|known| known.pt == pt)?.rtx
}

/// Returns all that any offer of ours may hold: a section for audio and one for video.
pub fn all_offered() -> [MediaDescription; 2] {
    [MediaKind::Audio, MediaKind::Video].map(|kind| {
        let is_video = kind == MediaKind::Video;
        let mut media = MediaDescription::new(kind, DISCARD_PORT, PROTOCOL);
        for known in CODECS.iter().filter(|known| known.is_video == is_video) {
            let codec = offered_codec(known.name).expect("it is in the table");
            push_codec(&mut media, &codec);
        }
        media.extensions = EXTENSIONS
            .iter()
            .map(|(id, uri)| numbered(*id, uri))
            .collect();
        media
    })
}

/// Makes an offer.
pub fn build_offer(plan: &OfferPlan, transport: &LocalTransport) -> SessionDescription {
    let media: Vec<MediaDescription> = plan
        .lines
        .iter()
        .map(|line| {
            let mut section = match line {
                OfferLine::Application { mid, sctp_port } => data_section(mid, *sctp_port),
                OfferLine::Media(media) => media_section(media),
            };
            begin_section(&mut section, transport);
            section
        })
        .collect();
    SessionDescription {
        origin: Origin {
            username: "-".to_owned(),
            session_id: plan.session_id.clone(),
            version: plan.version.to_string(),
            address: transport.address.clone(),
        },
        name: plan.name.clone(),
        connection: None,
        bandwidth: Vec::new(),
        bundle: media.iter().filter_map(|each| each.mid.clone()).collect(),
        ice_lite: transport.ice_lite,
        ice_options: trickle_option(),
        ice: None,
        fingerprints: vec![transport.fingerprint.clone()],
        setup: None,
        extmap_allow_mixed: true,
        msid_semantic: Some("WMS *".to_owned()),
        attributes: Vec::new(),
        media,
    }
}

/// Nothing is known to listen there; checks start from the candidates (RFC 8840 section 4.1.1).
const DISCARD_PORT: u16 = 9;
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

fn data_section(mid: &str, sctp_port: u16) -> MediaDescription {
    let mut section = MediaDescription::new(MediaKind::Application, DISCARD_PORT, "UDP/DTLS/SCTP");
    section.mid = Some(mid.to_owned());
    section.formats.push("webrtc-datachannel".to_owned());
    section.sctp_port = Some(sctp_port);
    section.direction = Direction::SendOnly;
    section
}

fn media_section(media: &OfferMedia) -> MediaDescription {
    let kind = if media.is_video {
        MediaKind::Video
    } else {
        MediaKind::Audio
    };
    let mut section = MediaDescription::new(kind, DISCARD_PORT, PROTOCOL);
    section.mid = Some(media.mid.clone());
    section.rtcp_mux = true;
    section.extensions = media.extensions().collect();
    if media.has_red {
        let mut red = offered_codec("red").expect("it is in the table");
        red.fmtp = Some(format!("{0}/{0}", media.codec.pt));
        section.codecs.push(red);
    }
    push_codec(&mut section, &media.codec);
    section.direction = if media.is_active {
        Direction::SendOnly
    } else {
        Direction::Inactive
    };
    if !media.is_active {
        return section;
    }
    section.msid.clone_from(&media.msid);
    let mut ssrcs = vec![media.ssrc];
    if offered_rtx(media.codec.pt).is_some() {
        ssrcs.push(media.rtx_ssrc);
        section.ssrc_groups.push(SsrcGroup {
            semantics: "FID".to_owned(),
            ssrcs: ssrcs.clone(),
        });
    }
    let source = |id| Ssrc {
        id,
        cname: cname(),
        msid: None,
    };
    section.ssrcs = ssrcs.into_iter().map(source).collect();
    section
}

impl OfferMedia {
    /// Returns the header extensions with their identifiers.
    pub fn extensions(&self) -> impl Iterator<Item = Extension> + '_ {
        let wanted = EXTENSIONS
            .iter()
            .filter(|(_, uri)| self.extensions.contains(uri));
        wanted.map(|(id, uri)| numbered(*id, uri))
    }
}

fn push_codec(section: &mut MediaDescription, codec: &Codec) {
    section.codecs.push(codec.clone());
    if let Some(rtx) = offered_rtx(codec.pt) {
        section.codecs.push(Codec {
            pt: rtx,
            name: "rtx".to_owned(),
            clock_rate: codec.clock_rate,
            channels: None,
            fmtp: Some(format!("apt={}", codec.pt)),
            feedback: Vec::new(),
        });
    }
}

fn numbered(id: u8, uri: &str) -> Extension {
    Extension {
        id,
        uri: uri.to_owned(),
        direction: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sdp::{Fingerprint, IceParameters, Setup, Trickle};

    fn transport() -> LocalTransport {
        LocalTransport {
            address: "192.0.2.1".to_owned(),
            ice: IceParameters {
                ufrag: "ufrag".to_owned(),
                pwd: "a password of 24 letters".replace(' ', "_"),
            },
            ice_lite: false,
            fingerprint: Fingerprint {
                hash: "sha-256".to_owned(),
                bytes: vec![7; 32],
            },
            setup: Setup::Actpass,
            candidates: Vec::new(),
            trickle: Trickle::Half,
        }
    }

    fn video_line(is_active: bool) -> OfferLine {
        OfferLine::Media(Box::new(OfferMedia {
            has_red: false,
            mid: "1".to_owned(),
            codec: offered_codec("vp8").unwrap(),
            is_video: true,
            is_active,
            extensions: vec![extension::MID, extension::TRANSPORT_CC],
            msid: Some(Msid {
                stream: "janus".to_owned(),
                track: Some("janus1".to_owned()),
            }),
            ssrc: 11,
            rtx_ssrc: 12,
        }))
    }

    fn offer(lines: Vec<OfferLine>) -> SessionDescription {
        let plan = OfferPlan {
            name: "VideoRoom 5".to_owned(),
            session_id: "1".to_owned(),
            version: 3,
            lines,
        };
        build_offer(&plan, &transport())
    }

    #[test]
    fn an_offer_reads_back_as_it_was_written() {
        let data = OfferLine::Application {
            mid: "2".to_owned(),
            sctp_port: 5000,
        };
        let offer = offer(vec![video_line(true), data]);
        let text = offer.to_string();
        assert_eq!(SessionDescription::parse(&text).unwrap(), offer);
        for line in [
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n",
            "a=group:BUNDLE 1 2\r\n",
            "a=sendonly\r\n",
            "a=setup:actpass\r\n",
            "a=fmtp:97 apt=96\r\n",
            "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n",
            "a=ssrc-group:FID 11 12\r\n",
            "a=msid:janus janus1\r\n",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn an_inactive_section_has_codecs_but_no_sources() {
        let offer = offer(vec![video_line(false)]);
        let section = &offer.media[0];
        assert_eq!(section.direction, Direction::Inactive);
        assert_eq!(section.codecs.len(), 2);
        assert!(section.ssrcs.is_empty() && section.msid.is_none());
        assert_eq!(offer.bundle, ["1"]);
    }

    #[test]
    fn no_number_stands_for_two_things() {
        let [audio, video] = all_offered();
        let mut pts: Vec<u8> = audio.codecs.iter().map(|codec| codec.pt).collect();
        pts.extend(video.codecs.iter().map(|codec| codec.pt));
        let count = pts.len();
        pts.sort_unstable();
        pts.dedup();
        assert_eq!(pts.len(), count);
    }
}
