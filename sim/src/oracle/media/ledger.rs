//! What is known of all peers: what each does, since when, and when the world was out of order.
//!
//! Invariant: a bound counts calm time only, so that a fault puts off a deadline and never lifts it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::faults::media::{MediaPlan, PeerPlan, PeerRole};
use crate::kernel::tcp::Way;
use crate::kernel::time::SimTime;
use crate::models::peer::frames::{Kind, Tag};
use crate::models::peer::source::first_sequence;
use crate::oracle::media::fact::{MediaFact, Step};

/// What is known of all peers.
#[derive(Debug, Default)]
pub struct MediaLedger {
    plans: Vec<PeerPlan>,
    states: Vec<PeerState>,
    is_lossless: bool,
    is_orderly: bool,
    /// When links or shards were out of order, in order of their beginnings.
    faults: Vec<(SimTime, SimTime)>,
    /// When datagrams of a peer were lost as a whole.
    blocks: Vec<Block>,
    /// Peers that the gateway has to find: the block, by its place above, and how much of the
    /// gateway's time it lasts.
    searches: Vec<(usize, Duration)>,
    /// When the gateway's clocks stood still, in order of their beginnings.
    suspends: Vec<(SimTime, SimTime)>,
    /// What is sent, by peer and encoding.
    streams: BTreeMap<(u32, Kind, u8), Rounds>,
}

/// Datagrams of a peer are lost, one way as it sees it.
#[derive(Clone, Copy, Debug)]
struct Block {
    peer: u32,
    way: Way,
    from: SimTime,
    to: SimTime,
}

/// Whether the gateway can know how often the sequence numbers of a stream began anew.
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    life: u16,
    /// It got something of the stream.
    is_heard: bool,
    /// They began anew before that.
    is_lost: bool,
}

/// What a peer does.
#[derive(Clone, Debug, Default)]
pub struct PeerState {
    /// It has come, and not said that it goes.
    pub is_here: bool,
    /// Since when its call is up.
    pub up: Option<SimTime>,
    /// The gateway says so, too.
    pub is_told_up: bool,
    /// Which shard has it.
    pub shard: u8,
    /// Since when it sends.
    pub sends: Option<SimTime>,
    /// Since when it sends pictures.
    pub pictures: Option<SimTime>,
    /// Since when it is to be given streams of others.
    pub watches: BTreeMap<u32, SimTime>,
    /// Those whose pictures were off when it subscribed to them: what is disabled then is not given
    /// later unless it asks again. Who joins with a subscription is given it when it comes back.
    pub blind: BTreeSet<u32>,
    /// The layers that it wants, and since when.
    pub layers: Option<(u8, u8, SimTime)>,
    /// When it last did anything that changes what it gets or gives.
    pub changed: SimTime,
    /// Since when it is out of its room.
    pub out: Option<SimTime>,
    /// Since when it is silent without having said so.
    pub silent: Option<SimTime>,
}

