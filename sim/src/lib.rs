//! The whole gateway in one thread: shards, network, proxies, clients and clocks, by seed.
//!
//! [`kernel`] is the world's physics: an event queue with integer nanosecond time, byte-accurate
//! TCP pipes, UDP links, a mesh between shards, clocks that disagree, and keyed randomness.
//!
//! Invariant: nothing here reads a clock or draws entropy; a seed reproduces a run to the last
//! byte, in any process and any build profile.

#![forbid(unsafe_code)]

pub mod cli;
pub mod conformance;
pub mod faults;
pub mod journal;
pub mod kernel;
pub mod models;
pub mod oracle;
pub mod report;
#[cfg(feature = "turmoil")]
pub mod turmoil;
pub mod world;
