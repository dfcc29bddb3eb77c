//! A step up that is tried with padding before it is made.
//!
//! A probe is so short that the burst of a token bucket lets it pass at any rate, and what it found
//! is taken for the estimate. So the way has to carry for a while what the step takes.
//!
//! Invariant: a step passes only if nothing beyond it was tried in the meantime, and the estimate did
//! not fall while it was tried.

use std::time::Duration;

use crate::base::clock::Monotonic;

/// Whether a step up is being tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trial(Phase);

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    None,
    /// With what the step takes, in bit/s.
    Since(Monotonic, u64),
    NotBefore(Monotonic),
}

/// For so long a step up is tried.
const DURATION: Duration = Duration::from_millis(1_500);

/// After a trial that failed there is none for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// A step may come to take so much of what is tried, in percent, as rates are measured anew.
const GROWTH_PERCENT: u64 = 110;

impl Trial {
    /// Whether the way has carried for a while what a step up takes, in bit/s. Call it with `None`
    /// when there is no step up.
    pub(super) fn has_passed(&mut self, now: Monotonic, step: Option<u64>) -> bool {
        let (phase, has_passed) = match (self.0, step) {
            (Phase::None, None) => (Phase::None, false),
            (Phase::None, Some(step)) => (Phase::Since(now, step), false),
            (Phase::Since(..), None) => (Phase::NotBefore(now + PAUSE), false),
            (Phase::Since(_, tried), Some(step)) if step * 100 > tried * GROWTH_PERCENT => {
                (Phase::Since(now, step), false)
            }
            (Phase::Since(since, _), Some(_)) if now.saturating_since(since) >= DURATION => {
                (Phase::None, true)
            }
            (Phase::Since(since, tried), Some(_)) => (Phase::Since(since, tried), false),
            (Phase::NotBefore(at), _) if now < at => (Phase::NotBefore(at), false),
            (Phase::NotBefore(_), _) => (Phase::None, false),
        };
        self.0 = phase;
        has_passed
    }

    /// The estimate fell: the way did not carry what was sent.
    pub(super) fn on_fall(&mut self, now: Monotonic) {
        if let Phase::Since(..) = self.0 {
            self.0 = Phase::NotBefore(now + PAUSE);
        }
    }

    /// What is to be filled up to with padding, in bit/s.
    pub(super) const fn filled(&self) -> u64 {
        match self.0 {
            Phase::Since(_, step) => step,
            Phase::None | Phase::NotBefore(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_step_that_the_way_carries_passes() {
        let mut trial = Trial::default();
        for millis in [0, 500, 1_499] {
            assert!(!trial.has_passed(at(millis), Some(300_000)));
            assert_eq!(trial.filled(), 300_000);
        }
        assert!(trial.has_passed(at(1_500), Some(320_000)), "a little more");
        assert_eq!(trial.filled(), 0);
    }

    #[test]
    fn after_a_failure_there_is_a_pause() {
        let mut trial = Trial::default();
        trial.has_passed(at(0), Some(300_000));
        assert!(!trial.has_passed(at(500), None));
        for millis in [600, 2_499, 2_500] {
            assert!(!trial.has_passed(at(millis), Some(300_000)));
            assert_eq!(trial.filled(), 0, "{millis}");
        }
        trial.has_passed(at(2_600), Some(300_000));
        assert_eq!(trial.filled(), 300_000);
        assert!(!trial.has_passed(at(4_000), Some(300_000)));
        assert!(trial.has_passed(at(4_100), Some(300_000)));
    }

    #[test]
    fn a_larger_step_is_tried_for_as_long_as_any() {
        let mut trial = Trial::default();
        trial.has_passed(at(0), Some(300_000));
        trial.has_passed(at(900), Some(600_000));
        assert_eq!(trial.filled(), 600_000);
        assert!(!trial.has_passed(at(2_300), Some(600_000)));
        assert!(trial.has_passed(at(2_400), Some(600_000)));
    }

    #[test]
    fn a_fall_of_the_estimate_is_a_failure() {
        let mut trial = Trial::default();
        trial.has_passed(at(0), Some(300_000));
        trial.on_fall(at(1_000));
        assert_eq!(trial.filled(), 0);
        assert!(!trial.has_passed(at(1_500), Some(300_000)));
        assert!(!trial.has_passed(at(3_000), Some(300_000)));
        assert!(!trial.has_passed(at(3_100), Some(300_000)));
        assert_eq!(trial.filled(), 300_000);
        let mut idle = Trial::default();
        idle.on_fall(at(0));
        idle.has_passed(at(1), Some(300_000));
        assert_eq!(idle.filled(), 300_000, "nothing was tried");
    }
}
