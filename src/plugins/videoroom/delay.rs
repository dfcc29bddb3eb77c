//! Playout delays: what clients ask for, and what is in force.

use crate::media::PlayoutDelay;
use crate::plugins::videoroom::fault::Fault;
use crate::plugins::videoroom::fields::Fields;

/// What is asked for, in steps of 10 ms; a negative number takes back what was asked before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DelayWish {
    min: Option<i64>,
    max: Option<i64>,
}

/// What is in force, where it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delay {
    min: Option<u16>,
    max: Option<u16>,
}

/// What fits into the header extension.
const STEPS_MAX: i64 = 0xfff;

impl DelayWish {
    /// Reads `min_delay` and `max_delay`.
    ///
    /// # Errors
    ///
    /// 430.
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        Ok(Self {
            min: fields.may_integer("min_delay")?,
            max: fields.may_integer("max_delay")?,
        })
    }

    /// Whether anything is said.
    pub(super) const fn is_some(self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    /// Changes what is said of. The bound that was set last stays; the other follows it.
    pub(super) fn apply(self, delay: &mut Delay) {
        let steps = |asked: i64| (asked >= 0).then(|| asked.min(STEPS_MAX) as u16);
        if let Some(min) = self.min.map(steps) {
            delay.min = min;
            delay.max = delay.max.map(|max| max.max(min.unwrap_or(0)));
        }
        if let Some(max) = self.max.map(steps) {
            delay.max = max;
            delay.min = delay.min.map(|min| min.min(max.unwrap_or(min)));
        }
    }
}

impl Delay {
    /// Both bounds, if both are set: the extension has no room for less.
    pub(super) fn both(self) -> Option<PlayoutDelay> {
        let (min, max) = self.min.zip(self.max)?;
        Some(PlayoutDelay { min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(wishes: &[(Option<i64>, Option<i64>)]) -> Option<(u16, u16)> {
        let mut delay = Delay::default();
        for (min, max) in wishes {
            let (min, max) = (*min, *max);
            DelayWish { min, max }.apply(&mut delay);
        }
        delay.both().map(|delay| (delay.min, delay.max))
    }

    #[test]
    fn the_bound_that_is_set_last_stays() {
        assert_eq!(apply(&[(Some(10), None)]), None);
        assert_eq!(apply(&[(Some(10), None), (None, Some(40))]), Some((10, 40)));
        assert_eq!(apply(&[(Some(10), Some(40))]), Some((10, 40)));
        assert_eq!(
            apply(&[(Some(10), Some(40)), (Some(50), None)]),
            Some((50, 50))
        );
        assert_eq!(
            apply(&[(Some(10), Some(40)), (None, Some(5))]),
            Some((5, 5))
        );
        assert_eq!(apply(&[(Some(10), Some(40)), (Some(-1), None)]), None);
        assert_eq!(apply(&[(Some(0), Some(99_999))]), Some((0, 4_095)));
    }
}
