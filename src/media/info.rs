//! What is known of a peer, in full, for those who look into it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::line::Line;
use crate::media::peer::{Peer, Stage};
use crate::media::statistics::{DataStatistics, Reception, Sending};
use crate::media::{LineState, Media};

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerStage {
    /// ICE looks for a pair of addresses.
    Checking,
    /// DTLS shakes hands.
    Handshake,
    /// The pair of addresses was lost.
    Lost,
    /// Media flows.
    Up,
}

/// Everything that is known of a peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// How far it has come.
    pub stage: PeerStage,
    /// When it was made.
    pub created: Monotonic,
    /// When ICE first found a pair of addresses.
    pub connected: Option<Monotonic>,
    /// When the DTLS handshake ended.
    pub secured: Option<Monotonic>,
    /// The addresses by which it last sent something: ours, then its own.
    pub path: Option<(SocketAddr, SocketAddr)>,
    /// We choose the pair of addresses.
    pub is_controlling: bool,
    /// We began the DTLS handshake.
    pub is_dtls_client: bool,
    /// How media is encrypted, once that is agreed upon.
    pub srtp_profile: Option<&'static str>,
    /// Flights of the handshake that we sent again.
    pub dtls_retransmissions: u32,
    /// It may have data channels.
    pub has_data: bool,
    /// What went over them, once their section is known.
    pub data: Option<DataStatistics>,
    /// The media sections, in order; `None` for those that are no media or were refused.
    pub lines: Vec<Option<LineInfo>>,
}

/// Everything that is known of a line.
#[derive(Clone, Debug)]
pub struct LineInfo {
    /// What queries of plugins show, too.
    pub state: LineState,
    /// Our source.
    pub ssrc: u32,
    /// Our source for retransmissions.
    pub rtx_ssrc: u32,
    /// The peer's sources that have been heard, encoding by encoding, each with that of its
    /// retransmissions.
    pub peer_ssrcs: Vec<(u32, Option<u32>)>,
    /// The names of the encodings, as they are ordered here.
    pub rids: Vec<String>,
    /// The payload type.
    pub pt: u8,
    /// The payload type of retransmissions.
    pub rtx_pt: Option<u8>,
    /// The payload type of redundant audio.
    pub red_pt: Option<u8>,
    /// Ticks of RTP time in a second.
    pub clock_rate: u32,
    /// Lost packets are asked for again.
    pub has_nack: bool,
    /// We send.
    pub sends: bool,
    /// We receive.
    pub receives: bool,
    /// What comes in, encoding by encoding.
    pub received: Vec<Reception>,
    /// What goes out, and what the peer says of it.
    pub sent: Sending,
}

/// When a peer came how far, and where from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) created: Monotonic,
    pub(crate) connected: Option<Monotonic>,
    pub(crate) secured: Option<Monotonic>,
    /// Our socket's base address and the remote one, of the last datagram that was no check.
    pub(crate) path: Option<(SocketAddr, SocketAddr)>,
}

impl Course {
    pub(crate) const fn new(created: Monotonic) -> Self {
        Self {
            created,
            connected: None,
            secured: None,
            path: None,
        }
    }
}

impl Media {
    /// Everything that is known of a peer.
    pub fn info(&self, peer: PeerId) -> Option<PeerInfo> {
        self.peers.get(peer).map(Peer::info)
    }

    /// Changes what peers watch for, those that are there and those to come. The age up to which
    /// packets are kept is for those to come.
    pub fn watch(
        &mut self,
        no_media_timer: Option<Duration>,
        slowlink_threshold: u32,
        min_nack_queue: Duration,
    ) {
        let config = std::sync::Arc::make_mut(&mut self.setup.config);
        config.no_media_timer = no_media_timer;
        config.slowlink_threshold = slowlink_threshold;
        config.min_nack_queue = min_nack_queue;
        let peers: Vec<PeerId> = self.peers.keys().collect();
        for peer in peers {
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.settings.no_media_timer = no_media_timer;
                peer.settings.slowlink_threshold = slowlink_threshold;
            }
        }
    }
}

impl Peer {
    fn info(&self) -> PeerInfo {
        PeerInfo {
            stage: match self.stage {
                Stage::Checking { .. } | Stage::Offered => PeerStage::Checking,
                Stage::Handshake { .. } => PeerStage::Handshake,
                Stage::Lost { .. } => PeerStage::Lost,
                Stage::Up => PeerStage::Up,
            },
            created: self.course.created,
            connected: self.course.connected,
            secured: self.course.secured,
            path: self.course.path,
            is_controlling: self.is_controlling,
            is_dtls_client: self.is_dtls_client(),
            srtp_profile: self.keys.as_ref().map(|keys| keys.suite.name()),
            dtls_retransmissions: self.dtls_retransmissions,
            has_data: self.has_sctp,
            data: self.data_statistics(),
            lines: (0..self.lines.len())
                .map(|index| self.line(index).map(|line| self.line_info(index, line)))
                .collect(),
        }
    }

    fn line_info(&self, index: usize, line: &Line) -> LineInfo {
        let mut heard: Vec<_> = self.sources_of(index).collect();
        heard.sort_unstable();
        LineInfo {
            state: line.state(),
            ssrc: line.ssrc,
            rtx_ssrc: line.rtx_ssrc,
            peer_ssrcs: heard
                .into_iter()
                .map(|(_, ssrc, rtx)| (ssrc, rtx))
                .collect(),
            rids: line.offer.rids(),
            pt: line.offer.pt,
            rtx_pt: line.offer.rtx_pt,
            red_pt: line.offer.red_pt,
            clock_rate: line.offer.clock_rate,
            has_nack: line.offer.has_nack,
            sends: line.offer.sends,
            receives: line.offer.receives,
            received: line.receptions().collect(),
            sent: line.sending(),
        }
    }
}
