//! Shards on a ring of our own, without a runtime: one task, and one request to watch a socket
//! for its whole life.
//!
//! A request costs the same receive and send as on glommio. What differs is the round in between:
//! the executor enters the kernel four to six times a round, this enters it once, and only when
//! there is nothing left to do. `docs/performance.md` has the numbers.

mod executor;
mod reactor;
mod ring;
mod tcp;
mod udp;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use super::{Clocks, Links, Mesh, bind};
use crate::base::clock::{Monotonic, Now};
use crate::config::LogLevel;
use crate::driver::{HandlerCounts, Platform};
use crate::gateway::outside::{FileWrite, Lookup};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::metrics::names::LogDrops;

pub use executor::Executor;
pub use reactor::Reactor;
pub use tcp::{Listener, Stream};
pub use udp::Udp;

/// The calling thread's reactor, as a platform.
#[derive(Debug)]
pub struct Uring {
    clocks: Clocks,
    reactor: Reactor,
    links: Links,
}

impl Uring {
    /// The platform of a reactor.
    pub fn new(reactor: &Reactor, links: Links) -> Self {
        Self {
            clocks: Clocks::default(),
            reactor: reactor.clone(),
            links,
        }
    }
}

impl Platform for Uring {
    type Listener = Listener;
    type Tcp = Stream;
    type Udp = Udp;
    type Mesh = Mesh;

    fn sample(&self) -> Now {
        self.clocks.sample()
    }

    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()> + 'static {
        self.reactor.sleep_until(at)
    }

    fn log_drops(&self) -> LogDrops {
        self.links.log_drops()
    }

    fn tell_handlers(&self, reports: &mut Vec<Report>) -> u64 {
        self.links.tell_handlers(reports)
    }

    fn handler_counts(&self) -> HandlerCounts {
        self.links.handler_counts()
    }

    fn set_handler(&self, settings: HandlerSettings) {
        self.links.set_handler(settings);
    }

    fn set_log_level(&self, level: LogLevel) {
        self.links.set_log_level(level);
    }

    fn open_udp(&self, bind: SocketAddr) -> io::Result<(Udp, SocketAddr)> {
        let (socket, bound) = bind::plain(bind)?;
        Ok((Udp::new(socket, &self.reactor)?, bound))
    }

    fn look_up(&self, lookup: Lookup) {
        self.links.look_up(lookup);
    }

    fn write_file(&self, write: FileWrite) {
        self.links.write_file(write);
    }

    async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
