//! What must be known when the WebRTC library's state for a peer is built, because it cannot be
//! changed later: payload types and extension identifiers.

use std::time::Duration;

use str0m::RtcConfig;
use str0m::format::{Codec, CodecConfig, CodecSpec, FormatParams, PayloadParams};
use str0m::media::Frequency;

use crate::base::limits::Limits;
use crate::media::peer_cert::{Certificate, Crypto};
use crate::media::peer_ext::{self, extension};
use crate::wire::sdp::{
    AnswerPlan, LinePlan, MediaDescription, MediaKind, SessionDescription, all_offered,
};

/// Which payload types and extension identifiers a peer's state was built with.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    extensions: Vec<(u8, String)>,
    payloads: Vec<Payload>,
}

/// A payload type, as far as RTP needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    pt: u8,
    rtx: Option<u8>,
    clock_rate: u32,
    is_video: bool,
}

impl Numbers {
    /// Collects the numbers of a first offer and its plan, and guesses those that a later offer
    /// may add: a section that is added to a call needs numbers that the first offer had no
    /// reason to name. A wrong guess costs values of that section, not its media.
    ///
    /// Times of sending are written beside the library, which has another clock for them.
    pub(crate) fn new(offer: &SessionDescription, plan: &AnswerPlan) -> Self {
        let mut numbers = Self::default();
        for (media, line) in offer.media.iter().zip(&plan.lines) {
            numbers.add_payloads(media);
            if let LinePlan::Media(plan) = line {
                for each in &media.extensions {
                    if plan.extensions.contains(&each.id) && each.uri != peer_ext::SEND_TIME {
                        numbers.add_extension(each.id, &each.uri);
                    }
                }
            }
        }
        numbers.guess(offer);
        numbers
    }

    /// Those of the offers that we make, which are always the same. Times of sending and numbers for
    /// transport-wide feedback are written beside the library.
    pub(crate) fn of_our_offers() -> Self {
        let mut numbers = Self::default();
        for media in all_offered() {
            numbers.add_payloads(&media);
            for each in &media.extensions {
                let is_of_hop =
                    [peer_ext::SEND_TIME, peer_ext::TRANSPORT_CC].contains(&each.uri.as_str());
                if !is_of_hop {
                    numbers.add_extension(each.id, &each.uri);
                }
            }
        }
        numbers
    }

    /// Whether an extension has this identifier here.
    pub(crate) fn has_extension(&self, id: u8, uri: &str) -> bool {
        self.extensions
            .iter()
            .any(|(each, name)| *each == id && name == uri)
    }

    /// Whether transport-wide feedback is part of it.
    pub(crate) fn has_transport_cc(&self) -> bool {
        self.extensions
            .iter()
            .any(|(_, uri)| uri == peer_ext::TRANSPORT_CC)
    }

    /// Takes out of a plan what was not known when the state was built. An answer that promised it
    /// would be a lie: a sender that relies on feedback which never comes slows down for good.
    pub(crate) fn restrict(&self, offer: &SessionDescription, plan: &mut AnswerPlan) {
        for (media, line) in offer.media.iter().zip(&mut plan.lines) {
            if let LinePlan::Media(plan) = line {
                plan.extensions.retain(|id| {
                    let offered = media.extensions.iter().find(|each| each.id == *id);
                    offered.is_some_and(|each| {
                        let is_foreign =
                            extension(&each.uri).is_none() || each.uri == peer_ext::SEND_TIME;
                        is_foreign || self.has_extension(*id, &each.uri)
                    })
                });
                let has_transport_cc = media.extensions.iter().any(|each| {
                    each.uri == peer_ext::TRANSPORT_CC && plan.extensions.contains(&each.id)
                });
                if !has_transport_cc {
                    plan.feedback.retain(|each| each != "transport-cc");
                }
            }
        }
    }

    fn add_payloads(&mut self, media: &MediaDescription) {
        let is_video = media.kind == MediaKind::Video;
        for codec in media.codecs.iter().filter(|codec| !codec.is("rtx")) {
            self.add_payload(Payload {
                pt: codec.pt,
                rtx: media.rtx_of(codec.pt),
                clock_rate: codec.clock_rate,
                is_video,
            });
        }
    }

    fn add_payload(&mut self, payload: Payload) {
        let is_free = |pt: u8| {
            let taken = |each: &Payload| each.pt == pt || each.rtx == Some(pt);
            !self.payloads.iter().any(taken)
        };
        if is_free(payload.pt) && payload.rtx.is_none_or(is_free) {
            self.payloads.push(payload);
        }
    }

    fn add_extension(&mut self, id: u8, uri: &str) {
        let taken = |each: &(u8, String)| each.0 == id || each.1 == uri;
        let is_usable = (1..=EXTENSION_ID_MAX).contains(&id) && extension(uri).is_some();
        if is_usable && !self.extensions.iter().any(taken) {
            self.extensions.push((id, uri.to_owned()));
        }
    }

