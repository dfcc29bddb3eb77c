//! One core's share of the gateway: owns everything it touches.
//!
//! [`Shard::handle`] takes in what happened, [`Shard::flush`] ends a batch of inputs, and both
//! fill an [`Outbox`]. [`Shard::deadline`] says when to come back at the latest.

pub mod input;
pub mod mesh;
pub mod outbox;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::clock::{Anchor, Monotonic, Now};
use crate::base::id::{ConnId, ShardId};
use crate::config::Config;

pub use input::{Control, Input, Listener};
pub use outbox::{Outbox, TcpAction};

/// What a shard is made of.
#[derive(Debug)]
pub struct Setup {
    /// Which one it is.
    pub id: ShardId,
    /// How many there are.
    pub shards: u8,
    /// The configuration.
    pub config: Arc<Config>,
    /// Its randomness; different for every shard.
    pub seed: [u8; 32],
    /// For libraries that take `std` instants.
    pub anchor: Anchor,
    /// The addresses of its UDP sockets, in the order of their [`SockId`](crate::base::id::SockId)s.
    pub sockets: Vec<SocketAddr>,
}

/// One core's share of the gateway.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
}

impl Shard {
    /// Makes a shard that owns nothing yet.
    pub fn new(setup: Setup, _now: Now) -> Self {
        Self { id: setup.id }
    }

    /// Takes in one thing that happened. Answers appear at once; media is only queued here.
    pub fn handle(&mut self, _now: Now, _input: Input<'_>, _out: &mut Outbox) {}

    /// Ends a batch of inputs: sends queued media subscriber by subscriber, expires timers.
    pub fn flush(&mut self, _now: Now, _out: &mut Outbox) {}

    /// Output of a connection that the kernel has yet to take.
    pub fn pending(&self, _conn: ConnId) -> &[u8] {
        &[]
    }

    /// When to call [`Shard::flush`] again at the latest, on the monotonic clock.
    pub fn deadline(&self) -> Option<Monotonic> {
        None
    }

    /// Whether everything has ended after [`Control::Drain`] or [`Control::Stop`].
    pub fn is_drained(&self) -> bool {
        false
    }

    /// Which shard it is.
    pub fn id(&self) -> ShardId {
        self.id
    }
}
