//! What happens to a shard: the inputs that a driver hands it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::id::{ConnId, ShardId, SockId};
use crate::config::Config;
use crate::gateway::outside::{FileId, LookupId, Written};
use crate::shard::mesh::MeshMsg;

/// One thing that happened, with borrowed bytes.
///
/// The driver keeps these promises for every connection: `TcpOpened` comes first; `Wrote` never
/// says more than was offered; after `TcpClosed`, or after the shard asked for
/// [`Close`](super::TcpAction::Close) or [`Abort`](super::TcpAction::Abort), nothing more comes.
/// So each connection ends exactly once, by one side or the other.
#[derive(Debug)]
pub enum Input<'a> {
    /// Something the operator wants.
    Control(Control),
    /// One datagram of a UDP socket.
    Datagram {
        /// The socket that received it.
        sock: SockId,
        /// Who sent it.
        from: SocketAddr,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// A name that [`Outbox::lookups`](super::Outbox::lookups) asked for stands for this.
    LookedUp {
        /// The lookup.
        id: LookupId,
        /// The address; `None` if nothing is known of it. The port is zero unless one was sought.
        address: Option<SocketAddr>,
    },
    /// A message of another shard. The messages of one pair of shards arrive in order.
    Mesh {
        /// Who sent it.
        from: ShardId,
        /// What it says.
        message: MeshMsg,
    },
    /// A file that [`Outbox::writes`](super::Outbox::writes) asked for was replaced, or could not be.
    Written {
        /// The write.
        id: FileId,
        /// What became of it.
        written: Written,
    },
    /// A socket that [`Outbox::sockets`](super::Outbox::sockets) asked for is open, or cannot be.
    SocketOpened {
        /// The socket.
        sock: SockId,
        /// Where it is bound; `None` if it cannot be opened.
        bound: Option<SocketAddr>,
    },
    /// Bytes that a connection's client sent.
    TcpBytes {
        /// The connection.
        conn: ConnId,
        /// Any portion of the stream, not empty.
        bytes: &'a [u8],
    },
    /// A connection ended without our doing: reset, or failed.
    TcpClosed {
        /// The connection.
        conn: ConnId,
    },
    /// A connection's client will send nothing more, but may still read.
    TcpEof {
        /// The connection.
        conn: ConnId,
    },
    /// A connection was accepted.
    TcpOpened {
        /// Its name, given by the driver.
        conn: ConnId,
        /// Which of the listeners accepted it.
        listener: Listener,
        /// The client's address.
        peer: SocketAddr,
    },
    /// The deadline that [`Shard::deadline`](super::Shard::deadline) named has come, or time has
    /// passed.
    Tick,
    /// The kernel took bytes of a connection's pending output.
    Wrote {
        /// The connection.
        conn: ConnId,
        /// How many, at least one.
        count: usize,
    },
}

/// What a listener's connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// Metrics, health and the Admin API.
    Admin,
    /// The same over TLS.
    AdminTls,
    /// The Admin API over WebSocket.
    AdminWebSocket,
    /// The same over TLS.
    AdminWebSocketTls,
    /// The Janus API over HTTP.
    Rest,
    /// The same over TLS.
    RestTls,
    /// The Janus API over WebSocket.
    WebSocket,
    /// The same over TLS.
    WebSocketTls,
}

impl Listener {
    /// Whether it is one of operators, not of clients.
    pub const fn is_admin(self) -> bool {
        matches!(
            self,
            Self::Admin | Self::AdminTls | Self::AdminWebSocket | Self::AdminWebSocketTls
        )
    }

    /// Whether its connections begin with a TLS handshake.
    pub const fn is_secure(self) -> bool {
        matches!(
            self,
            Self::AdminTls | Self::AdminWebSocketTls | Self::RestTls | Self::WebSocketTls
        )
    }
}

/// An operator's wish. Every shard gets it from the driver.
#[derive(Clone, Debug)]
pub enum Control {
    /// Use another configuration from the next turn on.
    Configure(Arc<Config>),
    /// Stop: answer parked polls, refuse new sessions, let the others end by themselves for
    /// `drain_timeout`, then end them.
    Drain,
    /// A signal of this number asks the process to stop; what it is to do about it follows.
    Signal(i32),
    /// These shards do not take their turns, as far as the operator can tell; all others do.
    Silent(Vec<ShardId>),
    /// Stop without waiting for sessions to end.
    Stop,
}
