//! Sessions: their handles, their events, and who listens to them.
//!
//! Invariant: at most one delivery of a session is under way; of several long polls the oldest
//! gets the events, and the others are let go.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::base::clock::Monotonic;
use crate::base::id::{ConnId, HandleId, ShardId};
use crate::gateway::events::Events;
use crate::gateway::handle::Handle;
use crate::gateway::reply::KEEPALIVE;
use crate::metrics::Metrics;
use crate::mutant;

/// Where an answer goes: a connection, and which of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The shard that has the connection.
    pub shard: ShardId,
    /// The connection.
    pub conn: ConnId,
    /// The request, numbered by that shard; an answer to another one is stale.
    pub serial: u64,
}

impl Origin {
    /// One number for it, unique within the process.
    pub fn number(self) -> u64 {
        self.serial << u8::BITS | u64::from(self.shard.0)
    }
}

/// The connection that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// One that carries requests and polls for all sessions alike; the request's own name.
    Http(Origin),
    /// A WebSocket, under the name that events are sent to.
    Socket(Origin),
}

/// Who gets the events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whoever polls for them, or streams them.
    Http,
    /// Nobody: the socket that owned the session was lost.
    Nobody {
        /// The session ends then unless it is claimed.
        until: Monotonic,
    },
    /// One WebSocket.
    Socket(Origin),
}

impl From<Via> for Owner {
    fn from(via: Via) -> Self {
        match via {
            Via::Http(_) => Self::Http,
            Via::Socket(origin) => Self::Socket(origin),
        }
    }
}

/// Whether a poll wants one event as an object, or up to so many in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An array of up to so many, at least two.
    List(usize),
    /// A bare object.
    One,
}

impl Wanted {
    /// Reads `maxev`: what is no number above 1 means one.
    pub fn from_maxev(maxev: Option<&str>) -> Self {
        match maxev.and_then(|text| text.parse::<usize>().ok()) {
            Some(count) if count > 1 => Self::List(count),
            Some(_) | None => Self::One,
        }
    }

    /// The keepalive in this form.
    pub fn keepalive(self) -> String {
        match self {
            Self::List(_) => format!("[{KEEPALIVE}]"),
            Self::One => KEEPALIVE.to_owned(),
        }
    }
}

/// A long poll that waits.
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    /// Where its answer goes.
    pub origin: Origin,
    /// The form of its answer.
    pub wanted: Wanted,
    /// When it is answered with a keepalive at the latest.
    pub deadline: Monotonic,
}

/// An event stream that is open.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Where its events go.
    pub origin: Origin,
    /// When it ends, to be resumed by the client.
    pub until: Monotonic,
}

/// Why a poll was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEnd {
    /// Another connection claimed the session.
    Claimed,
    /// The session was destroyed.
    Destroyed,
    /// There are events.
    Event,
    /// Nothing happened for the whole time.
    Keepalive,
    /// The gateway shuts down.
    Shutdown,
    /// Another listener of the session takes its place, or got the events.
    Superseded,
}

impl PollEnd {
    /// The counter of this reason.
    pub fn counter(self, metrics: &mut Metrics) -> &mut u64 {
        let polls = &mut metrics.http_polls;
        match self {
            Self::Claimed => &mut polls.claimed,
            Self::Destroyed => &mut polls.destroyed,
            Self::Event => &mut polls.event,
            Self::Keepalive => &mut polls.keepalive,
            Self::Shutdown => &mut polls.shutdown,
            Self::Superseded => &mut polls.superseded,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its client asked for it.
    Destroyed,
    /// Nobody fetched its events.
    Overflow,
    /// The gateway shut down.
    Shutdown,
    /// Its client was silent.
    Timeout,
    /// Its socket was lost, and nobody claimed it in time.
    TransportGone,
}

impl SessionEnd {
    /// The counter of this reason.
    pub fn counter(self, metrics: &mut Metrics) -> &mut u64 {
        let ends = &mut metrics.gateway_sessions_destroyed;
        match self {
            Self::Destroyed => &mut ends.destroyed,
            Self::Overflow => &mut ends.overflow,
            Self::Shutdown => &mut ends.shutdown,
            Self::Timeout => &mut ends.timeout,
            Self::TransportGone => &mut ends.transport_gone,
        }
    }
}

/// How much silence ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// This much.
    After(Duration),
    /// As much as for all sessions without a timeout of their own.
    Common,
    /// No silence ends it.
    Never,
}

impl Timeout {
    /// Reads it as the Admin API has it: 0 is never, -1 as for all, and less makes no sense.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        match u32::try_from(seconds) {
            Ok(0) => Some(Self::Never),
            Ok(seconds) => Some(Self::After(Duration::from_secs(seconds.into()))),
            Err(_) if seconds == -1 => Some(Self::Common),
            Err(_) => None,
        }
    }

    /// As the Admin API has it.
    pub fn seconds(self) -> i64 {
        match self {
            Self::After(timeout) => timeout.as_secs().cast_signed(),
            Self::Common => -1,
            Self::Never => 0,
        }
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// The last sign of life.
    pub last_activity: Monotonic,
    /// How much silence ends it.
    pub timeout: Timeout,
    /// Its handles.
    pub handles: BTreeMap<HandleId, Handle>,
    /// Who gets its events.
    pub owner: Owner,
    /// Its events.
    pub events: Events,
    /// The long polls that wait, oldest first.
    pub polls: VecDeque<Poll>,
    /// The delivery that is under way to a poll.
    pub delivery: Option<Delivery>,
    /// The open event stream.
    pub stream: Option<Stream>,
}

