//! The turn: calls to peers, what they cause, and the batch on its way to its receivers.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::Media;
use crate::media::counters::{DropReason, PeerEnd};
use crate::media::demux::Source;
use crate::media::event::{LineRef, PeerEvent, PeerOwner, RouteId};
use crate::media::keyframes::EncodingRef;
use crate::media::packet::MediaPacket;
use crate::media::peer::{Peer, PeerOutput};
use crate::media::switch::Route;
use crate::wire::stun;

/// Packets that one turn may bring: those of 64 datagrams, and what retransmissions fill in.
pub(super) const BATCH_MAX: usize = 512;

/// A batch on its way: who is to be given which of its packets.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    packets: Vec<(PeerId, MediaPacket)>,
    /// By receiver.
    work: Vec<Work>,
    /// How much of the work is done.
    done: usize,
    /// When it was begun.
    since: Option<Monotonic>,
}

/// Packets in a row that go along one route.
#[derive(Debug)]
struct Work {
    to: PeerId,
    route: RouteId,
    /// Their places in the batch.
    packets: Range<usize>,
}

impl FanOut {
    const fn is_done(&self) -> bool {
        self.done == self.work.len()
    }

    /// What is left is due at once.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.since.filter(|_| !self.is_done())
    }
}

impl Media {
    /// Sends the batch on, one receiver at a time: its state is big, and one visit keeps it in the
    /// cache. After `room` datagrams the rest waits for the next flush, so that what was encrypted
    /// is sent while it is in the cache, and the first receivers need not wait for the last.
    pub(super) fn forward(&mut self, now: Monotonic, room: usize) {
        loop {
            if self.fan_out.is_done() {
                if self.batch.is_empty() {
                    return;
                }
                self.plan(now);
            }
            self.work_off(now, room);
            if !self.fan_out.is_done() {
                return;
            }
        }
    }

    /// Finds out who is to be given what of the batch.
    fn plan(&mut self, now: Monotonic) {
        let mut plan = std::mem::take(&mut self.fan_out);
        plan.packets.clear();
        plan.work.clear();
        plan.done = 0;
        plan.since = Some(now);
        std::mem::swap(&mut plan.packets, &mut self.batch);
        let line_of = |(peer, packet): &(PeerId, MediaPacket)| LineRef {
            peer: *peer,
            line: packet.line,
        };
        let mut first = 0;
        let in_a_row = |one: &_, other: &_| line_of(one) == line_of(other);
        for row in plan.packets.chunk_by(in_a_row) {
            let line = line_of(&row[0]);
            for (_, packet) in row {
                self.take_note(now, line, packet);
            }
            let packets = first..first + row.len();
            first = packets.end;
            if self.switch.is_muted(line) {
                continue;
            }
            for id in self.switch.routes_from(line) {
                let route = self.switch.get(*id);
                let route = route.expect("routes are indexed while they exist");
                plan.work.push(Work {
                    to: route.to.peer,
                    route: *id,
                    packets: packets.clone(),
                });
            }
        }
        self.relays.seal();
        // Stable: the packets of one receiver stay in order.
        plan.work.sort_by_key(|work| work.to);
        self.fan_out = plan;
    }

    /// Shows a packet of the batch to all who are not its receivers.
    fn take_note(&mut self, now: Monotonic, line: LineRef, packet: &MediaPacket) {
        let encoding = packet.encoding;
        if packet.facts.keyframe {
            self.keyframes.seen(EncodingRef { line, encoding });
            self.refreshes.seen(now, line);
        } else if !self.keyframes.is_empty() {
            self.keyframes.heard(now, EncodingRef { line, encoding });
        }
        if self.switch.is_muted(line) {
            return;
        }
        if !self.talks.is_empty()
            && let Some(level) = packet.values.level()
            && let Some(talking) = self.talks.hear(line, level)
        {
            self.tell_talking(line, talking);
        }
        self.relays.push(line, packet);
        if !self.forwards.is_empty() {
            self.forward_plain(now, line, packet);
        }
        if !self.recorders.is_empty() {
            self.record_packet(now, line, packet);
        }
        // Layers are known before the first who is to choose among them comes.
        if packet.is_simulcast || !self.switch.routes_from(line).is_empty() {
            self.rates.note(now, line, packet);
        }
    }

