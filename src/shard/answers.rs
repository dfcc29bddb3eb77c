//! Messages between shards: requests executed, answers given, deliveries settled.

use crate::base::clock::Now;
use crate::base::id::{ConnId, ShardId, owner_of};
use crate::gateway::reply::Reply;
use crate::gateway::session::{Origin, PollEnd};
use crate::gateway::{Outcome, Output};
use crate::metrics::Metrics;
use crate::mutant;
use crate::shard::client::{Client, Delivery, Subscription, Waiting};
use crate::shard::mesh::MeshMsg;
use crate::shard::sockets::SocketEvent;
use crate::shard::{Outbox, Shard};
use crate::transport::conn::StreamError;
use crate::wire::http::{Framing, Response, Status, response};

impl Shard {
    /// Takes in a message of another shard, or of this one.
    pub(super) fn take_message(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMsg,
        out: &mut Outbox,
    ) {
        match message {
            MeshMsg::Admin { origin, request } => {
                self.serve_passed_on(now, from, origin, &request, out);
            }
            MeshMsg::Apply { origin, change } => self.apply_change(now, origin, &change, out),
            MeshMsg::Ask { origin, question } => self.answer_part(origin, question, out),
            MeshMsg::Census(census) => self.take_census(from, census),
            MeshMsg::Change { origin, change } => self.order_change(origin, &change, out),
            MeshMsg::Count { origin } => {
                let metrics = Box::new(self.metrics());
                self.post(from, MeshMsg::Counted { origin, metrics }, out);
            }
            MeshMsg::Counted { origin, metrics } => self.counted(now, origin, &metrics, out),
            MeshMsg::Emptied => self.count_emptied(),
            MeshMsg::EventTaken {
                origin,
                session,
                number,
            } => {
                self.gateway
                    .event_taken(session, origin, number, &mut self.metrics);
            }
            MeshMsg::Media(relay) => self.gateway.media_mut().relayed(now, from, relay),
            MeshMsg::Plugin(parcel) => {
                self.gateway.remote(now, from, parcel, &mut self.metrics);
                self.tell_listeners(out);
            }
            MeshMsg::Part { origin, part } => self.take_part(now, from, origin, part, out),
            MeshMsg::Poll {
                origin,
                session,
                wanted,
            } => {
                self.gateway
                    .poll(now, session, origin, wanted, &mut self.metrics);
                self.took_in(from, out);
                self.tell_listeners(out);
            }
            MeshMsg::PollDone {
                origin,
                session,
                outcome,
            } => {
                self.gateway
                    .poll_done(session, origin, outcome, &mut self.metrics);
            }
            MeshMsg::Reply { origin, reply } => {
                self.asked[usize::from(from.0)] -= 1;
                self.reply_to(now, origin, &reply, out);
            }
            MeshMsg::Request {
                origin,
                via,
                request,
            } => {
                let reply = self
                    .gateway
                    .execute(now, origin, via, *request, &mut self.metrics);
                if let Some(reply) = reply {
                    self.post(from, MeshMsg::Reply { origin, reply }, out);
                }
            }
            MeshMsg::SocketLost { origin } => {
                self.gateway.socket_lost(now, origin, &mut self.metrics);
            }
            MeshMsg::Stream {
                origin,
                session,
                last_seen,
            } => {
                self.gateway
                    .stream(now, session, origin, last_seen, &mut self.metrics);
                self.took_in(from, out);
                self.tell_listeners(out);
            }
            MeshMsg::StreamGone { origin, session } => {
                self.gateway.stream_gone(session, origin, &mut self.metrics);
            }
            MeshMsg::Tell(output) => self.told(now, output, out),
            MeshMsg::TookIn => self.asked[usize::from(from.0)] -= 1,
        }
    }

