//! The physics of the simulated world: time, randomness, clocks, and the ways that bytes travel.

pub mod clock;
pub mod datagrams;
pub mod key;
pub mod mesh;
pub mod pipe;
pub mod queue;
pub mod tcp;
pub mod time;
pub mod trace;
pub mod udp;
