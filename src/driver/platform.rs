//! What the driver needs of a runtime: clocks, a timer, sockets, and a way to other shards.
//!
//! Everything is poll-based, because one task drives a whole shard: a socket that has to wait
//! keeps the waker that it was polled with, and waking it marks just this socket as ready.
//!
//! Invariant: nothing here is bound to one runtime, and nothing needs to be [`Send`].

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::base::clock::{Monotonic, Now};
use crate::base::id::ShardId;
use crate::config::LogLevel;
use crate::driver::buggify::Buggify;
use crate::gateway::outside::{FileId, FileWrite, Lookup, LookupId, Written};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::metrics::names::{ByHandler, LogDrops};
use crate::shard::mesh::MeshMsg;
use crate::shard::{Control, Listener};

/// A runtime, as seen by one shard.
pub trait Platform: 'static {
    /// What accepts connections.
    type Listener: TcpAccept<Stream = Self::Tcp>;
    /// A connection.
    type Tcp: TcpIo;
    /// A socket for datagrams.
    type Udp: UdpIo;
    /// The way to other shards and from the operator.
    type Mesh: MeshIo;

    /// Reads all clocks. Called once per turn; the only way in which time enters.
    fn sample(&self) -> Now;

    /// Completes at `at` or later, never before. Dropping it cancels it.
    fn sleep_until(&self, at: Monotonic) -> impl Future<Output = ()> + 'static;

    /// How many lines of the process's log were not written. One shard is told; to the others all
    /// is zero, because shards add up.
    fn log_drops(&self) -> LogDrops;

    /// Takes what event handlers are to be told, without waiting. Says how many of them there was
    /// no room for.
    fn tell_handlers(&self, reports: &mut Vec<Report>) -> u64;

    /// What became of what event handlers were told. One shard is told; to the others all is zero.
    fn handler_counts(&self) -> HandlerCounts;

    /// Sets an event handler anew, without waiting.
    fn set_handler(&self, settings: HandlerSettings);

    /// Writes log lines from this level on.
    fn set_log_level(&self, level: LogLevel);

    /// Opens a socket for datagrams at an address, without waiting. Says where it is bound.
    ///
    /// # Errors
    ///
    /// When the address is taken or is not this host's, or there are no descriptors left.
    fn open_udp(&self, bind: SocketAddr) -> io::Result<(Self::Udp, SocketAddr)>;

    /// Has a name looked up elsewhere, without waiting. [`Arrival::LookedUp`] must follow.
    fn look_up(&self, lookup: Lookup);

    /// Has a file written elsewhere, without waiting. [`Arrival::Written`] must follow.
    fn write_file(&self, write: FileWrite);

    /// Lets the runtime look for new events before the caller goes on.
    fn yield_now(&self) -> impl Future<Output = ()>;
}

/// A listening socket.
pub trait TcpAccept: 'static {
    /// What it accepts.
    type Stream: TcpIo;

    /// Accepts the next connection; its segments are sent without delay.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(Self::Stream, SocketAddr)>>;
}

/// A connection. Dropping it closes it.
pub trait TcpIo: 'static {
    /// Reads what has arrived; zero bytes are the end of the client's output.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Tries to hand `bytes` to the kernel at once; says how many it took. Waits only when it
    /// takes none.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Ends our output in order; the client may still send.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Resets the connection: what is in flight either way is thrown away.
    fn abort(self);
}

/// A socket for datagrams.
pub trait UdpIo: 'static {
    /// Waits until [`try_recv`](UdpIo::try_recv) is worth a try.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Receives into as many buffers as there is something for, and says what each one got. The
    /// kernel may put several datagrams of one sender into one buffer.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing has arrived.
    fn try_recv(&mut self, buffers: &mut [Vec<u8>], got: &mut [Received]) -> io::Result<usize>;

    /// Sends `bytes` as datagrams of `segment` bytes each; the last may be shorter. All of them
    /// are sent, or none.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when the kernel has no room.
    fn try_send(&mut self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()>;

    /// How many datagrams one [`try_send`](UdpIo::try_send) may carry. It may shrink to one when
    /// the host turns out not to support more.
    fn segments_max(&self) -> usize;
}

/// What one receive buffer got.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// The sender.
    pub from: SocketAddr,
    /// How many bytes, in all datagrams.
    pub size: usize,
    /// Size of each datagram but the last, which may be shorter.
    pub stride: usize,
}

/// The way to other shards and from the operator.
pub trait MeshIo: 'static {
    /// Moves everything that has arrived to the end of `into`, or waits.
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut VecDeque<Arrival>) -> Poll<()>;

    /// Sends messages to another shard: they arrive, in order, after those sent before.
    ///
    /// There is no "full": the number of messages under way is bounded by the requests in work,
    /// which shards refuse beyond their limit.
    fn send(&mut self, to: ShardId, batch: Vec<MeshMsg>);

    /// Tells the operator something about this shard.
    fn tell_operator(&mut self, news: News);
}

/// What a shard tells the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It takes its turns: the answer to [`Arrival::Beat`].
    Alive,
    /// It is drained. Comes once; when all shards have said it, each gets [`Arrival::Over`].
    Drained,
}

/// Something from outside the shard's own sockets.
#[derive(Debug)]
pub enum Arrival {
    /// The operator asks whether the shard takes its turns.
    Beat,
    /// The operator's wish.
    Control(Control),
    /// What a name stands for.
    LookedUp {
        /// The lookup.
        id: LookupId,
        /// The address; `None` if nothing is known of it. The port is zero unless one was sought.
        address: Option<SocketAddr>,
    },
    /// Messages of another shard, oldest first.
    Mesh {
        /// Who sent them.
        from: ShardId,
        /// The messages.
        batch: Vec<MeshMsg>,
    },
    /// What became of a write.
    Written {
        /// The write.
        id: FileId,
        /// What became of it.
        written: Written,
    },
    /// All shards are drained: nobody asks this one for anything any more.
    Over,
}

/// What became of reports for event handlers, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerCounts {
    /// Reports that a collector took.
    pub delivered: ByHandler,
    /// Attempts that are made again.
    pub failed: ByHandler,
    /// Reports that a collector does not want.
    pub refused: u64,
}

/// The sockets that a shard starts with.
#[derive(Debug)]
pub struct Io<P: Platform> {
    /// Listening sockets, with what their connections speak.
    pub listeners: Vec<(Listener, P::Listener)>,
    /// Sockets for datagrams, in the order of their [`SockId`](crate::base::id::SockId)s.
    pub udp: Vec<P::Udp>,
    /// Sockets for datagrams that may be opened beside them.
    pub udp_more_max: usize,
    /// The way to other shards.
    pub mesh: P::Mesh,
    /// Connections that this shard may hold; more are reset as they come.
    pub connections_max: usize,
    /// Rare choices for tests; the default makes none.
    pub buggify: Buggify,
}
