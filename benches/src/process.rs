//! What a process costs: CPU time, memory and threads, as `/proc` says.

use std::fs;
use std::io;
use std::time::Duration;

/// A reading of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads, those that have ended included. In steps of the
    /// kernel's tick, mostly 10 ms.
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes: u64,
    pub(crate) threads: u64,
}

impl Usage {
    /// Reads what the process has used so far.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_err(|error: io::Error| format!("process {pid}: {error}"))?;
        let page_bytes = rustix::param::page_size() as u64;
        Self::parse(&stat, rustix::param::clock_ticks_per_second(), page_bytes)
            .ok_or_else(|| format!("process {pid}: its stat cannot be read: {stat}"))
    }

    fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        // The name in brackets may hold anything; fields are counted from behind it.
        let (_, behind_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14)? + field(15)?;
        Some(Self {
            cpu: Duration::from_micros(ticks * 1_000_000 / ticks_per_second),
            threads: field(20)?,
            rss_bytes: field(24)? * page_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_hold_spaces_and_brackets() {
        let stat = "9 (a ) b) S 1 9 9 0 -1 4 1 0 0 0 150 50 7 7 20 0 3 0 99 1000 25 18446744073 1";
        let usage = Usage::parse(stat, 100, 4096).unwrap();
        assert_eq!(usage.cpu, Duration::from_secs(2));
        assert_eq!((usage.threads, usage.rss_bytes), (3, 25 * 4096));
        assert_eq!(Usage::parse("9 (cut) S 1", 100, 4096), None);
    }

    #[test]
    fn work_of_this_process_shows() {
        let before = Usage::of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while Usage::of(std::process::id()).unwrap().cpu == before.cpu {
            sum = (0..100_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        assert!(before.rss_bytes > 0 && before.threads > 0);
    }
}