    /// Answers a request that waits for its reply, if its client is still there.
    pub(super) fn reply_to(&mut self, now: Now, origin: Origin, reply: &Reply, out: &mut Outbox) {
        if self.fill_line(now, origin, reply) {
            self.serve(now, origin.conn, out);
        } else if self.waits_as(origin) {
            if let Some(client) = self.clients.get_mut(origin.conn) {
                client.waiting = Waiting::Nothing;
            }
            self.answer(now, origin.conn, reply, Framing::Chunked);
            self.revisits.push_back(origin.conn);
        }
    }

    fn took_in(&mut self, from: ShardId, out: &mut Outbox) {
        if from != self.id {
            self.post(from, MeshMsg::TookIn, out);
        }
    }

    /// Passes what the gateway has to say to the shards that it concerns.
    pub(super) fn tell_listeners(&mut self, out: &mut Outbox) {
        self.relay(out);
        for (to, parcel) in self.gateway.take_parcels() {
            self.post(to, MeshMsg::Plugin(parcel), out);
        }
        for (origin, reply) in self.gateway.take_replies() {
            self.post(origin.shard, MeshMsg::Reply { origin, reply }, out);
        }
        for output in self.gateway.take_outputs() {
            let origin = match &output {
                Output::PollAnswer { origin, .. }
                | Output::SocketClose { origin }
                | Output::SocketEvent { origin, .. }
                | Output::StreamBeat { origin }
                | Output::StreamBegin { origin, .. }
                | Output::StreamEnd { origin }
                | Output::StreamEvent { origin, .. }
                | Output::Unknown { origin } => *origin,
            };
            self.post(origin.shard, MeshMsg::Tell(output), out);
        }
    }

    /// Passes what media has for other shards.
    pub(super) fn relay(&mut self, out: &mut Outbox) {
        for (to, relay) in self.gateway.media_mut().take_relays() {
            self.post(to, MeshMsg::Media(relay), out);
        }
    }

    /// Writes what a listener is told to its connection, if it is still there.
    fn told(&mut self, now: Now, output: Output, out: &mut Outbox) {
        match output {
            Output::PollAnswer {
                origin,
                body,
                events,
                why,
            } => {
                let Some(subscription) = self.end_waiting(origin) else {
                    return;
                };
                if why == PollEnd::Shutdown {
                    // The session's shard may drain before this one: the client should not come back.
                    if let Some(client) = self.clients.get_mut(origin.conn) {
                        client.conn.close_when_done();
                    }
                }
                if why == PollEnd::Keepalive && mutant!(UptimeTeardown) {
                    let head = Response {
                        framing: Framing::Chunked,
                        ..Response::json(b"")
                    };
                    self.with_client(origin.conn, |client, shared| {
                        let _ = client.conn.begin_stream(shared, now, &head);
                    });
                    self.serve(now, origin.conn, out);
                    return;
                }
                // Janus gives a length where it answers at once and a chunk where it waited; the
                // client cannot tell, so every answer with events is one whole chunk.
                let receipt = self.answer_text(now, origin.conn, &body, Framing::Chunked);
                if events > 0 {
                    match receipt {
                        Some(end) => {
                            let delivery = Delivery {
                                end,
                                to: subscription,
                                number: None,
                            };
                            self.expect(origin.conn, delivery);
                        }
                        None => self.report(subscription, Outcome::Gone, out),
                    }
                }
                self.revisits.push_back(origin.conn);
            }
            Output::SocketClose { origin } => self.close_slow(now, origin, out),
            Output::SocketEvent {
                origin,
                session,
                number,
                text,
            } => {
                let event = SocketEvent {
                    owner: owner_of(session, self.shards),
                    session,
                    number,
                };
                self.tell_socket(now, origin, event, text, out);
            }
            Output::StreamBeat { origin } => {
                // A beat that does not fit says nothing that the pending bytes do not say.
                let _ = self.write_stream(now, origin, b":\n\n", out);
            }
            Output::StreamBegin { origin, has_gap } => {
                self.begin_stream(now, origin, has_gap, out);
            }
            Output::StreamEnd { origin } => {
                if self.end_waiting(origin).is_some() {
                    self.with_client(origin.conn, |client, shared| {
                        client
                            .deliveries
                            .retain(|delivery| delivery.to.origin != origin);
                        client.conn.end_stream(shared, now)
                    });
                    self.revisits.push_back(origin.conn);
                }
            }
            Output::StreamEvent {
                origin,
                number,
                text,
            } => {
                let event = format!("id: {number}\ndata: {text}\n\n");
                self.write_event(now, origin, number, event.as_bytes(), out);
            }
            Output::Unknown { origin } => {
                if self.end_waiting(origin).is_some() {
                    self.with_client(origin.conn, |client, shared| {
                        client
                            .conn
                            .respond(shared, now, &Response::empty(Status::NotFound))
                    });
                    *self.metrics.http_answers.status(404) += 1;
                    self.revisits.push_back(origin.conn);
                }
            }
        }
    }

