//! Ten lines a second from each call site; the next line says how many there would have been.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;

const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// What the call sites of one thread have logged lately.
///
/// A thread has its own, so that no event loop waits for another one's line.
#[derive(Debug, Default)]
pub(super) struct Rate {
    sites: HashMap<Identifier, Site>,
}

#[derive(Debug)]
struct Site {
    window: Instant,
    lines: u32,
    suppressed: u64,
}

impl Rate {
    /// Returns whether the line may be written, and if so how many were not before it.
    pub(super) fn admit(&mut self, site: Identifier, now: Instant) -> Option<u64> {
        let site = self.sites.entry(site).or_insert(Site {
            window: now,
            lines: 0,
            suppressed: 0,
        });
        if now.saturating_duration_since(site.window) >= WINDOW {
            site.window = now;
            site.lines = 0;
        }
        if site.lines == LINES_MAX {
            site.suppressed += 1;
            return None;
        }
        site.lines += 1;
        Some(std::mem::take(&mut site.suppressed))
    }
}
