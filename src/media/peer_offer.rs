//! Offers: a new peer, or changes to one.
//!
//! Invariant: an offer is read to its end before anything is changed.

use std::net::{IpAddr, SocketAddr};

use str0m::config::Fingerprint;
use str0m::{Candidate as RtcCandidate, IceCreds, Rtc};

use crate::base::clock::Monotonic;
use crate::base::rng::Rng;
use crate::media::counters::DropReason;
use crate::media::event::{MediaError, PeerOwner, TrackKind};
use crate::media::info::Course;
use crate::media::line::{EncodingSource, Line, LineOffer};
use crate::media::peer::{Peer, PeerOutput, PeerSettings, Stage, mid_of};
use crate::media::peer_config::{Numbers, PeerDefaults, rtc_config};
use crate::wire::sdp::{
    AnswerPlan, Candidate, CandidateKind, CandidateProtocol, IceParameters, LinePlan, RidOrder,
    SessionDescription, Setup,
};

/// An offer that can be used.
#[derive(Debug)]
pub(crate) struct CheckedOffer {
    ice: IceParameters,
    fingerprint: Fingerprint,
    setup: Setup,
    is_lite: bool,
    candidates: Vec<Candidate>,
    lines: Vec<Option<LineOffer>>,
    /// The section of data channels, and its mid.
    data: Option<(usize, String)>,
    numbers: Numbers,
}

/// What a new peer is made of, beside its offer.
#[derive(Debug)]
pub(crate) struct NewPeer<'a> {
    pub(crate) owner: PeerOwner,
    pub(crate) settings: PeerSettings,
    pub(crate) defaults: PeerDefaults<'a>,
    pub(crate) is_ice_lite: bool,
    pub(crate) ice: IceParameters,
    pub(crate) until: Monotonic,
}

impl CheckedOffer {
    /// Reads an offer. `known` is the peer that it changes; what that cannot do any more is taken
    /// out of the plan.
    ///
    /// # Errors
    ///
    /// [`MediaError::Offer`] if it lacks credentials or a fingerprint, or has mids that cannot be
    /// told apart.
    pub(crate) fn new(
        offer: &SessionDescription,
        plan: &mut AnswerPlan,
        order: RidOrder,
        known: Option<&Peer>,
    ) -> Result<Self, MediaError> {
        let refuse = |why: &str| MediaError::Offer(why.to_owned());
        if plan.lines.len() != offer.media.len() {
            return Err(refuse("The answer does not match the offer"));
        }
        let numbers = match known {
            Some(peer) => {
                peer.numbers.restrict(offer, plan);
                Numbers::default()
            }
            None => Numbers::new(offer, plan),
        };
        let Some(transport) = offer.transport_media().or(offer.media.first()) else {
            return Err(refuse("No media section in the offer"));
        };
        let ice = offer.ice_of(transport);
        let ice = ice.ok_or_else(|| refuse("No ICE credentials in the offer"))?;
        let fingerprint = offer.fingerprint_of(transport);
        let fingerprint = fingerprint.ok_or_else(|| refuse("No DTLS fingerprint in the offer"))?;
        if !["sha-1", "sha-256"].contains(&fingerprint.hash.as_str()) {
            return Err(refuse("DTLS fingerprint with an unknown hash function"));
        }
        let mut lines = Vec::with_capacity(plan.lines.len());
        let mut data = None;
        for (index, (media, line)) in offer.media.iter().zip(&plan.lines).enumerate() {
            lines.push(match line {
                LinePlan::Application { .. } => {
                    let mid = media.mid.clone().unwrap_or_else(|| index.to_string());
                    data = Some((index, mid));
                    None
                }
                LinePlan::Media(plan) => Some(
                    LineOffer::new(media, index, plan, order)
                        .ok_or_else(|| refuse("The answer does not match the offer"))?,
                ),
                LinePlan::Rejected => None,
            });
        }
        check_mids(&lines)?;
        Ok(Self {
            ice: ice.clone(),
            fingerprint: Fingerprint {
                hash_func: fingerprint.hash.clone(),
                bytes: fingerprint.bytes.clone(),
            },
            setup: offer.setup_of(transport).unwrap_or(Setup::Actpass),
            is_lite: offer.ice_lite,
            candidates: transport.candidates.clone(),
            lines,
            data,
            numbers,
        })
    }

