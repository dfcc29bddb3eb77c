//! Continuous sequence numbers, timestamps, and numbers of VP8 pictures and described frames on an
//! outgoing stream, whatever sources feed it.
//!
//! Invariant: a sequence number is given out once. Invariant: what was skipped on purpose leaves no
//! gap, what was lost leaves one.

use std::collections::VecDeque;

use crate::base::clock::Monotonic;
use crate::mutant;
use crate::wire::rtp::{PictureId, Vp8Descriptor};

/// An incoming stream, as far as the rewriter tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceKey(pub u64);

/// The numbers of a packet that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The sequence number, extended beyond 16 bits.
    pub sequence: u64,
    /// The timestamp, in units of the clock.
    pub timestamp: u32,
    /// Whether no later packet was sent.
    pub is_newest: bool,
}

/// The VP8 numbers of a packet that is to be sent; `None` where its descriptor has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vp8Numbers {
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_index: Option<u8>,
}

/// Maps the numbers of one or more sources to those of one outgoing stream.
#[derive(Debug)]
pub struct Rewriter {
    clock_rate: u32,
    /// The highest sequence number sent; before the first packet, the one before it.
    sent_highest: u64,
    sent: Option<Sent>,
    source: Option<Source>,
    vp8: Vp8State,
    frames: FrameState,
}

/// The packet sent last, by its place in the stream.
#[derive(Clone, Copy, Debug)]
struct Sent {
    timestamp: u32,
    at: Monotonic,
}

/// How the source that feeds the stream is mapped.
#[derive(Debug)]
struct Source {
    key: SourceKey,
    highest: u64,
    timestamp_offset: u32,
    /// From which sequence number of the source on, what is subtracted from it. The last entry
    /// holds for new packets, the others for late ones.
    shifts: VecDeque<(u64, i64)>,
}

#[derive(Debug, Default)]
struct Vp8State {
    picture_last: Option<u16>,
    picture_offset: u16,
    tl0_last: Option<u8>,
    tl0_offset: u8,
}

#[derive(Debug, Default)]
struct FrameState {
    newest: Option<u16>,
    offset: u16,
}

/// Late packets are told from skipped ones as far back as this many skips.
const SHIFTS_MAX: usize = 64;

impl Rewriter {
    /// Starts a stream whose first packet follows the sequence number `before`.
    pub fn new(clock_rate: u32, before: u16) -> Self {
        // The mutant begins near the end, which one stream in a hundred would reach in a minute.
        let before = if mutant!(RolloverLost) {
            before | 0xff80
        } else {
            before
        };
        Self {
            clock_rate,
            sent_highest: u64::from(before),
            sent: None,
            source: None,
            vp8: Vp8State::default(),
            frames: FrameState::default(),
        }
    }

    /// Maps a packet that is to be sent.
    ///
    /// The first packet of another source follows the last one of the former: its sequence number
    /// is the next, and its timestamp is as much later as time has passed. `None` for a late
    /// packet whose place is not known any more.
    pub fn map(
        &mut self,
        now: Monotonic,
        key: SourceKey,
        sequence: u64,
        timestamp: u32,
    ) -> Option<Rewritten> {
        let has_wrapped = mutant!(TimestampWrap)
            && self
                .sent
                .zip(self.source.as_ref())
                .is_some_and(|(sent, source)| {
                    timestamp < sent.timestamp.wrapping_sub(source.timestamp_offset)
                });
        let is_other = self.source.as_ref().is_none_or(|source| source.key != key);
        if is_other || has_wrapped {
            self.switch(now, key, sequence, timestamp);
        }
        let source = self.source.as_mut().expect("a switch sets the source");
        source.highest = source.highest.max(sequence);
        let shift = source
            .shifts
            .iter()
            .rev()
            .find(|(from, _)| *from <= sequence)?
            .1;
        let number = sequence.checked_add_signed(-shift)?;
        let rewritten = Rewritten {
            sequence: number,
            timestamp: timestamp.wrapping_add(source.timestamp_offset),
            is_newest: number > self.sent_highest,
        };
        if rewritten.is_newest {
            self.sent_highest = rewritten.sequence;
            self.sent = Some(Sent {
                timestamp: rewritten.timestamp,
                at: now,
            });
        }
        Some(rewritten)
    }

    /// Closes the gap that a packet would leave which is not to be sent.
    pub fn skip(&mut self, key: SourceKey, sequence: u64) {
        let Some(source) = self.source.as_mut().filter(|source| source.key == key) else {
            return;
        };
        if sequence <= source.highest || mutant!(SkipLeavesGap) {
            // Later packets have their numbers already; the gap remains.
            return;
        }
        let shift = source.shifts.back().map_or(0, |(_, shift)| *shift);
        source.highest = sequence;
        push_shift(&mut source.shifts, sequence + 1, shift + 1);
    }

    /// Makes the next packet follow the last one, though its source may have gone on meanwhile.
    /// The timestamps go on with the source: it has not changed.
    pub(crate) fn rebase(&mut self, key: SourceKey, sequence: u64) {
        let next = self.sent_highest + 1;
        if let Some(source) = self.source.as_mut().filter(|source| source.key == key) {
            source.highest = sequence.saturating_sub(1);
            source.shifts.clear();
            source
                .shifts
                .push_back((sequence, distance(sequence, next)));
        }
    }

