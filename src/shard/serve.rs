//! Requests on connections: read, answered here, or passed to the shard that owns the session.

use std::net::IpAddr;

use crate::base::clock::Now;
use crate::base::id::{ConnId, SessionId, ShardId, owner_of};
use crate::base::json::{Form, layout};
use crate::config::Prefix;
use crate::gateway::Route;
use crate::gateway::reply::Reply;
use crate::gateway::request::Envelope;
use crate::gateway::session::{Origin, Via};
use crate::metrics::{Metrics, expose};
use crate::mutant;
use crate::shard::client::{Subscription, Waiting};
use crate::shard::mesh::MeshMsg;
use crate::shard::{Key, Listener, Outbox, Shard};
use crate::transport::conn::{Parked, Receipt, Request};
use crate::transport::rest;
use crate::transport::rest::{Asked, How, Listen};
use crate::transport::websocket::Audience;
use crate::wire::http::{
    Connection, Field, Framing, Method, RequestHead, Response, Status, response,
};

/// Requests of one connection that are served in one turn; what is left follows the next input.
const REQUESTS_PER_TURN: usize = 64;

/// How long shards have to tell their counters.
const COUNTING: std::time::Duration = std::time::Duration::from_secs(2);

impl Shard {
    /// Serves what has come in on a connection, and carries out what it wants of its socket.
    pub(super) fn serve(&mut self, now: Now, conn: ConnId, out: &mut Outbox) {
        for _ in 0..REQUESTS_PER_TURN {
            if mutant!(BlockedHoldsAll) && self.is_another_socket_blocked(conn) {
                break;
            }
            let Some(client) = self.clients.get_mut(conn) else {
                return;
            };
            if client.lines.is_some() {
                if self.serve_socket(now, conn, out) {
                    continue;
                }
                break;
            }
            if client.waiting.origin().is_some() {
                break;
            }
            let listener = client.listener;
            let next = self
                .with_client(conn, |client, shared| client.conn.next_request(shared, now))
                .flatten();
            let Some(request) = next else { break };
            count_method(&mut self.metrics, request.head.method());
            let origin = self.next_origin(conn);
            match listener {
                Listener::Admin | Listener::AdminTls => {
                    self.tell_request(now, origin);
                    self.serve_admin(now, conn, &request, out);
                }
                Listener::AdminWebSocket | Listener::AdminWebSocketTls => {
                    self.serve_handshake(now, conn, &request.head, Audience::Operators);
                }
                Listener::Rest | Listener::RestTls if self.is_socket_path(&request.head) => {
                    self.serve_handshake(now, conn, &request.head, Audience::Clients);
                }
                Listener::Rest | Listener::RestTls => {
                    self.tell_request(now, origin);
                    self.serve_rest(now, origin, &request, out);
                }
                Listener::WebSocket | Listener::WebSocketTls => {
                    self.serve_handshake(now, conn, &request.head, Audience::Clients);
                }
            }
            self.with_client(conn, |client, shared| {
                client.conn.take_back(shared, request);
            });
        }
        self.report_gone(conn, out);
        self.end_socket(conn, out);
        self.act(conn, out);
    }

    fn serve_rest(&mut self, now: Now, origin: Origin, request: &Request, out: &mut Outbox) {
        let Request { head, body } = request;
        let conn = origin.conn;
        let asked = if self.admits_forwarded(head) {
            rest::read(head, body, &self.config.http, &self.config.limits)
        } else {
            Asked::Just(Status::Forbidden)
        };
        match asked {
            Asked::Api(request) => self.serve_api(now, origin, request, out),
            Asked::Info => {
                let transaction = self.transaction();
                let reply = self.gateway.info(&transaction);
                self.answer(now, conn, &reply, Framing::Chunked);
            }
            Asked::Ping => {
                let text = format!(
                    "{{\"janus\":\"pong\",\"transaction\":\"{}\"}}",
                    self.transaction()
                );
                self.answer_text(now, conn, &text, Framing::Chunked);
            }
            Asked::Just(status) => {
                let content_type = (status == Status::Ok).then_some(response::JSON);
                let close = matches!(status, Status::Forbidden);
                let connection = if close {
                    Connection::Close
                } else {
                    Connection::Keep
                };
                let answer = Response {
                    content_type,
                    connection,
                    ..Response::empty(status)
                };
                self.respond(now, conn, &answer);
            }
            Asked::Listen(listen) => self.serve_listen(now, conn, &listen, out),
            Asked::MethodNotAllowed => {
                let text = format!(
                    "{{\"janus\":\"error\",\"error\":{{\"code\":450,\
                     \"reason\":\"Unsupported method {}\"}}}}",
                    head.method().as_str()
                );
                let answer = Response {
                    status: Status::MethodNotAllowed,
                    allow: Some("GET, HEAD, OPTIONS, POST"),
                    framing: Framing::Length,
                    ..Response::json(text.as_bytes())
                };
                self.respond(now, conn, &answer);
            }
            Asked::Preflight => {
                let preflight = rest::preflight(head);
                let answer = Response {
                    preflight,
                    ..Response::empty(Status::Ok)
                };
                self.respond(now, conn, &answer);
            }
            Asked::Redirect(listen) => {
                if !self
                    .gateway
                    .auth()
                    .allows(now.realtime, listen.credentials())
                {
                    self.respond(now, conn, &Response::empty(Status::Forbidden));
                    return;
                }
                let location = format!("{}/{}", self.config.http.base_path, listen.session);
                let location = Some(location.as_str());
                self.respond(
                    now,
                    conn,
                    &Response {
                        location,
                        ..Response::empty(Status::Found)
                    },
                );
            }
            Asked::Refused(reply) => self.answer(now, conn, &reply, Framing::Length),
        }
    }

