//! Key frames that are wanted every so often, whether somebody asks or not.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::{Monotonic, Now};
use crate::base::id::PeerId;
use crate::media::Media;
use crate::media::event::LineRef;

/// The lines that are to be refreshed.
#[derive(Debug, Default)]
pub(super) struct Refreshes {
    lines: BTreeMap<LineRef, Refresh>,
}

#[derive(Clone, Copy, Debug)]
struct Refresh {
    interval: Duration,
    due: Monotonic,
}

impl Refreshes {
    /// Notes that a key frame has come.
    pub(super) fn seen(&mut self, now: Monotonic, line: LineRef) {
        if let Some(refresh) = self.lines.get_mut(&line) {
            refresh.due = now + refresh.interval;
        }
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.lines.retain(|line, _| line.peer != peer);
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.lines.values().map(|refresh| refresh.due).min()
    }

    fn set(&mut self, now: Monotonic, line: LineRef, interval: Option<Duration>) {
        match interval {
            Some(interval) => {
                let known = self.lines.get(&line).map(|refresh| refresh.interval);
                if known != Some(interval) {
                    let due = now + interval;
                    self.lines.insert(line, Refresh { interval, due });
                }
            }
            None => {
                self.lines.remove(&line);
            }
        }
    }

    fn expire(&mut self, now: Monotonic) -> Vec<LineRef> {
        let due = self.lines.iter_mut().filter(|(_, each)| each.due <= now);
        let due = due.map(|(line, refresh)| {
            refresh.due = now + refresh.interval;
            *line
        });
        due.collect()
    }
}

impl Media {
    /// Asks for a key frame of a line of this shard whenever none was seen for `interval`.
    pub fn refresh(&mut self, now: Now, line: LineRef, interval: Option<Duration>) {
        let interval = interval.filter(|_| self.has_lines(line.peer));
        self.refreshes.set(now.monotonic, line, interval);
    }

    pub(super) fn refresh_lines(&mut self, now: Monotonic) {
        if self.refreshes.deadline().is_none_or(|due| due > now) {
            return;
        }
        for line in self.refreshes.expire(now) {
            self.want_keyframes(now, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn what_was_seen_puts_off_what_is_due() {
        let line = LineRef {
            peer: PeerId(1),
            line: 1,
        };
        let mut refreshes = Refreshes::default();
        let interval = Duration::from_secs(10);
        refreshes.set(at(0), line, Some(interval));
        assert_eq!(refreshes.expire(at(9)), []);
        refreshes.seen(at(9), line);
        assert_eq!(refreshes.deadline(), Some(at(19)));
        assert_eq!(refreshes.expire(at(19)), [line]);
        assert_eq!(refreshes.deadline(), Some(at(29)));
        // The same interval again changes nothing, however often it is set.
        refreshes.set(at(28), line, Some(interval));
        assert_eq!(refreshes.expire(at(30)), [line]);
        refreshes.set(at(30), line, None);
        assert_eq!(refreshes.deadline(), None);
    }
}
