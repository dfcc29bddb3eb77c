//! Who talks: the average of the audio levels that the packets of a line carry.
//!
//! Invariant: only changes are told, and nothing is measured while a line is muted.

use std::collections::BTreeMap;

use crate::base::id::PeerId;
use crate::media::Media;
use crate::media::event::{LineRef, PeerEvent};
use crate::media::packet::PacketLevel;
use crate::media::plain::PlainEvent;

/// When somebody counts as talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TalkRule {
    /// Packets that are averaged at a time, from 1.
    pub packets_count: u32,
    /// The level below which the average is speech, in -dBov: 0 is loud, 127 is silence.
    pub threshold: u8,
}

/// What was found out about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Talking {
    /// Whether somebody talks.
    pub talks: bool,
    /// The average level, in hundredths of -dBov.
    pub level_hundredths: u32,
}

/// The lines that are listened to.
#[derive(Debug, Default)]
pub(super) struct Talks {
    lines: BTreeMap<LineRef, Talk>,
}

#[derive(Debug)]
struct Talk {
    rule: TalkRule,
    sum: u64,
    count: u32,
    talks: bool,
    /// That of the latest packet.
    level: Option<PacketLevel>,
}

impl Talks {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.lines.retain(|line, _| line.peer != peer);
    }

    fn listen(&mut self, line: LineRef, rule: Option<TalkRule>) {
        match (rule, self.lines.get_mut(&line)) {
            (Some(rule), Some(known)) => known.rule = rule,
            (Some(rule), None) => {
                let talk = Talk {
                    rule,
                    sum: 0,
                    count: 0,
                    talks: false,
                    level: None,
                };
                self.lines.insert(line, talk);
            }
            (None, _) => {
                self.lines.remove(&line);
            }
        }
    }

    /// Takes in the level of a packet; says so when it changes who talks.
    pub(super) fn hear(&mut self, line: LineRef, level: PacketLevel) -> Option<Talking> {
        let talk = self.lines.get_mut(&line)?;
        talk.level = Some(level);
        talk.sum += u64::from(level.0);
        talk.count += 1;
        if talk.count < talk.rule.packets_count {
            return None;
        }
        let sum = std::mem::take(&mut talk.sum);
        let count = u64::from(std::mem::take(&mut talk.count));
        let talks = sum < u64::from(talk.rule.threshold) * count;
        if talks == std::mem::replace(&mut talk.talks, talks) {
            return None;
        }
        // Levels end at 127.
        let level_hundredths = (sum * 100 / count) as u32;
        Some(Talking {
            talks,
            level_hundredths,
        })
    }
}

impl Media {
    /// Listens to a line of this shard, or does not any more. [`PeerEvent::Talking`] or
    /// [`PlainEvent::Talking`] follows when somebody begins or ceases to talk.
    pub fn listen(&mut self, line: LineRef, rule: Option<TalkRule>) {
        self.talks
            .listen(line, rule.filter(|_| self.has_lines(line.peer)));
    }

    /// Whether somebody talks on a line that is listened to.
    pub fn talks(&self, line: LineRef) -> bool {
        let talk = self.talks.lines.get(&line);
        talk.is_some_and(|talk| talk.talks)
    }

    /// How loud the latest packet of a line was that is listened to, in -dBov.
    pub fn level(&self, line: LineRef) -> Option<u8> {
        let level = self.talks.lines.get(&line)?.level?;
        Some(level.0)
    }

    pub(super) fn tell_talking(&mut self, of: LineRef, talking: Talking) {
        let LineRef { peer, line } = of;
        if let Some(owner) = self.peers.get(peer).map(|peer| peer.owner) {
            let event = PeerEvent::Talking { line, talking };
            self.events.push_back((peer, owner, event));
        } else if let Some(owner) = self.source_owner(peer) {
            let event = PlainEvent::Talking {
                source: peer,
                line,
                talking,
            };
            self.plain.events.push_back((owner, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineRef = LineRef {
        peer: PeerId(1),
        line: 0,
    };
    const RULE: TalkRule = TalkRule {
        packets_count: 4,
        threshold: 30,
    };

    fn hear(talks: &mut Talks, levels: &[u8]) -> Vec<(bool, u32)> {
        let heard = levels.iter().filter_map(|level| {
            let talking = talks.hear(LINE, PacketLevel(*level))?;
            Some((talking.talks, talking.level_hundredths))
        });
        heard.collect()
    }

    #[test]
    fn only_changes_are_told_and_only_of_whole_windows() {
        let mut talks = Talks::default();
        assert_eq!(hear(&mut talks, &[0; 20]), []);
        talks.listen(LINE, Some(RULE));
        assert_eq!(hear(&mut talks, &[10, 20, 31]), []);
        assert_eq!(hear(&mut talks, &[30]), [(true, 2_275)]);
        assert_eq!(hear(&mut talks, &[29; 8]), []);
        assert_eq!(
            hear(&mut talks, &[30; 4]),
            [(false, 3_000)],
            "the threshold itself is silence"
        );
        assert_eq!(hear(&mut talks, &[127, 126]), []);
        assert_eq!(talks.lines[&LINE].level, Some(PacketLevel(126)));
    }

    #[test]
    fn a_new_rule_counts_from_the_next_packet_and_none_ends_it() {
        let mut talks = Talks::default();
        talks.listen(LINE, Some(RULE));
        hear(&mut talks, &[5; 3]);
        let rule = TalkRule {
            threshold: 4,
            ..RULE
        };
        talks.listen(LINE, Some(rule));
        assert_eq!(hear(&mut talks, &[5]), []);
        talks.listen(LINE, None);
        assert!(talks.is_empty());
        talks.listen(LINE, Some(RULE));
        talks.forget(LINE.peer);
        assert!(talks.is_empty());
    }
}