    /// Maps the numbers of a VP8 packet, after [`Rewriter::map`]: `switched` for the first packet
    /// of another source, `is_newest` as that said.
    pub(crate) fn map_vp8(
        &mut self,
        descriptor: &Vp8Descriptor,
        switched: bool,
        is_newest: bool,
    ) -> Vp8Numbers {
        let state = &mut self.vp8;
        let picture_id = descriptor.picture_id.map(|id| {
            if switched {
                let next = state
                    .picture_last
                    .map_or(id.number, |last| last.wrapping_add(1));
                state.picture_offset = next.wrapping_sub(id.number);
            }
            let number = id.number.wrapping_add(state.picture_offset) & mask(id);
            if is_newest {
                state.picture_last = Some(number);
            }
            number
        });
        let tl0_index = descriptor.tl0_index.map(|index| {
            if switched {
                let next = state.tl0_last.map_or(index, |last| last.wrapping_add(1));
                state.tl0_offset = next.wrapping_sub(index);
            }
            let index = index.wrapping_add(state.tl0_offset);
            if is_newest {
                state.tl0_last = Some(index);
            }
            index
        });
        Vp8Numbers {
            picture_id,
            tl0_index,
        }
    }

    /// Maps the number of a frame that a dependency descriptor says, as [`Rewriter::map_vp8`] does:
    /// receivers take a lower one for a frame that came late.
    pub(crate) fn map_frame(&mut self, number: u16, switched: bool, is_newest: bool) -> u16 {
        let state = &mut self.frames;
        if switched {
            let next = state.newest.map_or(number, |newest| newest.wrapping_add(1));
            state.offset = next.wrapping_sub(number);
        }
        let number = number.wrapping_add(state.offset);
        if is_newest {
            state.newest = Some(number);
        }
        number
    }

    /// The time of the stream; `None` before its first packet.
    pub(crate) fn time_at(&self, now: Monotonic) -> Option<u32> {
        let sent = self.sent?;
        Some(sent.timestamp.wrapping_add(self.ticks_since(sent.at, now)))
    }

    /// The source that fed the last packet.
    pub(crate) fn source(&self) -> Option<SourceKey> {
        self.source.as_ref().map(|source| source.key)
    }

    fn switch(&mut self, now: Monotonic, key: SourceKey, sequence: u64, timestamp: u32) {
        if mutant!(RolloverLost) {
            self.sent_highest &= u64::from(u16::MAX);
        }
        let next = self.sent_highest + 1;
        let begin = match self.sent {
            None => timestamp,
            // Two frames may not share a timestamp.
            Some(sent) => {
                let ticks = self.ticks_since(sent.at, now).max(1);
                sent.timestamp.wrapping_add(ticks)
            }
        };
        self.source = Some(Source {
            key,
            highest: sequence,
            timestamp_offset: begin.wrapping_sub(timestamp),
            shifts: VecDeque::from([(sequence, distance(sequence, next))]),
        });
    }

    /// Elapsed time in clock units.
    fn ticks_since(&self, since: Monotonic, now: Monotonic) -> u32 {
        let nanos = now.saturating_since(since).as_nanos();
        (nanos * u128::from(self.clock_rate) / 1_000_000_000) as u32
    }
}

/// What to subtract from `from` to get `to`.
fn distance(from: u64, to: u64) -> i64 {
    from.wrapping_sub(to).cast_signed()
}

fn mask(id: PictureId) -> u16 {
    if id.is_long { 0x7fff } else { 0x7f }
}

