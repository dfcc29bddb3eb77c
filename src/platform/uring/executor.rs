//! A shard's thread: its reactor, and the sockets that it watches.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Listener, Reactor, Udp, Uring};
use crate::base::clock::Now;
use crate::driver::{Core, Counters, Io, Platform as _, run};
use crate::platform::Plain;
use crate::platform::executor::rare_choices;

/// The executor of the calling thread.
#[derive(Debug)]
pub struct Executor(Reactor);

impl Executor {
    /// Makes the ring, and stays on `core` if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub fn new(core: Option<usize>) -> io::Result<Self> {
        if let Some(core) = core {
            let mut cores = CpuSet::new();
            cores.set(core);
            sched_setaffinity(None, &cores)?;
        }
        Reactor::new().map(Self)
    }

    /// Drives a core to its end.
    ///
    /// # Errors
    ///
    /// When a socket cannot be used, or the ring fails.
    pub fn run<C: Core>(self, plain: Plain, make: impl FnOnce(Now) -> C) -> io::Result<Counters> {
        let reactor = &self.0;
        let listeners: io::Result<Vec<_>> = plain
            .listeners
            .into_iter()
            .map(|(speaks, socket)| Ok((speaks, Listener::new(socket, reactor)?)))
            .collect();
        let udp: io::Result<Vec<_>> = plain
            .udp
            .into_iter()
            .map(|socket| Udp::new(socket, reactor))
            .collect();
        let io = Io {
            listeners: listeners?,
            udp: udp.map_err(|error| io::Error::other(format!("no socket for media: {error}")))?,
            udp_more_max: plain.udp_more_max,
            mesh: plain.mesh,
            connections_max: plain.connections_max,
            buggify: rare_choices(),
        };
        let platform = Uring::new(reactor, plain.links);
        let core = make(platform.sample());
        reactor.run(run(platform, core, io))
    }

    /// Runs a task to its end.
    #[cfg(test)]
    pub(crate) fn block_on<T>(self, task: impl Future<Output = T>) -> T {
        self.0.run(task).expect("the ring works")
    }
}
