//! The Admin API on a shard: requests passed on, questions put to all shards, replies gathered.
//!
//! Invariant: every gathering ends, with the last answer or at its deadline, and its reply goes to
//! whoever asked, by whatever transport.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{ConnId, ShardId, owner_of};
use crate::gateway::AdminRoute;
use crate::gateway::gather::{Change, Gather, Part, Question, Subject};
use crate::gateway::reply::Reply;
use crate::gateway::request::Envelope;
use crate::gateway::session::Origin;
use crate::gateway::transports::Connections;
use crate::mutant;
use crate::shard::client::{Admission, Waiting};
use crate::shard::mesh::MeshMsg;
use crate::shard::serve::admits_forwarded;
use crate::shard::{Key, Listener, Outbox, Shard};
use crate::transport::admin::{self, Asked};
use crate::transport::conn::Request;
use crate::wire::http::{Framing, Response, Status};

/// How long shards have to answer.
const GATHERING: Duration = Duration::from_secs(2);

/// Questions of one shard that wait for answers. More are refused.
const GATHERS_MAX: usize = 16;

/// The shard that puts changes into one order.
const HOME: ShardId = ShardId(0);

/// What becomes of an Admin request.
pub(super) enum AdminAnswer {
    /// This is the reply.
    Now(Reply),
    /// The reply comes to this origin.
    Later(Origin),
    /// A shard is too far behind to be asked.
    Busy,
}

impl Shard {
    pub(super) fn serve_admin(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &Request,
        out: &mut Outbox,
    ) {
        let Request { head, body } = request;
        let config = &self.config.admin;
        let asked = if config.acl_forwarded && !admits_forwarded(&config.acl, head) {
            Asked::Forbidden
        } else {
            admin::read(head, body, config, &self.config.limits)
        };
        match asked {
            Asked::Api(request) => match self.ask_admin(now, conn, request, out) {
                AdminAnswer::Now(reply) => self.answer(now, conn, &reply, Framing::Chunked),
                AdminAnswer::Later(origin) => {
                    if let Some(client) = self.clients.get_mut(conn) {
                        client.waiting = Waiting::Reply { origin };
                    }
                }
                AdminAnswer::Busy => self.refuse_busy(now, conn),
            },
            Asked::Forbidden => {
                self.respond(now, conn, &Response::text(Status::Forbidden, "forbidden\n"));
            }
            Asked::Health => self.answer_health(now, conn),
            Asked::Info => {
                let transaction = self.gateway.draw_transaction();
                let reply = self.gateway.info(&transaction);
                self.answer(now, conn, &reply, Framing::Chunked);
            }
            Asked::MethodNotAllowed(allow) => {
                let text = Response::text(Status::MethodNotAllowed, "method not allowed\n");
                let allow = Some(allow);
                self.respond(now, conn, &Response { allow, ..text });
            }
            Asked::Metrics => self.begin_counting(now, conn, out),
            Asked::Options => {
                let allow = Some("GET, HEAD, OPTIONS, POST");
                let answer = Response::empty(Status::Ok);
                self.respond(now, conn, &Response { allow, ..answer });
            }
            Asked::Refused(reply) => self.answer(now, conn, &reply, Framing::Length),
            Asked::Unknown => {
                self.respond(now, conn, &Response::text(Status::NotFound, "not found\n"));
            }
        }
    }

    fn answer_health(&mut self, now: Now, conn: ConnId) {
        let (status, text) = if !self.is_running() {
            (Status::ServiceUnavailable, "draining\n")
        } else if self.silent.is_empty() {
            (Status::Ok, "ok\n")
        } else {
            (Status::ServiceUnavailable, "a shard does not answer\n")
        };
        self.respond(now, conn, &Response::text(status, text));
    }

    /// Takes in an Admin request of a connection, of whatever transport. A reply that comes later
    /// arrives as [`MeshMsg::Reply`].
    pub(super) fn ask_admin(
        &mut self,
        now: Now,
        conn: ConnId,
        request: Envelope,
        out: &mut Outbox,
    ) -> AdminAnswer {
        let origin = self.next_origin(conn);
        let route = self
            .gateway
            .route_admin(now, origin, &request, &mut self.metrics);
        match route {
            AdminRoute::Answered(reply) => AdminAnswer::Now(reply),
            AdminRoute::Later => self.await_reply(origin, out),
            AdminRoute::Owner(session) => {
                let owner = owner_of(session, self.shards);
                if owner == self.id {
                    let reply =
                        self.gateway
                            .execute_admin(now, origin, &request, &mut self.metrics);
                    let Some(reply) = reply else {
                        return self.await_reply(origin, out);
                    };
                    self.tell_listeners(out);
                    return AdminAnswer::Now(reply);
                }
                if !self.may_ask(owner) {
                    return AdminAnswer::Busy;
                }
                let request = Box::new(request);
                self.post(owner, MeshMsg::Admin { origin, request }, out);
                AdminAnswer::Later(origin)
            }
            AdminRoute::Shards(subject) => {
                if self.gathers.len() >= GATHERS_MAX {
                    return AdminAnswer::Busy;
                }
                self.gather(now, origin, request.transaction, subject, out);
                AdminAnswer::Later(origin)
            }
        }
    }

