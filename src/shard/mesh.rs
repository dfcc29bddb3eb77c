//! What crosses shards: plain data. Durations may cross, instants may not.
//!
//! A shard that asks another for something never waits for it; it keeps the connection under an
//! [`Origin`], which the answer names. What asks is bounded by credit, so that a shard that falls
//! behind is found out at the door: the request is refused with 503. What answers is never
//! refused, and so bounded by what was asked.

use std::sync::Arc;

use crate::base::id::SessionId;
use crate::gateway::gather::{Change, Part, Question};
use crate::gateway::plugin::Parcel;
use crate::gateway::reply::Reply;
use crate::gateway::reports::Census;
use crate::gateway::request::Envelope;
use crate::gateway::session::{Origin, Via, Wanted};
use crate::gateway::{Outcome, Output};
use crate::media::Relay;
use crate::metrics::Metrics;

/// A message from one shard to another.
#[derive(Debug)]
pub enum MeshMsg {
    /// Wants an Admin request executed that the receiver owns the session of.
    Admin {
        /// Where the answer goes.
        origin: Origin,
        /// The request.
        request: Box<Envelope>,
    },
    /// Wants a change made, in its place in the order of changes.
    Apply {
        /// Who is told when it is made.
        origin: Origin,
        /// The change.
        change: Arc<Change>,
    },
    /// Asks what the Admin API asks all shards.
    Ask {
        /// Who asks.
        origin: Origin,
        /// What.
        question: Question,
    },
    /// How many of everything the sender has.
    Census(Census),
    /// Wants a change made by all shards; goes to the one that orders changes.
    Change {
        /// Who is told when they made it.
        origin: Origin,
        /// The change.
        change: Arc<Change>,
    },
    /// Wants the receiver's counters.
    Count {
        /// Who wants them.
        origin: Origin,
    },
    /// The sender's counters.
    Counted {
        /// Who wanted them.
        origin: Origin,
        /// The counters.
        metrics: Box<Metrics>,
    },
    /// The sender drains, and has no sessions left.
    Emptied,
    /// The kernel took the bytes of a stream or a socket up to an event.
    EventTaken {
        /// The stream or socket.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// The event.
        number: u64,
    },
    /// What media tells its like.
    Media(Relay),
    /// Answers a question, or says that a change is made.
    Part {
        /// Who asked.
        origin: Origin,
        /// The answer.
        part: Part,
    },
    /// What a plugin tells its like.
    Plugin(Parcel),
    /// Wants to wait for events of a session that the receiver owns.
    Poll {
        /// Where the answer goes.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// The form of the answer.
        wanted: Wanted,
    },
    /// Says what became of a poll's answer, or that its client went away.
    PollDone {
        /// The poll.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// Whether the kernel took the answer.
        outcome: Outcome,
    },
    /// Answers a request.
    Reply {
        /// Whose request.
        origin: Origin,
        /// The answer.
        reply: Reply,
    },
    /// Wants a request executed that the receiver owns the session of.
    Request {
        /// Where the answer goes.
        origin: Origin,
        /// What it came by.
        via: Via,
        /// The request.
        request: Box<Envelope>,
    },
    /// Wants the events of a session that the receiver owns, as they come.
    Stream {
        /// Where they go.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// The last event that the client saw.
        last_seen: Option<u64>,
    },
    /// The client of a stream went away.
    StreamGone {
        /// The stream.
        origin: Origin,
        /// The session.
        session: SessionId,
    },
    /// A socket, which may own sessions of the receiver, is no more.
    SocketLost {
        /// The socket.
        origin: Origin,
    },
    /// Tells a poll, a stream or a socket something.
    Tell(Output),
    /// A poll or stream was taken in: its credit comes back.
    TookIn,
}
