//! Long polls and event streams of sessions.
//!
//! Invariant: the deadline of a poll belongs to the shard that owns the session. A poll or stream
//! that was taken in is ended exactly once, by an [`Output`] or by its client going away.

use tracing::warn;

use crate::base::clock::Now;
use crate::base::id::SessionId;
use crate::gateway::reply::{Message, Reply};
use crate::gateway::session::{Origin, Owner, Poll, PollEnd, SessionEnd, Stream, Wanted};
use crate::gateway::{Gateway, Key, Output};
use crate::metrics::Metrics;
use crate::mutant;

/// Events of one session that may be on their way on one stream or socket. More wait until the
/// kernel takes some.
pub(super) const STREAM_WINDOW: usize = 64;

impl Gateway {
    /// Takes in a long poll. It counts as a sign of life.
    pub fn poll(
        &mut self,
        now: Now,
        id: SessionId,
        origin: Origin,
        wanted: Wanted,
        metrics: &mut Metrics,
    ) {
        metrics.gateway_requests.poll += 1;
        let limit = self.config.limits.session_polls_count;
        let deadline = now.monotonic + self.config.limits.poll_timeout;
        #[cfg(feature = "mutants")]
        let deadline =
            crate::base::mutant::poll_deadline(now, deadline.saturating_since(now.monotonic));
        let is_accepting = !self.is_draining;
        let session = self.sessions.get_mut(&id);
        let Some(session) = session.filter(|session| session.owner == Owner::Http) else {
            self.outputs.push(Output::Unknown { origin });
            return;
        };
        if !mutant!(PollNoLife) {
            session.last_activity = now.monotonic;
        }
        let stream = session.stream.take();
        session.polls.push_back(Poll {
            origin,
            wanted,
            deadline,
        });
        metrics.http_polls_opened += 1;
        metrics.http_polls_parked += 1;
        let oldest = match session.polls.len() > limit && !mutant!(PollsUnbounded) {
            true if mutant!(OlderPollWins) => session.polls.pop_back(),
            true => session.polls.pop_front(),
            false => None,
        };
        if self.timers.deadline_of(Key::Poll(id)).is_none() {
            self.timers.arm(Key::Poll(id), deadline);
        }
        if let Some(stream) = stream {
            self.end_stream(id, stream, metrics);
        }
        if let Some(oldest) = oldest {
            self.let_go(oldest, PollEnd::Superseded, metrics);
        }
        self.awaited.push(id);
        if !is_accepting {
            // The gateway drains: nobody may wait, but what there is is given.
            self.deliver(now, metrics);
            self.release_listeners(id, PollEnd::Shutdown, metrics);
        }
    }

    /// The answer of a poll was taken by the kernel, or its connection is gone.
    pub fn poll_done(
        &mut self,
        id: SessionId,
        origin: Origin,
        outcome: Outcome,
        metrics: &mut Metrics,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match session.delivery {
            Some(delivery) if delivery.origin == origin => {
                session.delivery = None;
                match outcome {
                    Outcome::Taken if session.polls.is_empty() && mutant!(DeliveredAgain) => {
                        session.events.requeue();
                    }
                    Outcome::Taken => {
                        let count = session.events.delivered(delivery.last);
                        metrics.gateway_events_delivered += count as u64;
                    }
                    Outcome::Gone if mutant!(EventsInFlightLost) => {
                        session.events.delivered(delivery.last);
                    }
                    Outcome::Gone => {
                        metrics.gateway_events_requeued += session.events.requeue() as u64;
                    }
                }
                self.awaited.push(id);
            }
            Some(_) | None => {
                let waiting = session.polls.len();
                session.polls.retain(|poll| poll.origin != origin);
                let gone = (waiting - session.polls.len()) as u64;
                metrics.http_polls_parked -= gone;
                metrics.http_polls.client_gone += gone;
            }
        }
    }

