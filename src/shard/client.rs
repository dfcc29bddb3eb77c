//! A connection with what is asked for on it.

use std::collections::VecDeque;

use crate::base::id::{SessionId, ShardId};
use crate::gateway::session::Origin;
use crate::metrics::Metrics;
use crate::shard::Listener;
use crate::shard::secure::Secured;
use crate::shard::sockets::Lines;
use crate::transport::conn::{Conn, Receipt};

/// One connection and its open questions.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) conn: Conn,
    pub(super) listener: Listener,
    pub(super) admission: Admission,
    pub(super) waiting: Waiting,
    /// Answers with events that the kernel has yet to take, oldest first.
    pub(super) deliveries: VecDeque<Delivery>,
    /// What an upgraded connection has to say, in order.
    pub(super) lines: Option<Box<Lines>>,
    /// What is between it and its socket.
    pub(super) tls: Option<Box<Secured>>,
}

/// Whether a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It does.
    Admitted,
    /// It is only told that there is no room for it.
    TurnedAway,
}

/// What the request in work waits for.
#[derive(Debug)]
pub(super) enum Waiting {
    /// For the counters of other shards.
    Counters {
        origin: Origin,
        sum: Box<Metrics>,
        missing: u8,
    },
    /// For nothing: no request is in work.
    Nothing,
    /// For events.
    Poll(Subscription),
    /// For the reply of a session's owner.
    Reply { origin: Origin },
    /// It is being answered by a stream.
    Stream(Subscription),
}

/// A listener of a session, as the shard of its connection knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) origin: Origin,
    pub(super) session: SessionId,
    pub(super) owner: ShardId,
}

/// An answer whose fate its session's owner waits to hear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The position of its last byte.
    pub(super) end: Receipt,
    pub(super) to: Subscription,
    /// The number of the event for a stream or a socket; `None` for a poll.
    pub(super) number: Option<u64>,
}

impl Client {
    pub(super) fn new(conn: Conn, listener: Listener, admission: Admission) -> Self {
        Self {
            conn,
            listener,
            admission,
            waiting: Waiting::Nothing,
            deliveries: VecDeque::new(),
            lines: None,
            tls: None,
        }
    }

    /// Takes out the oldest delivery that the kernel took whole.
    pub(super) fn next_taken(&mut self) -> Option<Delivery> {
        let oldest = self.deliveries.front()?;
        if oldest.end.0 <= self.conn.taken() {
            self.deliveries.pop_front()
        } else {
            None
        }
    }
}
