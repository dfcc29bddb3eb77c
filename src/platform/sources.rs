//! The only readings of clocks and entropy in the product.
//!
//! Invariant: monotonic time never goes back within a thread; a host whose clock does is not fit
//! to run on, because every deadline would be in doubt.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::base::clock::{Anchor, Boottime, Monotonic, Now, Realtime};

/// The clocks of one thread.
#[derive(Debug)]
pub struct Clocks {
    latest: Cell<Monotonic>,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            latest: Cell::new(Monotonic::from_nanos(0)),
        }
    }
}

impl Clocks {
    /// Reads all clocks.
    ///
    /// Aborts the process when monotonic time has gone back.
    pub fn sample(&self) -> Now {
        let monotonic = self.monotonic();
        let wall = clock_gettime(ClockId::Realtime);
        Now {
            monotonic,
            boottime: Boottime::from_nanos(nanos(clock_gettime(ClockId::Boottime))),
            realtime: Realtime::from_unix_micros(wall.tv_sec * 1_000_000 + wall.tv_nsec / 1_000),
        }
    }

    /// Reads the clock that deadlines are on.
    ///
    /// Aborts the process when it has gone back.
    pub fn monotonic(&self) -> Monotonic {
        let monotonic = Monotonic::from_nanos(nanos(clock_gettime(ClockId::Monotonic)));
        if monotonic < self.latest.get() {
            tracing::error!(
                ?monotonic,
                latest = ?self.latest.get(),
                "the monotonic clock went back"
            );
            std::process::abort();
        }
        self.latest.set(monotonic);
        monotonic
    }

    /// Ties the present moment's `std` instant to the monotonic clock.
    ///
    /// The two readings are some nanoseconds apart, the same ones for as long as the anchor is
    /// used.
    #[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
    pub fn anchor(&self) -> Anchor {
        let monotonic = self.monotonic();
        Anchor::new(Instant::now(), monotonic)
    }
}

/// Draws a seed from the operating system.
///
/// # Errors
///
/// When the operating system has no entropy to give.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut seed[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seed)
}

/// The time since the Unix epoch, for threads that are not a shard's: certificates are valid by it.
pub(super) fn unix_time() -> Duration {
    let wall = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(wall.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(wall.tv_nsec).unwrap_or_default())
}

/// These clocks count up from an origin that the kernel chose, so that readings are never negative.
fn nanos(reading: Timespec) -> u64 {
    let seconds = u64::try_from(reading.tv_sec).expect("the clock counts up from zero");
    let nanos = u64::try_from(reading.tv_nsec).expect("a fraction of a second");
    seconds * 1_000_000_000 + nanos
}
