//! Counters of one shard, and their exposition.
//!
//! A shard owns one [`Metrics`] and counts in it with plain additions:
//!
//! ```
//! use bifrons::base::error::ErrorCode;
//! use bifrons::metrics::Metrics;
//!
//! let mut metrics = Metrics::default();
//! metrics.http_connections_opened += 1;
//! metrics.http_requests.post += 1;
//! *metrics.gateway_errors.code(ErrorCode::SessionNotFound) += 1;
//!
//! let mut text = String::new();
//! bifrons::metrics::expose(&metrics, &mut text);
//! assert!(text.contains("bifrons_http_requests_total{method=\"post\"} 1\n"));
//! ```
//!
//! To add a metric, add a line to the table in `names.rs`: its kind, its name without the prefix,
//! its labels if it has any, and above it the sentence that becomes its help text. It is then a
//! field of [`Metrics`], merged and exposed; nothing else is to be done.
//!
//! Invariant: no atomics and no locks; shards are merged when somebody asks.
//! Invariant: label values are fixed in the table; a client's text never becomes one.

mod expose;
pub mod names;
mod set;

pub use expose::{CONTENT_TYPE, expose};
pub use names::Metrics;
