//! A shard's thread: the executor that it runs on, and what it begins with.

use std::io;

use socket2::Socket;

use super::{Links, Mesh, glommio, uring};
use crate::base::clock::Now;
use crate::config::Runtime;
use crate::driver::Buggify;
use crate::driver::{Core, Counters};
use crate::shard::Listener;

/// What a shard begins with: plain sockets, not yet on a ring.
#[derive(Debug)]
pub struct Plain {
    /// Sockets that listen, with what their connections speak.
    pub listeners: Vec<(Listener, Socket)>,
    /// Bound sockets for datagrams.
    pub udp: Vec<Socket>,
    /// Sockets for datagrams that may be opened beside them.
    pub udp_more_max: usize,
    /// The way to other shards.
    pub mesh: Mesh,
    /// Connections that the shard may hold.
    pub connections_max: usize,
    /// The ways to other threads of the process.
    pub links: Links,
}

/// The driver's rare choices, by the seed in `BIFRONS_BUGGIFY`: for tests against the real kernel,
/// and nothing in a build without debug assertions.
pub(super) fn rare_choices() -> Buggify {
    let seed = std::env::var("BIFRONS_BUGGIFY").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    seed.map_or_else(Buggify::default, Buggify::seeded)
}

/// The executor of the calling thread.
#[derive(Debug)]
pub enum Executor {
    /// Glommio's.
    Glommio(glommio::Executor),
    /// Our own.
    Uring(uring::Executor),
}

impl Executor {
    /// Makes the rings, and stays on `core` if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub fn new(runtime: Runtime, core: Option<usize>) -> io::Result<Self> {
        match runtime {
            Runtime::Glommio => glommio::Executor::new(core).map(Self::Glommio),
            Runtime::Uring => uring::Executor::new(core).map(Self::Uring),
        }
    }

    /// Drives a core to its end.
    ///
    /// # Errors
    ///
    /// When a socket cannot be used, or a ring fails.
    pub fn run<C: Core>(self, plain: Plain, make: impl FnOnce(Now) -> C) -> io::Result<Counters> {
        match self {
            Self::Glommio(executor) => executor.run(plain, make),
            Self::Uring(executor) => executor.run(plain, make),
        }
    }

    /// Runs a task to its end.
    #[cfg(test)]
    pub(crate) fn block_on<T>(self, task: impl Future<Output = T>) -> T {
        match self {
            Self::Glommio(executor) => executor.block_on(task),
            Self::Uring(executor) => executor.block_on(task),
        }
    }
}
