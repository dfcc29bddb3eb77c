//! The routes of the Janus API over HTTP.
//!
//! Invariant: this only reads a request. What it means for sessions is the gateway's business,
//! how the answer is framed that of the connection.

use crate::base::limits::Limits;
use crate::config::HttpConfig;
use crate::gateway::auth::Credentials;
use crate::gateway::reply::Reply;
use crate::gateway::request::Envelope;
use crate::gateway::session::Wanted;
use crate::transport::url::{self, Components};
use crate::wire::http::{Field, Method, Preflight, RequestHead, Status};

/// What an HTTP request asks for.
#[derive(Debug)]
pub enum Asked {
    /// A request of the API, in order so far.
    Api(Envelope),
    /// Server information.
    Info,
    /// An answer that needs nothing but the status.
    Just(Status),
    /// Another method, of which the path knows none.
    MethodNotAllowed,
    /// A sign of life.
    Ping,
    /// The events of a session.
    Listen(Listen),
    /// What browsers ask before a request across origins.
    Preflight,
    /// A handle's URL, which leads to its session's.
    Redirect(Listen),
    /// A request that was refused while it was read.
    Refused(Reply),
}

/// A request for the events of a session.
#[derive(Debug)]
pub struct Listen {
    /// The session, zero for none.
    pub session: u64,
    /// Long poll or stream.
    pub how: How,
    /// The API secret that came along.
    pub secret: Option<Box<str>>,
    /// The token that came along.
    pub token: Option<Box<str>>,
}

impl Listen {
    /// What came along to be let in.
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials {
            secret: self.secret.as_deref(),
            token: self.token.as_deref(),
        }
    }
}

/// How a client wants to be told.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// By an answer to this request.
    Poll(Wanted),
    /// By server-sent events from here on, after the last one that it saw.
    Stream {
        /// `Last-Event-ID`.
        last_seen: Option<u64>,
    },
}

/// Reads a request.
pub fn read(head: &RequestHead, body: &[u8], config: &HttpConfig, limits: &Limits) -> Asked {
    if !allows_origin(head, config) {
        return Asked::Just(Status::Forbidden);
    }
    let path = head.path();
    let base = &config.base_path;
    let is_base = || path == base || path.eq_ignore_ascii_case(base);
    if head.method() == Method::Post && is_base() {
        return post(Components::NONE, body, limits);
    }
    let Some(below) = url::below(path, base) else {
        return Asked::Just(Status::NotFound);
    };
    let Some(components) = Components::of(&below) else {
        return Asked::Just(Status::NotFound);
    };
    let Components { first, second } = components;
    match head.method() {
        Method::Options => Asked::Preflight,
        Method::Post if first == "info" => Asked::Just(Status::BadRequest),
        Method::Post => post(components, body, limits),
        Method::Get | Method::Head if first == "info" => Asked::Info,
        Method::Get | Method::Head if first == "ping" => Asked::Ping,
        Method::Get => get(head, first, second),
        Method::Head => Asked::Just(Status::Ok),
        Method::Delete | Method::Patch | Method::Put | Method::Trace => Asked::MethodNotAllowed,
    }
}

fn post(to: Components<'_>, body: &[u8], limits: &Limits) -> Asked {
    match to.envelope(body, limits) {
        Ok(envelope) => Asked::Api(envelope),
        Err(reply) => Asked::Refused(reply),
    }
}

fn get(head: &RequestHead, first: &str, second: Option<&str>) -> Asked {
    let query = head.query();
    let accepts = head.text(Field::Accept).unwrap_or_default();
    let how = if accepts.split(',').any(is_event_stream) {
        let last_seen = head
            .text(Field::LastEventId)
            .and_then(|text| text.trim().parse().ok());
        How::Stream { last_seen }
    } else {
        How::Poll(Wanted::from_maxev(
            url::parameter(query, "maxev").as_deref(),
        ))
    };
    let text = |name| url::parameter(query, name).map(|value| value.into_owned().into());
    let listen = Listen {
        session: url::id(first),
        how,
        secret: text("apisecret"),
        token: text("token"),
    };
    match second {
        None => Asked::Listen(listen),
        Some(_) => Asked::Redirect(listen),
    }
}

fn is_event_stream(range: &str) -> bool {
    let media_type = range.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("text/event-stream")
}

/// Whether the configuration lets this origin in. Compared as a whole, not as a prefix.
fn allows_origin(head: &RequestHead, config: &HttpConfig) -> bool {
    let Some(allowed) = config
        .allow_origin
        .as_deref()
        .filter(|_| config.enforce_cors)
    else {
        return true;
    };
    match (head.text(Field::Origin), head.text(Field::Referer)) {
        (Some(origin), _) => origin == allowed,
        (None, Some(referer)) => referer
            .strip_prefix(allowed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        (None, None) => false,
    }
}

/// What a preflight asked for, as the answer grants it.
pub fn preflight(head: &RequestHead) -> Preflight<'_> {
    Preflight::new(
        head.field(Field::AccessControlRequestMethod),
        head.field(Field::AccessControlRequestHeaders),
    )
}
