//! HTTP/1.1, sans-IO: request heads, bodies, response heads, chunked encoding, and the
//! heads of answers to requests of our own.
//!
//! Invariant: one strict grammar. What a reverse proxy could read differently is refused, so no
//! two parties ever disagree on where a message ends (RFC 9112 §11.2).

pub mod answer;
pub mod body;
pub mod chunked;
mod field;
pub mod request;
pub mod response;
pub mod status;
#[cfg(test)]
pub(crate) mod strict;

pub use answer::Answer;
pub use body::{BodyProgress, BodyReader};
pub use chunked::{ChunkedBody, Finished, OpenBody};
pub use request::{BodyLength, Field, HeadReader, Method, RequestHead, Version, parse_head};
pub use response::{Connection, Cors, Framing, HttpDate, Preflight, Response};
pub use status::{Refusal, Status};
