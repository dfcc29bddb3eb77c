//! Offers of ours and their answers: a peer that begins with what we want to send.
//!
//! Invariant: what an offer says about media is so from the offer on; what it says about the
//! transport, with its answer.

use str0m::config::Fingerprint;

use crate::base::clock::Monotonic;
use crate::base::rng::Rng;
use crate::media::event::{Enabled, MediaError, TrackKind};
use crate::media::info::Course;
use crate::media::line::{EncodingSource, LineOffer};
use crate::media::peer::{Peer, PeerOutput, Stage};
use crate::media::peer_config::{Numbers, rtc_config};
use crate::media::peer_ext::{self, ValueFilter};
use crate::media::peer_head::HopIds;
use crate::media::peer_offer::{NewPeer, add_bases, creds};
use crate::media::peer_plain::ExtensionIds;
use crate::wire::rtp::VideoCodec;
use crate::wire::sdp::{
    Candidate, Codec, Extension, IceParameters, MediaDescription, OfferLine, OfferMedia, RED_PT,
    SessionDescription, Setup, offered_rtx,
};

/// What an answer takes of a section.
#[derive(Clone, Copy, Debug)]
struct Taken {
    is_taken: bool,
    /// Redundant audio, too.
    has_red: bool,
    /// Retransmissions in the format made for them.
    has_rtx: bool,
    /// Reports on the packets that come.
    has_feedback: bool,
}

/// An answer that can be used.
#[derive(Debug)]
pub(crate) struct CheckedAnswer {
    ice: IceParameters,
    fingerprint: Fingerprint,
    /// Our part in the DTLS handshake.
    setup: Setup,
    candidates: Vec<Candidate>,
    /// What is taken of each section.
    takes: Vec<Taken>,
    /// The section of data channels, and its mid.
    data: Option<(usize, String)>,
}

impl CheckedAnswer {
    /// Reads an answer to an offer with so many sections.
    ///
    /// # Errors
    ///
    /// [`MediaError::Offer`] if it does not fit, or lacks credentials or a fingerprint.
    pub(crate) fn new(answer: &SessionDescription, lines: usize) -> Result<Self, MediaError> {
        let refuse = |why: &str| MediaError::Offer(why.to_owned());
        if answer.media.len() != lines {
            return Err(refuse("The answer does not match the offer"));
        }
        let Some(transport) = answer.transport_media().or(answer.media.first()) else {
            return Err(refuse("No media section in the answer"));
        };
        let ice = answer.ice_of(transport);
        let ice = ice.ok_or_else(|| refuse("No ICE credentials in the answer"))?;
        let fingerprint = answer.fingerprint_of(transport);
        let fingerprint = fingerprint.ok_or_else(|| refuse("No DTLS fingerprint in the answer"))?;
        if !["sha-1", "sha-256"].contains(&fingerprint.hash.as_str()) {
            return Err(refuse("DTLS fingerprint with an unknown hash function"));
        }
        let takes = answer.media.iter().map(|media| {
            let receives = media.is_data() || media.direction.receives();
            Taken {
                is_taken: !media.is_rejected() && receives,
                has_red: media.codec(RED_PT).is_some(),
                has_rtx: media.codecs.iter().any(|codec| codec.is("rtx")),
                has_feedback: has_feedback(media),
            }
        });
        Ok(Self {
            ice: ice.clone(),
            fingerprint: Fingerprint {
                hash_func: fingerprint.hash.clone(),
                bytes: fingerprint.bytes.clone(),
            },
            setup: match answer.setup_of(transport) {
                Some(Setup::Passive) => Setup::Active,
                Some(Setup::Active | Setup::Actpass | Setup::Holdconn) | None => Setup::Passive,
            },
            candidates: transport.candidates.clone(),
            takes: takes.collect(),
            data: data_section(answer),
        })
    }
}

fn data_section(answer: &SessionDescription) -> Option<(usize, String)> {
    let mut sections = answer.media.iter().enumerate();
    let found = sections.find(|(_, media)| media.is_data() && !media.is_rejected());
    found.map(|(index, media)| {
        let mid = media.mid.clone();
        (index, mid.unwrap_or_else(|| index.to_string()))
    })
}

/// Whether a section reports on packets, and packets have the numbers that it reports on.
fn has_feedback(media: &MediaDescription) -> bool {
    let has_number = |each: &Extension| each.uri == peer_ext::TRANSPORT_CC;
    let reports = |codec: &Codec| codec.feedback.iter().any(|each| each == "transport-cc");
    !media.is_rejected()
        && media.extensions.iter().any(has_number)
        && media.codecs.iter().any(reports)
}

