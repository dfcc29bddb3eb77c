//! What the layers take that are forwarded, as measured, and in which steps a line can be given.
//!
//! Invariant: each step of a line takes at least as much as the one before it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::event::{LayerTarget, LineRef};
use crate::media::packet::MediaPacket;
use crate::media::selector::LayerLimit;
use crate::wire::sdp::SIMULCAST_LAYERS_MAX;

/// What the layers of all lines take that are forwarded.
#[derive(Debug, Default)]
pub(super) struct Rates {
    lines: BTreeMap<LineRef, LineRates>,
}

/// One way to give a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) limit: LayerLimit,
    /// In bit/s.
    pub(super) rate: u64,
}

/// Temporal layers that clients can ask for; those above are never delivered.
const TEMPORAL_LAYERS_MAX: usize = 3;

/// A number for each encoding or spatial layer, and for each temporal layer in it.
type PerLayer = [[u64; TEMPORAL_LAYERS_MAX]; SIMULCAST_LAYERS_MAX];

/// The layers of one line.
#[derive(Clone, Copy, Debug)]
struct LineRates {
    since: Monotonic,
    /// Each spatial layer comes on top of those below it.
    is_layered: bool,
    bytes: PerLayer,
    /// In bit/s, each without the layers below; 0 for what is silent.
    rates: PerLayer,
}

/// Long enough to hold several frames, short enough to notice a layer that began.
const WINDOW: Duration = Duration::from_millis(500);

/// What was measured this long ago says nothing.
const STALE: Duration = Duration::from_secs(2);

/// An encoding is taken for so much of the one below it at least, in percent: senders begin each
/// with little.
const LEAST_STEP_PERCENT: u64 = 150;

/// So many temporal layers of each encoding above the lowest are steps. Each layer in time doubles
/// the pictures: those of less than half of them are not worth a larger size.
const UPPER_STEPS: usize = 2;

impl Rates {
    /// Notes a packet that is forwarded.
    pub(super) fn note(&mut self, now: Monotonic, line: LineRef, packet: &MediaPacket) {
        let last = SIMULCAST_LAYERS_MAX - 1;
        let quality = usize::from(packet.quality()).min(last);
        let is_layered = packet.facts.layered.is_some();
        // Elsewhere temporal layers are not chosen among.
        let temporal = packet
            .facts
            .temporal
            .filter(|_| packet.is_simulcast || is_layered);
        let line = self.lines.entry(line).or_insert(LineRates {
            since: now,
            is_layered: false,
            bytes: PerLayer::default(),
            rates: PerLayer::default(),
        });
        line.is_layered = is_layered && !packet.is_simulcast;
        let layers = &mut line.bytes[quality];
        if let Some(bytes) = layers.get_mut(usize::from(temporal.unwrap_or(0))) {
            *bytes += packet.payload.len() as u64;
        }
        line.settle(now);
    }

    /// The steps in which a line can be given up to what is wanted, the least first; none while
    /// nothing is known.
    pub(super) fn steps(&self, now: Monotonic, line: LineRef, wanted: LayerTarget) -> Vec<Step> {
        let line = self.lines.get(&line);
        let fresh = line.filter(|line| now.saturating_since(line.since) < STALE);
        fresh.map_or(Vec::new(), |line| line.steps(wanted))
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.lines.retain(|line, _| line.peer != peer);
    }
}

impl LineRates {
    /// All temporal layers of the lowest encoding, the upper ones of each above it. If what is wanted
    /// is silent, the lowest above it takes its place.
    fn steps(&self, wanted: LayerTarget) -> Vec<Step> {
        let mut steps = Vec::new();
        for (substream, takes) in (0..).zip(self.takes()) {
            if substream > wanted.substream && !steps.is_empty() {
                break;
            }
            let layers = layers_up_to(wanted.temporal, &takes);
            let Some(((_, whole), lower)) = layers.split_last() else {
                continue;
            };
            let skipped = if steps.is_empty() {
                0
            } else {
                layers.len().saturating_sub(UPPER_STEPS)
            };
            let least = steps.last().map_or(0, |step: &Step| step.rate);
            let lower = lower.iter().skip(skipped).filter(|(_, rate)| *rate > least);
            steps.extend(lower.map(|(temporal, rate)| Step {
                limit: LayerLimit {
                    substream,
                    temporal: *temporal,
                },
                rate: *rate,
            }));
            steps.push(Step {
                limit: LayerLimit::whole(substream),
                rate: least.max(*whole),
            });
        }
        steps
    }

