//! PeerConnections, tracks and the switch that forwards their packets.
//!
//! [`Media`] is everything that one shard has of it. It is pure: datagrams and time come in,
//! datagrams and events come out. Plugins program its routes; packets never reach them.
//!
//! Invariant: a peer is touched through `Media::run` only, which keeps a panic inside one
//! PeerConnection from reaching the others, and carries out what the call caused.

mod bandwidth;
mod best;
mod carried;
mod counters;
mod datagrams;
mod demux;
mod early;
mod estimator;
mod event;
mod forward;
mod history;
mod info;
mod keyframes;
mod layers;
mod line;
mod offers;
mod pacer;
mod packet;
mod peer;
mod peer_answer;
mod peer_bwe;
mod peer_cert;
mod peer_cipher;
mod peer_config;
mod peer_direct;
mod peer_events;
mod peer_ext;
mod peer_head;
mod peer_keys;
mod peer_offer;
mod peer_open;
mod peer_pacing;
mod peer_padding;
mod peer_plain;
mod peer_srtp;
mod peer_tap;
mod plain;
mod probe;
mod rates;
mod recording;
mod refresh;
mod relay;
mod resend;
mod rewriter;
mod run;
mod selector;
mod setup;
mod source;
mod standing_queue;
mod statistics;
mod switch;
mod talk;
mod trial;

#[cfg(test)]
mod peer_tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::{PeerId, SockId};
use crate::base::slab::{Slab, SlabMap};
use crate::base::timers::Timers;
use crate::media::demux::{Demux, Source, Trust};
use crate::media::forward::Forwards;
use crate::media::keyframes::{EncodingRef, Keyframes};
use crate::media::packet::MediaPacket;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::peer_tap::{Heard, Tap};
use crate::media::plain::PlainSockets;
use crate::media::rates::Rates;
use crate::media::recording::Recorders;
use crate::media::refresh::Refreshes;
use crate::media::relay::Relays;
use crate::media::run::FanOut;
use crate::media::source::Sources;
use crate::media::switch::Switch;
use crate::media::talk::Talks;
use crate::mutant;
use crate::wire::capture::Direction;
use crate::wire::sdp::Candidate;
use crate::wire::stun;

pub use counters::{DropReason, MediaCounters, PeerEnd};
pub use datagrams::{Datagram, Datagrams};
pub use event::{
    Accepted, ChannelNumber, DataForm, Enabled, IceRestart, LayerForm, LayerTarget, LineRef,
    MediaError, OfferManner, OfferOptions, Offered, PeerEvent, PeerOwner, PlayoutDelay, RouteId,
    TrackKind,
};
pub use forward::{ForwardId, ForwardSpec, ForwardWhat};
pub use info::{LineInfo, PeerInfo, PeerStage};
pub use line::Traffic;
pub use peer_cert::{Certificate, CertificateError, Crypto};
pub use peer_plain::ExtensionIds;
pub use peer_srtp::{MASTER_SIZE, SrtpKeys, SrtpSuite};
pub use peer_tap::TapSpec;
pub use plain::{PlainEvent, PlainOwner, SOCKETS_MAX, SocketAct};
pub use recording::{RecordingAct, RecordingId, RecordingSpec, RecordingWrite};
pub use relay::Relay;
pub use rewriter::{Rewriter, Rewritten, SourceKey};
pub use setup::{LocalSocket, MediaSetup};
pub use source::{SourceLine, SourceSpec, remote_ssrc};
pub use statistics::{DataStatistics, LineStatistics, PeerStatistics, Reception, Sending};
pub use talk::{TalkRule, Talking};

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
    /// What the qualities of the source are.
    pub form: LayerForm,
    /// The encoding that is delivered, or the highest spatial layer if all are in one stream.
    pub substream: Option<u8>,
    /// The highest temporal layer that is delivered.
    pub temporal: Option<u8>,
}

