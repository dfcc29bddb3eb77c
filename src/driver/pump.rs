//! A shard's turn: gather what happened, hand it to the core, carry out what the core wants.
//!
//! One task does it all, without awaiting in between: no borrow of the core lives across a wait,
//! and a burst of events costs one switch to the task, one reading of the clocks and one flush.
//!
//! Invariant: the clocks are read once a turn, at its begin.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::base::clock::{Monotonic, Now};
use crate::driver::alarm::Alarm;
use crate::driver::core::Core;
use crate::driver::mesh::MeshLane;
use crate::driver::platform::{HandlerCounts, Io, Platform};
use crate::driver::ready::{Left, Ready};
use crate::driver::tcp::{Heard, Scene, TcpLane};
use crate::driver::udp::UdpLane;
use crate::metrics::Metrics;
use crate::metrics::names::LogDrops;
use crate::shard::{Input, Outbox};

/// Sources that one turn looks at. Twice as many would double the time until the first of them is
/// answered, and save little: a turn's fixed cost is about that of three requests.
const SOURCES_MAX: usize = 64;

/// How often one turn ends a batch again because the kernel took output at once.
const ROUNDS_MAX: usize = 4;

const MESH_SOURCE: usize = 0;
const TIMER_SOURCE: usize = 1;
const FIRST_LISTENER: usize = 2;

/// What the driver counted, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub tcp_accepted: u64,
    /// Times that a listener had to rest, for want of descriptors or memory.
    pub tcp_accept_errors: u64,
    /// Connections that the client or the network ended.
    pub tcp_failed: u64,
    /// Connections reset at once, because the shard holds as many as it may.
    pub tcp_shed: u64,
    /// Turns.
    pub turns: u64,
    /// Turns that ended with work left for the next.
    pub turns_full: u64,
    /// Errors of receiving datagrams.
    pub udp_receive_errors: u64,
    /// Datagrams that the kernel took.
    pub udp_sent: u64,
    /// Datagrams dropped, because too many waited or the kernel refused them.
    pub udp_send_dropped: u64,
    /// Reports for event handlers for which there was no room.
    pub reports_dropped: u64,
    /// What became of the others. One shard tells of it.
    pub handlers: HandlerCounts,
    /// Lines of the process's log that were not written. One shard tells of them.
    pub log_drops: LogDrops,
    /// What became of the shard's journal, where there is one.
    pub journal: JournalCounts,
}

/// What is in a shard's journal and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Bytes that were handed over to be written.
    pub written_bytes: u64,
    /// Bytes of those that were not written, and of those that nobody took. One shard tells of
    /// all that were handed over and lost.
    pub lost_bytes: u64,
    /// Turns after the end of the journal that are not in its tail.
    pub lost_turns: u64,
    /// Bytes that were handed over after the end of the journal, for its tail.
    pub tail_bytes: u64,
    /// Turns that were handed over for its tail.
    pub tail_turns: u64,
}

impl Counters {
    /// Puts them into a shard's counters, in the place of what was put there before.
    pub(super) fn show_in(&self, metrics: &mut Metrics) {
        metrics.driver_turns = self.turns;
        metrics.driver_full_turns = self.turns_full;
        metrics.driver_accept_errors = self.tcp_accept_errors;
        metrics.driver_failed_connections = self.tcp_failed;
        metrics.driver_receive_errors = self.udp_receive_errors;
        metrics.driver_sent_datagrams = self.udp_sent;
        metrics.http_connections_refused.descriptors = self.tcp_shed;
        metrics.media_dropped_datagrams.send_error = self.udp_send_dropped;
        metrics.events_dropped_reports.queue_full = self.reports_dropped;
        metrics.events_dropped_reports.refused = self.handlers.refused;
        metrics.events_delivered_reports = self.handlers.delivered;
        metrics.events_failed_deliveries = self.handlers.failed;
        metrics.log_dropped_lines = self.log_drops;
        metrics.journal_written_bytes = self.journal.written_bytes;
        metrics.journal_lost_bytes = self.journal.lost_bytes;
        metrics.journal_lost_turns = self.journal.lost_turns;
        metrics.journal_tail_bytes = self.journal.tail_bytes;
        metrics.journal_tail_turns = self.journal.tail_turns;
    }
}

