//! Words that every layer speaks: clocks, identifiers, limits, bounded containers, errors.

pub mod calendar;
pub mod clock;
pub mod error;
pub mod flat;
pub mod id;
pub mod index;
pub mod json;
pub mod limits;
pub mod members;
pub mod mutant;
pub mod outbuf;
pub mod rng;
pub mod slab;
pub mod timers;
