//! What a shard cannot do itself: clocks, entropy, sockets, threads, signals.

mod datagrams;
pub mod glommio;
#[cfg(feature = "uring")]
pub mod uring;