/// Drives `core` until the operator says that all shards are drained. Says what it counted.
///
/// A shard that is drained goes on until then, because those that are not may still ask it for
/// something.
pub async fn run<P: Platform, C: Core>(platform: P, core: C, io: Io<P>) -> Counters {
    let mut pump = Pump::new(platform, core, io);
    loop {
        match poll_fn(|cx| pump.turn(cx)).await {
            Turn::Over => return pump.counters,
            Turn::Full => pump.platform.yield_now().await,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is more to do, once the runtime had a chance to look for events.
    Full,
    Over,
}

struct Pump<P: Platform, C> {
    platform: P,
    core: C,
    out: Outbox,
    ready: Option<Ready>,
    sources: Vec<usize>,
    sources_max: usize,
    first_udp: usize,
    first_conn: usize,
    mesh: MeshLane<P::Mesh>,
    tcp: TcpLane<P::Listener>,
    udp: UdpLane<P::Udp>,
    alarm: Alarm,
    counters: Counters,
    latest: Option<Monotonic>,
    drained: bool,
}

impl<P: Platform, C: Core> Pump<P, C> {
    fn new(platform: P, core: C, io: Io<P>) -> Self {
        let first_udp = FIRST_LISTENER + io.listeners.len();
        let first_conn = first_udp + io.udp.len() + io.udp_more_max;
        Self {
            platform,
            core,
            out: Outbox::default(),
            ready: None,
            sources: Vec::new(),
            sources_max: first_conn + io.connections_max,
            first_udp,
            first_conn,
            mesh: MeshLane::new(io.mesh),
            tcp: TcpLane::new(io.listeners, io.connections_max, first_conn, io.buggify),
            udp: UdpLane::new(io.udp),
            alarm: Alarm::default(),
            counters: Counters::default(),
            latest: None,
            drained: false,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut ready = match self.ready.take() {
            Some(ready) if ready.begin(cx) => ready,
            Some(_) | None => {
                let sources = self.first_conn + self.tcp.slots_count();
                let ready = Ready::new(self.sources_max, sources, cx.waker());
                ready.begin(cx);
                ready
            }
        };
        let now = self.platform.sample();
        debug_assert!(self.latest.is_none_or(|latest| latest <= now.monotonic));
        self.latest = Some(now.monotonic);
        self.counters.turns += 1;

        let left = [
            self.take_in(now, &mut ready),
            self.end_batch(now, &mut ready),
            self.arm(now, &mut ready),
            ready.left(),
        ];
        self.ready = Some(ready);
        self.counters.log_drops = self.platform.log_drops();
        self.counters.handlers = self.platform.handler_counts();
        self.core.report(&self.counters);
        if !self.drained && self.core.is_drained() {
            self.drained = true;
            self.mesh.report_drained();
        }
        if self.mesh.is_over() {
            Poll::Ready(Turn::Over)
        } else if left.contains(&Left::Some) {
            self.counters.turns_full += 1;
            Poll::Ready(Turn::Full)
        } else {
            Poll::Pending
        }
    }

    /// Gathers what happened and hands it to the core.
    fn take_in(&mut self, now: Now, ready: &mut Ready) -> Left {
        ready.take(SOURCES_MAX, &mut self.sources);
        let mut sources = std::mem::take(&mut self.sources);
        let (core, out) = (&mut self.core, &mut self.out);
        for source in sources.drain(..) {
            if source == MESH_SOURCE {
                self.mesh
                    .poll(&mut Context::from_waker(ready.waker(source)));
            } else if source == TIMER_SOURCE {
                // What was due shows in the core's deadline.
                let cx = &mut Context::from_waker(ready.waker(source));
                let _ = self.alarm.poll(cx);
            } else if source < self.first_udp {
                let mut scene = Scene {
                    core,
                    out,
                    now,
                    ready,
                    counters: &mut self.counters,
                };
                self.tcp.accept(source - FIRST_LISTENER, source, &mut scene);
            } else if source < self.first_conn {
                let index = source - self.first_udp;
                let counters = &mut self.counters;
                let cx = &mut Context::from_waker(ready.waker(source));
                if self.udp.take_in(index, now, (core, out), counters, cx) == Left::Some {
                    ready.mark(source);
                }
            } else {
                self.tcp.wake(source);
            }
        }
        self.sources = sources;
        let left = self.mesh.take_in(now, core, out);
        self.udp.tell_opened(now, core, out);
        self.tcp.take_in(&mut Scene {
            core,
            out,
            now,
            ready,
            counters: &mut self.counters,
        });
        if core.deadline().is_some_and(|at| at <= now.monotonic) {
            core.handle(now, Input::Tick, out);
        }
        left
    }

    /// Flushes, and empties the outbox. What the kernel takes at once makes another batch.
    fn end_batch(&mut self, now: Now, ready: &mut Ready) -> Left {
        let scene = &mut Scene {
            core: &mut self.core,
            out: &mut self.out,
            now,
            ready,
            counters: &mut self.counters,
        };
        self.tcp.go_on(scene);
        scene.core.flush(now, scene.out);
        let mut left = Left::Some;
        for _ in 0..ROUNDS_MAX {
            let heard = self.tcp.serve(scene);
            if heard == Heard::Nothing {
                left = Left::None;
                break;
            }
            scene.core.flush(now, scene.out);
        }
        for act in scene.out.sockets.drain(..) {
            let opened = self.udp.act(act, |bind| self.platform.open_udp(bind));
            if let Some(index) = opened {
                scene.ready.mark(self.first_udp + index);
            }
        }
        for lookup in scene.out.lookups.drain(..) {
            self.platform.look_up(lookup);
        }
        for write in scene.out.writes.drain(..) {
            self.platform.write_file(write);
        }
        if self.udp.has_opened() {
            left = Left::Some;
        }
        self.udp.send(now, scene.out, scene.counters);
        self.mesh.send(&mut self.out);
        if !self.out.reports.is_empty() {
            self.counters.reports_dropped += self.platform.tell_handlers(&mut self.out.reports);
        }
        for settings in self.out.handlers.drain(..) {
            self.platform.set_handler(settings);
        }
        if let Some(level) = self.out.log_level.take() {
            self.platform.set_log_level(level);
        }
        if std::mem::take(&mut self.out.close_listeners) {
            self.tcp.close_listeners();
        }
        if left == Left::Some {
            left
        } else {
            self.tcp.left()
        }
    }

    /// Sees to it that the next turn comes in time.
    fn arm(&mut self, now: Now, ready: &mut Ready) -> Left {
        let rest = self.tcp.rested(now, FIRST_LISTENER, ready);
        let wanted = [self.core.deadline(), self.udp.retry_at(), rest];
        let Some(at) = wanted.into_iter().flatten().min() else {
            return Left::None;
        };
        if at <= now.monotonic {
            return Left::Some;
        }
        let cx = &mut Context::from_waker(ready.waker(TIMER_SOURCE));
        if self.alarm.arm(&self.platform, at, cx).is_ready() {
            return Left::Some;
        }
        Left::None
    }
}
