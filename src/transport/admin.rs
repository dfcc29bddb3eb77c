//! The routes of the admin listener: the Admin API, metrics and health.
//!
//! Invariant: a page in a browser cannot make a request of the Admin API. It reaches this listener
//! by a name that is not allowed, or with an `Origin` and a content type that it may not set
//! without asking first, and no answer ever grants it.

use std::net::IpAddr;

use crate::base::error::{ApiError, ErrorCode};
use crate::base::limits::Limits;
use crate::config::AdminConfig;
use crate::gateway::reply::{Reply, error};
use crate::gateway::request::Envelope;
use crate::transport::url::{self, Components};
use crate::wire::http::{Field, Method, RequestHead};

/// What a request to the admin listener asks for.
#[derive(Debug)]
pub enum Asked {
    /// A request of the Admin API, in order so far.
    Api(Envelope),
    /// Something that this client may not ask.
    Forbidden,
    /// Whether the gateway serves.
    Health,
    /// Server information.
    Info,
    /// A method that the path does not know, and those that it does.
    MethodNotAllowed(&'static str),
    /// The counters of all shards.
    Metrics,
    /// What may be asked. Nothing is granted to other origins.
    Options,
    /// A request that was refused while it was read.
    Refused(Reply),
    /// Nothing that there is.
    Unknown,
}

/// Reads a request.
pub fn read(head: &RequestHead, body: &[u8], config: &AdminConfig, limits: &Limits) -> Asked {
    match head.path() {
        "/metrics" => return plain(head, Asked::Metrics),
        "/healthz" => return plain(head, Asked::Health),
        _ => {}
    }
    let Some(below) = url::below(head.path(), &config.base_path) else {
        return Asked::Unknown;
    };
    let Some(components) = Components::of(&below) else {
        return Asked::Unknown;
    };
    let Components { first, .. } = components;
    if !allows_host(head, config) {
        return Asked::Forbidden;
    }
    let refused =
        |code, text: &'static str| Asked::Refused(error(None, None, &ApiError::new(code, text)));
    match head.method() {
        Method::Get | Method::Head if first == "info" => Asked::Info,
        Method::Get | Method::Head => refused(ErrorCode::InvalidJson, "Request payload missing"),
        Method::Options => Asked::Options,
        Method::Post if !is_deliberate(head) => Asked::Forbidden,
        Method::Post if first == "info" => {
            let text = "Use GET for the info endpoint";
            refused(ErrorCode::TransportSpecific, text)
        }
        Method::Post => match components.envelope(body, limits) {
            Ok(envelope) => Asked::Api(envelope),
            Err(reply) => Asked::Refused(reply),
        },
        Method::Delete | Method::Patch | Method::Put | Method::Trace => {
            Asked::MethodNotAllowed("GET, HEAD, OPTIONS, POST")
        }
    }
}

fn plain(head: &RequestHead, asked: Asked) -> Asked {
    match head.method() {
        Method::Get | Method::Head => asked,
        Method::Delete
        | Method::Options
        | Method::Patch
        | Method::Post
        | Method::Put
        | Method::Trace => Asked::MethodNotAllowed("GET, HEAD"),
    }
}

/// Whether the request names this host by an address or by a name that it is known to have. A name
/// in a foreign zone may be made to lead here by whoever owns the zone.
fn allows_host(head: &RequestHead, config: &AdminConfig) -> bool {
    let Some(host) = head.text(Field::Host) else {
        return true; // HTTP/1.0; browsers always name the host.
    };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_name = |known: &str| known.eq_ignore_ascii_case(name);
    name.parse::<IpAddr>().is_ok()
        || is_name("localhost")
        || config.hosts.iter().any(|known| is_name(known))
}

/// Whether the request was not made by a form or a beacon of some page: what names an `Origin` must
/// have the content type that pages may only send after asking.
fn is_deliberate(head: &RequestHead) -> bool {
    if head.field(Field::Origin).is_none() {
        return true;
    }
    let content_type = head.text(Field::ContentType).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}
