//! What a shard wants done: a caller-owned outbox with one lane per kind of sink.
//!
//! Order holds within a lane only.

use crate::base::id::{ConnId, ShardId};
use crate::config::LogLevel;
use crate::gateway::outside::{FileWrite, Lookup};
use crate::gateway::reports::Report;
use crate::gateway::tweaks::HandlerSettings;
use crate::media::{Datagrams, SocketAct};
use crate::shard::mesh::MeshMsg;

/// The outputs of one turn. The driver empties the lanes and keeps their memory.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Sockets to open and close, in order, before the datagrams. For each that is to be opened,
    /// [`SocketOpened`](super::Input::SocketOpened) must follow.
    pub sockets: Vec<SocketAct>,
    /// Datagrams; those of one destination stand in a row, ready for segmentation offload.
    pub datagrams: Datagrams,
    /// What to do with connections, in order.
    pub tcp: Vec<(ConnId, TcpAction)>,
    /// Messages for other shards. All of them must arrive, in order; their number is bounded by
    /// the requests in work.
    pub mesh: Vec<(ShardId, MeshMsg)>,
    /// What event handlers are to be told, in order.
    pub reports: Vec<Report>,
    /// What event handlers are set to from here on; of several for one handler the last counts.
    pub handlers: Vec<HandlerSettings>,
    /// Names to look up, without waiting. For each, [`LookedUp`](super::Input::LookedUp) must
    /// follow.
    pub lookups: Vec<Lookup>,
    /// Files to replace, without waiting. For each, [`Written`](super::Input::Written) must follow.
    pub writes: Vec<FileWrite>,
    /// Log lines are to be written from this level on.
    pub log_level: Option<LogLevel>,
    /// The listeners are to be closed, for good.
    pub close_listeners: bool,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpAction {
    /// Reset it. Pending output is lost.
    Abort,
    /// Close it. Pending output has been taken, or is given up.
    Close,
    /// Read no more until told.
    PauseRead,
    /// Read again.
    ResumeRead,
    /// Send FIN; all output has been taken.
    ShutdownWrite,
    /// There is output: offer [`Shard::pending`](super::Shard::pending) to the kernel until it is
    /// empty, and report each portion that it takes as [`Wrote`](super::Input::Wrote).
    Write,
}