    /// A reply of this shard that comes as those of other shards do.
    fn await_reply(&mut self, origin: Origin, out: &mut Outbox) -> AdminAnswer {
        self.asked[usize::from(self.id.0)] += 1;
        self.tell_listeners(out);
        AdminAnswer::Later(origin)
    }

    fn gather(
        &mut self,
        now: Now,
        origin: Origin,
        transaction: Box<str>,
        subject: Subject,
        out: &mut Outbox,
    ) {
        match &subject {
            Subject::Asked(question) => {
                let question = *question;
                for shard in (0..self.shards).map(ShardId) {
                    self.post(shard, MeshMsg::Ask { origin, question }, out);
                }
            }
            Subject::Changed(change) => {
                let change = Arc::new(change.clone());
                self.post(HOME, MeshMsg::Change { origin, change }, out);
            }
        }
        let gather = Gather::new(transaction, subject, self.shards);
        self.gathers.insert(origin, gather);
        if !mutant!(AdminWaits) {
            let at = now.monotonic + GATHERING;
            self.timers.arm(Key::Gather(origin), at);
        }
    }

    /// Executes an Admin request that another shard passed on.
    pub(super) fn serve_passed_on(
        &mut self,
        now: Now,
        from: ShardId,
        origin: Origin,
        request: &Envelope,
        out: &mut Outbox,
    ) {
        let reply = self
            .gateway
            .execute_admin(now, origin, request, &mut self.metrics);
        if let Some(reply) = reply {
            self.post(from, MeshMsg::Reply { origin, reply }, out);
        }
        self.tell_listeners(out);
    }

    /// Answers another shard's question, or one of this shard.
    pub(super) fn answer_part(&mut self, origin: Origin, question: Question, out: &mut Outbox) {
        let part = self.gateway.answer_question(question);
        let part = part.unwrap_or_else(|| Part::Connections(self.count_connections()));
        self.post(origin.shard, MeshMsg::Part { origin, part }, out);
    }

    /// Counts those that are served; who is turned away, and who has yet to open a WebSocket, is
    /// not.
    fn count_connections(&self) -> Connections {
        let mut count = Connections::default();
        for (_, client) in self.clients.iter() {
            if client.admission != Admission::Admitted {
                continue;
            }
            let place = match client.listener {
                _ if client.lines.is_some() => &mut count.sockets,
                Listener::Rest | Listener::RestTls => &mut count.http,
                Listener::Admin | Listener::AdminTls => &mut count.admin_http,
                Listener::AdminWebSocket
                | Listener::AdminWebSocketTls
                | Listener::WebSocket
                | Listener::WebSocketTls => continue,
            };
            *place += 1;
            count.messages += match client.waiting {
                Waiting::Counters { .. } | Waiting::Reply { .. } => 1,
                Waiting::Nothing | Waiting::Poll(_) | Waiting::Stream(_) => 0,
            };
        }
        count
    }

    /// Puts a change into its place in the order of changes: only the home shard does.
    pub(super) fn order_change(&mut self, origin: Origin, change: &Arc<Change>, out: &mut Outbox) {
        for shard in (0..self.shards).map(ShardId) {
            let change = Arc::clone(change);
            self.post(shard, MeshMsg::Apply { origin, change }, out);
        }
    }

    /// Makes a change that the home shard ordered.
    pub(super) fn apply_change(
        &mut self,
        now: Now,
        origin: Origin,
        change: &Change,
        out: &mut Outbox,
    ) {
        let part = self.gateway.apply(now, change);
        if let Change::Knob(knob) = change
            && let Some(level) = knob.log_level()
            && self.id == HOME
        {
            out.log_level = Some(level);
        }
        if let Some(settings) = self.gateway.take_handler_settings() {
            self.begin_census(now);
            if self.id == HOME {
                out.handlers.push(settings);
            }
        }
        self.post(origin.shard, MeshMsg::Part { origin, part }, out);
    }

    /// Takes a shard's answer to a question of this shard.
    pub(super) fn take_part(
        &mut self,
        now: Now,
        from: ShardId,
        origin: Origin,
        part: Part,
        out: &mut Outbox,
    ) {
        let Some(gather) = self.gathers.get_mut(&origin) else {
            return; // It is too late.
        };
        if gather.put(from, part) {
            self.end_gathering(now, origin, out);
        }
    }

    /// Replies with the answers that are there.
    pub(super) fn end_gathering(&mut self, now: Now, origin: Origin, out: &mut Outbox) {
        self.timers.cancel(Key::Gather(origin));
        if let Some(gather) = self.gathers.remove(&origin) {
            self.reply_to(now, origin, &gather.finish(), out);
        }
    }
}