    /// Whether the access list admits the client that the nearest proxy names.
    fn admits_forwarded(&self, head: &RequestHead) -> bool {
        let http = &self.config.http;
        !http.acl_forwarded || admits_forwarded(&http.acl, head)
    }

    fn serve_api(&mut self, now: Now, origin: Origin, request: Envelope, out: &mut Outbox) {
        let (conn, via) = (origin.conn, Via::Http(origin));
        let session = match self.gateway.route(now, via, &request, &mut self.metrics) {
            Route::Answered(reply) => {
                self.answer(now, conn, &reply, Framing::Chunked);
                return;
            }
            Route::Owner(session) => session,
        };
        let owner = owner_of(session, self.shards);
        if owner == self.id {
            let reply = self
                .gateway
                .execute(now, origin, via, request, &mut self.metrics);
            match reply {
                Some(reply) => {
                    self.answer(now, conn, &reply, Framing::Chunked);
                }
                None => {
                    // It comes as those of other shards do.
                    self.asked[usize::from(owner.0)] += 1;
                    if let Some(client) = self.clients.get_mut(conn) {
                        client.waiting = Waiting::Reply { origin };
                    }
                }
            }
            return;
        }
        if !self.may_ask(owner) {
            self.refuse_busy(now, conn);
            return;
        }
        if let Some(client) = self.clients.get_mut(conn) {
            client.waiting = Waiting::Reply { origin };
        }
        let request = Box::new(request);
        self.post(
            owner,
            MeshMsg::Request {
                origin,
                via,
                request,
            },
            out,
        );
    }

    fn serve_listen(&mut self, now: Now, conn: ConnId, listen: &Listen, out: &mut Outbox) {
        if !self
            .gateway
            .auth()
            .allows(now.realtime, listen.credentials())
        {
            self.respond(now, conn, &Response::empty(Status::Forbidden));
            return;
        }
        if listen.session == 0 {
            self.respond(now, conn, &Response::empty(Status::NotFound));
            return;
        }
        let session = SessionId(listen.session);
        let owner = owner_of(session, self.shards);
        let parked = self.with_client(conn, |client, shared| client.conn.park(shared, now));
        if parked != Some(Parked::Waiting) {
            return;
        }
        // Not before: credit comes back with the answer to what was asked.
        if owner != self.id && !self.may_ask(owner) {
            self.refuse_busy(now, conn);
            return;
        }
        let origin = self.next_origin(conn);
        let subscription = Subscription {
            origin,
            session,
            owner,
        };
        let message = match listen.how {
            How::Poll(wanted) => MeshMsg::Poll {
                origin,
                session,
                wanted,
            },
            How::Stream { last_seen } => MeshMsg::Stream {
                origin,
                session,
                last_seen,
            },
        };
        let waiting = match listen.how {
            How::Poll(_) => Waiting::Poll(subscription),
            How::Stream { .. } => Waiting::Stream(subscription),
        };
        if mutant!(PollResumedUnparked) {
            self.post(owner, message, out);
            self.take_local(now, out);
            self.gateway.deliver(now, &mut self.metrics);
            self.tell_listeners(out);
            self.take_local(now, out);
            if let Some(client) = self.clients.get_mut(conn) {
                client.waiting = waiting;
            }
            return;
        }
        if let Some(client) = self.clients.get_mut(conn) {
            client.waiting = waiting;
        }
        self.post(owner, message, out);
    }

    /// Whether the client of another socket does not take its output. For a mutant.
    fn is_another_socket_blocked(&self, conn: ConnId) -> bool {
        self.clients.iter().any(|(id, client)| {
            id != conn && client.lines.is_some() && !self.pending(id).is_empty()
        })
    }

