//! Shards on glommio: its executor, its rings, its sockets.

mod executor;
mod fd;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Clocks, Links, Mesh, bind};
use crate::base::clock::{Monotonic, Now};
use crate::config::LogLevel;
use crate::driver::{HandlerCounts, Platform};
use crate::gateway::outside::{FileWrite, Lookup};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::metrics::names::LogDrops;

pub use executor::Executor;
pub use tcp::{Listener, Stream};
pub use udp::Udp;

/// Long enough that it is not over when it is first asked, as anything above zero is.
const YIELD_FOR: Duration = Duration::from_micros(1);

/// The executor of the calling thread, as a platform.
#[derive(Debug, Default)]
pub struct Glommio {
    clocks: Clocks,
    links: Links,
}

impl Platform for Glommio {
    type Listener = Listener;
    type Tcp = Stream;
    type Udp = Udp;
    type Mesh = Mesh;

    fn sample(&self) -> Now {
        self.clocks.sample()
    }

    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()> + 'static {
        // The runtime's timers run on CLOCK_MONOTONIC too, and fire late rather than early.
        let left: Duration = at.saturating_since(self.clocks.monotonic());
        let timer = glommio::timer::Timer::new(left);
        async move {
            timer.await;
        }
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
        Ok((Udp::new(socket)?, bound))
    }

    fn look_up(&self, lookup: Lookup) {
        self.links.look_up(lookup);
    }

    fn write_file(&self, write: FileWrite) {
        self.links.write_file(write);
    }

    async fn yield_now(&self) {
        // A task that is merely queued again runs on without a look at the rings. Timers are
        // looked at together with them.
        glommio::timer::Timer::new(YIELD_FOR).await;
    }
}
