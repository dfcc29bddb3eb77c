//! A host's clocks as functions of true time: own origins, own rate, steps, suspends.
//!
//! Invariant: integer arithmetic only, because floating point differs between builds; and
//! [`ClockModel::true_time_of`] is the exact inverse of [`ClockModel::read`], because a timer
//! that fires a nanosecond early spins, and one that fires late is a fault that nobody injected.

use std::time::Duration;

use bifrons::base::clock::{Boottime, Monotonic, Now, Realtime};

use crate::kernel::key::Key;
use crate::kernel::time::{SimTime, nanos};

/// What a host's clocks show when the world begins. No two domains share an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOrigins {
    /// What the monotonic clock shows.
    pub monotonic: Duration,
    /// How much of its life the host had been suspended: by so much the boot-time clock is ahead.
    pub suspended: Duration,
    /// What the wall clock shows, in seconds since the Unix epoch.
    pub realtime_secs: i64,
}

impl ClockOrigins {
    /// The origins under which a mix-up of domains cannot be seen: they are all equal.
    pub const ZERO: Self = Self {
        monotonic: Duration::ZERO,
        suspended: Duration::ZERO,
        realtime_secs: 0,
    };

    /// The origins that a shrunk scenario has when they do not matter.
    pub const PLAIN: Self = Self {
        monotonic: Duration::from_secs(3_600),
        suspended: Duration::from_secs(60),
        realtime_secs: 1_790_000_000,
    };

    /// Draws origins by the rule: just booted, minutes before 2^31 or 2^32 ms, years of uptime;
    /// suspended never, shortly or for weeks; a wall clock before its build date, today, or
    /// beyond 2038.
    pub fn draw(key: Key) -> Self {
        let mut draws = key.draws();
        let wrap = |bits: u32, before: u64| {
            Duration::from_millis(1 << bits).saturating_sub(Duration::from_secs(before))
        };
        let monotonic = match draws.below(6) {
            0 => Duration::from_millis(draws.below(20_000)),
            1 => wrap(31, draws.below(300)),
            2 => wrap(32, draws.below(300)),
            3 => Duration::from_secs(draws.between(1, 5) * 365 * DAY_SECS),
            _ => Duration::from_secs(draws.between(60, 30 * DAY_SECS)),
        };
        let suspended = match draws.below(3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(draws.between(1, 100_000)),
            _ => Duration::from_secs(draws.between(1, 100 * DAY_SECS)),
        };
        let realtime_secs = match draws.below(5) {
            0 => draws.below(86_400).cast_signed(),
            1 => (1_i64 << 31) - draws.below(300).cast_signed(),
            2 => 4_200_000_000,
            _ => 1_780_000_000 + draws.below(60_000_000).cast_signed(),
        };
        Self {
            monotonic,
            suspended,
            realtime_secs,
        }
    }
}

const DAY_SECS: u64 = 86_400;

/// A change of a host's clocks, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockChange {
    /// All clocks run this much too fast, in millionths, from here on.
    Drift {
        /// Millionths; negative is slow. At least -900,000.
        ppm: i64,
    },
    /// The host goes on, its monotonic clock with it.
    Resume,
    /// The wall clock runs this much faster than the others, in millionths, from here on.
    WallSlew {
        /// Millionths.
        ppm: i64,
    },
    /// The wall clock jumps.
    WallStep {
        /// Nanoseconds, either way.
        by: i64,
    },
    /// The host sleeps: its monotonic clock stands, boot time and wall time go on.
    Suspend,
}

/// The clocks of one host: piecewise linear in true time.
#[derive(Clone, Debug)]
pub struct ClockModel {
    since: SimTime,
    monotonic: u64,
    boottime: u64,
    realtime: i128,
    ppm: i64,
    wall_ppm: i64,
    granularity: u64,
    is_suspended: bool,
}

impl ClockModel {
    /// Clocks that begin at `origins` and run at the rate of true time.
    pub fn new(origins: ClockOrigins) -> Self {
        let monotonic = nanos(origins.monotonic);
        Self {
            since: SimTime::START,
            monotonic,
            boottime: monotonic.saturating_add(nanos(origins.suspended)),
            realtime: i128::from(origins.realtime_secs) * BILLION,
            ppm: 0,
            wall_ppm: 0,
            granularity: 0,
            is_suspended: false,
        }
    }