fn push_shift(shifts: &mut VecDeque<(u64, i64)>, from: u64, shift: i64) {
    if shifts.len() == SHIFTS_MAX {
        shifts.pop_front();
    }
    shifts.push_back((from, shift));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    const A: SourceKey = SourceKey(1);
    const B: SourceKey = SourceKey(2);

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn sequence(rewritten: Option<Rewritten>) -> u64 {
        rewritten.unwrap().sequence
    }

    #[test]
    fn a_switch_continues_the_sequence_and_the_time() {
        let mut rewriter = Rewriter::new(90_000, 100);
        let first = rewriter.map(at(0), A, 7_000, 500).unwrap();
        assert_eq!((first.sequence, first.timestamp), (101, 500));
        let second = rewriter.map(at(100), B, 3, 4_000_000_000).unwrap();
        assert_eq!((second.sequence, second.timestamp), (102, 500 + 9_000));
        let third = rewriter.map(at(133), B, 4, 4_000_003_000).unwrap();
        assert_eq!((third.sequence, third.timestamp), (103, 500 + 12_000));
    }

    #[test]
    fn a_switch_at_once_still_moves_the_time() {
        let mut rewriter = Rewriter::new(90_000, 0);
        rewriter.map(at(5), A, 10, 500);
        assert_eq!(rewriter.map(at(5), B, 10, 9).unwrap().timestamp, 501);
    }

    #[test]
    fn losses_leave_gaps_and_late_packets_fill_them() {
        let mut rewriter = Rewriter::new(90_000, 0);
        assert_eq!(sequence(rewriter.map(at(0), A, 10, 0)), 1);
        assert_eq!(sequence(rewriter.map(at(0), A, 13, 0)), 4);
        assert_eq!(sequence(rewriter.map(at(0), A, 11, 0)), 2);
    }

    #[test]
    fn a_packet_from_before_the_switch_has_no_place() {
        let mut rewriter = Rewriter::new(90_000, 0);
        rewriter.map(at(0), A, 10, 0);
        rewriter.map(at(0), B, 50, 0);
        assert_eq!(rewriter.map(at(0), B, 49, 0), None);
    }

    #[test]
    fn skipped_packets_leave_no_gap() {
        let mut rewriter = Rewriter::new(90_000, 0);
        assert_eq!(sequence(rewriter.map(at(0), A, 10, 0)), 1);
        rewriter.skip(A, 11);
        rewriter.skip(A, 12);
        assert_eq!(sequence(rewriter.map(at(0), A, 14, 0)), 3);
        assert_eq!(
            sequence(rewriter.map(at(0), A, 13, 0)),
            2,
            "late, after the skip"
        );
    }

    #[test]
    fn unmuting_rebases_the_sequence_only() {
        let mut rewriter = Rewriter::new(90_000, 0);
        rewriter.map(at(0), A, 10, 1_000);
        rewriter.rebase(A, 500);
        let next = rewriter.map(at(5_000), A, 500, 451_000).unwrap();
        assert_eq!((next.sequence, next.timestamp), (2, 451_000));
    }

    #[test]
    fn picture_numbers_continue_across_a_switch_and_wrap() {
        let mut rewriter = Rewriter::new(90_000, 0);
        let vp8 = |number: u16, tl0: u8| Vp8Descriptor {
            picture_id: Some(PictureId {
                number,
                is_long: true,
            }),
            tl0_index: Some(tl0),
            ..Vp8Descriptor::default()
        };
        let numbers = |picture: u16, tl0: u8| Vp8Numbers {
            picture_id: Some(picture),
            tl0_index: Some(tl0),
        };
        let mut map = |vp8, switched, newest| rewriter.map_vp8(&vp8, switched, newest);
        assert_eq!(map(vp8(0x7ffe, 254), true, true), numbers(0x7ffe, 254));
        assert_eq!(map(vp8(0x7fff, 255), false, true), numbers(0x7fff, 255));
        assert_eq!(
            map(vp8(0x7ffd, 253), false, false),
            numbers(0x7ffd, 253),
            "late"
        );
        assert_eq!(map(vp8(40, 9), true, true), numbers(0, 0));
        assert_eq!(map(vp8(41, 10), false, true), numbers(1, 1));
    }

    #[test]
    fn frame_numbers_continue_across_a_switch_and_wrap() {
        let mut rewriter = Rewriter::new(90_000, 0);
        assert_eq!(rewriter.map_frame(65_534, true, true), 65_534);
        assert_eq!(rewriter.map_frame(65_535, false, true), 65_535);
        assert_eq!(rewriter.map_frame(65_533, false, false), 65_533, "late");
        assert_eq!(rewriter.map_frame(400, true, true), 0);
        assert_eq!(rewriter.map_frame(403, false, true), 3);
        assert_eq!(rewriter.map_frame(9, true, true), 4);
    }

    proptest! {
        /// The model holds every packet of the run in a table: a forwarded packet is numbered by
        /// how many packets of its source, from the switch on, were not skipped before it.
        #[test]
        fn numbers_are_those_of_a_slow_model(
            steps in prop::collection::vec((0_u8..10, 1_u64..4), 1..200),
        ) {
            let mut rewriter = Rewriter::new(90_000, 1_000);
            let mut highest_out = 1_000_u64;
            let mut source = 0_u64;
            let mut next_in = 5_000_u64;
            let mut begin: Option<(u64, u64)> = None;
            let mut skipped: Vec<u64> = Vec::new();
            let mut given: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            for (what, step) in steps {
                match what {
                    0 => {
                        source += 1;
                        next_in = source * 1_000_000;
                        begin = None;
                        skipped.clear();
                    }
                    1 | 2 => {
                        let known = begin.is_some();
                        rewriter.skip(SourceKey(source), next_in);
                        if known {
                            skipped.push(next_in);
                        }
                        next_in += 1;
                    }
                    _ => {
                        // Steps over one leave packets out: lost, not skipped.
                        let seq = next_in + step - 1;
                        next_in = seq + 1;
                        let (first_in, first_out) = *begin.get_or_insert((seq, highest_out + 1));
                        let gaps = skipped.iter().filter(|each| **each < seq).count() as u64;
                        let expected = first_out + (seq - first_in) - gaps;
                        let got = rewriter.map(at(0), SourceKey(source), seq, 0).unwrap().sequence;
                        prop_assert_eq!(got, expected);
                        prop_assert_eq!(given.insert(got, (source, seq)), None);
                        highest_out = got;
                    }
                }
            }
        }
    }
}
