//! The routes of the admin listener: metrics and health.

use crate::wire::http::{Method, RequestHead};

/// What a request to the admin listener asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether the gateway serves.
    Health,
    /// A method that the path does not know.
    MethodNotAllowed,
    /// The counters of all shards.
    Metrics,
    /// Nothing that there is.
    Unknown,
}

/// Reads a request.
pub fn read(head: &RequestHead) -> Asked {
    let asked = match head.path() {
        "/metrics" => Asked::Metrics,
        "/healthz" => Asked::Health,
        _ => return Asked::Unknown,
    };
    match head.method() {
        Method::Get | Method::Head => asked,
        Method::Delete
        | Method::Options
        | Method::Patch
        | Method::Post
        | Method::Put
        | Method::Trace => Asked::MethodNotAllowed,
    }
}