    /// Opens an event stream. It counts as a sign of life, and takes the place of other listeners.
    pub fn stream(
        &mut self,
        now: Now,
        id: SessionId,
        origin: Origin,
        last_seen: Option<u64>,
        metrics: &mut Metrics,
    ) {
        metrics.gateway_requests.poll += 1;
        let session = self.sessions.get(&id);
        if self.is_draining || session.is_none_or(|session| session.owner != Owner::Http) {
            self.outputs.push(Output::Unknown { origin });
            return;
        }
        self.release_listeners(id, PollEnd::Superseded, metrics);
        let settings = &self.config.event_stream;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.last_activity = now.monotonic;
        session
            .events
            .keep_for_replay(self.config.limits.stream_replay_count);
        let has_gap = match last_seen {
            Some(number) => {
                metrics.http_streams_resumed += 1;
                !session.events.resume_after(number)
            }
            None => false,
        };
        let until = now.monotonic + settings.max_age;
        let beat = now.monotonic + settings.heartbeat;
        session.stream = Some(Stream { origin, until });
        self.timers.arm(Key::Stream(id), until.min(beat));
        metrics.http_streams_opened += 1;
        metrics.http_streams_open += 1;
        self.outputs.push(Output::StreamBegin { origin, has_gap });
        self.awaited.push(id);
    }

    /// The kernel took all bytes of a stream, or of a socket, up to an event.
    pub fn event_taken(
        &mut self,
        id: SessionId,
        origin: Origin,
        number: u64,
        metrics: &mut Metrics,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_stream = session.stream.is_some_and(|stream| stream.origin == origin);
        let is_socket = session.owner == Owner::Socket(origin) && !mutant!(WsEventTwice);
        if is_stream || is_socket {
            metrics.gateway_events_delivered += session.events.delivered(number) as u64;
            self.awaited.push(id);
        }
    }

    /// The client of a stream is gone.
    pub fn stream_gone(&mut self, id: SessionId, origin: Origin, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.stream.is_some_and(|stream| stream.origin == origin) {
            session.stream = None;
            metrics.gateway_events_requeued += session.events.requeue() as u64;
            metrics.http_streams_open -= 1;
            metrics.http_streams_closed += 1;
            self.timers.cancel(Key::Stream(id));
            self.awaited.push(id);
        }
    }

    /// Queues an event for a session's listeners.
    pub(super) fn push(&mut self, id: SessionId, event: Reply, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.events.push(event.into_text());
        metrics.gateway_events_pushed += 1;
        self.awaited.push(id);
    }

    /// Hands events to those who wait for them, and ends sessions that have too many.
    pub fn deliver(&mut self, now: Now, metrics: &mut Metrics) {
        let awaited = std::mem::take(&mut self.awaited);
        for &id in &awaited {
            self.deliver_to(id, metrics);
            if self.is_slow(id) {
                continue;
            }
            let limits = &self.config.limits;
            let overflows = self.sessions.get(&id).is_some_and(|session| {
                session.events.queued() > limits.session_events_count
                    || session.events.queued_bytes() > limits.session_events_bytes
            });
            if overflows {
                warn!(session = %id, "session ended: too many undelivered events");
                self.end_session(now, id, SessionEnd::Overflow, metrics);
            }
        }
        // Sessions that ended may have told others; theirs is the next round.
        if self.awaited.is_empty() {
            self.awaited = awaited;
            self.awaited.clear();
        }
    }

    fn deliver_to(&mut self, id: SessionId, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Owner::Socket(origin) = session.owner {
            self.deliver_to_socket(id, origin);
        } else if let Some(stream) = session.stream {
            while session.events.out() < STREAM_WINDOW {
                let Some(event) = session.events.take() else {
                    break;
                };
                self.outputs.push(Output::StreamEvent {
                    origin: stream.origin,
                    number: event.number,
                    text: event.text.clone(),
                });
            }
        } else if let Some((poll, body, events)) = session.next_delivery() {
            metrics.http_polls_parked -= 1;
            metrics.http_polls.event += 1;
            let origin = poll.origin;
            self.outputs.push(Output::PollAnswer {
                origin,
                body,
                events,
                why: PollEnd::Event,
            });
            // Janus lets surplus polls go with every event, which keeps a client that runs two
            // poll loops by accident at one event a poll and not at two.
            self.release_polls(id, PollEnd::Superseded, metrics);
            #[cfg(feature = "mutants")]
            if mutant!(PollResumedTwice)
                && let Some(session) = self.sessions.get_mut(&id)
            {
                session.polls.push_back(poll);
                metrics.http_polls_opened += 1;
                metrics.http_polls_parked += 1;
                self.timers.arm(Key::Poll(id), poll.deadline);
            }
        }
    }

