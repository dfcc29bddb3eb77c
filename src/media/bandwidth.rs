//! Adaptive receivers: which encodings fit into what a peer can receive.
//!
//! Invariant: a line that is wanted at all is given its lowest encoding, whatever the estimate is.

use crate::base::clock::Monotonic;
use crate::base::id::PeerId;
use crate::media::Media;
use crate::media::event::{Enabled, LineRef, RouteId};
use crate::media::keyframes::EncodingRef;
use crate::wire::sdp::SIMULCAST_LAYERS_MAX;

/// A line that shares in an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    rates: [u64; SIMULCAST_LAYERS_MAX],
    /// The highest encoding that was asked for.
    wanted: u8,
    /// The highest that it may have until now.
    former: u8,
}

/// What a peer is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Share {
    /// The highest encoding of each line.
    limits: Vec<u8>,
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

/// What it takes to deliver these encodings, in bit/s.
fn takes(limits: &[u8], claims: &[Claim]) -> u64 {
    let rates = claims.iter().zip(limits);
    OTHERS + rates.map(|(claim, limit)| claim.rate(*limit)).sum::<u64>()
}

/// What the way must carry before they are given, in bit/s.
fn needed(limits: &[u8], claims: &[Claim]) -> u64 {
    takes(limits, claims) * HEADROOM_PERCENT / 100
}

/// Shares an estimate: everybody gets the lowest encoding, then one step after another goes to the
/// lines in their order as long as it fits.
fn share(estimate: u64, claims: &[Claim]) -> Share {
    let lowest = |claim: &Claim| (0..=claim.wanted).find(|each| claim.rate(*each) > 0);
    let mut limits: Vec<u8> = claims
        .iter()
        .map(|claim| lowest(claim).unwrap_or(0))
        .collect();
    let mut is_short;
    loop {
        let mut has_moved = false;
        is_short = false;
        for index in 0..claims.len() {
            let claim = &claims[index];
            let above = limits[index] + 1..=claim.wanted;
            let Some(step) = above.into_iter().find(|each| claim.rate(*each) > 0) else {
                continue;
            };
            let mut tried = limits.clone();
            tried[index] = step;
            let cost = if step > claim.former {
                needed(&tried, claims)
            } else {
                takes(&tried, claims)
            };
            if cost <= estimate {
                limits = tried;
                has_moved = true;
            } else {
                is_short = true;
            }
        }
        if !has_moved {
            break;
        }
    }
    let tops: Vec<u8> = claims.iter().map(Claim::top).collect();
    Share {
        is_short,
        desired: needed(&tops, claims),
        limits,
    }
}

impl Share {
    /// Whether anybody who has something gets more.
    fn adds(&self, claims: &[Claim]) -> bool {
        let mut pairs = self.limits.iter().zip(claims);
        pairs.any(|(limit, claim)| claim.kept().is_some_and(|kept| *limit > kept))
    }

    /// The same with one step up at most for each.
    fn one_step(&self, claims: &[Claim]) -> Self {
        self.map(claims, |limit, claim, kept| {
            let mut above = kept + 1..=limit;
            above.find(|each| claim.rate(*each) > 0).unwrap_or(limit)
        })
    }

    /// The same with no step up.
    fn no_step(&self, claims: &[Claim]) -> Self {
        self.map(claims, |limit, _, kept| limit.min(kept))
    }

    fn map(&self, claims: &[Claim], limit: impl Fn(u8, &Claim, u8) -> u8) -> Self {
        let pairs = self.limits.iter().zip(claims);
        let limits = pairs.map(|(given, claim)| {
            let kept = claim.kept();
            kept.map_or(*given, |kept| limit(*given, claim, kept))
        });
        Self {
            limits: limits.collect(),
            ..*self
        }
    }

