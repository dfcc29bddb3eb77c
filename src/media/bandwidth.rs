//! Adaptive receivers: which layers fit into what a peer can receive.
//!
//! A line is given in steps: the temporal layers of its lowest encoding, then the encodings above,
//! each with fewer pictures first.
//!
//! Invariant: a line that is wanted at all is given its first step, whatever the estimate is.

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::Media;
use crate::media::event::{Enabled, LineRef, RouteId};
use crate::media::keyframes::EncodingRef;
use crate::media::rates::Step;
use crate::media::selector::LayerLimit;

/// A line that shares in an estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    /// Up to what was asked for, the least first.
    steps: Vec<Step>,
    /// The highest layers that it may have until now.
    former: LayerLimit,
}

/// What a peer is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Share {
    /// The step of each line, by its place.
    places: Vec<usize>,
    /// Something that was asked for does not fit.
    is_short: bool,
    /// What everything that was asked for takes, in bit/s.
    desired: u64,
}

/// Going up takes more than staying, in percent, so that an estimate on the brink does not make the
/// picture flicker. Encoders overshoot by about as much.
const HEADROOM_PERCENT: u64 = 120;

/// So much of what goes out the estimate must be, in percent, to let it go out a little longer.
const BORNE_PERCENT: u64 = 80;

/// Sound and headers, which are not worth measuring, in bit/s.
const OTHERS: u64 = 40_000;

/// What it takes to deliver these steps, in bit/s.
fn takes(places: &[usize], claims: &[Claim]) -> u64 {
    let rates = claims.iter().zip(places);
    OTHERS + rates.map(|(claim, place)| claim.rate(*place)).sum::<u64>()
}

/// What the way must carry before they are given, in bit/s.
fn needed(places: &[usize], claims: &[Claim]) -> u64 {
    takes(places, claims) * HEADROOM_PERCENT / 100
}

/// Shares an estimate: everybody gets the first step, then one step after another goes to the
/// lines in their order as long as it fits.
fn share(estimate: u64, claims: &[Claim]) -> Share {
    let mut places = vec![0; claims.len()];
    let mut is_short;
    loop {
        let mut has_moved = false;
        is_short = false;
        for (index, claim) in claims.iter().enumerate() {
            let step = places[index] + 1;
            if step >= claim.steps.len() {
                continue;
            }
            let mut tried = places.clone();
            tried[index] = step;
            let cost = if claim.kept().is_some_and(|kept| step > kept) {
                needed(&tried, claims)
            } else {
                takes(&tried, claims)
            };
            if cost <= estimate {
                places = tried;
                has_moved = true;
            } else {
                is_short = true;
            }
        }
        if !has_moved {
            break;
        }
    }
    let tops: Vec<usize> = claims.iter().map(Claim::top).collect();
    Share {
        is_short,
        desired: needed(&tops, claims),
        places,
    }
}

impl Share {
    /// Whether anybody who has something gets more.
    fn adds(&self, claims: &[Claim]) -> bool {
        let mut pairs = self.places.iter().zip(claims);
        pairs.any(|(place, claim)| claim.kept().is_some_and(|kept| *place > kept))
    }

    /// The same with one encoding up at most for each.
    fn one_step(&self, claims: &[Claim]) -> Self {
        self.map(claims, |place, claim, kept| claim.upwards(kept, place))
    }

    /// The same with no step up.
    fn no_step(&self, claims: &[Claim]) -> Self {
        self.map(claims, |place, _, kept| place.min(kept))
    }

    fn map(&self, claims: &[Claim], place: impl Fn(usize, &Claim, usize) -> usize) -> Self {
        let pairs = self.places.iter().zip(claims);
        let places = pairs.map(|(given, claim)| {
            let kept = claim.kept();
            kept.map_or(*given, |kept| place(*given, claim, kept))
        });
        Self {
            places: places.collect(),
            ..*self
        }
    }

    /// Whether any of those who have something gets less, and all of them have something.
    fn takes_away(&self, claims: &[Claim]) -> bool {
        let kept: Option<Vec<usize>> = claims.iter().map(Claim::kept).collect();
        kept.is_some_and(|kept| {
            self.places
                .iter()
                .zip(kept)
                .any(|(place, kept)| *place < kept)
        })
    }

    /// The layers of each line. Nothing is known of one without steps, which begins with its lowest
    /// encoding.
    fn limits(&self, claims: &[Claim]) -> Vec<LayerLimit> {
        let pairs = self.places.iter().zip(claims);
        let limits = pairs.map(|(place, claim)| {
            let step = claim.steps.get(*place);
            step.map_or(LayerLimit::whole(0), |step| step.limit)
        });
        limits.collect()
    }
}