    /// The same clocks, which can be read in multiples of `step` only; zero is exact.
    #[must_use]
    pub fn with_granularity(mut self, step: Duration) -> Self {
        self.granularity = nanos(step);
        self
    }

    /// Changes the clocks at `at`. Every timer of the host must be armed anew after it.
    ///
    /// # Panics
    ///
    /// When `at` lies before an earlier change, or a drift would stop time.
    pub fn apply(&mut self, at: SimTime, change: ClockChange) {
        assert!(at >= self.since, "clocks change in the order of time");
        let exact = self.exact(at);
        self.since = at;
        self.monotonic = exact.monotonic;
        self.boottime = exact.boottime;
        self.realtime = exact.realtime;
        match change {
            ClockChange::Drift { ppm } => {
                assert!(ppm >= -900_000, "time must go on");
                self.ppm = ppm;
            }
            ClockChange::Resume => self.is_suspended = false,
            ClockChange::WallSlew { ppm } => self.wall_ppm = ppm,
            ClockChange::WallStep { by } => self.realtime += i128::from(by),
            ClockChange::Suspend => self.is_suspended = true,
        }
    }

    /// What the host's clocks show at `at`.
    pub fn read(&self, at: SimTime) -> Now {
        let exact = self.exact(at);
        let realtime = self.coarse_wall(exact.realtime).div_euclid(1_000);
        Now {
            monotonic: Monotonic::from_nanos(self.coarse(exact.monotonic)),
            boottime: Boottime::from_nanos(self.coarse(exact.boottime)),
            realtime: Realtime::from_unix_micros(i64::try_from(realtime).unwrap_or(i64::MAX)),
        }
    }

    /// The first moment, not before `from`, at which the monotonic clock shows `deadline` or more.
    /// `None` while the host is suspended, unless the clock shows it already.
    pub fn true_time_of(&self, deadline: Monotonic, from: SimTime) -> Option<SimTime> {
        let wanted = match self.granularity {
            0 => deadline.as_nanos(),
            step => deadline.as_nanos().div_ceil(step).saturating_mul(step),
        };
        let need = wanted.saturating_sub(self.monotonic);
        if need == 0 {
            return Some(from);
        }
        if self.is_suspended {
            return None;
        }
        let elapsed = if self.ppm == 0 {
            u128::from(need)
        } else {
            let rate = (MILLION + i128::from(self.ppm)).cast_unsigned();
            (u128::from(need) * MILLION.cast_unsigned()).div_ceil(rate)
        };
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        Some((self.since + Duration::from_nanos(elapsed)).max(from))
    }

    /// Whether the host sleeps.
    pub const fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    fn exact(&self, at: SimTime) -> Exact {
        let true_elapsed = nanos(at.saturating_since(self.since));
        let elapsed = at_rate(true_elapsed, self.ppm);
        let wall = at_rate(true_elapsed, self.ppm.saturating_add(self.wall_ppm));
        Exact {
            monotonic: if self.is_suspended {
                self.monotonic
            } else {
                self.monotonic.saturating_add(elapsed)
            },
            boottime: self.boottime.saturating_add(elapsed),
            realtime: self.realtime + i128::from(wall),
        }
    }

    const fn coarse(&self, reading: u64) -> u64 {
        match self.granularity {
            0 => reading,
            step => reading / step * step,
        }
    }

    fn coarse_wall(&self, reading: i128) -> i128 {
        match self.granularity {
            0 => reading,
            step => reading.div_euclid(i128::from(step)) * i128::from(step),
        }
    }
}

const MILLION: i128 = 1_000_000;
const BILLION: i128 = 1_000_000_000;

struct Exact {
    monotonic: u64,
    boottime: u64,
    realtime: i128,
}