    fn begin_stream(&mut self, now: Now, origin: Origin, has_gap: bool, out: &mut Outbox) {
        if !self.waits_as(origin) {
            return;
        }
        let body: &[u8] = if has_gap {
            b": events before this are lost\n\n"
        } else {
            b":\n\n"
        };
        let head = Response {
            body,
            content_type: Some(response::EVENT_STREAM),
            framing: Framing::Chunked,
            ..Response::empty(Status::Ok)
        };
        let begun = self.with_client(origin.conn, |client, shared| {
            client.conn.begin_stream(shared, now, &head)
        });
        match begun {
            Some(Ok(_)) => *self.metrics.http_answers.status(200) += 1,
            Some(Err(StreamError::Full | StreamError::Unsupported)) => {
                if let Some(subscription) = self.end_waiting(origin) {
                    self.report_stream_gone(subscription, out);
                }
                self.with_client(origin.conn, |client, shared| {
                    client
                        .conn
                        .respond(shared, now, &Response::empty(Status::NotAcceptable))
                });
                *self.metrics.http_answers.status(406) += 1;
            }
            Some(Err(StreamError::Gone)) | None => {}
        }
        self.revisits.push_back(origin.conn);
    }

    fn write_event(
        &mut self,
        now: Now,
        origin: Origin,
        number: u64,
        event: &[u8],
        out: &mut Outbox,
    ) {
        match self.write_stream(now, origin, event, out) {
            Ok(Some((end, to))) => {
                self.expect(
                    origin.conn,
                    Delivery {
                        end,
                        to,
                        number: Some(number),
                    },
                );
            }
            Ok(None) => {}
            Err(()) => {
                // The client is too slow for its own events: the stream ends, whole, and it may
                // come back for the rest.
                if let Some(to) = self.end_waiting(origin) {
                    self.report_stream_gone(to, out);
                    self.with_client(origin.conn, |client, shared| {
                        client
                            .deliveries
                            .retain(|delivery| delivery.to.origin != origin);
                        client.conn.end_stream(shared, now)
                    });
                    self.revisits.push_back(origin.conn);
                }
            }
        }
    }

    /// Writes a piece of a stream. `None` when the stream is no more, an error when it is full.
    fn write_stream(
        &mut self,
        now: Now,
        origin: Origin,
        data: &[u8],
        out: &mut Outbox,
    ) -> Result<Option<(crate::transport::conn::Receipt, Subscription)>, ()> {
        let Some(client) = self.clients.get_mut(origin.conn) else {
            return Ok(None);
        };
        let Waiting::Stream(to) = client.waiting else {
            return Ok(None);
        };
        if to.origin != origin {
            return Ok(None);
        }
        let written = client.conn.stream_chunk(now, data);
        self.act(origin.conn, out);
        match written {
            Ok(end) => Ok(Some((end, to))),
            Err(StreamError::Full) => Err(()),
            Err(StreamError::Gone | StreamError::Unsupported) => Ok(None),
        }
    }