    fn guess(&mut self, offer: &SessionDescription) {
        for (id, uri) in GUESSED_EXTENSIONS {
            self.add_extension(id, uri);
        }
        let opus = offer.media.iter().flat_map(|media| &media.codecs);
        let opus = opus.filter(|codec| codec.is("opus")).map(|codec| codec.pt);
        let habit = opus.into_iter().next().and_then(|pt| {
            let found = GUESSED_PAIRS.iter().find(|(opus, _)| *opus == pt);
            found.map(|(_, pairs)| *pairs)
        });
        for &(pt, rtx) in habit.unwrap_or_default() {
            self.add_payload(Payload {
                pt,
                rtx: Some(rtx),
                clock_rate: 90_000,
                is_video: true,
            });
        }
        for pt in [0, 8, 9] {
            self.add_payload(Payload {
                pt,
                rtx: None,
                clock_rate: 8_000,
                is_video: false,
            });
        }
        for pt in (35..=63).chain(96..=127) {
            self.add_payload(Payload {
                pt,
                rtx: None,
                clock_rate: 90_000,
                is_video: true,
            });
        }
    }

    fn codec_config(&self) -> CodecConfig {
        let params = self.payloads.iter().filter_map(Payload::params).collect();
        CodecConfig::new_from_payload_params(params)
    }
}

impl Payload {
    /// RTP mode asks a codec for nothing but its clock and kind, so any codec of the kind will do.
    fn params(&self) -> Option<PayloadParams> {
        let (codec, channels) = if self.is_video {
            (Codec::Vp8, None)
        } else {
            (Codec::Opus, Some(2))
        };
        let spec = CodecSpec {
            codec,
            clock_rate: Frequency::new(self.clock_rate)?,
            channels,
            format: FormatParams::default(),
        };
        Some(PayloadParams::new(
            self.pt.into(),
            self.rtx.map(Into::into),
            spec,
        ))
    }
}

/// The highest identifier that the WebRTC library keeps.
const EXTENSION_ID_MAX: u8 = 16;

/// Extensions of video that Chromium numbers this way; they are sent only where negotiated.
const GUESSED_EXTENSIONS: [(u8, &str); 4] = [
    (10, peer_ext::RID),
    (11, peer_ext::REPAIRED_RID),
    (13, peer_ext::ORIENTATION),
    (5, peer_ext::PLAYOUT_DELAY),
];

/// How clients, told by their number for Opus, pair video with its retransmissions.
const GUESSED_PAIRS: [(u8, &[(u8, u8)]); 3] = [
    // Chromium and Safari.
    (
        111,
        &[
            (96, 97),
            (98, 99),
            (100, 101),
            (103, 104),
            (107, 108),
            (109, 114),
            (115, 116),
            (117, 118),
            (39, 40),
            (45, 46),
        ],
    ),
    // Firefox.
    (109, &[(120, 124), (121, 125), (126, 127), (97, 98)]),
    // aiortc.
    (96, &[(97, 98), (99, 100), (101, 102)]),
];

/// What is the same for all peers of a shard.
#[derive(Debug)]
pub(crate) struct PeerDefaults<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) crypto: Option<&'a Crypto>,
    pub(crate) limits: &'a Limits,
    pub(crate) dtls_mtu: u16,
}

/// The configuration of a peer's state.
pub(crate) fn rtc_config(
    defaults: &PeerDefaults<'_>,
    numbers: &Numbers,
    is_ice_lite: bool,
) -> RtcConfig {
    let limits = defaults.limits;
    let message_bytes = u32::try_from(limits.data_message_bytes).unwrap_or(u32::MAX);
    let mut config = RtcConfig::new()
        .set_rtp_mode(true)
        .set_dtls_cert(defaults.certificate.dtls_cert())
        .set_ice_lite(is_ice_lite)
        .clear_extension_map()
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_rtcp_report_interval_audio(REPORT_INTERVAL)
        .set_rtcp_report_interval_video(REPORT_INTERVAL)
        .set_send_buffer_video(limits.resend_packets_count)
        .set_sctp_max_buffered_amount(limits.data_buffered_bytes)
        .set_sctp_max_message_size(message_bytes)
        .set_mtu(mtu(defaults.dtls_mtu));
    let provider = defaults.crypto.map(Crypto::provider);
    config =
        config.set_crypto_provider(provider.unwrap_or_else(|| defaults.certificate.provider()));
    *config.codec_config() = numbers.codec_config();
    for (id, uri) in &numbers.extensions {
        let extension = extension(uri).expect("only known extensions are registered");
        config = config.set_extension(*id, extension);
    }
    config
}

/// Janus sends its reports at this pace.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The sizes of DTLS datagrams: what to aim at, and what is too much.
fn mtu(target: u16) -> std::ops::RangeInclusive<usize> {
    use str0m::{DATAGRAM_MTU_TARGET_MAX, DATAGRAM_MTU_TARGET_MIN, DATAGRAM_MTU_WARN};
    let target = usize::from(target).clamp(DATAGRAM_MTU_TARGET_MIN, DATAGRAM_MTU_TARGET_MAX);
    target..=DATAGRAM_MTU_WARN.max(target)
}
