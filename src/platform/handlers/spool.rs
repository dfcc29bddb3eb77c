//! From shards to a collector: one bounded queue in order, and a thread that delivers from it.
//!
//! Invariant: shards never wait. A round of reports leaves for good when the collector took it, and
//! is sent again until then. What finds the queue full is dropped, and counted by whoever has it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::link::now;
use crate::config::ReportMask;
use crate::gateway::reports::Report;

/// Reports that wait for a collector; at the rate of a busy host, some minutes of an outage.
pub(super) const SPOOL_REPORTS: usize = 32_768;
/// Bytes of them. Most have half a kilobyte; session descriptions have ten.
const SPOOL_BYTES: usize = 64 << 20;
/// Bytes of reports after which no more are added to a round: common servers take a mebibyte.
const ROUND_BYTES: usize = 256 << 10;
/// How long a collector may take for a round.
pub(super) const ROUND_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection is looked at while there is nothing to send.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a shard puts reports for one handler.
#[derive(Clone, Debug)]
pub struct Outlet {
    mask: ReportMask,
    queue: SyncSender<Report>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Outlet {
    /// Takes a report if it is of a kind that the handler wants. `false` when there was no room.
    pub fn offer(&self, report: &Report) -> bool {
        if !self.mask.has(report.kind) {
            return true;
        }
        let size = report.text.len();
        // Added first: two shards that find room at the same time must not both take it.
        let before = self.waiting_bytes.fetch_add(size, Relaxed);
        let is_taken = before + size <= SPOOL_BYTES && self.queue.try_send(report.clone()).is_ok();
        if !is_taken {
            self.waiting_bytes.fetch_sub(size, Relaxed);
        }
        is_taken
    }
}

/// What became of reports, since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) delivered: AtomicU64,
    /// Rounds that were to be sent again.
    pub(super) failed: AtomicU64,
    /// Reports that the collector does not want.
    pub(super) refused: AtomicU64,
}

/// How a collector took a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Gladly.
    Well,
    /// It blames what was sent: sent again, it would be blamed again.
    Refused,
}

/// The pauses between tries: each twice as long as the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// The way to a collector.
pub(super) trait Courier: Send + 'static {
    /// What it is called in logs and among threads.
    const NAME: &'static str;

    /// Reports of one round at most.
    fn round_max(&self) -> usize;

    /// Sends a round.
    ///
    /// # Errors
    ///
    /// When the collector did not say that it took it all.
    fn deliver(&mut self, round: &[Report]) -> io::Result<Taken>;

    /// Looks after a connection while there is nothing to send.
    fn look(&mut self);

    /// Ends well. There is nothing left.
    fn close(&mut self);
}

/// A handler's thread.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    /// Dropped to say that what is left is all there will be.
    stop: Option<Sender<()>>,
    done: Receiver<()>,
    pub(super) tally: Arc<Tally>,
}

impl Running {
    /// Says that what is left is all there will be.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits until what was reported is delivered.
    pub(super) fn finish(self, until: Instant) {
        let wait = until.saturating_duration_since(now());
        if self.done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let handler = self.name;
            warn!(
                handler,
                "the event collector did not take the last reports in time"
            );
        }
    }
}

/// Starts a thread for a courier. It ends when all outlets are dropped.
///
/// # Errors
///
/// When there can be no thread.
pub(super) fn start<C: Courier>(
    courier: C,
    mask: ReportMask,
    backoff: Backoff,
) -> io::Result<(Outlet, Running)> {
    let (queue, reports) = sync_channel(SPOOL_REPORTS);
    let (stop, stopped) = channel();
    let (done_sender, done) = channel();
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let tally = Arc::new(Tally::default());
    let mut delivery = Delivery {
        courier,
        backoff,
        reports,
        waiting_bytes: Arc::clone(&waiting_bytes),
        stopped,
        tally: Arc::clone(&tally),
    };
    thread::Builder::new()
        .name(format!("events-{}", C::NAME))
        .spawn(move || {
            delivery.run();
            // Nobody waits any more when the process gave up.
            let _ = done_sender.send(());
        })?;
    let outlet = Outlet {
        mask,
        queue,
        waiting_bytes,
    };
    let running = Running {
        name: C::NAME,
        stop: Some(stop),
        done,
        tally,
    };
    Ok((outlet, running))
}

struct Delivery<C> {
    courier: C,
    backoff: Backoff,
    reports: Receiver<Report>,
    waiting_bytes: Arc<AtomicUsize>,
    stopped: Receiver<()>,
    tally: Arc<Tally>,
}

impl<C: Courier> Delivery<C> {
    fn run(&mut self) {
        loop {
            let first = match self.reports.recv_timeout(LOOK_EVERY) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.courier.look();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.courier.close(),
            };
            let round = self.round(first);
            if !self.deliver(&round) {
                let lost = round.len() + self.reports.try_iter().count();
                let handler = C::NAME;
                warn!(
                    handler,
                    lost, "the event collector was not there at the end"
                );
                return;
            }
            let bytes = round.iter().map(|report| report.text.len()).sum();
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
        }
    }

    /// What is there, up to the bounds of a round.
    fn round(&self, first: Report) -> Vec<Report> {
        let mut bytes = first.text.len();
        let mut round = vec![first];
        while round.len() < self.courier.round_max() && bytes < ROUND_BYTES {
            let Ok(report) = self.reports.try_recv() else {
                break;
            };
            bytes += report.text.len();
            round.push(report);
        }
        round
    }

    /// Sends a round until it is taken. `false` when the process ends before.
    fn deliver(&mut self, round: &[Report]) -> bool {
        let count = round.len() as u64;
        let handler = C::NAME;
        let mut pause = self.backoff.first;
        let mut has_failed = false;
        let mut is_last = false;
        loop {
            match self.courier.deliver(round) {
                Ok(Taken::Well) => {
                    self.tally.delivered.fetch_add(count, Relaxed);
                    if has_failed {
                        info!(handler, "the event collector takes reports again");
                    }
                    return true;
                }
                Ok(Taken::Refused) => {
                    self.tally.refused.fetch_add(count, Relaxed);
                    return true;
                }
                Err(why) if !has_failed => {
                    has_failed = true;
                    warn!(handler, %why, "the event collector does not take reports, trying again");
                }
                Err(_) => {}
            }
            self.tally.failed.fetch_add(1, Relaxed);
            if is_last {
                return false;
            }
            // The end of the process cuts a pause short: the collector may be back since.
            is_last = self.stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
            pause = (pause * 2).min(self.backoff.longest);
        }
    }
}
