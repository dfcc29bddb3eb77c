//! What a shard cannot do itself: clocks, entropy, sockets, threads, signals.

pub mod glommio;
#[cfg(feature = "uring")]
pub mod uring;