/// All PeerConnections of one shard, and the switch between them.
#[derive(Debug)]
pub struct Media {
    setup: MediaSetup,
    counters: MediaCounters,
    /// Keys are given out here, because a peer's credentials are made of its key.
    ids: Slab<PeerId, ()>,
    peers: SlabMap<PeerId, Peer>,
    demux: Demux,
    switch: Switch,
    relays: Relays,
    rates: Rates,
    /// Peers whose share of layers is to be found anew.
    due_shares: BTreeSet<PeerId>,
    plain: PlainSockets,
    forwards: Forwards,
    recorders: Recorders,
    sources: Sources,
    keyframes: Keyframes,
    refreshes: Refreshes,
    talks: Talks,
    taps: BTreeMap<PeerOwner, Tap>,
    timers: Timers<PeerId>,
    events: VecDeque<(PeerId, PeerOwner, PeerEvent)>,
    /// Packets that came in since the last flush.
    batch: Vec<(PeerId, MediaPacket)>,
    /// The batch before, as far as it is not sent yet.
    fan_out: FanOut,
    /// Emptied after each use, and kept for its memory, like those below; but for its datagrams,
    /// which go out with the next flush, whoever made them.
    output: PeerOutput,
    due_keyframes: Vec<EncodingRef>,
}

/// Peers that expire within one turn, so that a stall is not followed by another.
const EXPIRE_MAX: usize = 128;

/// Datagrams of forwarded media after which they are to be sent before there are more: about
/// 140 KiB, which the second-level caches of today hold beside the state of the receivers.
const FLUSH_DATAGRAMS: usize = 128;

impl Media {
    /// Starts without peers.
    pub fn new(mut setup: MediaSetup) -> Self {
        let demux = Demux::new(&mut setup.rng);
        Self {
            plain: PlainSockets::new(setup.sockets.len()),
            setup,
            counters: MediaCounters::default(),
            ids: Slab::default(),
            peers: SlabMap::default(),
            demux,
            switch: Switch::default(),
            relays: Relays::default(),
            rates: Rates::default(),
            due_shares: BTreeSet::new(),
            forwards: Forwards::default(),
            recorders: Recorders::default(),
            sources: Sources::default(),
            keyframes: Keyframes::default(),
            refreshes: Refreshes::default(),
            talks: Talks::default(),
            taps: BTreeMap::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            batch: Vec::new(),
            fan_out: FanOut::default(),
            output: PeerOutput::default(),
            due_keyframes: Vec::new(),
        }
    }

    /// Takes a trickled candidate. Names and addresses that may not be checked are ignored.
    pub fn add_remote_candidate(&mut self, now: Now, peer: PeerId, candidate: &Candidate) {
        let max = self.setup.limits.candidates_count;
        self.run(now.monotonic, peer, |peer, out| {
            peer.add_candidate(candidate, max, out);
            peer.advance(now.monotonic, out);
        });
    }

    /// Notes that no more candidates follow. Nothing ends early for it: the remote may still be
    /// found by the checks that it sends.
    pub fn end_of_candidates(&mut self, _now: Now, peer: PeerId) {
        tracing::trace!(peer = peer.0, "no more candidates");
    }

    /// Closes a peer: says goodbye and forgets it, with its routes. No event follows.
    pub fn close(&mut self, now: Now, peer: PeerId) {
        self.run(now.monotonic, peer, |peer, out| {
            peer.close(now.monotonic, out);
            // What it has to say about its own end is known.
            out.events.clear();
            out.hangup = None;
        });
        self.remove(peer, PeerEnd::Closed);
    }

    /// Takes in a datagram. Media is queued for [`Media::flush`]; all else has its effect at once.
    pub fn datagram(&mut self, now: Now, sock: SockId, from: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += bytes.len() as u64;
        if self.plain_datagram(now, sock, from, bytes) {
            return;
        }
        let now = now.monotonic;
        let source = Source {
            sock,
            address: from,
        };
        let known = self.demux.find(source);
        let peer = if stun::is_stun(bytes) {
            let named = stun::peek_ufrag(bytes).and_then(|ufrag| self.peer_of(ufrag));
            let Some(id) = named.or(known.map(|entry| entry.peer)) else {
                self.counters.dropped(DropReason::StunUnknown);
                return;
            };
            let accepted = self.run(now, id, |peer, _| peer.accepts_stun(now, sock, from, bytes));
            if accepted != Some(true) {
                self.counters.dropped(DropReason::StunUnknown);
                return;
            }
            self.demux.validated(source, id);
            id
        } else {
            match known {
                Some(entry) if entry.trust == Trust::Validated => entry.peer,
                Some(_) | None => {
                    self.counters.dropped(DropReason::Unvalidated);
                    return;
                }
            }
        };
        if !self.taps.is_empty() {
            let heard = Heard {
                direction: Direction::Inbound,
                local: self.setup.sockets[usize::from(sock.0)].base(),
                remote: from,
                bytes,
            };
            self.overhear(now, peer, &heard);
        }
        self.run(now, peer, |peer, out| {
            peer.receive(now, sock, from, bytes, out)
        });
    }

