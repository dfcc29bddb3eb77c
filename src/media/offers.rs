//! Offers, as the whole shard sees them: who gets a peer, and with which credentials and addresses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::PeerId;
use crate::base::rng::Rng;
use crate::media::counters::PeerEnd;
use crate::media::event::{
    Accepted, IceRestart, MediaError, OfferManner, OfferOptions, Offered, PeerOwner,
};
use crate::media::peer::{Peer, PeerSettings, Stage};
use crate::media::peer_answer::CheckedAnswer;
use crate::media::peer_config::PeerDefaults;
use crate::media::peer_offer::{CheckedOffer, NewPeer};
use crate::media::{LocalSocket, Media};
use crate::wire::sdp::{
    AnswerPlan, Candidate, CandidateAddress, CandidateKind, CandidateProtocol, IceParameters,
    LocalTransport, OfferPlan, SessionDescription, Setup, build_answer, build_offer,
};

/// How long a lost connection may take to come back.
const FAILURE_GRACE: Duration = Duration::from_secs(5);

/// RFC 8445 section 15.4 asks for 128 bits of randomness.
const PWD_CHARS: usize = 24;

impl Media {
    /// Takes an offer: for a new peer, or for a renegotiation or an ICE restart of `peer`.
    ///
    /// The plan names payload types and extensions; sources are drawn here, so its `ssrc` and
    /// `rtx_ssrc` are ignored. Extensions that a renegotiation numbers as nothing did before are
    /// left out of the answer.
    ///
    /// # Errors
    ///
    /// [`MediaError::Offer`] if the offer lacks what a connection needs, [`MediaError::Limit`] if
    /// there are too many peers, [`MediaError::NoPeer`] if `peer` is gone.
    pub fn accept_offer(
        &mut self,
        now: Now,
        peer: Option<PeerId>,
        owner: PeerOwner,
        offer: &SessionDescription,
        plan: &AnswerPlan,
        options: OfferOptions,
    ) -> Result<Accepted, MediaError> {
        let mut plan = plan.clone();
        let known = match peer {
            Some(id) => Some(self.peers.get(id).ok_or(MediaError::NoPeer)?),
            None => None,
        };
        let checked = CheckedOffer::new(offer, &mut plan, options.rid_order, known)?;
        let restarts = known.is_some_and(|peer| checked.restarts(peer));
        let (id, checked) = match peer {
            Some(id) => (id, checked),
            None => self.open(now, owner, checked)?,
        };
        let new_ice = restarts.then(|| self.draw_ice(id));
        let mut seed = [0; 32];
        self.setup.rng.fill(&mut seed);
        let mut rng = Rng::from_seed(seed);
        let max = self.setup.limits.candidates_count;
        let applied = self.run(now.monotonic, id, |peer, out| {
            if let Some(ice) = new_ice {
                peer.restart_ice(&checked, ice);
            }
            peer.apply(now.monotonic, checked, &mut plan, &mut rng, max, out);
        });
        let peer = applied.and_then(|()| self.peers.get(id));
        let peer = peer.ok_or(MediaError::NoPeer)?;
        let transport = self.transport(peer, options);
        Ok(Accepted {
            peer: id,
            answer: build_answer(offer, &plan, &transport),
            candidates: transport.candidates,
        })
    }

    /// Makes an offer: with a new peer, or to change `peer`. Sources are drawn here, so those of
    /// the plan are ignored. Sections are those of the last offer and more.
    ///
    /// # Errors
    ///
    /// [`MediaError::Limit`] if there are too many peers, [`MediaError::NoPeer`] if `peer` is gone.
    pub fn make_offer(
        &mut self,
        now: Now,
        peer: Option<PeerId>,
        owner: PeerOwner,
        mut plan: OfferPlan,
        manner: OfferManner,
    ) -> Result<Offered, MediaError> {
        let OfferManner {
            restart,
            trickle,
            estimates,
        } = manner;
        let id = match peer {
            Some(id) => id,
            None => {
                let is_lite = self.setup.config.ice_lite;
                self.insert(now, owner, is_lite, |new| {
                    Peer::offering(now.monotonic, estimates, new)
                })?
            }
        };
        let known = self.peers.get(id).ok_or(MediaError::NoPeer)?;
        // What was never answered needs no other credentials.
        let restarts = restart == IceRestart::Yes && known.stage != Stage::Offered;
        let new_ice = restarts.then(|| self.draw_ice(id));
        let mut seed = [0; 32];
        self.setup.rng.fill(&mut seed);
        let mut rng = Rng::from_seed(seed);
        let offered = self.run(now.monotonic, id, |peer, out| {
            peer.offer_lines(now.monotonic, &mut plan.lines, &mut rng, out);
            if new_ice.is_some() {
                peer.next_ice = new_ice;
            }
        });
        let peer = offered.and_then(|()| self.peers.get(id));
        let peer = peer.ok_or(MediaError::NoPeer)?;
        let options = OfferOptions {
            trickle,
            ..OfferOptions::default()
        };
        let mut transport = self.transport(peer, options);
        transport.setup = Setup::Actpass;
        if let Some(ice) = &peer.next_ice {
            transport.ice = ice.clone();
        }
        Ok(Offered {
            peer: id,
            offer: build_offer(&plan, &transport),
        })
    }