    /// Whether the remote agent is a lite one.
    pub(crate) const fn is_lite(&self) -> bool {
        self.is_lite
    }

    /// Whether the remote restarts ICE.
    pub(crate) fn restarts(&self, peer: &Peer) -> bool {
        self.ice != peer.remote_ice
    }
}

/// The library keeps sixteen characters of a mid, and replaces most punctuation.
fn check_mids(lines: &[Option<LineOffer>]) -> Result<(), MediaError> {
    let mut mids: Vec<_> = lines
        .iter()
        .flatten()
        .map(|line| mid_of(&line.mid))
        .collect();
    let count = mids.len();
    mids.sort_unstable();
    mids.dedup();
    if mids.len() == count {
        Ok(())
    } else {
        Err(MediaError::Offer("Mids are too similar".to_owned()))
    }
}

impl Peer {
    /// Makes a peer from an offer. Its lines follow with [`Peer::apply`].
    pub(crate) fn from_offer(now: Monotonic, offer: &mut CheckedOffer, new: NewPeer<'_>) -> Self {
        let numbers = std::mem::take(&mut offer.numbers);
        let config = rtc_config(&new.defaults, &numbers, new.is_ice_lite);
        let mut rtc = config
            .set_local_ice_credentials(creds(&new.ice))
            .build(new.settings.anchor.instant(now));
        add_bases(&mut rtc, &new.settings.bases);
        let setup = offer.setup.answer();
        let mut api = rtc.direct_api();
        api.set_ice_controlling(offer.is_lite);
        api.set_remote_fingerprint(offer.fingerprint.clone());
        api.set_remote_ice_credentials(creds(&offer.ice));
        if numbers.has_transport_cc() {
            api.enable_twcc_feedback();
        }
        if setup == Setup::Passive
            && let Err(error) = api.start_dtls(false)
        {
            tracing::debug!(%error, "the handshake cannot start");
        }
        let ice = (new.ice, offer.ice.clone());
        let mut peer = Self::new(new.owner, new.settings, rtc, numbers, ice, setup, new.until);
        peer.is_ice_lite = new.is_ice_lite;
        peer.is_controlling = offer.is_lite;
        peer.course = Course::new(now);
        peer
    }

    /// Restarts ICE with new credentials on both sides; DTLS and media go on.
    pub(crate) fn restart_ice(&mut self, offer: &CheckedOffer, local: IceParameters) {
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(creds(&local));
        api.set_remote_ice_credentials(creds(&offer.ice));
        self.local_ice = local;
        self.remote_ice = offer.ice.clone();
        self.candidates_count = 0;
    }

    /// Makes the lines of a peer those of an offer, and notes our sources in the plan.
    pub(crate) fn apply(
        &mut self,
        now: Monotonic,
        offer: CheckedOffer,
        plan: &mut AnswerPlan,
        rng: &mut Rng,
        candidates_max: usize,
        out: &mut PeerOutput,
    ) {
        self.lines.resize_with(offer.lines.len(), || None);
        for (index, line) in offer.lines.into_iter().enumerate() {
            self.set_line(index, line, rng);
        }
        let has_data = offer.data.is_some();
        self.data_section = offer.data;
        if has_data {
            self.has_sctp = true;
            self.rtc
                .direct_api()
                .start_sctp(self.setup == Setup::Active);
        }
        for (line, plan) in self.lines.iter().zip(&mut plan.lines) {
            if let (Some(line), LinePlan::Media(plan)) = (line, plan) {
                plan.ssrc = Some(line.ssrc);
                plan.rtx_ssrc = line.offer.rtx_pt.map(|_| line.rtx_ssrc);
            }
        }
        for candidate in &offer.candidates {
            self.add_candidate(candidate, candidates_max, out);
        }
        self.advance(now, out);
    }