    /// Ends a batch: forwards queued media receiver by receiver, expires timers, and appends what
    /// there is to send. Datagrams of one destination stand in a row. When `out` has become long,
    /// the rest of the media is due at once: [`Media::deadline`] says so.
    pub fn flush(&mut self, now: Now, out: &mut Datagrams) {
        let now = now.monotonic;
        let before = (out.len(), out.bytes_count());
        for Datagram { sock, to, bytes } in self.output.datagrams.iter() {
            out.push(sock, to, bytes);
        }
        self.output.datagrams.clear();
        // What follows is written where it leaves from.
        std::mem::swap(&mut self.output.datagrams, out);
        // Before media goes out, so that a new receiver does not begin with more than it can take.
        self.share_bandwidth(now);
        self.forward(now, FLUSH_DATAGRAMS);
        for _ in 0..EXPIRE_MAX {
            let Some(peer) = self.timers.expire(now) else {
                break;
            };
            self.run(now, peer, |peer, out| peer.tick(now, out));
        }
        self.share_bandwidth(now);
        self.refresh_lines(now);
        self.ask_keyframes(now);
        self.latch_forwards(now);
        self.write_recordings(now);
        self.bound_output(before.0);
        std::mem::swap(&mut self.output.datagrams, out);
        self.counters.datagrams_sent += (out.len() - before.0) as u64;
        self.counters.bytes_sent += (out.bytes_count() - before.1) as u64;
    }