    /// Whether any of those who have something gets less, and all of them have something.
    fn takes_away(&self, claims: &[Claim]) -> bool {
        let kept: Option<Vec<u8>> = claims.iter().map(Claim::kept).collect();
        kept.is_some_and(|kept| {
            self.limits
                .iter()
                .zip(kept)
                .any(|(limit, kept)| *limit < kept)
        })
    }
}

impl Claim {
    fn rate(&self, encoding: u8) -> u64 {
        self.rates.get(usize::from(encoding)).copied().unwrap_or(0)
    }

    /// What it has until now, unless it is new.
    fn kept(&self) -> Option<u8> {
        (self.former != u8::MAX).then(|| self.former.min(self.top()))
    }

    /// The highest encoding that was asked for and is there.
    fn top(&self) -> u8 {
        let all = 0..=self.wanted;
        all.rev().find(|each| self.rate(*each) > 0).unwrap_or(0)
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
                limits: claims.iter().filter_map(Claim::kept).collect(),
                ..shared
            };
        }
        let stepped = shared.one_step(claims);
        let trial = stepped
            .adds(claims)
            .then(|| needed(&stepped.limits, claims));
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
                claims.push(Claim {
                    rates: self.rates.of(now, route.from),
                    wanted: route.state().target.substream,
                    former: route.limit(),
                });
            }
        }
        let shared = match estimate {
            Some(estimate) => self.share_with_care(now, id, estimate, &claims),
            None => Share {
                limits: vec![u8::MAX; claims.len()],
                ..Share::default()
            },
        };
        for (id, limit) in routes.into_iter().zip(shared.limits) {
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
        if estimate.is_some() {
            self.run(now, id, |peer, _| {
                peer.seek_bitrate(shared.desired, shared.is_short)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 3] = [150_000, 500_000, 2_000_000];

    fn claim(former: u8) -> Claim {
        Claim {
            rates: RATES,
            wanted: 2,
            former,
        }
    }

    fn limits(estimate: u64, claims: &[Claim]) -> Vec<u8> {
        share(estimate, claims).limits
    }

    #[test]
    fn the_highest_that_fits_is_given() {
        for (estimate, expected) in [(0, 0), (400_000, 0), (700_000, 1), (2_500_000, 2)] {
            assert_eq!(limits(estimate, &[claim(0)]), [expected], "{estimate}");
        }
    }

    #[test]
    fn going_up_takes_more_than_staying() {
        assert_eq!(limits(560_000, &[claim(0)]), [0]);
        assert_eq!(limits(560_000, &[claim(1)]), [1]);
        assert!(share(560_000, &[claim(0)]).is_short);
        assert!(share(560_000, &[claim(1)]).is_short);
        assert!(!share(2_500_000, &[claim(2)]).is_short);
    }

    #[test]
    fn nobody_is_left_out_for_another_ones_quality() {
        let two = [claim(0), claim(0)];
        assert_eq!(limits(850_000, &two), [1, 0]);
        assert_eq!(limits(1_300_000, &two), [1, 1]);
        assert_eq!(limits(10_000_000, &two), [2, 2]);
    }

    #[test]
    fn no_more_is_given_than_was_asked_for() {
        let asked = Claim {
            wanted: 1,
            ..claim(0)
        };
        assert_eq!(limits(u64::MAX, &[asked]), [1]);
        assert_eq!(share(u64::MAX, &[asked]).desired, 648_000);
    }

    #[test]
    fn a_silent_encoding_is_passed_over() {
        let silent = Claim {
            rates: [150_000, 0, 2_000_000],
            ..claim(0)
        };
        assert_eq!(limits(700_000, &[silent]), [0]);
        assert_eq!(limits(3_000_000, &[silent]), [2]);
    }

    #[test]
    fn the_lowest_is_given_before_anything_is_known() {
        let unknown = Claim {
            rates: [0; 3],
            ..claim(2)
        };
        assert_eq!(limits(100_000, &[unknown]), [0]);
    }
}