    /// What it takes to deliver each temporal layer of each encoding, or of a spatial layer with
    /// those below it; 0 for what is silent.
    fn takes(&self) -> PerLayer {
        let mut below = [0; TEMPORAL_LAYERS_MAX];
        let mut least = 0;
        self.rates.map(|rates| {
            let total: u64 = rates.iter().sum();
            if total == 0 {
                return [0; TEMPORAL_LAYERS_MAX];
            }
            let mut sum = 0;
            let summed = rates.map(|rate| {
                sum += rate;
                sum
            });
            if self.is_layered {
                for (below, own) in below.iter_mut().zip(summed) {
                    *below += own;
                }
                return below;
            }
            let expected = total.max(least * LEAST_STEP_PERCENT / 100);
            least = expected;
            summed.map(|rate| rate * expected / total)
        })
    }

    fn settle(&mut self, now: Monotonic) {
        let elapsed = now.saturating_since(self.since);
        if elapsed < WINDOW {
            return;
        }
        let millis = elapsed.as_millis() as u64;
        for (rates, bytes) in self.rates.iter_mut().zip(&mut self.bytes) {
            let lately = std::mem::take(bytes).map(|bytes| bytes * 8_000 / millis);
            // Few pictures a second leave the upper layers out of a window now and then.
            let is_abrupt = [&*rates, &lately]
                .iter()
                .any(|all| all.iter().all(|each| *each == 0));
            for (rate, lately) in rates.iter_mut().zip(lately) {
                *rate = if is_abrupt {
                    lately
                } else {
                    // A key frame that somebody else asked for is soon over.
                    (3 * *rate + lately) / 4
                };
            }
        }
        self.since = now;
    }
}