/// Events on their way to a poll's connection.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Which poll.
    pub origin: Origin,
    /// The last of its events.
    pub last: u64,
}

impl Session {
    /// A session without handles.
    pub fn new(now: Monotonic, owner: Owner) -> Self {
        Self {
            last_activity: now,
            timeout: Timeout::Common,
            handles: BTreeMap::new(),
            owner,
            events: Events::default(),
            polls: VecDeque::new(),
            delivery: None,
            stream: None,
        }
    }

    /// Takes the next answer for a poll, when there is one to give: the oldest poll, the body,
    /// and how many events it holds.
    pub fn next_delivery(&mut self) -> Option<(Poll, String, usize)> {
        if self.delivery.is_some() || self.stream.is_some() || self.events.queued() == 0 {
            return None;
        }
        let poll = self.polls.pop_front()?;
        let (body, last, count) = self.take(poll.wanted)?;
        self.delivery = Some(Delivery {
            origin: poll.origin,
            last,
        });
        Some((poll, body, count))
    }

    fn take(&mut self, wanted: Wanted) -> Option<(String, u64, usize)> {
        let count_max = match wanted {
            Wanted::One => {
                let event = self.events.take()?;
                return Some((event.text.as_ref().to_owned(), event.number, 1));
            }
            Wanted::List(_) if mutant!(MaxevIgnored) => usize::MAX,
            Wanted::List(count) => count,
        };
        let mut body = String::from("[");
        let (mut last, mut count) = (None, 0);
        while count < count_max {
            let Some(event) = self.events.take() else {
                break;
            };
            if count > 0 {
                body.push(',');
            }
            body.push_str(&event.text);
            last = Some(event.number);
            count += 1;
        }
        body.push(']');
        last.map(|last| (body, last, count))
    }

    /// Whether it lost its socket, and nobody claimed it in time.
    pub fn is_unclaimed(&self, now: Monotonic) -> bool {
        match self.owner {
            Owner::Http | Owner::Socket(_) => false,
            Owner::Nobody { until } => until <= now,
        }
    }

    /// When the session ends if it stays silent, and unclaimed if nobody owns it.
    ///
    /// `common` is the timeout of those that have none of their own.
    pub fn expires(&self, common: Option<Duration>) -> Option<Monotonic> {
        let timeout = match self.timeout {
            Timeout::After(timeout) => Some(timeout),
            Timeout::Common => common,
            Timeout::Never => None,
        };
        let silent = timeout.map(|timeout| self.last_activity + timeout);
        match self.owner {
            Owner::Http | Owner::Socket(_) => silent,
            Owner::Nobody { until } => Some(silent.map_or(until, |silent| silent.min(until))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxev_above_one_is_a_list() {
        for (maxev, wanted) in [
            (None, Wanted::One),
            (Some("1"), Wanted::One),
            (Some("0"), Wanted::One),
            (Some("-3"), Wanted::One),
            (Some("abc"), Wanted::One),
            (Some(""), Wanted::One),
            (Some("2"), Wanted::List(2)),
            (Some("10"), Wanted::List(10)),
        ] {
            assert_eq!(Wanted::from_maxev(maxev), wanted, "{maxev:?}");
        }
    }
}