impl Claim {
    fn rate(&self, place: usize) -> u64 {
        self.steps.get(place).map_or(0, |step| step.rate)
    }

    /// The step that it has until now, unless it is new.
    fn kept(&self) -> Option<usize> {
        let above = self.steps.partition_point(|step| step.limit <= self.former);
        (self.former != LayerLimit::NONE).then(|| above.saturating_sub(1))
    }

    /// Everything that was asked for.
    fn top(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// How far to go at once on the way from one step to another: an encoding at most.
    fn upwards(&self, from: usize, to: usize) -> usize {
        let substream = |place: usize| self.steps.get(place).map(|step| step.limit.substream);
        let mut above = from + 1..=to;
        let next = above.find(|place| substream(*place) > substream(from));
        let next = next.and_then(substream);
        let mut below = (0..=to).rev();
        next.and_then(|next| below.find(|place| substream(*place) <= Some(next)))
            .unwrap_or(to)
    }
}

impl Media {
    /// Says whether the layers that a peer gets follow what it can receive.
    pub fn set_adaptive(&mut self, peer: PeerId, adaptive: Enabled) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.set_adaptive(adaptive);
            self.due_shares.insert(peer);
        }
    }

    /// Shares anew what peers can receive of whom something changed.
    pub(super) fn share_bandwidth(&mut self, now: Monotonic) {
        while let Some(peer) = self.due_shares.pop_first() {
            self.share_of(now, peer);
        }
    }

    /// Shares an estimate. If it has just fallen a little below what goes out, all stays as it is; what
    /// is more than before is given after a trial, one step at a time.
    fn share_with_care(
        &mut self,
        now: Monotonic,
        id: PeerId,
        estimate: u64,
        claims: &[Claim],
    ) -> Share {
        let shared = share(estimate, claims);
        let Some(peer) = self.peers.get_mut(id) else {
            return shared;
        };
        let is_tight = shared.takes_away(claims);
        let may_bear = peer.may_bear(now, is_tight);
        let nearly = estimate * 100 / BORNE_PERCENT;
        if is_tight && may_bear && !share(nearly, claims).takes_away(claims) {
            return Share {
                places: claims.iter().filter_map(Claim::kept).collect(),
                ..shared
            };
        }
        let stepped = shared.one_step(claims);
        let trial = stepped
            .adds(claims)
            .then(|| needed(&stepped.places, claims));
        if peer.has_passed(now, trial) {
            stepped
        } else {
            shared.no_step(claims)
        }
    }

    fn share_of(&mut self, now: Monotonic, id: PeerId) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let estimate = peer.estimate();
        let mut routes: Vec<RouteId> = Vec::new();
        let mut claims = Vec::new();
        for line in 0..peer.lines.len() {
            let route = self.switch.route_to(LineRef { peer: id, line });
            let Some((id, route)) = route.and_then(|id| Some((id, self.switch.get(id)?))) else {
                continue;
            };
            if route.is_enabled() && !self.switch.is_muted(route.from) {
                routes.push(id);
                let wanted = route.state().target;
                claims.push(Claim {
                    steps: self.rates.steps(now, route.from, wanted),
                    former: route.limit(),
                });
            }
        }
        let shared = estimate.map(|estimate| self.share_with_care(now, id, estimate, &claims));
        let limits = shared.as_ref().map_or_else(
            || vec![LayerLimit::NONE; claims.len()],
            |shared| shared.limits(&claims),
        );
        for (id, limit) in routes.into_iter().zip(limits) {
            let Some(route) = self.switch.get_mut(id) else {
                continue;
            };
            if route.set_limit(now, limit)
                && let Some(encoding) = route.wanted(now)
            {
                let line = route.from;
                self.keyframes.want(now, EncodingRef { line, encoding });
            }
        }
        if let Some(shared) = shared {
            self.run(now, id, |peer, _| {
                peer.seek_bitrate(now, shared.desired, shared.is_short);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [150_000, 500_000, 2_000_000];

    /// A step without temporal layers.
    fn whole(substream: u8) -> Step {
        Step {
            limit: LayerLimit::whole(substream),
            rate: RATES[usize::from(substream)],
        }
    }

    fn claim(former: u8) -> Claim {
        Claim {
            steps: (0..3).map(whole).collect(),
            former: LayerLimit::whole(former),
        }
    }

    /// Two temporal layers of each encoding.
    fn timed(substream: u8, temporal: u8) -> Claim {
        let half = |whole: Step| Step {
            limit: LayerLimit {
                temporal: 0,
                ..whole.limit
            },
            rate: whole.rate * 6 / 10,
        };
        let both = |substream| [half(whole(substream)), whole(substream)];
        Claim {
            steps: (0..3).flat_map(both).collect(),
            former: LayerLimit {
                substream,
                temporal,
            },
        }
    }

    fn places(estimate: u64, claims: &[Claim]) -> Vec<usize> {
        share(estimate, claims).places
    }

    #[test]
    fn the_highest_that_fits_is_given() {
        for (estimate, expected) in [(0, 0), (400_000, 0), (700_000, 1), (2_500_000, 2)] {
            assert_eq!(places(estimate, &[claim(0)]), [expected], "{estimate}");
        }
    }

    #[test]
    fn going_up_takes_more_than_staying() {
        assert_eq!(places(560_000, &[claim(0)]), [0]);
        assert_eq!(places(560_000, &[claim(1)]), [1]);
        assert!(share(560_000, &[claim(0)]).is_short);
        assert!(share(560_000, &[claim(1)]).is_short);
        assert!(!share(2_500_000, &[claim(2)]).is_short);
    }

    #[test]
    fn temporal_layers_go_first_and_come_back_last() {
        let whole = |estimate| share(estimate, &[timed(0, u8::MAX)]);
        assert_eq!(whole(190_000).places, [1], "it is just enough to stay");
        assert_eq!(whole(189_000).places, [0]);
        assert!(whole(189_000).takes_away(&[timed(0, u8::MAX)]));
        assert_eq!(whole(0).places, [0], "the least is always given");
        let half = |estimate| share(estimate, &[timed(0, 0)]);
        assert_eq!(half(227_000).places, [0], "to go up takes a fifth more");
        assert!(half(227_000).is_short);
        assert_eq!(half(228_000).places, [1]);
        assert!(half(228_000).adds(&[timed(0, 0)]));
    }

    #[test]
    fn what_falls_between_two_encodings_gets_the_upper_one_with_fewer_pictures() {
        assert_eq!(places(407_000, &[timed(0, u8::MAX)]), [1]);
        assert_eq!(places(408_000, &[timed(0, u8::MAX)]), [2]);
        assert_eq!(places(540_000, &[timed(1, u8::MAX)]), [3]);
        assert_eq!(places(539_000, &[timed(1, u8::MAX)]), [2]);
    }

    #[test]
    fn one_step_is_one_encoding() {
        let stepped = |estimate, claim: Claim| {
            let claims = [claim];
            let shared = share(estimate, &claims);
            let stepped = shared.one_step(&claims);
            stepped.limits(&claims)[0]
        };
        assert_eq!(stepped(5_000_000, timed(0, 0)), LayerLimit::whole(1));
        assert_eq!(stepped(5_000_000, timed(1, 0)), LayerLimit::whole(2));
        assert_eq!(stepped(5_000_000, claim(0)), LayerLimit::whole(1));
        assert_eq!(stepped(300_000, timed(0, 0)), LayerLimit::whole(0));
        assert_eq!(stepped(0, timed(2, 0)), timed(0, 0).former);
        let half = LayerLimit {
            substream: 1,
            temporal: 0,
        };
        assert_eq!(stepped(450_000, timed(0, 0)), half);
    }

    #[test]
    fn nobody_is_left_out_for_another_ones_quality() {
        let two = [claim(0), claim(0)];
        assert_eq!(places(850_000, &two), [1, 0]);
        assert_eq!(places(1_300_000, &two), [1, 1]);
        assert_eq!(places(10_000_000, &two), [2, 2]);
        let two = [timed(0, 0), timed(0, 0)];
        assert_eq!(places(10_000, &two), [0, 0]);
        assert_eq!(places(380_000, &two), [1, 0]);
        assert_eq!(places(420_000, &two), [1, 1], "before anybody gets more");
    }

    #[test]
    fn what_it_has_is_the_nearest_that_is_still_there() {
        assert_eq!(timed(1, 0).kept(), Some(2));
        assert_eq!(timed(1, 1).kept(), Some(2));
        assert_eq!(claim(2).kept(), Some(2));
        let begun = Claim {
            former: LayerLimit::NONE,
            ..claim(0)
        };
        assert_eq!(begun.kept(), None);
        let lower = Claim {
            former: timed(0, 0).former,
            ..claim(0)
        };
        assert_eq!(lower.kept(), Some(0), "it had less than there is");
    }

    #[test]
    fn no_more_is_looked_for_than_was_asked_for() {
        let asked = Claim {
            steps: (0..2).map(whole).collect(),
            ..claim(0)
        };
        assert_eq!(share(u64::MAX, &[asked]).desired, 648_000);
    }

    #[test]
    fn the_lowest_is_given_before_anything_is_known() {
        let unknown = Claim {
            steps: Vec::new(),
            ..claim(2)
        };
        let claims = [unknown];
        let shared = share(100_000, &claims);
        assert_eq!(shared.limits(&claims), [LayerLimit::whole(0)]);
    }
}
