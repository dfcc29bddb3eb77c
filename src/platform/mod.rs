//! What a shard cannot do itself: clocks, entropy, sockets, threads, signals.
//!
//! A shard runs on one of two executors, which the configuration chooses: a ring of our own
//! ([`uring`]), or [glommio](`mod@glommio`). Everything else is shared.

mod addresses;
mod bind;
pub mod boot;
mod datagrams;
pub mod doctor;
mod executor;
mod files;
pub mod glommio;
mod handlers;
mod heartbeats;
mod host;
mod journal;
mod links;
pub mod log;
mod lookups;
mod mapped;
mod mesh;
mod sources;
mod supervisor;
#[cfg(test)]
mod tests;
pub mod uring;

pub use executor::{Executor, Plain};
pub use files::Files;
pub use handlers::{HandlerTallies, Outlet};
pub use links::Links;
pub use lookups::Lookups;
pub use mesh::{Inbox, Mesh, Sender, inbox};
pub use sources::{Clocks, seed};