    /// Takes credit for a request to another shard; `false` when that one is too far behind.
    pub(super) fn may_ask(&mut self, owner: ShardId) -> bool {
        let asked = &mut self.asked[usize::from(owner.0)];
        let has_room = *asked < self.config.limits.mesh_requests_count;
        *asked += usize::from(has_room);
        if !has_room {
            self.metrics.mesh_refused_messages += 1;
        }
        has_room
    }

    pub(super) fn refuse_busy(&mut self, now: Now, conn: ConnId) {
        let answer = Response {
            retry_after_s: Some(1),
            ..Response::text(Status::ServiceUnavailable, "too busy, try again\n")
        };
        self.respond(now, conn, &answer);
    }

    pub(super) fn begin_counting(&mut self, now: Now, conn: ConnId, out: &mut Outbox) {
        let origin = self.next_origin(conn);
        let sum = Box::new(self.metrics());
        let missing = self.shards - 1;
        if let Some(client) = self.clients.get_mut(conn) {
            client.waiting = Waiting::Counters {
                origin,
                sum,
                missing,
            };
        }
        if missing == 0 {
            self.end_counting(now, conn, out);
            return;
        }
        self.timers
            .arm(Key::Counters(conn), now.monotonic + COUNTING);
        for shard in (0..self.shards).map(ShardId) {
            if shard != self.id {
                self.post(shard, MeshMsg::Count { origin }, out);
            }
        }
    }

    /// Answers with the counters that are there. A shard that is late is missing from the sums.
    pub(super) fn end_counting(&mut self, now: Now, conn: ConnId, out: &mut Outbox) {
        self.timers.cancel(Key::Counters(conn));
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        let Waiting::Counters { sum, .. } =
            std::mem::replace(&mut client.waiting, Waiting::Nothing)
        else {
            return;
        };
        let mut text = String::new();
        expose(&sum, &mut text);
        let answer = Response {
            content_type: Some(response::OPENMETRICS),
            ..Response::json(text.as_bytes())
        };
        self.respond(now, conn, &answer);
        self.act(conn, out);
    }

    /// Answers the request in work with a message of the API.
    pub(super) fn answer(&mut self, now: Now, conn: ConnId, reply: &Reply, framing: Framing) {
        if let Some(code) = reply.fault() {
            *self.metrics.gateway_errors.code(code) += 1;
        }
        self.answer_text(now, conn, reply.text(), framing);
    }

    /// Answers the request in work with compact JSON, laid out as configured.
    pub(super) fn answer_text(
        &mut self,
        now: Now,
        conn: ConnId,
        text: &str,
        framing: Framing,
    ) -> Option<Receipt> {
        let laid_out;
        let is_admin = self
            .clients
            .get(conn)
            .is_some_and(|client| client.listener.is_admin());
        let transports = self.gateway.transports();
        let form = if is_admin {
            transports.admin_json
        } else {
            transports.rest_json
        };
        let body = match form {
            Form::Compact => text,
            form @ (Form::Indented | Form::Plain) => {
                laid_out = layout(text, form);
                &laid_out
            }
        };
        self.respond(
            now,
            conn,
            &Response {
                framing,
                ..Response::json(body.as_bytes())
            },
        )
    }

    pub(super) fn respond(
        &mut self,
        now: Now,
        conn: ConnId,
        response: &Response<'_>,
    ) -> Option<Receipt> {
        *self.metrics.http_answers.status(response.status.code()) += 1;
        self.with_client(conn, |client, shared| {
            client.conn.respond(shared, now, response)
        })?
    }

    /// A transaction of our own, for requests that cannot carry one.
    fn transaction(&mut self) -> String {
        self.gateway.draw_transaction()
    }
}

/// Whether an access list admits the client that the nearest proxy names, if there is one.
pub(super) fn admits_forwarded(acl: &[Prefix], head: &RequestHead) -> bool {
    let Some(forwarded) = head.text(Field::XForwardedFor).filter(|_| !acl.is_empty()) else {
        return true;
    };
    let nearest = forwarded.rsplit(',').next().unwrap_or_default().trim();
    let address: Result<IpAddr, _> = nearest.parse();
    address.is_ok_and(|address| acl.iter().any(|prefix| prefix.admits(address)))
}

fn count_method(metrics: &mut Metrics, method: Method) {
    let methods = &mut metrics.http_requests;
    *match method {
        Method::Delete => &mut methods.delete,
        Method::Get => &mut methods.get,
        Method::Head => &mut methods.head,
        Method::Options => &mut methods.options,
        Method::Patch => &mut methods.patch,
        Method::Post => &mut methods.post,
        Method::Put => &mut methods.put,
        Method::Trace => &mut methods.other,
    } += 1;
}
