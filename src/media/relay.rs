//! Lines of other shards: packets that come from there and that go there.
//!
//! A route may begin at a line of another shard. Here such a line belongs to a *stand-in*, a key
//! without a peer; the shard of the real peer is told that packets are wanted, and sends them, one
//! message per batch and shard. What is not wanted any more is found out when it arrives.
//!
//! Invariant: a stand-in exists while routes begin at its lines, or until its peer is gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::clock::Now;
use crate::base::id::{PeerId, ShardId};
use crate::media::Media;
use crate::media::counters::DropReason;
use crate::media::event::LineRef;
use crate::media::keyframes::EncodingRef;
use crate::media::packet::MediaPacket;
use crate::media::run::BATCH_MAX;
use crate::mutant;

/// What the media of one shard tells that of another. Lines are those of the peer's shard.
#[derive(Debug)]
pub struct Relay(Kind);

#[derive(Debug)]
enum Kind {
    /// The peer is gone.
    Gone(PeerId),
    /// A key frame of one encoding is needed, or of all.
    Keyframe(LineRef, Option<u8>),
    /// Packets of lines that are wanted.
    Packets(Vec<(LineRef, MediaPacket)>),
    /// Packets of a line are not wanted any more.
    Unwant(LineRef),
    /// Packets of a line are wanted.
    Want(LineRef),
}

impl Relay {
    /// How many packets it carries.
    pub const fn packets_count(&self) -> usize {
        match &self.0 {
            Kind::Packets(packets) => packets.len(),
            Kind::Gone(_) | Kind::Keyframe(..) | Kind::Unwant(_) | Kind::Want(_) => 0,
        }
    }
}

/// Who stands in for whom, and who wants what.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// Peers of other shards, by their stand-ins here.
    peers: BTreeMap<PeerId, (ShardId, PeerId)>,
    stand_ins: BTreeMap<(ShardId, PeerId), PeerId>,
    /// Shards that want packets of lines here.
    wanted: BTreeMap<LineRef, BTreeSet<ShardId>>,
    out: Vec<(ShardId, Relay)>,
    batches: BTreeMap<ShardId, Vec<(LineRef, MediaPacket)>>,
}

impl Relays {
    pub(super) fn is_stand_in(&self, peer: PeerId) -> bool {
        self.peers.contains_key(&peer)
    }

    pub(super) fn stand_ins_count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn interests_count(&self) -> usize {
        self.wanted.values().map(BTreeSet::len).sum()
    }

    /// Notes a packet for those who want it.
    pub(super) fn push(&mut self, line: LineRef, packet: &MediaPacket) {
        for shard in self.wanted.get(&line).into_iter().flatten() {
            let batch = self.batches.entry(*shard).or_default();
            if mutant!(RelayKeepsLast) {
                batch.clear();
            }
            batch.push((line, packet.clone()));
        }
    }

    /// Ends a batch.
    pub(super) fn seal(&mut self) {
        for (shard, batch) in &mut self.batches {
            if !batch.is_empty() {
                let packets = std::mem::take(batch);
                self.out.push((*shard, Relay(Kind::Packets(packets))));
            }
        }
    }

    /// Asks the shard of a line for a key frame; `false` if the line is not another shard's.
    pub(super) fn ask_keyframe(&mut self, line: LineRef, encoding: Option<u8>) -> bool {
        let Some((shard, there)) = self.there(line) else {
            return false;
        };
        self.out
            .push((shard, Relay(Kind::Keyframe(there, encoding))));
        true
    }

    /// Asks for the packets of a line, if it is another shard's.
    pub(super) fn want(&mut self, line: LineRef) {
        if let Some((shard, there)) = self.there(line) {
            self.out.push((shard, Relay(Kind::Want(there))));
        }
    }

    /// A peer of this shard is gone: tells those who were given its packets.
    pub(super) fn forget(&mut self, peer: PeerId) {
        let shards: BTreeSet<ShardId> = self
            .wanted
            .iter()
            .filter(|(line, _)| line.peer == peer)
            .flat_map(|(_, shards)| shards.iter().copied())
            .collect();
        self.wanted.retain(|line, _| line.peer != peer);
        for shard in shards {
            self.out.push((shard, Relay(Kind::Gone(peer))));
        }
    }

