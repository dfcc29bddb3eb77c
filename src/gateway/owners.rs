//! Who owns a session: claimed, lost with its socket, given events.
//!
//! `docs/sessions.md` has the states and what leads from one to the other.
//!
//! Invariant: a session is in `owned` exactly when a socket owns it. Events that are on their way
//! when the owner changes go to the new one unless they are known to have been taken: an event may
//! reach both, and is never lost between them.

use crate::base::clock::Now;
use crate::base::id::SessionId;
use crate::gateway::listeners::STREAM_WINDOW;
use crate::gateway::session::{Origin, Owner, PollEnd, SessionEnd, Via};
use crate::gateway::{Gateway, Key, Output};
use crate::metrics::Metrics;
use crate::mutant;

impl Gateway {
    /// Gives a session to the connection that asked for it.
    pub(super) fn claim(&mut self, id: SessionId, via: Via, metrics: &mut Metrics) {
        metrics.gateway_sessions_claimed += 1;
        let owner = Owner::from(via);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut session.owner, owner);
        if before == owner && owner != Owner::Http {
            return;
        }
        if before != owner {
            session.delivery = None;
            metrics.gateway_events_requeued += session.events.requeue() as u64;
            if mutant!(WsClaimDrops) {
                while session.events.take().is_some() {}
                session.events.delivered(u64::MAX);
            }
            self.disown(id, before, metrics);
        }
        // The polls and the stream of whoever had it before end; a client that claims over HTTP
        // polls anew.
        self.release_listeners(id, PollEnd::Claimed, metrics);
        if let Owner::Socket(origin) = owner {
            self.owned.insert((origin, id));
            // Much may have come meanwhile, and it is not the new socket that is slow.
            while self.waiting_share(id) > Share::Quarter && self.tell_socket(id, origin) {}
        }
        self.awaited.push(id);
    }

    /// A socket is no more. Its sessions end, or wait to be claimed.
    pub fn socket_lost(&mut self, now: Now, origin: Origin, metrics: &mut Metrics) {
        let all = (origin, SessionId(u64::MIN))..=(origin, SessionId(u64::MAX));
        let sessions: Vec<SessionId> = self.owned.range(all).map(|(_, id)| *id).collect();
        let reclaim = self.config.general.reclaim_session_timeout;
        for id in sessions {
            if reclaim.is_zero() {
                self.end_session(now, id, SessionEnd::TransportGone, metrics);
                continue;
            }
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            let before = session.owner;
            // Counted from the loss, however long the client had been silent by then.
            let since = if mutant!(WsReclaimActivity) {
                session.last_activity
            } else {
                now.monotonic
            };
            session.owner = Owner::Nobody {
                until: since + reclaim,
            };
            metrics.gateway_events_requeued += session.events.requeue() as u64;
            metrics.gateway_sessions_orphaned += 1;
            if let Some(at) = session.expires(self.runtime.session_timeout) {
                self.timers.arm(Key::Session(id), at);
            }
            self.disown(id, before, metrics);
        }
    }

    /// Takes note that `owner` does not own a session any more.
    pub(super) fn disown(&mut self, id: SessionId, owner: Owner, metrics: &mut Metrics) {
        match owner {
            Owner::Http => {}
            Owner::Nobody { .. } => metrics.gateway_sessions_orphaned -= 1,
            Owner::Socket(origin) => {
                self.owned.remove(&(origin, id));
            }
        }
    }

    /// Hands events to the socket that owns their session, as many as may be on their way.
    pub(super) fn deliver_to_socket(&mut self, id: SessionId, origin: Origin) {
        while self.events_out(id) < STREAM_WINDOW && self.tell_socket(id, origin) {}
    }

    /// Hands all events to the socket, because the session ends.
    pub(super) fn tell_socket_all(&mut self, id: SessionId, origin: Origin) {
        while self.tell_socket(id, origin) {}
    }

    fn tell_socket(&mut self, id: SessionId, origin: Origin) -> bool {
        let session = self.sessions.get_mut(&id);
        let Some(event) = session.and_then(|session| session.events.take()) else {
            return false;
        };
        self.outputs.push(Output::SocketEvent {
            origin,
            session: id,
            number: event.number,
            text: event.text.clone(),
        });
        true
    }

    fn events_out(&self, id: SessionId) -> usize {
        self.sessions
            .get(&id)
            .map_or(0, |session| session.events.out())
    }

    /// Whether a session's socket does not take its events; it is told to close. That is at half
    /// of what a session may have undelivered: the other half is for the time until the session is
    /// claimed.
    pub(super) fn is_slow(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(&id) else {
            return false;
        };
        let Owner::Socket(origin) = session.owner else {
            return false;
        };
        let is_slow = self.waiting_share(id) > Share::Half;
        if is_slow {
            self.outputs.push(Output::SocketClose { origin });
        }
        is_slow
    }

    /// How much of what may be undelivered of a session waits to be taken.
    fn waiting_share(&self, id: SessionId) -> Share {
        let Some(session) = self.sessions.get(&id) else {
            return Share::Quarter;
        };
        let limits = &self.config.limits;
        let (count, bytes) = (session.events.queued(), session.events.queued_bytes());
        let exceeds = |part: usize| {
            count > limits.session_events_count / part || bytes > limits.session_events_bytes / part
        };
        if exceeds(2) {
            Share::More
        } else if exceeds(4) {
            Share::Half
        } else {
            Share::Quarter
        }
    }
}

/// A part of a bound: at most so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Quarter,
    Half,
    More,
}
