//! What the host must offer: io_uring, locked memory, descriptors, cores.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Executor;
use crate::config::Runtime;

/// Why the gateway cannot run here, in one line that names the remedy.
#[derive(Debug)]
pub(super) struct Trouble(String);

impl Trouble {
    /// A line for the operator.
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fewer descriptors than this are no server's.
const DESCRIPTORS_MIN: u64 = 1_024;

/// Fewer than this limit what the gateway can hold.
const DESCRIPTORS_WISHED: u64 = 16_384;

/// Descriptors that are not for connections: rings, listeners, media sockets, files, logs; 32 of
/// them are never used, so that accepting does not fail.
const DESCRIPTORS_KEPT: u64 = 256;

/// Locked memory that one ring needs, at the least.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Checks everything that a shard takes for granted. Says how many connections the process may
/// hold.
///
/// # Errors
///
/// With the remedy.
pub(super) fn check(runtime: Runtime, shards: u8) -> Result<usize, Trouble> {
    let connections_max = raise_descriptors()?;
    raise_memlock(shards)?;
    probe_ring(runtime)?;
    Ok(connections_max)
}

/// The cores that the process may use, by number.
pub(super) fn cores() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect(),
        Err(_) => vec![0],
    }
}

/// Raises the soft limit to the hard one.
fn raise(resource: Resource) -> Rlimit {
    let limit = getrlimit(resource);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Raising to the hard limit is always allowed; if not, what is there is checked.
        let _ = setrlimit(resource, raised);
    }
    getrlimit(resource)
}

fn raise_descriptors() -> Result<usize, Trouble> {
    let count = raise(Resource::Nofile).current.unwrap_or(u64::MAX);
    if count < DESCRIPTORS_MIN {
        return Err(Trouble::new(format!(
            "{count} descriptors are too few: raise the limit to {DESCRIPTORS_WISHED} or more \
             (ulimit -n, or LimitNOFILE= in the unit)"
        )));
    }
    if count < DESCRIPTORS_WISHED {
        tracing::warn!(count, wished = DESCRIPTORS_WISHED, "few descriptors");
    }
    Ok(usize::try_from(count - DESCRIPTORS_KEPT).unwrap_or(usize::MAX))
}

fn raise_memlock(shards: u8) -> Result<(), Trouble> {
    let needed = MEMLOCK_BYTES_MIN * u64::from(shards);
    let bytes = raise(Resource::Memlock).current.unwrap_or(u64::MAX);
    if bytes < needed {
        return Err(Trouble::new(format!(
            "{bytes} bytes of locked memory are too few for {shards} shards: raise the limit to \
             {needed} or more (ulimit -l, or LimitMEMLOCK= in the unit)"
        )));
    }
    Ok(())
}

/// Makes a ring and throws it away, because what refuses it differs by host: only trying tells.
pub(super) fn probe_ring(runtime: Runtime) -> Result<(), Trouble> {
    let made = Executor::new(runtime, None);
    made.map(drop).map_err(|error| ring_trouble(&error))
}

fn ring_trouble(error: &io::Error) -> Trouble {
    let remedy = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSYS) => {
            "this kernel has no io_uring, or too old a one: use Linux 5.13 or newer"
        }
        Some(Errno::PERM) | Some(Errno::ACCESS) => {
            "io_uring is forbidden: allow it in the container's seccomp profile, and set the \
             sysctl kernel.io_uring_disabled to 0"
        }
        Some(Errno::NOMEM) => {
            "too little locked memory for io_uring: raise the limit (ulimit -l, or LimitMEMLOCK= \
             in the unit)"
        }
        _ => return Trouble::new(format!("no ring can be made: {error}")),
    };
    Trouble::new(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_having_no_ring_names_its_own_remedy() {
        for (errno, remedy) in [
            (Errno::NOSYS, "5.13"),
            (Errno::PERM, "seccomp"),
            (Errno::NOMEM, "LimitMEMLOCK"),
            (Errno::MFILE, "no ring"),
        ] {
            let trouble = ring_trouble(&errno.into()).to_string();
            assert!(trouble.contains(remedy), "{errno:?}: {trouble}");
            assert!(!trouble.contains('\n'));
        }
    }

    #[test]
    fn there_is_a_core_to_run_on() {
        assert!(!cores().is_empty());
    }
}