    fn there(&self, line: LineRef) -> Option<(ShardId, LineRef)> {
        let (shard, peer) = *self.peers.get(&line.peer)?;
        Some((
            shard,
            LineRef {
                peer,
                line: line.line,
            },
        ))
    }

    fn remove(&mut self, stand_in: PeerId) {
        if let Some(there) = self.peers.remove(&stand_in) {
            self.stand_ins.remove(&there);
        }
    }
}

impl Media {
    /// The name here of a line on another shard, to route from.
    pub fn remote_line(&mut self, shard: ShardId, line: LineRef) -> LineRef {
        let there = (shard, line.peer);
        let peer = match self.relays.stand_ins.get(&there) {
            Some(peer) => *peer,
            None => {
                let peer = self.ids.insert(());
                self.relays.stand_ins.insert(there, peer);
                self.relays.peers.insert(peer, there);
                peer
            }
        };
        LineRef {
            peer,
            line: line.line,
        }
    }

    /// What is to be told to the media of other shards.
    pub fn take_relays(&mut self) -> Vec<(ShardId, Relay)> {
        std::mem::take(&mut self.relays.out)
    }

    /// Takes in what the media of another shard says. Packets are queued for [`Media::flush`].
    pub fn relayed(&mut self, now: Now, from: ShardId, relay: Relay) {
        match relay.0 {
            Kind::Gone(peer) => {
                if let Some(stand_in) = self.relays.stand_ins.get(&(from, peer)).copied() {
                    self.end_stand_in(stand_in);
                }
            }
            Kind::Keyframe(line, Some(encoding)) => {
                if self.has_lines(line.peer) {
                    let encoding = EncodingRef { line, encoding };
                    self.keyframes.want(now.monotonic, encoding);
                }
            }
            Kind::Keyframe(line, None) => self.request_keyframe(now, line),
            Kind::Packets(packets) => {
                for (line, packet) in packets {
                    if mutant!(RelayTwice) {
                        self.take_relayed(from, line, packet.clone());
                    }
                    self.take_relayed(from, line, packet);
                }
            }
            Kind::Unwant(line) => {
                if let Some(shards) = self.relays.wanted.get_mut(&line) {
                    shards.remove(&from);
                    if shards.is_empty() {
                        self.relays.wanted.remove(&line);
                    }
                }
            }
            Kind::Want(line) => {
                if !self.has_lines(line.peer) {
                    self.relays.out.push((from, Relay(Kind::Gone(line.peer))));
                    return;
                }
                self.relays.wanted.entry(line).or_default().insert(from);
                self.request_keyframe(now, line);
            }
        }
    }

    fn take_relayed(&mut self, from: ShardId, line: LineRef, packet: MediaPacket) {
        let stand_in = self.relays.stand_ins.get(&(from, line.peer)).copied();
        let here = stand_in.map(|peer| LineRef {
            peer,
            line: line.line,
        });
        let Some(here) = here.filter(|here| !self.switch.routes_from(*here).is_empty()) else {
            if !mutant!(InterestForever) {
                self.relays.out.push((from, Relay(Kind::Unwant(line))));
            }
            if let Some(stand_in) = stand_in
                && !self.switch.has_routes_from(stand_in)
            {
                self.end_stand_in(stand_in);
            }
            return;
        };
        if self.batch.len() < BATCH_MAX {
            self.batch.push((here.peer, packet));
        } else {
            self.counters.dropped(DropReason::BatchFull);
        }
    }

    fn end_stand_in(&mut self, stand_in: PeerId) {
        self.relays.remove(stand_in);
        self.ids.remove(stand_in);
        self.keyframes.forget(stand_in);
        self.rates.forget(stand_in);
        self.switch.forget(stand_in);
        self.batch.retain(|(peer, _)| *peer != stand_in);
    }
}
