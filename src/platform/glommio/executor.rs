//! Glommio's executor, and the sockets that are put onto its ring.

use std::io;
use std::time::Duration;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement};

use super::{Glommio, Udp, tcp};
use crate::base::clock::Now;
use crate::driver::{Core, Counters, Io, Platform as _, run};
use crate::platform::Plain;
use crate::platform::executor::rare_choices;

/// The executor's preemption timer, set so late that it never fires.
///
/// The executor arms it before it looks for tasks to run. Where it fires before the executor has
/// looked, which a host that is busy for as long brings about, the executor takes it that there is
/// nothing to run, and goes to sleep on a task that was woken. The pump gives way after each turn
/// by itself, see [`Glommio::yield_now`].
const PREEMPT_AFTER: Duration = Duration::from_secs(86_400);

/// The executor of the calling thread.
#[derive(Debug)]
pub struct Executor(LocalExecutor);

impl Executor {
    /// Makes the rings, and stays on `core` if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub fn new(core: Option<usize>) -> io::Result<Self> {
        let executor = LocalExecutorBuilder::new(core.map_or(Placement::Unbound, Placement::Fixed))
            .preempt_timer(PREEMPT_AFTER)
            .make();
        match executor {
            Ok(executor) => Ok(Self(executor)),
            Err(GlommioError::IoError(error)) => Err(error),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    /// Drives a core to its end.
    ///
    /// # Errors
    ///
    /// When a socket cannot be used.
    pub fn run<C: Core>(self, plain: Plain, make: impl FnOnce(Now) -> C) -> io::Result<Counters> {
        self.0.run(async move {
            let udp: io::Result<Vec<Udp>> = plain.udp.into_iter().map(Udp::new).collect();
            let io = Io {
                listeners: plain
                    .listeners
                    .into_iter()
                    .map(|(speaks, socket)| (speaks, tcp::Listener::new(socket)))
                    .collect(),
                udp: udp
                    .map_err(|error| io::Error::other(format!("no socket for media: {error}")))?,
                udp_more_max: plain.udp_more_max,
                mesh: plain.mesh,
                connections_max: plain.connections_max,
                buggify: rare_choices(),
            };
            let platform = Glommio {
                links: plain.links,
                ..Glommio::default()
            };
            let core = make(platform.sample());
            Ok(run(platform, core, io).await)
        })
    }

    /// Runs a task to its end.
    #[cfg(test)]
    pub(crate) fn block_on<T>(self, task: impl Future<Output = T>) -> T {
        self.0.run(task)
    }
}
