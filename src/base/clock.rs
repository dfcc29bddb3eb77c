//! Clock domains as types: an instant of one clock cannot be compared with, or added to, an
//! instant of another, so a deadline can only be awaited on the clock that it was computed on.
//!
//! Invariant: there is no conversion between domains, no common supertype, and no way to read a
//! clock here. [`Now`] is sampled once per turn by the platform and handed down.
//!
//! ```
//! use bifrons::base::clock::{Monotonic, Realtime};
//! use std::time::Duration;
//!
//! let now = Monotonic::from_nanos(3_000_000_000);
//! let deadline = now + Duration::from_secs(30);
//! assert_eq!(deadline.saturating_since(now), Duration::from_secs(30));
//! assert_eq!(now.saturating_since(deadline), Duration::ZERO);
//! assert!(Realtime::from_unix_micros(1) < Realtime::from_unix_micros(2));
//! ```
//!
//! The historical bug, a deadline of one clock handed to another, does not compile:
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Boottime, Monotonic};
//! # use std::time::Duration;
//! fn arm(_deadline: Monotonic) {}
//! arm(Boottime::from_nanos(1) + Duration::from_secs(30));
//! ```
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Monotonic, Uptime};
//! # use std::time::Duration;
//! fn arm(_deadline: Monotonic) {}
//! let started = Monotonic::from_nanos(5);
//! arm(Uptime::between(started, Monotonic::from_nanos(9)) + Duration::from_secs(30));
//! ```
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Monotonic, Realtime};
//! # use std::time::Duration;
//! fn arm(_deadline: Monotonic) {}
//! arm(Realtime::from_unix_micros(1) + Duration::from_secs(30));
//! ```
//!
//! Instants of different clocks are neither compared nor subtracted:
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Boottime, Monotonic};
//! let _ = Monotonic::from_nanos(1) < Boottime::from_nanos(2);
//! ```
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Monotonic, Realtime};
//! let _ = Monotonic::from_nanos(1).saturating_since(Realtime::from_unix_micros(1));
//! ```
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{Monotonic, Uptime};
//! let started = Monotonic::from_nanos(1);
//! let _ = started == Uptime::between(started, started);
//! ```
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::{NtpTime, RtpTime};
//! let _ = RtpTime(1) == NtpTime(1);
//! ```
//!
//! Two instants cannot be added, none is made from a bare number by accident, and there is no
//! `now()` to call:
//!
//! ```compile_fail,E0308
//! # use bifrons::base::clock::Monotonic;
//! let t = Monotonic::from_nanos(0);
//! let _ = t + t;
//! ```
//!
//! ```compile_fail,E0277
//! # use bifrons::base::clock::Monotonic;
//! let _: Monotonic = 7_u64.into();
//! ```
//!
//! ```compile_fail,E0599
//! # use bifrons::base::clock::Monotonic;
//! let _ = Monotonic::now();
//! ```

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A reading of `CLOCK_MONOTONIC` in nanoseconds since that clock's own origin.
///
/// It does not run while the host is suspended, and is slewed but never stepped. Every deadline
/// is a `Monotonic`, armed and expired on one shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// Makes an instant from a raw reading, in nanoseconds. Only `platform` and the simulator
    /// read clocks, so only they may call this.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin, for display and traces.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    /// Saturates at the end of the clock's range, about 584 years after its origin.
    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Debug for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "monotonic+{:?}", Duration::from_nanos(self.0))
    }
}

/// A reading of `CLOCK_BOOTTIME` in nanoseconds: it also runs while the host is suspended.
///
/// Good for noticing a suspend, never for a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boottime(u64);

impl Boottime {
    /// Makes an instant from a raw reading, in nanoseconds. For `platform` and the simulator.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin, for traces.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Boottime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Debug for Boottime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boottime+{:?}", Duration::from_nanos(self.0))
    }
}

/// A reading of the wall clock, in microseconds since the Unix epoch. It may jump either way.
///
/// For stamps that people or other programs read: `Date`, logs, token expiry. Never an interval.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Realtime(i64);

impl Realtime {
    /// Makes an instant from a raw reading, in microseconds. For `platform` and the simulator.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch; negative before it.
    pub const fn unix_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl Add<Duration> for Realtime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Realtime {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "realtime {}us", self.0)
    }
}

/// How long the process has run. Derived, for display only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    /// The uptime at `now` of a process that started at `started`.
    pub const fn between(started: Monotonic, now: Monotonic) -> Self {
        Self(now.saturating_since(started))
    }

    /// The uptime as a span.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Uptime {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// A timestamp of one RTP stream, in units of its clock rate. It wraps (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Signed distance from `earlier` in clock units, across the wrap.
    pub const fn wrapping_since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A sender's wall clock in NTP format, 32.32 fixed point (RFC 3550 §4). It is the clock of
/// whoever sent it, not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NtpTime(pub u64);

/// One coherent reading of every clock, taken once per turn by the platform and passed down.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For every deadline and interval.
    pub monotonic: Monotonic,
    /// For noticing that the host was suspended.
    pub boottime: Boottime,
    /// For stamps.
    pub realtime: Realtime,
}

/// Ties one `std` instant, given at boot, to the monotonic clock, for libraries that take
/// [`Instant`]. Differences within the monotonic clock are kept exactly.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    instant: Instant,
    monotonic: Monotonic,
}

impl Anchor {
    /// Declares that `instant` and `monotonic` name the same moment.
    pub const fn new(instant: Instant, monotonic: Monotonic) -> Self {
        Self { instant, monotonic }
    }

    /// Where on the monotonic clock it was made.
    pub const fn origin(&self) -> Monotonic {
        self.monotonic
    }

    /// The library's name for `at`. Moments before the anchor collapse onto it.
    pub fn instant(&self, at: Monotonic) -> Instant {
        self.instant + at.saturating_since(self.monotonic)
    }

    /// Our name for the library's `at`. Moments before the anchor collapse onto it, and so do
    /// moments too far in the future to be named, onto the end of the clock's range.
    pub fn monotonic(&self, at: Instant) -> Monotonic {
        self.monotonic + at.saturating_duration_since(self.instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_near_the_end_of_the_range_saturates() {
        let late = Monotonic::from_nanos(u64::MAX - 1);
        assert_eq!(
            late + Duration::from_secs(30),
            Monotonic::from_nanos(u64::MAX)
        );
        assert_eq!(late + Duration::MAX, Monotonic::from_nanos(u64::MAX));
    }

    #[test]
    fn wall_seconds_round_down_before_the_epoch_too() {
        assert_eq!(Realtime::from_unix_micros(-1).unix_seconds(), -1);
        assert_eq!(Realtime::from_unix_micros(1_999_999).unix_seconds(), 1);
    }

    #[test]
    fn rtp_time_differences_cross_the_wrap() {
        assert_eq!(RtpTime(5).wrapping_since(RtpTime(u32::MAX - 4)), 10);
        assert_eq!(RtpTime(u32::MAX).wrapping_since(RtpTime(0)), -1);
    }

    #[test]
    fn an_anchor_maps_both_ways() {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let anchor = Anchor::new(Instant::now(), Monotonic::from_nanos(1_000));
        let at = Monotonic::from_nanos(5_000_000_000);
        assert_eq!(anchor.monotonic(anchor.instant(at)), at);
        assert_eq!(
            anchor
                .monotonic(anchor.instant(Monotonic::from_nanos(1)))
                .as_nanos(),
            1_000
        );
    }
}