/// The temporal layers that are there, up to one: what each takes with those below it.
fn layers_up_to(highest: u8, takes: &[u64; TEMPORAL_LAYERS_MAX]) -> Vec<(u8, u64)> {
    let mut below = 0;
    let layers = (0..=highest).zip(*takes);
    let there = layers.filter(|(_, rate)| std::mem::replace(&mut below, *rate) < *rate);
    there.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: PerLayer = [[150_000, 0, 0], [500_000, 0, 0], [2_000_000, 0, 0]];

    /// Three temporal layers each, as Chromium shares them out: 40, 20 and 40 %.
    const TIMED: PerLayer = [
        [60_000, 30_000, 60_000],
        [200_000, 100_000, 200_000],
        [800_000, 400_000, 800_000],
    ];

    fn line(rates: PerLayer) -> LineRates {
        LineRates {
            since: Monotonic::from_nanos(0),
            is_layered: false,
            bytes: PerLayer::default(),
            rates,
        }
    }

    fn layered(rates: PerLayer) -> LineRates {
        LineRates {
            is_layered: true,
            ..line(rates)
        }
    }

    fn wanted(substream: u8, temporal: u8) -> LayerTarget {
        LayerTarget {
            substream,
            temporal,
            ..LayerTarget::default()
        }
    }

    fn steps(line: &LineRates, wanted: LayerTarget) -> Vec<(u8, u8, u64)> {
        let steps = line.steps(wanted).into_iter();
        steps
            .map(|step| (step.limit.substream, step.limit.temporal, step.rate))
            .collect()
    }

    const WHOLE: u8 = u8::MAX;

    #[test]
    fn what_is_above_takes_more_than_what_is_below() {
        let takes = |line: LineRates| line.takes().map(|takes| takes[2]);
        assert_eq!(takes(line(RATES)), [150_000, 500_000, 2_000_000]);
        assert_eq!(takes(layered(RATES)), [150_000, 650_000, 2_650_000]);
        let begun = [RATES[0], RATES[1], [20_000, 0, 0]];
        let expected = [150_000, 500_000, 750_000];
        assert_eq!(takes(line(begun)), expected, "it will take more soon");
        let two = layered([RATES[0], RATES[1], [0; 3]]);
        assert_eq!(takes(two), [150_000, 650_000, 0], "a silent layer is none");
    }

    #[test]
    fn encodings_without_temporal_layers_are_one_step_each() {
        let whole = [
            (0, WHOLE, 150_000),
            (1, WHOLE, 500_000),
            (2, WHOLE, 2_000_000),
        ];
        assert_eq!(steps(&line(RATES), wanted(2, 2)), whole);
        assert_eq!(steps(&line(RATES), wanted(1, 2)), whole[..2]);
        assert_eq!(steps(&line(RATES), wanted(2, 0)), whole);
    }

    #[test]
    fn the_lowest_has_all_its_temporal_layers_and_the_others_what_is_worth_it() {
        let expected = [
            (0, 0, 60_000),
            (0, 1, 90_000),
            (0, WHOLE, 150_000),
            (1, 1, 300_000),
            (1, WHOLE, 500_000),
            (2, 1, 1_200_000),
            (2, WHOLE, 2_000_000),
        ];
        assert_eq!(steps(&line(TIMED), wanted(2, 2)), expected);
        let expected = [
            (0, 0, 60_000),
            (0, 1, 90_000),
            (0, WHOLE, 150_000),
            (1, 1, 390_000),
            (1, WHOLE, 650_000),
        ];
        assert_eq!(steps(&layered(TIMED), wanted(1, 2)), expected);
    }

    #[test]
    fn no_temporal_layer_is_a_step_that_was_not_asked_for() {
        let expected = [
            (0, 0, 60_000),
            (0, WHOLE, 90_000),
            (1, 0, 200_000),
            (1, WHOLE, 300_000),
        ];
        assert_eq!(steps(&line(TIMED), wanted(1, 1)), expected);
        let expected = [(0, WHOLE, 60_000), (1, WHOLE, 200_000)];
        assert_eq!(steps(&line(TIMED), wanted(1, 0)), expected);
    }

    #[test]
    fn each_step_takes_more_than_the_one_before() {
        let close = line([RATES[0], TIMED[0], [0; 3]]);
        let expected = [(0, WHOLE, 150_000), (1, WHOLE, 225_000)];
        assert_eq!(steps(&close, wanted(2, 2)), expected);
        let expected = [(0, WHOLE, 150_000), (1, WHOLE, 150_000)];
        assert_eq!(steps(&close, wanted(2, 0)), expected);
    }

    #[test]
    fn what_is_silent_is_passed_over() {
        let upper = line([[0; 3], TIMED[1], [0; 3]]);
        let expected = [(1, 0, 200_000), (1, 1, 300_000), (1, WHOLE, 500_000)];
        assert_eq!(steps(&upper, wanted(2, 2)), expected);
        assert_eq!(steps(&upper, wanted(0, 2)), expected, "what comes instead");
        assert_eq!(steps(&line([[0; 3]; 3]), wanted(2, 2)), []);
    }

    #[test]
    fn a_window_without_an_upper_layer_does_not_end_it() {
        let mut line = line(TIMED);
        let mut settle = |millis: u64, bytes: [u64; 3]| {
            line.bytes[0] = bytes;
            line.settle(Monotonic::from_nanos(millis * 1_000_000));
            line.rates[0]
        };
        assert_eq!(settle(500, [3_750, 0, 3_750]), [60_000, 22_500, 60_000]);
        assert_eq!(settle(1_000, [0; 3]), [0; 3], "it is silent");
        assert_eq!(settle(1_500, [3_750, 625, 0]), [60_000, 10_000, 0]);
    }
}