    /// Takes the answer to the last offer that was made with a peer.
    ///
    /// # Errors
    ///
    /// [`MediaError::Offer`] if it does not fit, [`MediaError::NoPeer`] if the peer is gone.
    pub fn accept_answer(
        &mut self,
        now: Now,
        peer: PeerId,
        answer: &SessionDescription,
    ) -> Result<(), MediaError> {
        let known = self.peers.get(peer).ok_or(MediaError::NoPeer)?;
        let checked = CheckedAnswer::new(answer, known.lines.len())?;
        let limits = &self.setup.limits;
        let until = now.monotonic + limits.ice_timeout;
        let max = limits.candidates_count;
        let taken = self.run(now.monotonic, peer, |peer, out| {
            let new_ice = peer.next_ice.take();
            peer.take_answer(now.monotonic, checked, new_ice, until, max, out);
        });
        taken.ok_or(MediaError::NoPeer)
    }

    fn open(
        &mut self,
        now: Now,
        owner: PeerOwner,
        mut checked: CheckedOffer,
    ) -> Result<(PeerId, CheckedOffer), MediaError> {
        // Two lite agents would wait for each other.
        let is_lite = self.setup.config.ice_lite && !checked.is_lite();
        let id = self.insert(now, owner, is_lite, |new| {
            Peer::from_offer(now.monotonic, &mut checked, new)
        })?;
        Ok((id, checked))
    }

    fn insert(
        &mut self,
        now: Now,
        owner: PeerOwner,
        is_ice_lite: bool,
        make: impl FnOnce(NewPeer<'_>) -> Peer,
    ) -> Result<PeerId, MediaError> {
        if self.peers_count() >= self.setup.limits.peers_count {
            return Err(MediaError::Limit("PeerConnections"));
        }
        if self.setup.sockets.is_empty() {
            return Err(MediaError::Offer("No address for media".to_owned()));
        }
        let id = self.ids.insert(());
        let ice = self.draw_ice(id);
        let setup = &self.setup;
        let new = NewPeer {
            owner,
            settings: self.settings(),
            defaults: PeerDefaults {
                certificate: &setup.certificate,
                crypto: setup.crypto.as_ref(),
                limits: &setup.limits,
                dtls_mtu: setup.config.dtls_mtu,
            },
            is_ice_lite,
            ice,
            until: now.monotonic + setup.limits.ice_timeout,
        };
        let made = catch_unwind(AssertUnwindSafe(|| make(new)));
        let Ok(peer) = made else {
            self.ids.remove(id);
            self.counters.peers_opened += 1;
            self.counters.ended(PeerEnd::Internal);
            tracing::error!("a peer panicked when it was made");
            return Err(MediaError::Offer("Internal error".to_owned()));
        };
        self.peers.insert(id, peer);
        self.counters.peers_opened += 1;
        Ok(id)
    }

    fn draw_ice(&mut self, id: PeerId) -> IceParameters {
        let rng = &mut self.setup.rng;
        IceParameters {
            ufrag: self.demux.draw_ufrag(rng, id),
            pwd: rng.text(PWD_CHARS),
        }
    }

    fn settings(&self) -> PeerSettings {
        let config = &self.setup.config;
        let limits = &self.setup.limits;
        PeerSettings {
            anchor: self.setup.anchor,
            crypto: self.setup.provider(),
            bases: self.setup.sockets.iter().map(LocalSocket::base).collect(),
            dtls_timeout: limits.dtls_timeout,
            failure_grace: if config.hangup_on_failed {
                Duration::ZERO
            } else {
                FAILURE_GRACE
            },
            has_consent: config.ice_consent_freshness,
            no_media_timer: config.no_media_timer,
            slowlink_threshold: config.slowlink_threshold,
            data_channels_count: limits.data_channels_count,
            data_message_bytes: limits.data_message_bytes,
            datagrams_count: limits.datagrams_count,
            resend_packets_count: limits.resend_packets_count,
        }
    }

    fn transport(&self, peer: &Peer, options: OfferOptions) -> LocalTransport {
        let candidates = self.candidates();
        let first = candidates.first().and_then(Candidate::socket_addr);
        LocalTransport {
            address: first.map_or_else(|| "0.0.0.0".to_owned(), |first| first.ip().to_string()),
            ice: peer.local_ice.clone(),
            ice_lite: peer.is_ice_lite,
            fingerprint: self.setup.certificate.fingerprint(),
            setup: peer.setup,
            candidates,
            trickle: options.trickle,
        }
    }

    /// Our candidates, the preferred one first.
    fn candidates(&self) -> Vec<Candidate> {
        let all = self.setup.sockets.iter().flat_map(LocalSocket::candidates);
        all.enumerate()
            .map(|(index, address)| Candidate {
                foundation: (index + 1).to_string(),
                component: 1,
                protocol: CandidateProtocol::Udp,
                // RFC 8445 section 5.1.2.1: a host candidate, of falling local preference, for
                // the one component there is.
                priority: 126 << 24 | (65_535 - index.min(65_535) as u32) << 8 | 255,
                address: CandidateAddress::Ip(address.ip()),
                port: address.port(),
                kind: CandidateKind::Host,
                related: None,
                ufrag: None,
            })
            .collect()
    }
}