    /// Takes a candidate of the remote. [`Peer::advance`] has it checked.
    pub(crate) fn add_candidate(
        &mut self,
        candidate: &Candidate,
        max: usize,
        out: &mut PeerOutput,
    ) {
        if self.stage == Stage::Offered {
            // It cannot be told yet whether it belongs to the answer.
            if self.early_candidates.len() < max {
                self.early_candidates.push(candidate.clone());
            } else {
                out.drops.push(DropReason::CandidateLimit);
            }
            return;
        }
        let Some(usable) = self.usable(candidate) else {
            out.drops.push(DropReason::CandidateUnusable);
            return;
        };
        if self.candidates_count == max {
            out.drops.push(DropReason::CandidateLimit);
            return;
        }
        self.candidates_count += 1;
        self.rtc.add_remote_candidate(usable);
    }

    fn usable(&self, candidate: &Candidate) -> Option<RtcCandidate> {
        let address = candidate.socket_addr()?;
        let of_other_generation = candidate
            .ufrag
            .as_ref()
            .is_some_and(|ufrag| *ufrag != self.remote_ice.ufrag);
        if candidate.protocol != CandidateProtocol::Udp
            || candidate.component != 1
            || of_other_generation
            || !may_check(address, &self.settings.bases)
        {
            return None;
        }
        match candidate.kind {
            CandidateKind::Host => RtcCandidate::host(address, "udp").ok(),
            CandidateKind::PeerReflexive
            | CandidateKind::Relayed
            | CandidateKind::ServerReflexive => {
                RtcCandidate::from_sdp_string(&candidate.to_string()).ok()
            }
        }
    }

    pub(crate) fn set_line(&mut self, index: usize, offer: Option<LineOffer>, rng: &mut Rng) {
        let keeps = match (self.line(index), &offer) {
            (Some(line), Some(offer)) => {
                line.offer.mid == offer.mid
                    && line.offer.kind == offer.kind
                    && line.offer.clock_rate == offer.clock_rate
            }
            (Some(_) | None, None) | (None, Some(_)) => false,
        };
        let former = self.lines[index].take();
        let Some(offer) = offer else {
            self.remove_line(index, former.as_ref());
            return;
        };
        let line = match former {
            Some(former) if keeps && former.offer == offer => {
                self.lines[index] = Some(former);
                return;
            }
            Some(mut former) if keeps => {
                self.remove_line(index, Some(&former));
                let comes_back = offer.sends && !former.offer.sends;
                former.update(offer);
                if comes_back {
                    // Chromium decodes a source that comes back after a pause in a section that was
                    // inactive, and shows nothing of it. A new one counts from its first round, as
                    // its receiver does, or nothing of it could be decrypted.
                    let (ssrc, rtx_ssrc, before) = self.draw_source(rng);
                    former.change_source(ssrc, rtx_ssrc, before);
                }
                former
            }
            former => {
                self.remove_line(index, former.as_ref());
                let (ssrc, rtx_ssrc, before) = self.draw_source(rng);
                Line::new(offer, ssrc, rtx_ssrc, before)
            }
        };
        self.declare(index, &line);
        self.lines[index] = Some(line);
    }

