//! A [`Platform`] on turmoil, with a clock of its own.
//!
//! All hosts of turmoil share one paused clock. A host whose clock is skewed asks its model when
//! a deadline comes in true time, sleeps so long, and asks again when its clock was changed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bifrons::base::clock::{Monotonic, Now};
use bifrons::base::id::ShardId;
use bifrons::config::LogLevel;
use bifrons::driver::{Arrival, HandlerCounts, MeshIo, News, Platform};
use bifrons::gateway::outside::{FileWrite, Lookup, Written};
use bifrons::gateway::reports::Report;
use bifrons::gateway::tweaks::HandlerSettings;
use bifrons::metrics::names::LogDrops;
use bifrons::shard::mesh::MeshMsg;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::net::{Door, FaultyTcp, Socket};
use crate::kernel::clock::{ClockChange, ClockModel};
use crate::kernel::time::SimTime;

/// A host's clock, which the test may change while the host runs.
#[derive(Clone, Debug)]
pub struct SkewedClock {
    model: Rc<RefCell<ClockModel>>,
    changed: Rc<Notify>,
}

impl SkewedClock {
    /// A clock that runs as `model` says.
    pub fn new(model: ClockModel) -> Self {
        Self {
            model: Rc::new(RefCell::new(model)),
            changed: Rc::new(Notify::new()),
        }
    }

    /// Changes the clock. Lives on: a host of turmoil, which knows the time.
    pub fn change(&self, change: ClockChange) {
        self.model.borrow_mut().apply(true_time(), change);
        self.changed.notify_waiters();
    }

    /// What the clock shows.
    pub fn read(&self) -> Now {
        self.model.borrow().read(true_time())
    }

    async fn sleep_until(self, deadline: Monotonic) {
        loop {
            let now = true_time();
            if self.model.borrow().read(now).monotonic >= deadline {
                return;
            }
            let at = self.model.borrow().true_time_of(deadline, now);
            let changed = self.changed.notified();
            match at {
                Some(at) => {
                    // turmoil's time goes in steps: never wake before the deadline.
                    let wait = at.saturating_since(now).max(Duration::from_millis(1));
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                None => changed.await,
            }
        }
    }
}

fn true_time() -> SimTime {
    SimTime::START + turmoil::sim_elapsed().unwrap_or_default()
}

/// A shard's runtime on turmoil.
#[derive(Clone, Debug)]
pub(super) struct OnTurmoil {
    pub(super) clock: SkewedClock,
    /// Where the shard is told what it asked for.
    pub(super) inbox: UnboundedSender<Arrival>,
}

impl Platform for OnTurmoil {
    type Listener = Door;
    type Tcp = FaultyTcp;
    type Udp = Socket;
    type Mesh = Mesh;

    fn sample(&self) -> Now {
        self.clock.read()
    }

    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()> + 'static {
        self.clock.clone().sleep_until(at)
    }

    fn log_drops(&self) -> LogDrops {
        LogDrops::default()
    }

    fn tell_handlers(&self, reports: &mut Vec<Report>) -> u64 {
        reports.clear();
        0
    }

    fn handler_counts(&self) -> HandlerCounts {
        HandlerCounts::default()
    }

    fn set_handler(&self, _settings: HandlerSettings) {}

    fn set_log_level(&self, _level: LogLevel) {}

    fn open_udp(&self, bind: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let binding = std::pin::pin!(turmoil::net::UdpSocket::bind(bind));
        // It never waits.
        match binding.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(socket) => {
                let socket = socket?;
                let bound = socket.local_addr()?;
                Ok((Socket::new(socket), bound))
            }
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn look_up(&self, lookup: Lookup) {
        let (id, address) = (lookup.id, lookup.literal());
        // A host that is crashed has nobody to tell.
        let _ = self.inbox.send(Arrival::LookedUp { id, address });
    }

    fn write_file(&self, write: FileWrite) {
        let (id, written) = (write.id, Written::Yes);
        let _ = self.inbox.send(Arrival::Written { id, written });
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        tokio::task::yield_now()
    }
}

/// The way to other shards of the host: channels, on which messages take a while.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) me: ShardId,
    pub(super) inbox: UnboundedReceiver<Arrival>,
    /// One for each shard.
    pub(super) outboxes: Vec<UnboundedSender<(ShardId, Vec<MeshMsg>)>>,
}

impl MeshIo for Mesh {
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<Arrival>) -> Poll<()> {
        let before = into.len();
        while let Poll::Ready(Some(arrival)) = self.inbox.poll_recv(cx) {
            into.push_back(arrival);
        }
        if into.len() > before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn send(&mut self, to: ShardId, batch: Vec<MeshMsg>) {
        // A host that is crashed has nobody to send to.
        let _ = self.outboxes[usize::from(to.0)].send((self.me, batch));
    }

    fn tell_operator(&mut self, _news: News) {}
}
