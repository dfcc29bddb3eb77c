//! PeerConnections, tracks and the switch that forwards their packets.

mod counters;
mod event;
#[expect(dead_code, reason = "peers, which follow, use it")]
mod peer_cert;
#[expect(dead_code, reason = "peers, which follow, use it")]
mod setup;

use std::net::SocketAddr;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::{PeerId, SockId};
use crate::wire::sdp::{AnswerPlan, Candidate, SessionDescription};

pub use counters::{DropReason, MediaCounters};
pub use event::{
    Accepted, ChannelNumber, DataForm, Enabled, LayerTarget, LineRef, MediaError, OfferOptions,
    PeerEvent, PeerOwner, RouteId, TrackKind,
};
pub use peer_cert::{Certificate, Crypto};
pub use setup::{LocalSocket, MediaSetup};

/// A datagram to send.
#[derive(Debug)]
pub struct Datagram {
    /// The socket to send it from.
    pub sock: SockId,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// What is known of a peer, for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// Whether ICE and DTLS are up.
    pub up: bool,
    /// The media sections, in order; `None` for those that are no media or were refused.
    pub lines: Vec<Option<LineState>>,
    /// The latest estimate that the peer sent of what it can receive, in bit/s.
    pub remb: Option<u64>,
}

/// What is known of a line, for queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineState {
    /// The mid.
    pub mid: String,
    /// What it carries.
    pub kind: TrackKind,
    /// The name of its codec, in lower case.
    pub codec: String,
    /// Encodings of a simulcast source; 1 for any other.
    pub encodings: u8,
    /// Packets that came in.
    pub packets_received: u64,
    /// Bytes of payload in them.
    pub bytes_received: u64,
    /// Packets that went out.
    pub packets_sent: u64,
    /// Bytes of payload in them.
    pub bytes_sent: u64,
}

/// What a route delivers, for queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteState {
    /// What was asked for.
    pub target: LayerTarget,
    /// The encoding that is delivered.
    pub substream: Option<u8>,
    /// The highest temporal layer that is delivered.
    pub temporal: Option<u8>,
}

/// All PeerConnections of one shard, and the switch between them.
#[derive(Debug)]
pub struct Media {
    setup: MediaSetup,
    counters: MediaCounters,
}

impl Media {
    /// Starts without peers.
    pub fn new(setup: MediaSetup) -> Self {
        Self {
            setup,
            counters: MediaCounters::default(),
        }
    }

    /// Takes an offer: for a new peer, or for a renegotiation or an ICE restart of `peer`.
    ///
    /// The plan names payload types and extensions; sources are drawn here, so its `ssrc` and
    /// `rtx_ssrc` are ignored.
    ///
    /// # Errors
    ///
    /// [`MediaError::Offer`] if the offer lacks what a connection needs, [`MediaError::Limit`] if
    /// there are too many peers, [`MediaError::NoPeer`] if `peer` is gone.
    pub fn accept_offer(
        &mut self,
        _now: Now,
        _peer: Option<PeerId>,
        _owner: PeerOwner,
        _offer: &SessionDescription,
        _plan: &AnswerPlan,
        _options: OfferOptions,
    ) -> Result<Accepted, MediaError> {
        if self.setup.sockets.is_empty() {
            return Err(MediaError::Limit("PeerConnections"));
        }
        Err(MediaError::NoPeer)
    }

    /// Takes a trickled candidate. Names and addresses that may not be checked are ignored.
    pub fn add_remote_candidate(&mut self, _now: Now, _peer: PeerId, _candidate: &Candidate) {}

    /// Notes that no more candidates follow.
    pub fn end_of_candidates(&mut self, _now: Now, _peer: PeerId) {}

    /// Closes a peer: says goodbye and forgets it, with its routes. No event follows.
    pub fn close(&mut self, _now: Now, _peer: PeerId) {}

    /// Takes in a datagram. Media is queued for [`Media::flush`]; all else has its effect at once.
    pub fn datagram(&mut self, _now: Now, _sock: SockId, _from: SocketAddr, _bytes: &[u8]) {
        self.counters.dropped(DropReason::Unvalidated);
    }

    /// Ends a batch: forwards queued media receiver by receiver, expires timers, and appends what
    /// there is to send. Datagrams of one destination stand in a row.
    pub fn flush(&mut self, _now: Now, _out: &mut Vec<Datagram>) {}

    /// When [`Media::flush`] has something to do, if nothing comes in before.
    pub fn deadline(&self) -> Option<Monotonic> {
        None
    }

    /// The next event. Ask until there is none, after every call that takes `now`.
    pub fn next_event(&mut self) -> Option<(PeerId, PeerOwner, PeerEvent)> {
        None
    }

    /// Forwards what arrives on one line to another; the same line is an echo. Each line is fed by
    /// one route at most: a later one takes the place of an earlier one.
    pub fn route(&mut self, _from: LineRef, _to: LineRef) -> Option<RouteId> {
        None
    }

    /// Ends a route.
    pub fn unroute(&mut self, _route: RouteId) {}

    /// Mutes a route, or lets it pass again; then a key frame is asked for.
    pub fn set_route_enabled(&mut self, _now: Now, _route: RouteId, _enabled: Enabled) {}

    /// Sets which layers a route delivers. Lines without layers ignore it.
    pub fn set_layers(&mut self, _now: Now, _route: RouteId, _target: LayerTarget) {}

    /// Asks the sender of a line for a key frame, of all its encodings.
    pub fn request_keyframe(&mut self, _now: Now, _line: LineRef) {}

    /// Tells a peer how much it may send, in bit/s, at once and from time to time.
    pub fn set_bitrate(&mut self, _now: Now, _peer: PeerId, _bitrate: u64) {}

    /// Opens a data channel. [`PeerEvent::DataOpen`] follows.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPeer`], or [`MediaError::Limit`] if there are too many.
    pub fn open_channel(
        &mut self,
        _now: Now,
        _peer: PeerId,
        _label: &str,
        _protocol: &str,
    ) -> Result<(), MediaError> {
        Err(MediaError::NoPeer)
    }

    /// Sends a message on a data channel.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPeer`], [`MediaError::ChannelClosed`], or [`MediaError::Limit`] if the
    /// message does not fit into the send buffer: the channel is closed then, because a reliable
    /// channel may not lose one message and deliver the next.
    pub fn send_data(
        &mut self,
        _now: Now,
        _peer: PeerId,
        _channel: ChannelNumber,
        _form: DataForm,
        _bytes: &[u8],
    ) -> Result<(), MediaError> {
        Err(MediaError::NoPeer)
    }

    /// What is known of a peer.
    pub fn state(&self, _peer: PeerId) -> Option<PeerState> {
        None
    }

    /// What a route delivers.
    pub fn route_state(&self, _route: RouteId) -> Option<RouteState> {
        None
    }

    /// How many peers there are.
    pub fn peers_count(&self) -> usize {
        0
    }

    /// What was done and dropped so far.
    pub const fn counters(&self) -> &MediaCounters {
        &self.counters
    }
}
