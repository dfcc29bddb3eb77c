//! WebSocket (RFC 6455), sans-IO: the handshake, frames, messages, close codes.
//!
//! Invariant: strict on what comes in. Frames of clients are masked and those of servers are not,
//! lengths are minimal, text is UTF-8 as far as it came, and whatever breaks a rule or a bound is
//! found out at the first byte that tells, before anything is stored for it.

pub mod close;
pub mod frame;
pub mod handshake;
pub mod reader;

pub use close::{CloseCode, Fault};
pub use frame::{Opcode, Side};
pub use reader::{Bounds, Incoming, Reader};
