//! What libraries of others read from the C library, as the simulator wants it: clocks that stand,
//! and entropy that a seed makes.
//!
//! Some libraries ask the system although they are given time and keys: the WebRTC library ties
//! instants to wall time once a process, the SCTP library seeds itself, hash maps draw their keys.
//! Where this crate is linked in, a thread that [`arm`]ed itself is answered from its seed; all
//! others reach the kernel as ever. Only the simulator depends on it.
//!
//! Invariant: an unarmed thread sees what the kernel says.

#![expect(
    unsafe_code,
    reason = "standing in for functions of the C library is not possible without"
)]

use std::cell::Cell;

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

thread_local! {
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct State {
    seed: u64,
    calls: Calls,
}

/// How often an armed thread asked. Another number than usual means that a library has begun to
/// ask for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Readings of any clock.
    pub clock: u64,
    /// Draws of entropy.
    pub entropy: u64,
}

/// What the wall clock of an armed thread shows: some day in 2026.
const REALTIME_SECS: i64 = 1_790_000_000;
/// What its other clocks show: enough to look back for hours.
const OTHERS_SECS: i64 = 10_000_000;

/// Has the calling thread see clocks that stand, and entropy that depends on `seed` alone.
pub fn arm(seed: u64) {
    let calls = Calls::default();
    STATE.set(Some(State { seed, calls }));
}

/// What the calling thread asked for since it armed itself.
pub fn calls() -> Calls {
    STATE.get().map(|state| state.calls).unwrap_or_default()
}

fn state() -> Option<State> {
    // Threads read clocks while they end, too.
    STATE.try_with(Cell::get).ok().flatten()
}

/// Stands in for `clock_gettime(2)`.
///
/// # Safety
///
/// `into` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, into: *mut timespec) -> c_int {
    let Some(mut state) = state() else {
        // SAFETY: the arguments are those of the call that this one stands in for.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, into) } as c_int;
    };
    state.calls.clock += 1;
    STATE.set(Some(state));
    let is_wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    let shown = timespec {
        tv_sec: if is_wall { REALTIME_SECS } else { OTHERS_SECS },
        tv_nsec: 0,
    };
    // SAFETY: the caller promises that it may be written.
    unsafe { into.write(shown) };
    0
}

/// Stands in for `getrandom(2)`.
///
/// # Safety
///
/// `into` points to `count` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(into: *mut c_void, count: size_t, flags: c_uint) -> ssize_t {
    let Some(mut state) = state() else {
        // SAFETY: the arguments are those of the call that this one stands in for.
        return unsafe { libc::syscall(libc::SYS_getrandom, into, count, flags) } as ssize_t;
    };
    if count == 0 {
        return 0;
    }
    state.calls.entropy += 1;
    STATE.set(Some(state));
    let key = mix(state.seed ^ mix(state.calls.entropy));
    // SAFETY: the caller promises that the bytes may be written, and there is at least one.
    let bytes = unsafe { std::slice::from_raw_parts_mut(into.cast::<u8>(), count) };
    for (index, chunk) in (0_u64..).zip(bytes.chunks_mut(8)) {
        let value = mix(key.wrapping_add(index)).to_le_bytes();
        chunk.copy_from_slice(&value[..chunk.len()]);
    }
    count as ssize_t
}

/// The finaliser of splitmix64.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "what these return is what is tested"
)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher as _;
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(run).join().expect("it does not panic")
    }

    #[test]
    fn an_armed_thread_sees_clocks_that_stand() {
        let wall = on_a_thread(|| {
            arm(1);
            let before = Instant::now();
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(before.elapsed(), Duration::ZERO);
            assert!(calls().clock >= 2);
            SystemTime::now()
        });
        let since = wall.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.expect("it is after 1970");
        assert_eq!(since, Duration::from_secs(REALTIME_SECS as u64));
    }

    #[test]
    fn hash_keys_depend_on_the_seed_of_the_thread() {
        let hash = |seed| {
            on_a_thread(move || {
                arm(seed);
                RandomState::new().hash_one(7)
            })
        };
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn an_unarmed_thread_reaches_the_kernel() {
        let before = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        assert!(before.elapsed() >= Duration::from_millis(2));
        let hash = || on_a_thread(|| RandomState::new().hash_one(7));
        assert_ne!(hash(), hash());
    }
}
