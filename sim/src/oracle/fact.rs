//! What the watcher tells the oracles: requests, answers, endings, with their times.

use std::time::Duration;

use bifrons::base::clock::Monotonic;
use serde_json::Value;

use crate::kernel::tcp::{HostId, Socket};
use crate::kernel::time::SimTime;
use crate::models::decode::Head;
use crate::models::request::Request;

/// When something happened at a shard.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// True time.
    pub sim: SimTime,
    /// The shard's own monotonic clock.
    pub monotonic: Monotonic,
    /// How long the gateway has run by its monotonic clock; comparable between shards.
    pub elapsed: Duration,
    /// Which shard.
    pub shard: u8,
}

impl Stamp {
    /// Time on the gateway's monotonic clock since `earlier`.
    pub const fn since(self, earlier: Self) -> Duration {
        self.elapsed.saturating_sub(earlier.elapsed)
    }
}

/// A request and what came of it, as seen at the gateway's sockets.
#[derive(Debug)]
pub struct Exchange {
    /// Requests are counted in the order in which they were complete.
    pub number: u64,
    /// The gateway's socket.
    pub socket: Socket,
    /// Who asked: a client, or the proxy in front of it.
    pub host: HostId,
    /// The request.
    pub request: Request,
    /// What it asks for.
    pub ask: Ask,
    /// When its last byte entered the shard.
    pub asked: Stamp,
    /// When it came to be first in line on its connection.
    pub begun: Stamp,
    /// The last sign of life of its session before it.
    pub silent_since: Option<Stamp>,
    /// When the shard first had output for it.
    pub offered: Option<Stamp>,
    /// The answer, once the kernel has taken its last byte.
    pub answer: Option<Answer>,
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body, without framing.
    pub body: Vec<u8>,
    /// The body, if it is JSON.
    pub json: Option<Value>,
    /// When the kernel took its last byte.
    pub taken: Stamp,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A request of the Admin API.
    Admin,
    /// A request of the Janus API.
    Api {
        /// `janus`, in lower case.
        verb: String,
        /// Zero if there is none.
        session: u64,
        /// Zero if there is none.
        handle: u64,
        /// `transaction`.
        transaction: Option<String>,
    },
    /// Anything else.
    Other,
    /// A long poll.
    Poll {
        /// Of which session.
        session: u64,
        /// How many events it takes; a bare object is asked for by 1.
        maxev: u32,
    },
    /// An event stream.
    Stream {
        /// Of which session.
        session: u64,
        /// The last event that the client has.
        last: Option<String>,
    },
}

impl Ask {
    /// Finds out what a request asks for.
    pub fn of(request: &Request) -> Self {
        if request.method == "POST" && request.path() == "/admin" {
            return Self::Admin;
        }
        let Some(rest) = request.path().strip_prefix("/janus") else {
            return Self::Other;
        };
        let mut parts = rest.trim_matches('/').split('/');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        let (session, handle): (u64, u64) = (number(), number());
        match request.method.as_str() {
            "GET" if session != 0 && handle == 0 => {
                let is_stream = request
                    .field("accept")
                    .is_some_and(|accept| accept.contains("text/event-stream"));
                if is_stream {
                    let last = request.field("last-event-id").map(str::to_owned);
                    return Self::Stream { session, last };
                }
                let maxev = request
                    .parameter("maxev")
                    .and_then(|value| value.parse().ok());
                let maxev = maxev.unwrap_or(1).max(1);
                Self::Poll { session, maxev }
            }
            "POST" => Self::of_body(session, handle, &request.body),
            _ => Self::Other,
        }
    }

    /// Finds out what a request of the API asks for, whatever it came by.
    pub fn of_body(session: u64, handle: u64, body: &[u8]) -> Self {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Self::Other;
        };
        let id = |name: &str| fields.get(name).and_then(Value::as_u64);
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        Self::Api {
            verb: text("janus").unwrap_or_default().to_ascii_lowercase(),
            session: id("session_id").unwrap_or(session),
            handle: id("handle_id").unwrap_or(handle),
            transaction: text("transaction").map(str::to_owned),
        }
    }

    /// The session that it names.
    pub const fn session(&self) -> Option<u64> {
        match *self {
            Self::Api { session, .. }
            | Self::Poll { session, .. }
            | Self::Stream { session, .. }
                if session != 0 =>
            {
                Some(session)
            }
            Self::Admin
            | Self::Api { .. }
            | Self::Other
            | Self::Poll { .. }
            | Self::Stream { .. } => None,
        }
    }
}

impl Answer {
    /// The events in the answer to a poll.
    pub fn events(&self) -> &[Value] {
        match &self.json {
            Some(Value::Array(events)) => events,
            Some(event @ Value::Object(_)) => std::slice::from_ref(event),
            _ => &[],
        }
    }

    /// `error.code` of an API answer.
    pub fn error_code(&self) -> Option<u64> {
        self.json.as_ref()?.pointer("/error/code")?.as_u64()
    }

    /// `janus` of an API answer.
    pub fn verb(&self) -> &str {
        verb_of(self.json.as_ref().unwrap_or(&Value::Null))
    }

    /// Whether it says that the session does not exist, or no longer.
    pub fn denies_session(&self) -> bool {
        self.head.status == 404
            || self.error_code() == Some(458)
            || self
                .events()
                .iter()
                .any(|event| verb_of(event) == "timeout")
    }

    /// Whether only a session that exists is answered so.
    pub fn proves_life(&self) -> bool {
        self.head.status == 200
            && !self.denies_session()
            && self.error_code().is_none_or(|code| code == 459)
    }

    /// Whether it is a poll's answer that says that nothing happened.
    pub fn is_keepalive(&self) -> bool {
        let events = self.events();
        !events.is_empty() && events.iter().all(|event| verb_of(event) == "keepalive")
    }
}

/// `janus` of an event or an API answer.
pub fn verb_of(value: &Value) -> &str {
    value
        .get("janus")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An event of an event stream.
#[derive(Debug)]
pub struct Streamed<'a> {
    /// The request that opened the stream.
    pub exchange: &'a Exchange,
    /// Its `id`.
    pub id: Option<&'a str>,
    /// Its data, as JSON.
    pub event: &'a Value,
    /// When the kernel took its last byte.
    pub taken: Stamp,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The gateway reset it.
    Aborted,
    /// The gateway closed it.
    Closed,
    /// The network did: reset or failed.
    Lost,
}

/// The end of a connection, seen from the gateway.
#[derive(Debug)]
pub struct Ended<'a> {
    /// The gateway's socket.
    pub socket: Socket,
    /// Who was at the other end.
    pub host: HostId,
    /// How.
    pub how: Ending,
    /// When.
    pub at: Stamp,
    /// Requests without a complete answer, oldest first.
    pub unanswered: Vec<&'a Exchange>,
    /// An answer has begun and not ended.
    pub is_cut: bool,
    /// The client had sent FIN.
    pub is_input_ended: bool,
    /// The client had sent something that is no strict request.
    pub is_malformed: bool,
    /// The last answer said that the connection closes.
    pub is_last_said: bool,
    /// Since when output waits that the kernel does not take.
    pub stalled_since: Option<Stamp>,
    /// Since when a request has begun and not ended.
    pub partial_since: Option<Stamp>,
}
