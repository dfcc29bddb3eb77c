//! The production driver on turmoil: the same turns, sockets and timers as on the real kernel,
//! with clocks that disagree with turmoil's.
//!
//! The event queue of [`world`](crate::world) carries the seeds; this carries realism: the driver
//! itself is under test here, and so are its manners towards client libraries of others.

mod gateway;
mod net;
mod platform;

pub use gateway::{Host, gateway};
pub use platform::SkewedClock;