    fn declare(&mut self, index: usize, line: &Line) {
        let offer = &line.offer;
        let mid = mid_of(&offer.mid);
        let kind = match offer.kind {
            TrackKind::Audio => str0m::media::MediaKind::Audio,
            TrackKind::Video => str0m::media::MediaKind::Video,
        };
        let mut known = Vec::new();
        let mut api = self.rtc.direct_api();
        let media = api.declare_media(mid, kind);
        let encodings = || {
            offer
                .encodings
                .iter()
                .enumerate()
                .filter(|_| offer.receives)
        };
        for (_, encoding) in encodings() {
            if let EncodingSource::Extension { rid: Some(rid) } = encoding {
                media.expect_rid_rx(rid.as_str().into());
            }
        }
        for (encoding, source) in encodings() {
            if let EncodingSource::Signalled { ssrc, rtx } = *source {
                let rtx = rtx.map(Into::into);
                let stream = api.expect_stream_rx(ssrc.into(), rtx, mid, None);
                stream.suppress_nack(!offer.has_nack);
                known.push((ssrc, encoding as u8));
            }
        }
        let rtx = offer.rtx_pt.map(|_| line.rtx_ssrc.into());
        api.declare_stream_tx(line.ssrc.into(), rtx, mid, None);
        for (ssrc, encoding) in known {
            self.know_source(ssrc, index, encoding);
        }
    }

    fn remove_line(&mut self, index: usize, line: Option<&Line>) {
        if let Some(line) = line {
            self.rtc.direct_api().remove_media(mid_of(&line.offer.mid));
            self.forget_sources(index, None);
        }
    }

    /// Draws a source, that of its retransmissions, and the number before its first.
    fn draw_source(&self, rng: &mut Rng) -> (u32, u32, u16) {
        let (ssrc, rtx_ssrc) = (self.draw_ssrc(rng), self.draw_ssrc(rng));
        // Half of the range stays free before the first wrap, which a receiver that comes late could
        // not tell.
        (ssrc, rtx_ssrc, rng.below(1 << 15) as u16)
    }

    fn draw_ssrc(&self, rng: &mut Rng) -> u32 {
        loop {
            let ssrc = rng.next_u64() as u32;
            let used = self.lines.iter().flatten();
            let is_used = |line: &Line| line.ssrc == ssrc || line.rtx_ssrc == ssrc;
            // Zero is the source of bandwidth probes.
            if ssrc != 0 && !used.into_iter().any(is_used) {
                return ssrc;
            }
        }
    }
}

/// Makes the addresses of the sockets known to the ICE agent.
pub(crate) fn add_bases(rtc: &mut Rtc, bases: &[SocketAddr]) {
    for base in bases {
        match RtcCandidate::host(*base, "udp") {
            Ok(candidate) => {
                rtc.add_local_candidate(candidate);
            }
            Err(error) => tracing::warn!(%error, "an address cannot be a candidate"),
        }
    }
}

pub(crate) fn creds(ice: &IceParameters) -> IceCreds {
    IceCreds {
        ufrag: ice.ufrag.clone(),
        pass: ice.pwd.clone(),
    }
}

/// Whether a check, or plain RTP, may be sent to an address that a client named. Loopback is for gateways that
/// listen there themselves, which only tests do.
pub(super) fn may_check(address: SocketAddr, bases: &[SocketAddr]) -> bool {
    let ip = address.ip().to_canonical();
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_forbidden = address.port() == 0 || ip.is_unspecified() || ip.is_multicast();
    let on_loopback = || bases.iter().any(|base| base.ip().is_loopback());
    !is_forbidden && !is_link_local && (!ip.is_loopback() || on_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_have_inner_addresses_checked() {
        let public = [SocketAddr::from(([198, 51, 100, 1], 1))];
        let loopback = [SocketAddr::from(([127, 0, 0, 1], 1))];
        let may = |text: &str, bases: &[SocketAddr]| may_check(text.parse().unwrap(), bases);
        assert!(may("192.0.2.1:5", &public));
        assert!(
            may("10.0.0.1:5", &public),
            "clients on the same network are common"
        );
        for forbidden in [
            "127.0.0.1:5",
            "[::1]:5",
            "[::ffff:127.0.0.1]:5",
            "0.0.0.0:5",
            "169.254.169.254:80",
            "[fe80::1]:5",
            "224.0.0.1:5",
            "255.255.255.255:5",
            "192.0.2.1:0",
        ] {
            assert!(!may(forbidden, &public), "{forbidden}");
        }
        assert!(may("127.0.0.1:5", &loopback));
    }
}
