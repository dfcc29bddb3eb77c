//! What the encodings take that are forwarded, as measured.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::event::LineRef;
use crate::media::packet::MediaPacket;
use crate::wire::sdp::SIMULCAST_LAYERS_MAX;

/// What the encodings of all lines take that are forwarded.
#[derive(Debug, Default)]
pub(super) struct Rates {
    lines: BTreeMap<LineRef, LineRates>,
}

/// The encodings of one line.
#[derive(Clone, Copy, Debug)]
struct LineRates {
    since: Monotonic,
    /// Each layer comes on top of those below it.
    is_layered: bool,
    bytes: [u64; SIMULCAST_LAYERS_MAX],
    /// In bit/s; 0 for what is silent.
    rates: [u64; SIMULCAST_LAYERS_MAX],
}

/// Long enough to hold several frames, short enough to notice a layer that began.
const WINDOW: Duration = Duration::from_millis(500);

/// What was measured this long ago says nothing.
const STALE: Duration = Duration::from_secs(2);

/// An encoding is taken for so much of the one below it at least, in percent: senders begin each
/// with little.
const LEAST_STEP_PERCENT: u64 = 150;

impl Rates {
    /// Notes a packet that is forwarded.
    pub(super) fn note(&mut self, now: Monotonic, line: LineRef, packet: &MediaPacket) {
        let last = SIMULCAST_LAYERS_MAX - 1;
        let quality = usize::from(packet.quality()).min(last);
        let bytes = packet.payload.len() as u64;
        let line = self.lines.entry(line).or_insert(LineRates {
            since: now,
            is_layered: false,
            bytes: [0; SIMULCAST_LAYERS_MAX],
            rates: [0; SIMULCAST_LAYERS_MAX],
        });
        line.is_layered = packet.facts.layered.is_some() && !packet.is_simulcast;
        line.bytes[quality] += bytes;
        line.settle(now);
    }

    /// What the qualities of a line take.
    pub(super) fn of(&self, now: Monotonic, line: LineRef) -> [u64; SIMULCAST_LAYERS_MAX] {
        let line = self.lines.get(&line);
        let fresh = line.filter(|line| now.saturating_since(line.since) < STALE);
        fresh.map_or([0; SIMULCAST_LAYERS_MAX], LineRates::qualities)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.lines.retain(|line, _| line.peer != peer);
    }
}

impl LineRates {
    /// What it takes to deliver each encoding, or a spatial layer with those below it.
    fn qualities(&self) -> [u64; SIMULCAST_LAYERS_MAX] {
        let mut below = 0;
        self.rates.map(|rate| {
            if rate == 0 {
                return 0;
            }
            below = if self.is_layered {
                below + rate
            } else {
                rate.max(below * LEAST_STEP_PERCENT / 100)
            };
            below
        })
    }

    fn settle(&mut self, now: Monotonic) {
        let elapsed = now.saturating_since(self.since);
        if elapsed < WINDOW {
            return;
        }
        let millis = elapsed.as_millis() as u64;
        for (rate, bytes) in self.rates.iter_mut().zip(&mut self.bytes) {
            let lately = std::mem::take(bytes) * 8_000 / millis;
            *rate = if *rate == 0 || lately == 0 {
                lately
            } else {
                // A key frame that somebody else asked for is soon over.
                (3 * *rate + lately) / 4
            };
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [150_000, 500_000, 2_000_000];

    #[test]
    fn what_is_above_takes_more_than_what_is_below() {
        let line = |is_layered, rates| LineRates {
            since: Monotonic::from_nanos(0),
            is_layered,
            bytes: [0; 3],
            rates,
        };
        assert_eq!(line(false, RATES).qualities(), RATES);
        let summed = [150_000, 650_000, 2_650_000];
        assert_eq!(line(true, RATES).qualities(), summed);
        let begun = line(false, [150_000, 500_000, 20_000]).qualities();
        assert_eq!(begun, [150_000, 500_000, 750_000], "it will take more soon");
        let two = line(true, [150_000, 500_000, 0]).qualities();
        assert_eq!(two, [150_000, 650_000, 0], "a silent layer is none");
    }
}
