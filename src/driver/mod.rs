//! The loop between a platform and a shard, written once for every platform.
//!
//! [`run`] drives one shard: it waits for something to happen, hands a batch of it to the shard
//! with one reading of the clocks, and carries out what the shard wants.

mod alarm;
mod buggify;
mod core;
pub mod journal;
mod mesh;
#[cfg(test)]
mod mock;
pub mod platform;
mod pump;
mod ready;
#[cfg(test)]
pub(crate) mod scripted;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use self::core::Core;
pub use buggify::Buggify;
pub use platform::{
    Arrival, HandlerCounts, Io, MeshIo, News, Platform, Received, TcpAccept, TcpIo, UdpIo,
};
pub use pump::{Counters, JournalCounts, run};
