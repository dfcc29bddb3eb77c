//! The deadlines of a connection, all on the monotonic clock.
//!
//! They are computed when somebody asks, from instants that are noted as things happen. A timer
//! that was armed for an earlier deadline stays; when it fires too early nothing happens, and it
//! is armed anew. So a request on a connection that is kept alive costs no work for timers.

use super::{Conn, Phase, Shared, Work};
use crate::base::clock::{Monotonic, Now};
use crate::mutant;
use crate::wire::http::Refusal;

/// A client that was too slow, and what was waited for. The connection is over, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expired {
    /// The rest of a body.
    Body,
    /// Any byte at all.
    FirstByte,
    /// The rest of a head.
    Head,
    /// Another request.
    Idle,
    /// The client's closing.
    Linger,
    /// Any sign of life of an upgraded connection.
    Silence,
    /// The taking of output.
    Write,
}

/// Slowest rate of a body over the time that [`body_timeout`] gives, in bytes a second.
///
/// [`body_timeout`]: crate::base::limits::Limits::body_timeout
const BODY_RATE_BYTES_S: u64 = 1024;

impl Conn {
    /// The deadline to arm a timer for, if the one that this returned last is not early enough.
    /// It is spent when [`Self::timeout`] was called.
    pub fn timer(&mut self, shared: &Shared) -> Option<Monotonic> {
        let at = self.deadline(shared)?;
        if self.timer_armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.timer_armed = Some(at);
        Some(at)
    }

    /// When something is due at the earliest.
    pub fn deadline(&self, shared: &Shared) -> Option<Monotonic> {
        let limits = &shared.limits;
        let phase = match self.phase {
            Phase::Idle if self.heard => Some(self.since + limits.idle_timeout),
            Phase::Idle => Some(self.since + limits.first_byte_timeout),
            Phase::Head if mutant!(SlowHeadWaits) => None,
            Phase::Head => Some(self.since + limits.head_timeout),
            Phase::Body => self
                .partial
                .as_ref()
                .map(|body| body.progress.min(body.window_start) + limits.body_timeout),
            Phase::Socket => self.ping_due(shared),
            Phase::Lingering => Some(self.since + limits.linger_timeout),
            Phase::Closed => return None,
            Phase::Ready | Phase::Work | Phase::Parked | Phase::Streaming | Phase::Flushing => None,
        };
        let write = (!self.out.is_empty()).then(|| self.write_progress + limits.write_timeout);
        match (phase, write) {
            (Some(phase), Some(write)) => Some(phase.min(write)),
            (phase, write) => phase.or(write),
        }
    }

    /// Time has passed. Does what is due at `now`, if anything, and says what it was.
    pub fn timeout(&mut self, shared: &mut Shared, now: Now) -> Option<Expired> {
        self.timer_armed = None;
        self.deadline(shared).filter(|&at| at <= now.monotonic)?;
        let write_due = self.write_progress + shared.limits.write_timeout;
        if !self.out.is_empty() && write_due <= now.monotonic {
            self.abort(shared);
            return Some(Expired::Write);
        }
        match self.phase {
            // Output that is pending has a deadline of its own.
            Phase::Idle if !self.out.is_empty() => {
                self.since = now.monotonic;
                None
            }
            Phase::Idle => {
                self.close(shared);
                Some(if self.heard {
                    Expired::Idle
                } else {
                    Expired::FirstByte
                })
            }
            Phase::Head => {
                self.refuse(shared, now, Refusal::SlowHead, Work::UNKNOWN);
                Some(Expired::Head)
            }
            Phase::Body => self.check_body_rate(shared, now),
            Phase::Socket => self.ask_for_life(shared, now),
            Phase::Lingering => {
                self.close(shared);
                Some(Expired::Linger)
            }
            Phase::Ready
            | Phase::Work
            | Phase::Parked
            | Phase::Streaming
            | Phase::Flushing
            | Phase::Closed => None,
        }
    }

    fn check_body_rate(&mut self, shared: &mut Shared, now: Now) -> Option<Expired> {
        let body = self.partial.as_mut().expect("the phase has a body");
        let span = shared.limits.body_timeout;
        let wanted = BODY_RATE_BYTES_S * span.as_secs();
        let stalled = body.progress + span <= now.monotonic;
        if stalled || (body.window_bytes as u64) < wanted {
            let work = Work::of(&body.request.head);
            self.refuse(shared, now, Refusal::SlowBody, work);
            return Some(Expired::Body);
        }
        body.window_start = now.monotonic;
        body.window_bytes = 0;
        None
    }
}
