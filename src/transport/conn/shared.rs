//! What the HTTP connections of one listener share.

use std::time::Duration;

use super::heads::Heads;
use crate::base::limits::Limits;
use crate::wire::http::Cors;

/// Chunked answers since the start. Of those that were begun and not finished, a
/// stream is open or its connection was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkedCounts {
    /// Answers of which the head was written.
    pub begun_count: u64,
    /// Answers of which the zero chunk was written.
    pub finished_count: u64,
}

/// What the HTTP connections of one listener and shard share. Lives on: every shard.
#[derive(Debug)]
pub struct Shared {
    pub(super) limits: Limits,
    pub(super) heads: Heads,
    /// How often the bounds were changed.
    pub(super) reloads: u64,
    /// Bytes of the bodies that are being read.
    pub(super) bodies_bytes: usize,
    pub(super) chunked: ChunkedCounts,
    /// Silence of an upgraded connection after which its client is asked whether it is there.
    pub(super) ping_interval: Duration,
}

impl Shared {
    /// Makes it from bounds, and from the CORS fields that every response is to have.
    pub fn new(limits: Limits, cors: Cors) -> Self {
        Self {
            limits,
            heads: Heads::new(cors),
            reloads: 0,
            bodies_bytes: 0,
            chunked: ChunkedCounts::default(),
            ping_interval: PING_INTERVAL,
        }
    }

    /// Changes how long an upgraded connection may be silent before its client is asked whether
    /// it is there.
    pub const fn ping_every(&mut self, interval: Duration) {
        self.ping_interval = interval;
    }

    /// The bounds.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes bounds and CORS fields, for all connections at once.
    pub fn reload(&mut self, limits: Limits, cors: Cors) {
        self.limits = limits;
        self.heads = Heads::new(cors);
        self.reloads += 1;
    }

    /// The counts of chunked answers.
    pub const fn chunked(&self) -> ChunkedCounts {
        self.chunked
    }

    /// Bytes of all request bodies that are being read.
    pub const fn bodies_bytes(&self) -> usize {
        self.bodies_bytes
    }
}

/// Shorter than what middleboxes commonly keep a silent connection for.
const PING_INTERVAL: Duration = Duration::from_secs(30);