    /// Serves receivers until there are no more, or so many datagrams are there.
    fn work_off(&mut self, now: Monotonic, room: usize) {
        let mut plan = std::mem::take(&mut self.fan_out);
        let mut switch = std::mem::take(&mut self.switch);
        let mut forwarded_count = 0;
        let mut wanted = std::mem::take(&mut self.due_keyframes);
        let left = &plan.work[plan.done..];
        for run in left.chunk_by(|one, other| one.to == other.to) {
            if self.output.datagrams.len() >= room {
                break;
            }
            plan.done += run.len();
            let to = run[0].to;
            self.run(now, to, |peer, out| {
                for work in run {
                    let id = work.route;
                    // It may have been taken away, or its source muted, since the batch was begun.
                    let Some(route) = switch.open(id) else {
                        continue;
                    };
                    let mut send = |route: &mut Route, packet: &MediaPacket| {
                        let is_sent = deliver(now, peer, id, route, packet, out, &mut wanted);
                        forwarded_count += u64::from(is_sent);
                        is_sent
                    };
                    for (_, packet) in &plan.packets[work.packets.clone()] {
                        if send(route, packet) {
                            for packet in route.overtakers(now, packet) {
                                send(route, &packet);
                            }
                        }
                    }
                }
            });
            // One that was hung up on the way took its routes out of an empty switch.
            if self.peers.get(to).is_none() {
                switch.forget(to);
            }
        }
        for encoding in wanted.drain(..) {
            self.keyframes.want(now, encoding);
        }
        self.switch = switch;
        self.counters.packets_forwarded += forwarded_count;
        self.due_keyframes = wanted;
        if plan.is_done() {
            // Payloads are big, and their senders' memory.
            plan.packets.clear();
        }
        self.fan_out = plan;
    }

    pub(super) fn ask_keyframes(&mut self, now: Monotonic) {
        let mut due = std::mem::take(&mut self.due_keyframes);
        self.keyframes.expire(now, &mut due);
        for EncodingRef { line, encoding } in due.drain(..) {
            let is_remote = self.relays.is_stand_in(line.peer);
            if is_remote && self.switch.routes_from(line).is_empty() {
                // Nobody is left who wants it, and nothing comes that could show it.
                self.keyframes.seen(EncodingRef { line, encoding });
                continue;
            }
            if self.relays.ask_keyframe(line, Some(encoding)) {
                continue;
            }
            let asked = self.ask_source(line, encoding).or_else(|| {
                self.run(now, line.peer, |peer, out| {
                    peer.request_keyframe(now, line.line, encoding, out)
                })
            });
            self.counters.keyframes_requested += u64::from(asked == Some(true));
        }
        self.due_keyframes = due;
    }

    /// Calls a peer, and carries out what the call caused. A panic ends the peer and nothing else.
    pub(super) fn run<R>(
        &mut self,
        now: Monotonic,
        id: PeerId,
        call: impl FnOnce(&mut Peer, &mut PeerOutput) -> R,
    ) -> Option<R> {
        let peer = self.peers.get_mut(id)?;
        let output = &mut self.output;
        let before = output.datagrams.len();
        // Of what the call may leave half done, the peer is thrown away and the output is a list.
        let result = catch_unwind(AssertUnwindSafe(|| call(peer, output)));
        match result {
            Ok(result) => {
                self.settle(now, id, before);
                Some(result)
            }
            Err(_) => {
                let owner = peer.owner;
                tracing::error!(peer = id.0, "a peer panicked");
                let mut datagrams = std::mem::take(&mut self.output.datagrams);
                datagrams.truncate(before);
                self.output = PeerOutput {
                    datagrams,
                    ..PeerOutput::default()
                };
                self.hang_up(id, owner, PeerEnd::Internal);
                None
            }
        }
    }

    /// Takes out the datagrams that there is no room for, but none of those that were there before.
    pub(super) fn bound_output(&mut self, before: usize) {
        let datagrams = &mut self.output.datagrams;
        let count = self.setup.limits.datagrams_count.max(before);
        for _ in count..datagrams.len() {
            self.counters.dropped(DropReason::LaneFull);
        }
        datagrams.truncate(count);
    }

