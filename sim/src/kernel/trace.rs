//! What happened, as a rolling hash, and as lines where somebody wants to read them.
//!
//! The hash is always on: two runs of one seed must agree on it, whatever the process or the
//! build profile. The lines are kept for replays only.

use std::fmt::Write as _;
use std::time::Duration;

use bifrons::base::clock::Now;

use crate::kernel::time::SimTime;

/// One line: when, whose column, what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// True time.
    pub at: SimTime,
    /// What the clocks of the gateway's first shard showed: monotonic, and realtime in
    /// microseconds.
    pub shown: (Duration, i64),
    /// The host, or the pair of hosts, that it concerns.
    pub lane: Lane,
    /// What happened, in plain words.
    pub text: String,
}

/// The column of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A client.
    Client(u32),
    /// Something that the scenario does to the world.
    Fault,
    /// An invariant speaks.
    Oracle,
    /// A reverse proxy.
    Proxy(u32),
    /// A shard of the gateway.
    Shard(u8),
    /// Bytes between two hosts.
    Wire,
}

/// The rolling hash and the lines of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    lines: Option<Vec<Line>>,
    shown: (Duration, i64),
}

impl Trace {
    /// A trace that hashes only.
    pub const fn hashing() -> Self {
        Self {
            hash: EMPTY,
            count: 0,
            lines: None,
            shown: (Duration::ZERO, 0),
        }
    }

    /// A trace that keeps its lines, too.
    pub const fn keeping() -> Self {
        Self {
            hash: EMPTY,
            count: 0,
            lines: Some(Vec::new()),
            shown: (Duration::ZERO, 0),
        }
    }

    /// Takes in an event: what kind, and two numbers that say more.
    pub fn event(&mut self, at: SimTime, kind: &'static str, a: u64, b: u64) {
        self.count += 1;
        self.fold(at.as_nanos());
        self.fold_bytes(kind.as_bytes());
        self.fold(a);
        self.fold(b);
    }

    /// Takes in bytes that went somewhere.
    pub fn bytes(&mut self, at: SimTime, kind: &'static str, place: u64, bytes: &[u8]) {
        self.event(at, kind, place, bytes.len() as u64);
        self.fold_bytes(bytes);
    }

    /// Adds a line, if lines are kept. `text` is made only then.
    pub fn line(&mut self, at: SimTime, lane: Lane, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line {
                at,
                shown: self.shown,
                lane,
                text: text(),
            });
        }
    }

    /// Notes what the gateway's clocks show, for lines that follow.
    pub fn show(&mut self, now: Now) {
        let monotonic = Duration::from_nanos(now.monotonic.as_nanos());
        self.shown = (monotonic, now.realtime.unix_micros());
    }

    /// The hash of all events so far.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The lines that were kept.
    pub fn lines(&self) -> &[Line] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Whether lines are kept.
    pub const fn is_keeping(&self) -> bool {
        self.lines.is_some()
    }

    fn fold_bytes(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
        let mut word = [0; 8];
        let rest = chunks.remainder();
        word[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(word) ^ (bytes.len() as u64) << 56);
    }

    const fn fold(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
    }
}

const EMPTY: u64 = 0x243f_6a88_85a3_08d3;

/// Bytes as text for a reader: printable characters as they are, line ends as `⏎`, others escaped.
pub fn readable(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    for &byte in bytes.iter().take(most) {
        match byte {
            b'\r' => {}
            b'\n' => text.push('⏎'),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    if bytes.len() > most {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(write: impl FnOnce(&mut Trace)) -> u64 {
        let mut trace = Trace::hashing();
        write(&mut trace);
        trace.hash()
    }

    #[test]
    fn the_hash_sees_order_time_and_every_byte() {
        let t = SimTime::from_nanos;
        let base = hash_of(|trace| {
            trace.bytes(t(1), "tx", 1, b"abcdefghi");
            trace.event(t(2), "fin", 1, 0);
        });
        let others = [
            hash_of(|trace| {
                trace.event(t(2), "fin", 1, 0);
                trace.bytes(t(1), "tx", 1, b"abcdefghi");
            }),
            hash_of(|trace| {
                trace.bytes(t(1), "tx", 1, b"abcdefghj");
                trace.event(t(2), "fin", 1, 0);
            }),
            hash_of(|trace| {
                trace.bytes(t(3), "tx", 1, b"abcdefghi");
                trace.event(t(2), "fin", 1, 0);
            }),
        ];
        assert!(others.iter().all(|&other| other != base));
    }

    #[test]
    fn lines_do_not_change_the_hash() {
        let mut keeping = Trace::keeping();
        keeping.line(SimTime::START, Lane::Fault, || "step".to_owned());
        assert_eq!(
            (keeping.hash(), keeping.lines().len()),
            (Trace::hashing().hash(), 1)
        );
    }

    #[test]
    fn line_ends_are_shown_and_long_bytes_cut() {
        assert_eq!(readable(b"0\r\n\x01abc", 5), "0⏎\\x01a… (7 bytes)");
    }
}
