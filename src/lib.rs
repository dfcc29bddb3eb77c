//! bifrons: a WebRTC gateway that speaks the Janus API, one shard per core.
//!
//! Data flows one way through the modules, from the outside in:
//! `platform` → `driver` → `shard` → `transport` and `plugins` → `gateway` → `media` → `wire` →
//! `base`. Everything below `platform` is pure: no sockets, no clocks, no threads, no entropy. It
//! takes inputs with the time at which they happened, and fills an outbox. That is what lets the
//! very same code run on io_uring in production and, by seed, in the simulator.

#![cfg_attr(not(feature = "platform"), forbid(unsafe_code))]
#![cfg_attr(feature = "platform", deny(unsafe_code))]

pub mod base;
pub mod config;
pub mod driver;
pub mod gateway;
pub mod media;
pub mod metrics;
#[cfg(feature = "platform")]
pub mod platform;
pub mod plugins;
pub mod shard;
pub mod transport;
pub mod wire;