impl Peer {
    /// Makes a peer that is to offer. Its lines follow with [`Peer::offer_lines`].
    pub(crate) fn offering(now: Monotonic, estimates: Enabled, new: NewPeer<'_>) -> Self {
        let numbers = Numbers::of_our_offers();
        let config = rtc_config(&new.defaults, &numbers, new.is_ice_lite);
        let mut rtc = config
            .set_local_ice_credentials(creds(&new.ice))
            .build(new.settings.anchor.instant(now));
        add_bases(&mut rtc, &new.settings.bases);
        // The one who offers controls (RFC 8445 section 6.1.1), unless it is a lite agent.
        rtc.direct_api().set_ice_controlling(!new.is_ice_lite);
        let nobody = IceParameters {
            ufrag: String::new(),
            pwd: String::new(),
        };
        let ice = (new.ice, nobody);
        let setup = Setup::Actpass;
        let mut peer = Self::new(new.owner, new.settings, rtc, numbers, ice, setup, new.until);
        peer.course = Course::new(now);
        peer.is_controlling = !new.is_ice_lite;
        peer.is_ice_lite = new.is_ice_lite;
        peer.stage = Stage::Offered;
        peer.set_estimator(estimates);
        peer
    }

    /// Makes the lines of a peer those of an offer of ours, and notes their sources in it.
    pub(crate) fn offer_lines(
        &mut self,
        now: Monotonic,
        lines: &mut [OfferLine],
        rng: &mut Rng,
        out: &mut PeerOutput,
    ) {
        self.lines.resize_with(lines.len(), || None);
        for (index, line) in lines.iter_mut().enumerate() {
            let OfferLine::Media(media) = line else {
                continue;
            };
            let is_going_on = self.line(index).is_some_and(|line| line.offer.sends);
            self.set_line(index, Some(LineOffer::of_ours(media)), rng);
            if let Some(line) = self.line_mut(index) {
                // A source of which the remote does not know yet would be a stranger to it.
                line.is_taken &= is_going_on;
                media.ssrc = line.ssrc;
                media.rtx_ssrc = line.rtx_ssrc;
            }
        }
        self.advance(now, out);
    }

    /// Takes the answer to the last offer.
    pub(crate) fn take_answer(
        &mut self,
        now: Monotonic,
        answer: CheckedAnswer,
        new_ice: Option<IceParameters>,
        until: Monotonic,
        candidates_max: usize,
        out: &mut PeerOutput,
    ) {
        let is_first = self.stage == Stage::Offered;
        let mut api = self.rtc.direct_api();
        if let Some(ice) = &new_ice {
            api.set_local_ice_credentials(creds(ice));
        }
        if is_first || new_ice.is_some() {
            api.set_remote_ice_credentials(creds(&answer.ice));
        }
        if is_first {
            api.set_remote_fingerprint(answer.fingerprint);
            if answer.setup == Setup::Passive
                && let Err(error) = api.start_dtls(false)
            {
                tracing::debug!(%error, "the handshake cannot start");
            }
            self.setup = answer.setup;
            self.stage = Stage::Checking { until };
        }
        if is_first || new_ice.is_some() {
            self.remote_ice = answer.ice;
            self.candidates_count = 0;
        }
        if let Some(ice) = new_ice {
            self.local_ice = ice;
        }
        for (line, taken) in self.lines.iter_mut().zip(answer.takes) {
            if let Some(line) = line {
                line.is_taken = taken.is_taken;
                line.offer.red_pt = taken.has_red.then_some(RED_PT);
                line.takes_rtx = taken.has_rtx;
                line.is_reported = taken.has_feedback;
            }
        }
        let has_data = answer.data.is_some();
        self.data_section = answer.data;
        if has_data && !self.has_sctp {
            self.has_sctp = true;
            self.rtc
                .direct_api()
                .start_sctp(self.setup == Setup::Active);
        }
        for candidate in &answer.candidates {
            self.add_candidate(candidate, candidates_max, out);
        }
        for candidate in std::mem::take(&mut self.early_candidates) {
            self.add_candidate(&candidate, candidates_max, out);
        }
        self.advance(now, out);
    }
}

impl LineOffer {
    /// A section of an offer of ours.
    fn of_ours(media: &OfferMedia) -> Self {
        let codec = &media.codec;
        let mut values = ValueFilter::default();
        let mut extension_ids = ExtensionIds::default();
        let mut hop_ids = HopIds::default();
        for extension in media.extensions() {
            values.allow(&extension.uri);
            extension_ids.note(&extension.uri, extension.id);
            hop_ids.note(&extension.uri, extension.id);
        }
        Self {
            mid: media.mid.clone(),
            kind: if media.is_video {
                TrackKind::Video
            } else {
                TrackKind::Audio
            },
            codec: codec.name.to_ascii_lowercase(),
            video: VideoCodec::from_name(&codec.name).filter(|_| media.is_video),
            clock_rate: codec.clock_rate,
            pt: codec.pt,
            rtx_pt: offered_rtx(codec.pt),
            // Not before the answer has it, too.
            red_pt: None,
            has_nack: codec.feedback.iter().any(|each| each == "nack"),
            sends: media.is_active,
            receives: false,
            encodings: vec![EncodingSource::Extension { rid: None }],
            is_simulcast: false,
            values,
            extension_ids,
            hop_ids,
        }
    }
}