    /// Ends all polls and the stream of a session.
    pub(super) fn release_listeners(&mut self, id: SessionId, why: PollEnd, metrics: &mut Metrics) {
        self.release_polls(id, why, metrics);
        let stream = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.stream.take());
        if let Some(stream) = stream {
            self.end_stream(id, stream, metrics);
        }
    }

    fn release_polls(&mut self, id: SessionId, why: PollEnd, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let polls = std::mem::take(&mut session.polls);
        self.timers.cancel(Key::Poll(id));
        for poll in polls {
            self.let_go(poll, why, metrics);
        }
    }

    fn let_go(&mut self, poll: Poll, why: PollEnd, metrics: &mut Metrics) {
        metrics.http_polls_parked -= 1;
        *why.counter(metrics) += 1;
        let (origin, body) = (poll.origin, poll.wanted.keepalive());
        self.outputs.push(Output::PollAnswer {
            origin,
            body,
            events: 0,
            why,
        });
    }

    /// Ends a stream that was taken out of its session. What is on its way is sent again when the
    /// client resumes without having seen it.
    fn end_stream(&mut self, id: SessionId, stream: Stream, metrics: &mut Metrics) {
        self.timers.cancel(Key::Stream(id));
        if let Some(session) = self.sessions.get_mut(&id) {
            metrics.gateway_events_requeued += session.events.requeue() as u64;
        }
        metrics.http_streams_open -= 1;
        metrics.http_streams_closed += 1;
        self.outputs.push(Output::StreamEnd {
            origin: stream.origin,
        });
    }

    pub(super) fn expire_polls(&mut self, now: Now, id: SessionId, metrics: &mut Metrics) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            let Some(oldest) = session.polls.front().copied() else {
                return;
            };
            if oldest.deadline > now.monotonic {
                self.timers.arm(Key::Poll(id), oldest.deadline);
                return;
            }
            session.polls.pop_front();
            self.let_go(oldest, PollEnd::Keepalive, metrics);
        }
    }

    pub(super) fn expire_stream(&mut self, now: Now, id: SessionId, metrics: &mut Metrics) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(stream) = session.stream else { return };
        if stream.until <= now.monotonic {
            session.stream = None;
            self.end_stream(id, stream, metrics);
            return;
        }
        // An open stream shows that its client is there, as a poll would every 30 s.
        session.last_activity = now.monotonic;
        self.outputs.push(Output::StreamBeat {
            origin: stream.origin,
        });
        let beat = now.monotonic + self.config.event_stream.heartbeat;
        self.timers.arm(Key::Stream(id), stream.until.min(beat));
    }

    /// Tells whoever listens that the session timed out.
    pub(super) fn tell_timeout(&mut self, id: SessionId, metrics: &mut Metrics) {
        let text = Message::new("timeout")
            .session(Some(id.0))
            .finish()
            .into_text();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Owner::Socket(origin) = session.owner {
            session.events.push(text);
            metrics.gateway_events_pushed += 1;
            self.tell_socket_all(id, origin);
        } else if session.stream.is_some() {
            session.events.push(text);
            metrics.gateway_events_pushed += 1;
            self.deliver_to(id, metrics);
        } else if let Some(poll) = session.polls.pop_front() {
            metrics.http_polls_parked -= 1;
            metrics.http_polls.timeout += 1;
            let body = match poll.wanted {
                Wanted::List(_) => format!("[{text}]"),
                Wanted::One => text,
            };
            let origin = poll.origin;
            self.outputs.push(Output::PollAnswer {
                origin,
                body,
                events: 0,
                why: PollEnd::Event,
            });
        }
    }
}

/// What became of bytes that were offered to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection ended before the kernel took them.
    Gone,
    /// The kernel took them all.
    Taken,
}