    /// When [`Media::flush`] has something to do, if nothing comes in before.
    pub fn deadline(&self) -> Option<Monotonic> {
        let deadlines = [
            self.timers.next(),
            self.fan_out.deadline(),
            self.keyframes.deadline(),
            self.refreshes.deadline(),
            self.forwards.deadline(),
            self.recorders.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The next event. Ask until there is none, after every call that takes `now`.
    pub fn next_event(&mut self) -> Option<(PeerId, PeerOwner, PeerEvent)> {
        self.events.pop_front()
    }

    /// Forwards what arrives on one line to another; the same line is an echo. Each line is fed by
    /// one route at most: a later one takes the place of an earlier one.
    pub fn route(&mut self, now: Now, from: LineRef, to: LineRef) -> Option<RouteId> {
        if !self.relays.is_stand_in(from.peer) && !self.has_lines(from.peer) {
            return None;
        }
        self.peers.get(to.peer)?;
        if self.switch.routes_from(from).is_empty() {
            self.relays.want(from);
        }
        let route = self.switch.route(from, to);
        self.due_shares.insert(to.peer);
        self.request_keyframe(now, from);
        Some(route)
    }

    /// Ends a route.
    pub fn unroute(&mut self, route: RouteId) {
        self.switch.unroute(route);
    }

    /// Mutes a route, or lets it pass again; then a key frame is asked for.
    pub fn set_route_enabled(&mut self, now: Now, route: RouteId, enabled: Enabled) {
        let Some(changed) = self.switch.get_mut(route) else {
            return;
        };
        let changes = changed.set_enabled(enabled);
        self.due_shares.insert(changed.to.peer);
        if changes && enabled == Enabled::Yes && !mutant!(ResumeNoKeyframe) {
            let from = changed.from;
            self.request_keyframe(now, from);
        }
    }

    /// Mutes a line for all its routes, or lets it pass again; then a key frame is asked for.
    pub fn set_line_enabled(&mut self, now: Now, line: LineRef, enabled: Enabled) {
        let changed = self.has_lines(line.peer) && self.switch.set_source_enabled(line, enabled);
        if changed && enabled == Enabled::Yes {
            self.request_keyframe(now, line);
        }
    }

    /// Sets which layers a route delivers. Lines without layers ignore it.
    pub fn set_layers(&mut self, now: Now, route: RouteId, target: LayerTarget) {
        let Some(route) = self.switch.get_mut(route) else {
            return;
        };
        route.set_target(now.monotonic, target);
        self.due_shares.insert(route.to.peer);
        if let Some(encoding) = route.wanted(now.monotonic) {
            let line = route.from;
            self.keyframes
                .want(now.monotonic, EncodingRef { line, encoding });
        }
    }

    /// Asks the sender of a line for a key frame, of all its encodings.
    pub fn request_keyframe(&mut self, now: Now, line: LineRef) {
        if self.relays.ask_keyframe(line, None) {
            return;
        }
        self.want_keyframes(now.monotonic, line);
    }

    /// Says how long receivers are to wait before they play what a line sends or takes in, in place
    /// of what its packets say.
    pub fn set_playout_delay(&mut self, line: LineRef, delay: Option<PlayoutDelay>) {
        let peer = self.peers.get_mut(line.peer);
        if let Some(line) = peer.and_then(|peer| peer.line_mut(line.line)) {
            line.playout_delay = delay;
        }
    }

    /// Tells a peer how much it may send, in bit/s, at once and from time to time; 0 is as much as
    /// it likes.
    pub fn set_bitrate(&mut self, now: Now, peer: PeerId, bitrate: u64) {
        self.run(now.monotonic, peer, |peer, out| {
            peer.set_bitrate(now.monotonic, bitrate, out);
        });
    }

    /// Opens a data channel. [`PeerEvent::DataOpen`] follows.
    ///
    /// # Errors
    ///
    /// [`MediaError::NoPeer`], or [`MediaError::Limit`] if there are too many.
    pub fn open_channel(
        &mut self,
        now: Now,
        peer: PeerId,
        label: &str,
        protocol: &str,
    ) -> Result<(), MediaError> {
        let opened = self.run(now.monotonic, peer, |peer, out| {
            peer.open_channel(now.monotonic, label, protocol, out)
        });
        opened.unwrap_or(Err(MediaError::NoPeer))
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
        now: Now,
        peer: PeerId,
        channel: ChannelNumber,
        form: DataForm,
        bytes: &[u8],
    ) -> Result<(), MediaError> {
        let sent = self.run(now.monotonic, peer, |peer, out| {
            peer.send_data(now.monotonic, channel, form, bytes, out)
        });
        self.counters.messages_sent += u64::from(sent == Some(Ok(())));
        sent.unwrap_or(Err(MediaError::NoPeer))
    }

    /// Counts a message that a plugin could not send.
    pub fn dropped_message(&mut self, why: DropReason) {
        self.counters.dropped(why);
    }

    /// What is known of a peer.
    pub fn state(&self, peer: PeerId) -> Option<PeerState> {
        let peer = self.peers.get(peer)?;
        Some(PeerState {
            up: peer.is_up(),
            lines: peer
                .lines
                .iter()
                .map(|line| line.as_ref().map(line::Line::state))
                .collect(),
            remb: peer.remote_bitrate(),
        })
    }

    /// What a route delivers.
    pub fn route_state(&self, route: RouteId) -> Option<RouteState> {
        self.switch.get(route).map(switch::Route::state)
    }

    /// How many peers there are.
    pub fn peers_count(&self) -> usize {
        self.ids.len() - self.relays.stand_ins_count() - self.sources.len()
    }

    /// How many lines are fed by others.
    pub fn routes_count(&self) -> usize {
        self.switch.len()
    }

    /// How many lines have their packets sent to other shards, counted once for each shard.
    pub fn interests_count(&self) -> usize {
        self.relays.interests_count()
    }

    /// What was done and dropped so far.
    pub const fn counters(&self) -> &MediaCounters {
        &self.counters
    }

    /// The peer that a user name fragment of a check belongs to.
    fn peer_of(&self, ufrag: &str) -> Option<PeerId> {
        let id = self.demux.named(ufrag)?;
        let peer = self.peers.get(id)?;
        (peer.local_ice.ufrag == ufrag).then_some(id)
    }
}