fn at_rate(elapsed: u64, ppm: i64) -> u64 {
    if ppm == 0 {
        return elapsed;
    }
    let scaled = i128::from(elapsed) * (MILLION + i128::from(ppm)) / MILLION;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(now: Now, since: Now) -> (Duration, Duration, i64) {
        (
            now.monotonic.saturating_since(since.monotonic),
            now.boottime.saturating_since(since.boottime),
            now.realtime.unix_micros() - since.realtime.unix_micros(),
        )
    }

    #[test]
    fn a_wall_step_moves_the_wall_clock_alone() {
        let mut model = ClockModel::new(ClockOrigins::PLAIN);
        let before = model.read(SimTime::from_secs(5));
        model.apply(
            SimTime::from_secs(5),
            ClockChange::WallStep { by: -7_000_000_000 },
        );
        let after = model.read(SimTime::from_secs(5));
        assert_eq!(
            shown(after, before),
            (Duration::ZERO, Duration::ZERO, -7_000_000)
        );
    }

    #[test]
    fn a_suspend_stops_the_monotonic_clock_alone() {
        let mut model = ClockModel::new(ClockOrigins::PLAIN);
        let before = model.read(SimTime::START);
        model.apply(SimTime::from_secs(10), ClockChange::Suspend);
        model.apply(SimTime::from_secs(40), ClockChange::Resume);
        let after = model.read(SimTime::from_secs(45));
        let secs = Duration::from_secs;
        assert_eq!(shown(after, before), (secs(15), secs(45), 45_000_000));
    }

    #[test]
    fn a_sleeping_host_has_no_deadline_to_come() {
        let mut model = ClockModel::new(ClockOrigins::PLAIN);
        model.apply(SimTime::from_secs(1), ClockChange::Suspend);
        let now = model.read(SimTime::from_secs(2)).monotonic;
        assert_eq!(
            model.true_time_of(now + Duration::from_nanos(1), SimTime::from_secs(2)),
            None
        );
        assert_eq!(
            model.true_time_of(now, SimTime::from_secs(2)),
            Some(SimTime::from_secs(2))
        );
    }

    #[test]
    fn drawn_origins_keep_the_domains_apart() {
        for seed in 0..200 {
            let now = ClockModel::new(ClockOrigins::draw(Key::of_seed(seed))).read(SimTime::START);
            let wall = Duration::from_micros(now.realtime.unix_micros().unsigned_abs());
            let shown = Duration::from_nanos(now.monotonic.as_nanos());
            assert!(
                wall.abs_diff(shown) > Duration::from_millis(1),
                "seed {seed}: {now:?}"
            );
        }
    }

    proptest! {
        /// The moment found is late enough, and the one a nanosecond before it is not.
        #[test]
        fn the_inverse_is_exact(
            seed in any::<u64>(),
            ppm in -900_000_i64..2_000_000,
            step in prop::sample::select(vec![0_u64, 1, 7, 1_000_000, 4_000_000]),
            changed in 0_u64..100_000_000_000,
            from in 0_u64..50_000_000_000,
            ahead in 0_u64..60_000_000_000,
        ) {
            let mut model = ClockModel::new(ClockOrigins::draw(Key::of_seed(seed)))
                .with_granularity(Duration::from_nanos(step));
            model.apply(SimTime::from_nanos(changed), ClockChange::Drift { ppm });
            let from = SimTime::from_nanos(changed + from);
            let deadline = model.read(from).monotonic + Duration::from_nanos(ahead);
            let at = model.true_time_of(deadline, from).expect("the host is awake");
            prop_assert!(model.read(at).monotonic >= deadline);
            if at > from {
                let before = SimTime::from_nanos(at.as_nanos() - 1);
                prop_assert!(model.read(before).monotonic < deadline);
            }
        }

        /// Whatever happens to the other clocks, this one goes forward.
        #[test]
        fn the_monotonic_clock_never_goes_back(
            seed in any::<u64>(),
            step in prop::sample::select(vec![0_u64, 4_000_000]),
            changes in prop::collection::vec((0_u8..5, -900_000_i64..1_000_000, 0_u64..9_000_000_000), 0..20),
        ) {
            let mut model = ClockModel::new(ClockOrigins::draw(Key::of_seed(seed)))
                .with_granularity(Duration::from_nanos(step));
            let mut at = SimTime::START;
            let mut last = model.read(at).monotonic;
            for (kind, amount, wait) in changes {
                at += Duration::from_nanos(wait);
                model.apply(at, match kind {
                    0 => ClockChange::Drift { ppm: amount },
                    1 => ClockChange::WallStep { by: amount * 1_000_000 },
                    2 => ClockChange::Suspend,
                    3 => ClockChange::Resume,
                    _ => ClockChange::WallSlew { ppm: amount },
                });
                let now = model.read(at).monotonic;
                prop_assert!(now >= last);
                last = now;
            }
        }
    }
}