impl MediaLedger {
    /// Nothing has happened yet.
    pub fn new(media: &MediaPlan) -> Self {
        Self {
            plans: media.peers.clone(),
            states: vec![PeerState::default(); media.peers.len()],
            is_lossless: media.is_lossless(),
            is_orderly: media.link.latency.0 == media.link.latency.1,
            faults: Vec::new(),
            blocks: Vec::new(),
            searches: Vec::new(),
            suspends: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    /// Takes in a fact.
    pub fn note(&mut self, at: SimTime, fact: &MediaFact) {
        let (peer, step) = match fact {
            MediaFact::Step { peer, step } => (*peer, *step),
            MediaFact::Up { peer, shard } => {
                let state = &mut self.states[*peer as usize];
                state.up = Some(at);
                state.shard = *shard;
                state.changed = at;
                return;
            }
            MediaFact::Ended { peer } => {
                let state = &mut self.states[*peer as usize];
                state.up = None;
                state.is_told_up = false;
                state.watches.clear();
                state.changed = at;
                return;
            }
            MediaFact::Sent(tag) => {
                self.note_sent(at, tag);
                return;
            }
            MediaFact::ToldUp { peer } => {
                self.states[*peer as usize].is_told_up = true;
                return;
            }
            MediaFact::Out { peer } => {
                let state = &mut self.states[*peer as usize];
                // Whoever is about to come in comes into another room of that number.
                if state.sends.is_some() {
                    state.out.get_or_insert(at);
                }
                return;
            }
            MediaFact::Got { .. }
            | MediaFact::HungUp { .. }
            | MediaFact::KeyframeWanted { .. }
            | MediaFact::Missed { .. }
            | MediaFact::Relayed { .. }
            | MediaFact::Remb { .. }
            | MediaFact::Report { .. }
            | MediaFact::Wire { .. } => return,
        };
        let state = &mut self.states[peer as usize];
        state.changed = at;
        match step {
            Step::Changes => {}
            Step::Joins => state.is_here = true,
            Step::Leaves => state.is_here = false,
            Step::Layers {
                substream,
                temporal,
            } => state.layers = Some((substream, temporal, at)),
            Step::Pictures(is_on) => state.pictures = is_on.then_some(at),
            Step::Sends(is_on) => {
                state.sends = is_on.then_some(at);
                if !is_on {
                    state.pictures = None;
                }
            }
            Step::Silent => {
                state.silent.get_or_insert(at);
                state.watches.clear();
            }
            // It goes on to talk to the gateway, and is out of its reach.
            Step::Watches(_) if state.silent.is_some() => state.watches.clear(),
            Step::Watches(mask) => self.watch(at, peer, mask),
        }
    }

    /// Notes whose streams a peer is to be given from now on.
    fn watch(&mut self, at: SimTime, peer: u32, mask: u32) {
        let is_on = |peer: &u32| mask.checked_shr(*peer).unwrap_or(0) & 1 == 1;
        let is_dark = |state: &&PeerState| state.sends.is_some() && state.pictures.is_none();
        let dark: BTreeSet<u32> = (0..u32::BITS)
            .filter(|peer| self.states.get(*peer as usize).filter(is_dark).is_some())
            .collect();
        let state = &mut self.states[peer as usize];
        state.watches.retain(|peer, _| is_on(peer));
        state.blind.retain(is_on);
        let has_joined = !state.watches.is_empty();
        for peer in (0..u32::BITS).filter(is_on) {
            if let Entry::Vacant(place) = state.watches.entry(peer) {
                place.insert(at);
                state.blind.extend(dark.get(&peer).filter(|_| has_joined));
            }
        }
    }

    fn note_sent(&mut self, at: SimTime, tag: &Tag) {
        let first = first_sequence(&self.plans[tag.peer as usize], tag.encoding);
        let sequence = first.wrapping_add(tag.number as u16);
        let arrives = self.states[tag.peer as usize].is_told_up
            && !self.blocks.iter().any(|block| {
                block.peer == tag.peer && block.way == Way::Out && block.from <= at && at < block.to
            });
        let stream = (tag.peer, tag.kind, tag.encoding);
        let rounds = self.streams.entry(stream).or_default();
        if rounds.life != tag.life {
            *rounds = Rounds {
                life: tag.life,
                ..Rounds::default()
            };
        }
        rounds.is_lost |= sequence == 0 && !rounds.is_heard;
        rounds.is_heard |= arrives;
    }

    /// Notes that shards or the mesh are out of order.
    pub fn note_fault(&mut self, from: SimTime, to: SimTime) {
        self.faults.push((from, to));
    }

    /// Notes that all datagrams of a peer are lost for a while, one way as it sees it.
    pub fn note_block(&mut self, peer: u32, way: Way, from: SimTime, to: SimTime) {
        self.blocks.push(Block {
            peer,
            way,
            from,
            to,
        });
    }

    /// Notes that the gateway stands still with its clocks: it finds nobody meanwhile.
    pub fn note_suspend(&mut self, from: SimTime, to: SimTime) {
        self.note_fault(from, to);
        self.suspends.push((from, to));
        for (index, lasts) in &self.searches {
            self.blocks[*index].to = self.gateway_after(self.blocks[*index].from, *lasts);
        }
    }

    /// Notes that a peer has another address, and that datagrams to it are lost until the gateway
    /// has found it, which takes so much of the gateway's time.
    pub fn note_search(&mut self, peer: u32, from: SimTime, lasts: Duration) {
        self.searches.push((self.blocks.len(), lasts));
        self.note_block(peer, Way::In, from, self.gateway_after(from, lasts));
    }

    /// How much of a span was in order for these peers.
    pub fn calm(&self, peers: &[u32], from: SimTime, to: SimTime) -> Duration {
        let blocks = self.blocks.iter();
        let blocks = blocks.filter(|block| peers.contains(&block.peer));
        let faults = self.faults.iter().copied();
        let mut spans: Vec<_> = faults
            .chain(blocks.map(|block| (block.from, block.to)))
            .map(|(begin, end)| (begin.max(from), (end + SETTLE).min(to)))
            .filter(|(begin, end)| begin < end)
            .collect();
        spans.sort_unstable();
        let mut rough = Duration::ZERO;
        let mut done = from;
        for (begin, end) in spans {
            rough += end.saturating_since(begin.max(done));
            done = done.max(end);
        }
        to.saturating_since(from).saturating_sub(rough)
    }

    /// Whether datagrams of these peers that were under way in this span may be lost.
    pub fn may_be_lost(&self, peers: &[u32], from: SimTime, to: SimTime) -> bool {
        let hits = |block: &Block| {
            peers.contains(&block.peer) && block.from <= to && from <= block.to + SETTLE
        };
        !self.is_lossless || self.blocks.iter().any(hits)
    }

    /// Since when what arrives at this time may have been held up: a shard that stands still keeps
    /// datagrams, and lets them go together.
    pub fn held_since(&self, at: SimTime) -> SimTime {
        let mut since = at;
        let holds = |since| {
            let mut faults = self.faults.iter();
            faults.find(|(begin, end)| *begin < since && since <= *end + SETTLE)
        };
        while let Some((begin, _)) = holds(since) {
            since = *begin;
        }
        since
    }

    /// When a span of the gateway's time is over that begins at `from`.
    fn gateway_after(&self, from: SimTime, span: Duration) -> SimTime {
        let mut to = from + span;
        let mut done = from;
        for (begin, end) in &self.suspends {
            let begin = done.max(*begin);
            if begin < to && begin < *end {
                to += end.saturating_since(begin);
                done = *end;
            }
        }
        to
    }

    /// Whether nobody can decrypt a stream any more: all of it was lost until its sequence numbers
    /// began anew, which is a part of what a packet is encrypted with, and in no packet. Senders
    /// should not begin with high numbers for this reason (RFC 3711 section 3.3.1).
    pub fn is_out_of_step(&self, peer: u32, kind: Kind, encoding: u8) -> bool {
        let rounds = self.streams.get(&(peer, kind, encoding));
        rounds.is_some_and(|rounds| rounds.is_lost)
    }

    /// Whether no datagram is ever lost by chance.
    pub const fn is_lossless(&self) -> bool {
        self.is_lossless
    }

    /// Whether no datagram overtakes another.
    pub const fn is_orderly(&self) -> bool {
        self.is_orderly
    }

    /// What a peer plans.
    pub fn plan(&self, peer: u32) -> &PeerPlan {
        &self.plans[peer as usize]
    }

    /// What a peer does.
    pub fn state(&self, peer: u32) -> &PeerState {
        &self.states[peer as usize]
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = (u32, &PeerState)> {
        (0..).zip(&self.states)
    }

    /// Those who are in a room to be seen.
    pub fn people_of(&self, room: u32) -> Vec<u32> {
        let plans = (0..).zip(&self.plans);
        plans
            .filter(|(_, plan)| plan.role == PeerRole::Publisher && plan.room == room)
            .map(|(peer, _)| peer)
            .collect()
    }
}

/// What the end of a fault takes to be over: a retransmission, a check, a repeated request.
const SETTLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::udp::UdpProfile;

    #[test]
    fn calm_time_is_what_faults_leave_of_a_span() {
        let mut ledger = MediaLedger::default();
        let at = SimTime::from_secs;
        ledger.note_fault(at(10), at(12));
        ledger.note_fault(at(11), at(14));
        ledger.note_block(3, Way::In, at(30), at(34));
        let calm = |peers: &[u32], from, to| ledger.calm(peers, at(from), at(to)).as_secs();
        assert_eq!(calm(&[], 0, 20), 15);
        assert_eq!(calm(&[], 12, 16), 1);
        assert_eq!(calm(&[2], 28, 40), 12);
        assert_eq!(calm(&[2, 3], 28, 40), 7);
    }

    #[test]
    fn a_search_takes_longer_by_as_long_as_the_gateway_stands_still() {
        let mut ledger = MediaLedger {
            is_lossless: true,
            ..MediaLedger::default()
        };
        let at = SimTime::from_secs;
        ledger.note_suspend(at(8), at(12));
        ledger.note_search(3, at(10), Duration::from_secs(15));
        ledger.note_search(4, at(13), Duration::from_secs(15));
        ledger.note_suspend(at(20), at(23));
        ledger.note_suspend(at(40), at(43));
        let is_blocked = |peer, from| ledger.may_be_lost(&[peer], at(from), at(60));
        assert!(is_blocked(3, 31));
        assert!(!is_blocked(3, 32));
        assert!(is_blocked(4, 32));
        assert!(!is_blocked(4, 33));
    }

    #[test]
    fn a_stream_is_out_of_step_if_it_was_not_heard_before_its_numbers_began_anew() {
        let plan = PeerPlan {
            sequence: 0xfff0,
            ..PeerPlan::PLAIN
        };
        let mut ledger = MediaLedger::new(&MediaPlan {
            link: UdpProfile::CLEAN,
            peers: vec![plan; 3],
            acts: Vec::new(),
        });
        let at = SimTime::from_secs;
        ledger.note_block(0, Way::Out, at(1), at(5));
        ledger.note_block(1, Way::In, at(1), at(5));
        ledger.note_block(2, Way::Out, at(2), at(5));
        for peer in 0..3 {
            ledger.note(at(1), &MediaFact::ToldUp { peer });
            for number in 1..=20 {
                let sent = at(1 + number.min(2) - 1);
                let tag = Tag {
                    peer,
                    room: 1,
                    kind: Kind::Video,
                    encoding: 0,
                    temporal: 0,
                    is_key: false,
                    life: 1,
                    number,
                    timestamp: 0,
                    sent,
                };
                ledger.note(sent, &MediaFact::Sent(tag));
            }
        }
        let out_of_step: Vec<_> = (0..3)
            .filter(|peer| ledger.is_out_of_step(*peer, Kind::Video, 0))
            .collect();
        assert_eq!(out_of_step, [0]);
    }

    #[test]
    fn what_a_fault_held_up_was_under_way_since_it_began() {
        let mut ledger = MediaLedger {
            is_lossless: true,
            ..MediaLedger::default()
        };
        let at = SimTime::from_secs;
        ledger.note_fault(at(10), at(14));
        ledger.note_fault(at(8), at(9));
        ledger.note_block(3, Way::In, at(15), at(16));
        assert_eq!(ledger.held_since(at(13)), at(8));
        assert_eq!(ledger.held_since(at(20)), at(20));
        assert!(ledger.may_be_lost(&[3], at(9), at(15)));
        assert!(!ledger.may_be_lost(&[3], at(9), at(14)));
        assert!(!ledger.may_be_lost(&[2], at(9), at(15)));
    }
}
