//! From shards to a collector: one bounded queue in order, and a thread that delivers from it.
//!
//! Invariant: shards never wait. A round of reports leaves for good when the collector took it, and
//! is sent again until then, be it to another collector that the settings name meanwhile. What finds
//! the queue full is dropped, and counted by whoever has it.

use std::io;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::link::now;
use super::post::Poster;
use super::socket::Socket;
use crate::config::ReportMask;
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;

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
    /// The bits of the kinds that the handler wants.
    wanted: Arc<AtomicU16>,
    queue: SyncSender<Report>,
    waiting_bytes: Arc<AtomicUsize>,
    handler: &'static str,
    anew: Anew,
    /// Wakes the thread from a pause.
    nudge: SyncSender<()>,
}

/// What a handler is to be set to, until its thread has seen it. Of several the last counts.
type Anew = Arc<Mutex<Option<HandlerSettings>>>;

impl Outlet {
    /// Whether these are settings of its handler.
    pub fn is_of(&self, settings: &HandlerSettings) -> bool {
        self.handler == name_of(settings)
    }

    /// Sets its handler anew: what is delivered from here on, and how.
    pub fn set(&self, settings: HandlerSettings) {
        let mask = match &settings {
            HandlerSettings::Post(post) => post.mask,
            HandlerSettings::Ws(ws) => ws.mask,
        };
        self.wanted.store(mask.bits(), Relaxed);
        *lock(&self.anew) = Some(settings);
        // One that is on its way already does as well.
        let _ = self.nudge.try_send(());
    }

    /// Takes a report if it is of a kind that the handler wants. `false` when there was no room.
    pub fn offer(&self, report: &Report) -> bool {
        if self.wanted.load(Relaxed) & report.kind.bit() == 0 {
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

const fn name_of(settings: &HandlerSettings) -> &'static str {
    match settings {
        HandlerSettings::Post(_) => Poster::NAME,
        HandlerSettings::Ws(_) => Socket::NAME,
    }
}

fn lock(anew: &Anew) -> MutexGuard<'_, Option<HandlerSettings>> {
    anew.lock().expect("nobody panics while holding it")
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

    /// Delivers as these settings say from here on. Returns the pauses between tries.
    fn set(&mut self, settings: HandlerSettings) -> Backoff;

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
    stop: Option<SyncSender<()>>,
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
    let (nudge, nudged) = sync_channel(1);
    let (done_sender, done) = channel();
    let anew = Anew::default();
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let tally = Arc::new(Tally::default());
    let mut delivery = Delivery {
        courier,
        backoff,
        reports,
        waiting_bytes: Arc::clone(&waiting_bytes),
        anew: Arc::clone(&anew),
        nudged,
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
        wanted: Arc::new(AtomicU16::new(mask.bits())),
        queue,
        waiting_bytes,
        handler: C::NAME,
        anew,
        nudge: nudge.clone(),
    };
    let running = Running {
        name: C::NAME,
        stop: Some(nudge),
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
    anew: Anew,
    /// Wakes from a pause: there are other settings, or, once nobody has the other end, an end.
    nudged: Receiver<()>,
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
            self.look_for_settings();
            let round = self.round(first);
            if let Err(left) = self.deliver(&round) {
                let lost = left + self.reports.try_iter().count();
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

    /// Takes other settings in. Says whether there were some.
    fn look_for_settings(&mut self) -> bool {
        let Some(settings) = lock(&self.anew).take() else {
            return false;
        };
        // It may have come while nobody waited for it.
        let _ = self.nudged.try_recv();
        self.backoff = self.courier.set(settings);
        true
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

    /// Sends reports until they are taken. When the process ends before, the error says how many
    /// are left.
    fn deliver(&mut self, mut left: &[Report]) -> Result<(), usize> {
        let handler = C::NAME;
        let mut pause = self.backoff.first;
        let mut has_failed = false;
        let mut is_last = false;
        while !left.is_empty() {
            // Other settings may want fewer at a time than there were when the round was made.
            let (piece, later) = left.split_at(left.len().min(self.courier.round_max()));
            let count = piece.len() as u64;
            match self.courier.deliver(piece) {
                Ok(taken) => {
                    match taken {
                        Taken::Well => self.tally.delivered.fetch_add(count, Relaxed),
                        Taken::Refused => self.tally.refused.fetch_add(count, Relaxed),
                    };
                    if taken == Taken::Well && std::mem::take(&mut has_failed) {
                        info!(handler, "the event collector takes reports again");
                    }
                    left = later;
                    pause = self.backoff.first;
                    continue;
                }
                Err(why) if !has_failed => {
                    has_failed = true;
                    warn!(handler, %why, "the event collector does not take reports, trying again");
                }
                Err(_) => {}
            }
            self.tally.failed.fetch_add(1, Relaxed);
            if is_last {
                return Err(left.len());
            }
            // The end of the process cuts a pause short: the collector may be back since. So do
            // other settings, which may name another one.
            is_last = self.nudged.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected);
            pause = (pause * 2).min(self.backoff.longest);
            if self.look_for_settings() {
                pause = self.backoff.first;
            }
        }
        Ok(())
    }
}
