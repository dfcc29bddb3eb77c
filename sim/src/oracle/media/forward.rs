//! Invariant 39: what a publisher sends reaches each who watches it once, and over links that lose
//! nothing all of it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::faults::media::{PeerRole, Video};
use crate::kernel::time::SimTime;
use crate::models::peer::frames::{Kind, Tag};
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::{MediaFact, Wire};
use crate::oracle::{About, Oracle};

/// Each packet reaches each who watches once.
#[derive(Debug, Default)]
pub(super) struct ForwardComplete {
    /// What was sent and may still be on its way, by stream.
    sent: BTreeMap<(u32, Kind), VecDeque<Tag>>,
    got: BTreeMap<(u32, u32, Kind), Reception>,
    /// Packets on the way to each peer, and those that reached it.
    passed: BTreeMap<u32, (u64, u64)>,
}

/// A stream as one peer gets it.
#[derive(Debug, Default)]
struct Reception {
    /// The encoding that comes, and since when.
    encoding: Option<(u8, SimTime)>,
    numbers: BTreeSet<(u16, u8, u64)>,
}

/// Time for the way there, and for a retransmission.
const TRIP_MAX: Duration = Duration::from_millis(1_500);
/// Until a peer that did something is in order again.
const LONG_TRIP: Duration = Duration::from_secs(3);
/// What is older than this is not compared any more.
const KEPT: usize = 4_000;

static ABOUT: About = About {
    number: 39,
    id: "rtp-forward-complete",
    rule: "each packet reaches each who watches its sender once; over links without loss, all do",
    kills: &[
        "relay-duplicates-batch",
        "relay-keeps-last",
        "srtp-rollover-lost",
    ],
};

impl Oracle for ForwardComplete {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        match fact {
            MediaFact::Got { peer, tag, .. } => {
                self.passed.entry(*peer).or_default().1 += 1;
                self.got(*peer, at, tag)
            }
            MediaFact::Wire {
                peer,
                what: Wire::Media,
                ..
            } => self.on_wire(ledger, *peer),
            MediaFact::Sent(tag) => {
                let queue = self.sent.entry((tag.peer, tag.kind)).or_default();
                queue.push_back(*tag);
                self.check(ledger, at, (tag.peer, tag.kind))
            }
            _ => Ok(()),
        }
    }
}

impl ForwardComplete {
    /// What a peer gets twice its library hides from it, so it is counted on the wire.
    fn on_wire(&mut self, ledger: &Ledger, peer: u32) -> Result<(), String> {
        let passed = self.passed.entry(peer).or_default();
        passed.0 += 1;
        let media = &ledger.media;
        let is_steady = media.calm(&[peer], media.state(peer).changed, ledger.now) > LONG_TRIP;
        let state = media.state(peer);
        let is_there = is_steady && state.up.is_some() && state.silent.is_none();
        let lately = SimTime::from_nanos(ledger.now.as_nanos().saturating_sub(1_000_000_000));
        let is_rough =
            media.calm(&[peer], lately, ledger.now) < ledger.now.saturating_since(lately);
        if !is_there || is_rough || media.may_be_lost(&[peer], lately, ledger.now) {
            *passed = (0, 0);
        } else if passed.0 > 100 + passed.1 * 3 / 2 {
            return Err(format!(
                "peer {peer} was sent {} packets, of which {} are not copies",
                passed.0, passed.1
            ));
        }
        Ok(())
    }

    fn got(&mut self, peer: u32, at: SimTime, tag: &Tag) -> Result<(), String> {
        let reception = self.got.entry((peer, tag.peer, tag.kind)).or_default();
        if !reception
            .numbers
            .insert((tag.life, tag.encoding, tag.number))
        {
            return Err(format!(
                "peer {peer} got packet {} of {}'s {} twice",
                tag.number,
                tag.peer,
                tag.kind.name(),
            ));
        }
        if reception.numbers.len() > KEPT {
            reception.numbers.pop_first();
        }
        if reception
            .encoding
            .is_none_or(|(encoding, _)| encoding != tag.encoding)
        {
            reception.encoding = Some((tag.encoding, at));
        }
        Ok(())
    }

    /// Compares what had its time with what came.
    fn check(&mut self, ledger: &Ledger, at: SimTime, of: (u32, Kind)) -> Result<(), String> {
        let media = &ledger.media;
        let queue = self.sent.get_mut(&of).expect("something was just sent");
        while let Some(tag) = queue.front() {
            if media.calm(&[], tag.sent, at) < TRIP_MAX {
                return Ok(());
            }
            let tag = queue.pop_front().expect("there is one");
            // What a fault holds up is under way for longer.
            let held = at.saturating_since(tag.sent) - media.calm(&[], tag.sent, at);
            let arrived = tag.sent + TRIP_MAX + held;
            for (receiver, state) in media.peers() {
                let is_fed = if media.plan(receiver).role == PeerRole::Echo {
                    receiver == tag.peer
                } else {
                    state.watches.contains_key(&tag.peer)
                };
                let since = state.changed.max(media.state(tag.peer).changed);
                let sender = media.state(tag.peer);
                // A burst that a fault has held up is shuffled by a path with a spread, and what
                // comes too late for its place is taken for a replay.
                let is_whole = media.calm(&[receiver, tag.peer], tag.sent, tag.sent + TRIP_MAX)
                    == TRIP_MAX
                    || media.is_orderly();
                let is_on = tag.kind == Kind::Audio || sender.pictures.is_some();
                let is_steady = is_fed
                    && is_on
                    && is_whole
                    && state.up.is_some()
                    && since + TRIP_MAX < tag.sent;
                let Some(reception) = self.got.get(&(receiver, tag.peer, tag.kind)) else {
                    continue;
                };
                let is_it = |(encoding, from): (u8, SimTime)| {
                    encoding == tag.encoding && from + TRIP_MAX < tag.sent
                };
                let is_due = reception.encoding.is_some_and(is_it)
                    && !media.is_out_of_step(tag.peer, tag.kind, tag.encoding)
                    && (media.plan(tag.peer).video != Video::Simulcast || tag.kind == Kind::Audio);
                if is_steady
                    && is_due
                    && !media.may_be_lost(&[receiver, tag.peer], tag.sent, arrived)
                    && !reception
                        .numbers
                        .contains(&(tag.life, tag.encoding, tag.number))
                {
                    return Err(format!(
                        "packet {} of {}'s {} never reached peer {receiver}",
                        tag.number,
                        tag.peer,
                        tag.kind.name(),
                    ));
                }
            }
        }
        Ok(())
    }
}
