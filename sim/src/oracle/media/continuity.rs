//! Invariant 40: what a peer gets is one stream: its sequence numbers have the gaps of its source
//! and no others, and its timestamps go on as time does, through every switch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::time::SimTime;
use crate::models::peer::frames::{Kind, Tag};
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::{About, Oracle};

/// Sequence numbers and timestamps go on.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    streams: BTreeMap<(u32, u32), Stream>,
}

#[derive(Debug)]
struct Stream {
    newest: Packet,
    /// Numbers between the first and the newest that have not come, and when that was noticed.
    missing: BTreeMap<u64, SimTime>,
    /// What is known by the number that it came with.
    recent: BTreeMap<u64, Packet>,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    timestamp: u32,
    tag: Tag,
    at: SimTime,
}

/// Packets that are compared with those beside them.
const RECENT: usize = 600;
/// A gap that retransmissions could fill is filled by then.
const GAP_MAX: Duration = Duration::from_secs(2);
/// How far the timestamp of another source may be from where time would have it: the gateway
/// counts arrivals, which faults and queues put off.
const SWITCH_MAX: Duration = Duration::from_secs(2);

static ABOUT: About = About {
    number: 40,
    id: "seq-ts-continuity",
    rule: "sequence numbers and timestamps of a forwarded stream go on through every switch",
    kills: &["rtp-timestamp-wrap-jump", "rtp-skip-leaves-gap"],
};

impl Oracle for Continuity {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn media(&mut self, ledger: &Ledger, at: SimTime, fact: &MediaFact) -> Result<(), String> {
        let (peer, ssrc, sequence, timestamp, tag) = match fact {
            MediaFact::Got {
                peer,
                ssrc,
                sequence,
                timestamp,
                tag,
            } => (*peer, *ssrc, *sequence, *timestamp, *tag),
            MediaFact::Ended { peer } => {
                self.streams.retain(|(owner, _), _| owner != peer);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let packet = Packet { timestamp, tag, at };
        let Some(stream) = self.streams.get_mut(&(peer, ssrc)) else {
            let stream = Stream {
                newest: packet,
                missing: BTreeMap::new(),
                recent: BTreeMap::from([(sequence, packet)]),
            };
            self.streams.insert((peer, ssrc), stream);
            return Ok(());
        };
        let judged = stream.take(ledger, peer, sequence, packet);
        judged.map_err(|why| {
            let kind = tag.kind.name();
            format!(
                "{kind} of peer {} at peer {peer}, number {sequence}: {why}",
                tag.peer
            )
        })
    }
}

impl Stream {
    fn take(
        &mut self,
        ledger: &Ledger,
        peer: u32,
        sequence: u64,
        packet: Packet,
    ) -> Result<(), String> {
        let highest = *self.recent.keys().next_back().expect("it is never empty");
        self.missing.remove(&sequence);
        if sequence > highest + 1 {
            if sequence - highest > 10_000 {
                return Err(format!("a jump from {highest}"));
            }
            for number in highest + 1..sequence {
                self.missing.insert(number, packet.at);
            }
        }
        self.recent.insert(sequence, packet);
        if self.recent.len() > RECENT {
            self.recent.pop_first();
        }
        let before = self.recent.range(..sequence).next_back();
        if let Some((&number, before)) = before
            && number + 1 == sequence
        {
            follows(before, &packet)?;
        }
        if sequence > highest {
            self.newest = packet;
        }
        // Losses on the way in are gaps that nobody can fill.
        let media = &ledger.media;
        while let Some((&number, &since)) = self.missing.first_key_value() {
            let peers = [peer, packet.tag.peer];
            if media.calm(&peers, since, packet.at) < GAP_MAX {
                break;
            }
            self.missing.pop_first();
            let is_steady = media.state(peer).changed + GAP_MAX < since
                && media.state(packet.tag.peer).changed + GAP_MAX < since;
            // A burst that was held up is shuffled by a path with a spread.
            let span = packet.at.saturating_since(since);
            let is_whole = media.is_orderly() || media.calm(&peers, since, packet.at) == span;
            if is_steady
                && is_whole
                && !media.may_be_lost(&peers, media.held_since(since), packet.at)
            {
                return Err(format!("number {number} is missing for good"));
            }
        }
        Ok(())
    }
}

/// Whether a packet can come right after another.
fn follows(before: &Packet, after: &Packet) -> Result<(), String> {
    let (a, b) = (&before.tag, &after.tag);
    let ticks = after.timestamp.wrapping_sub(before.timestamp);
    let is_same = (a.peer, a.encoding, a.life) == (b.peer, b.encoding, b.life);
    if is_same {
        let expected = b.timestamp.wrapping_sub(a.timestamp);
        if ticks != expected {
            return Err(format!(
                "{ticks} ticks later, where its source has {expected}"
            ));
        }
        if b.number <= a.number {
            return Err(format!("packet {} comes after {}", b.number, a.number));
        }
        return Ok(());
    }
    // A stream that is joined in its middle begins as it is; a layer does not.
    let is_layer = (a.peer, a.life) == (b.peer, b.life);
    if b.kind == Kind::Video && is_layer && !b.is_key {
        return Err("another encoding begins without a key frame".to_owned());
    }
    if b.life != a.life && b.peer == a.peer {
        // An encoder that began again: how long it stood still is its own affair.
        return Ok(());
    }
    let rate = u64::from(b.kind.clock_rate());
    let most = after.at.saturating_since(before.at) + SWITCH_MAX;
    let most = most.as_millis() as u64 * rate / 1_000;
    if ticks == 0 || u64::from(ticks) > most {
        return Err(format!(
            "{ticks} ticks later after a switch, {most} at most"
        ));
    }
    Ok(())
}