    /// Carries out what a call to a peer caused, whose datagrams come behind those `before`.
    fn settle(&mut self, now: Monotonic, id: PeerId, before: usize) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let owner = peer.owner;
        let deadline = peer.deadline();
        if !self.taps.is_empty() {
            self.overhear_output(now, id, before);
        }
        for datagram in self.output.datagrams.iter_from(before) {
            if stun::is_stun(datagram.bytes) {
                let source = Source {
                    sock: datagram.sock,
                    address: datagram.to,
                };
                self.demux.checked(source, id);
            }
        }
        self.bound_output(before);
        for packet in self.output.packets.drain(..) {
            self.counters.packets_received += 1;
            if self.batch.len() < BATCH_MAX {
                self.batch.push((id, packet));
            } else {
                self.counters.dropped(DropReason::BatchFull);
            }
        }
        for why in self.output.drops.drain(..) {
            self.counters.dropped(why);
        }
        for event in self.output.events.drain(..) {
            self.counters.event(&event);
            self.events.push_back((id, owner, event));
        }
        self.counters.packets_resent += std::mem::take(&mut self.output.resent);
        self.counters.packets_padding += std::mem::take(&mut self.output.padding);
        if std::mem::take(&mut self.output.has_estimate) {
            self.due_shares.insert(id);
        }
        for line in self.output.keyframes.drain(..) {
            self.counters.keyframes_wanted += 1;
            let to = LineRef { peer: id, line };
            let route = self.switch.route_to(to).and_then(|id| self.switch.get(id));
            if let Some(route) = route {
                let encoding = route.encoding();
                let line = route.from;
                self.keyframes.want(now, EncodingRef { line, encoding });
            }
        }
        if let Some(end) = self.output.hangup.take() {
            self.hang_up(id, owner, end);
            return;
        }
        // A deadline that moves away may stay: it only wakes the peer for nothing, once.
        let armed = self.timers.deadline_of(id);
        if armed.is_none_or(|armed| deadline < armed) {
            self.timers.arm(id, deadline);
        }
    }

    fn hang_up(&mut self, id: PeerId, owner: PeerOwner, end: PeerEnd) {
        if let Some(peer) = self.peers.get(id).filter(|peer| peer.is_up()) {
            let last = PeerEvent::Statistics(Box::new(peer.statistics()));
            self.events.push_back((id, owner, last));
        }
        self.remove(id, end);
        let reason = end.reason();
        self.events
            .push_back((id, owner, PeerEvent::Hangup { reason }));
    }

    pub(super) fn remove(&mut self, id: PeerId, end: PeerEnd) {
        if self.ids.remove(id).is_none() {
            return;
        }
        self.counters.ended(end);
        self.peers.remove(id);
        self.demux.forget(id);
        self.timers.cancel(id);
        self.keyframes.forget(id);
        self.refreshes.forget(id);
        self.talks.forget(id);
        self.rates.forget(id);
        self.due_shares.remove(&id);
        self.switch.forget(id);
        self.relays.forget(id);
        self.forwards.forget(id);
        self.recorders.end_peer(id);
        self.batch.retain(|(peer, _)| *peer != id);
    }
}

/// Takes a packet along a route to its receiver; tells whether it was sent.
fn deliver(
    now: Monotonic,
    peer: &mut Peer,
    id: RouteId,
    route: &mut Route,
    packet: &MediaPacket,
    out: &mut PeerOutput,
    wanted: &mut Vec<EncodingRef>,
) -> bool {
    let index = route.to.line;
    let is_up = peer.is_up();
    let Some(line) = peer
        .line_mut(index)
        .filter(|line| is_up && line.offer.sends && line.is_taken)
    else {
        return false;
    };
    let (forwarded, news) = route.pass(now, packet, &mut line.rewriter);
    if news.substream.is_some() || news.temporal.is_some() {
        out.events.push(PeerEvent::Layers {
            route: id,
            line: index,
            form: route.form(),
            substream: news.substream,
            temporal: news.temporal,
        });
    }
    wanted.extend(news.wanted.map(|encoding| EncodingRef {
        line: route.from,
        encoding,
    }));
    let Some(forwarded) = forwarded else {
        return false;
    };
    peer.write(now, index, packet, forwarded, out)
}