    fn counted(&mut self, now: Now, origin: Origin, metrics: &Metrics, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(origin.conn) else {
            return;
        };
        let Waiting::Counters {
            origin: asked,
            sum,
            missing,
        } = &mut client.waiting
        else {
            return;
        };
        if *asked != origin {
            return;
        }
        sum.merge(metrics);
        *missing -= 1;
        if *missing == 0 {
            self.end_counting(now, origin.conn, out);
            self.revisits.push_back(origin.conn);
        }
    }

    fn waits_as(&self, origin: Origin) -> bool {
        let client = self.clients.get(origin.conn);
        client.is_some_and(|client| client.waiting.origin() == Some(origin))
    }

    /// Ends a poll's or stream's wait, if it still waits.
    fn end_waiting(&mut self, origin: Origin) -> Option<Subscription> {
        let client = self.clients.get_mut(origin.conn)?;
        match client.waiting {
            Waiting::Poll(to) | Waiting::Stream(to) if to.origin == origin => {
                client.waiting = Waiting::Nothing;
                Some(to)
            }
            Waiting::Poll(to) if mutant!(PollResumedTwice) => {
                client.waiting = Waiting::Nothing;
                Some(to)
            }
            Waiting::Counters { .. }
            | Waiting::Nothing
            | Waiting::Poll(_)
            | Waiting::Reply { .. }
            | Waiting::Stream(_) => None,
        }
    }

    pub(super) fn expect(&mut self, conn: ConnId, delivery: Delivery) {
        if let Some(client) = self.clients.get_mut(conn) {
            client.deliveries.push_back(delivery);
        } else {
            unreachable!("a connection that gave a receipt is there");
        }
    }

    /// Tells owners of sessions which of their events the kernel took.
    pub(super) fn settle_deliveries(&mut self, conn: ConnId, out: &mut Outbox) {
        loop {
            let Some(client) = self.clients.get_mut(conn) else {
                return;
            };
            let Some(delivery) = client.next_taken() else {
                return;
            };
            let Delivery { to, number, .. } = delivery;
            match number {
                Some(number) => {
                    let (origin, session) = (to.origin, to.session);
                    self.post(
                        to.owner,
                        MeshMsg::EventTaken {
                            origin,
                            session,
                            number,
                        },
                        out,
                    );
                }
                None => self.report(to, Outcome::Taken, out),
            }
        }
    }

    /// Tells the owner of a session that the client of a waiting poll or stream went away, while
    /// its connection is still being closed.
    pub(super) fn report_gone(&mut self, conn: ConnId, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        if !client.conn.is_gone() {
            return;
        }
        let waiting = std::mem::replace(&mut client.waiting, Waiting::Nothing);
        self.report_waiting(&waiting, out);
    }

    /// Tells the owners of sessions what a lost connection means for them.
    pub(super) fn report_loss(&mut self, client: &Client, out: &mut Outbox) {
        for delivery in client
            .deliveries
            .iter()
            .filter(|delivery| delivery.number.is_none())
        {
            self.report(delivery.to, Outcome::Gone, out);
        }
        self.report_waiting(&client.waiting, out);
    }

    fn report_waiting(&mut self, waiting: &Waiting, out: &mut Outbox) {
        match waiting {
            Waiting::Poll(to) => self.report(*to, Outcome::Gone, out),
            Waiting::Stream(to) => self.report_stream_gone(*to, out),
            // Whoever was asked answers all the same; the answer finds nobody.
            Waiting::Counters { .. } | Waiting::Nothing | Waiting::Reply { .. } => {}
        }
    }

    fn report(&mut self, to: Subscription, outcome: Outcome, out: &mut Outbox) {
        let Subscription {
            origin,
            session,
            owner,
        } = to;
        self.post(
            owner,
            MeshMsg::PollDone {
                origin,
                session,
                outcome,
            },
            out,
        );
    }

    fn report_stream_gone(&mut self, to: Subscription, out: &mut Outbox) {
        let Subscription {
            origin,
            session,
            owner,
        } = to;
        self.post(owner, MeshMsg::StreamGone { origin, session }, out);
    }
}
