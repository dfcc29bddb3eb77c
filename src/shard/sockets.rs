//! WebSockets: requests taken off messages, replies and events sent in order.
//!
//! A socket has one line of things to say. A request for another shard takes its place in it at
//! once, and the reply comes to that place; what is said later waits behind. So replies leave in
//! the order of the requests, and an event after the reply of the request that made it.
//!
//! Invariant: a socket that ends is reported to every shard exactly once, because any of them may
//! own sessions for it.

use std::collections::VecDeque;

use tracing::{debug, info};

use crate::base::clock::Now;
use crate::base::error::{ApiError, ErrorCode};
use crate::base::id::{ConnId, SessionId, ShardId, owner_of};
use crate::base::json::{Form, layout};
use crate::config::SocketLog;
use crate::gateway::Route;
use crate::gateway::reply::Reply;
use crate::gateway::request::Envelope;
use crate::gateway::session::{Origin, Via};
use crate::mutant;
use crate::shard::admin::AdminAnswer;
use crate::shard::client::{Delivery, Subscription};
use crate::shard::mesh::MeshMsg;
use crate::shard::serve::admits_forwarded;
use crate::shard::{Outbox, Shard};
use crate::transport::conn::{SendError, SocketEnd};
use crate::transport::websocket::{self, Audience};
use crate::wire::http::{RequestHead, Response, Status};
use crate::wire::ws::CloseCode;

/// What an upgraded connection is to do and to say.
#[derive(Debug)]
pub(super) struct Lines {
    /// The socket's name, under which it owns sessions.
    origin: Origin,
    audience: Audience,
    /// Requests of the message at hand that were not looked at yet.
    batch: VecDeque<Result<Envelope, Reply>>,
    /// What is to be said, oldest first.
    queue: VecDeque<Line>,
    queue_bytes: usize,
    /// Lines that wait for another shard.
    awaited: usize,
}

#[derive(Debug)]
enum Line {
    /// The reply to the request of this serial number, which another shard owes.
    Awaited(u64),
    Event(SocketEvent, Box<str>),
    Reply(String),
}

/// An event for a socket, as its session's owner knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketEvent {
    pub(super) owner: ShardId,
    pub(super) session: SessionId,
    pub(super) number: u64,
}

impl Lines {
    fn new(origin: Origin, audience: Audience) -> Self {
        Self {
            origin,
            audience,
            batch: VecDeque::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            awaited: 0,
        }
    }

    fn push(&mut self, line: Line) {
        self.queue_bytes += line.size();
        self.awaited += usize::from(matches!(line, Line::Awaited(_)));
        self.queue.push_back(line);
    }

    /// Puts a reply in its place; `false` when nobody waits for it here.
    fn fill(&mut self, serial: u64, reply: String) -> bool {
        let awaited =
            |line: &&mut Line| matches!(line, Line::Awaited(waiting) if *waiting == serial);
        let Some(line) = self.queue.iter_mut().find(awaited) else {
            return false;
        };
        self.queue_bytes += reply.len();
        self.awaited -= 1;
        *line = Line::Reply(reply);
        if mutant!(WsReplyOvertakes) {
            let is_reply = |line: &Line| matches!(line, Line::Reply(_));
            self.queue
                .make_contiguous()
                .sort_by_key(|line| !is_reply(line));
        }
        true
    }

    /// Takes the next thing to say, unless that is still to come.
    fn next(&mut self) -> Option<Line> {
        match self.queue.front()? {
            Line::Awaited(_) => None,
            Line::Event(..) | Line::Reply(_) => {
                let line = self.queue.pop_front()?;
                self.queue_bytes -= line.size();
                Some(line)
            }
        }
    }
}

impl Line {
    fn size(&self) -> usize {
        match self {
            Self::Awaited(_) => 0,
            Self::Event(_, text) => text.len(),
            Self::Reply(text) => text.len(),
        }
    }
}

impl Shard {
    /// Whether a request to the REST listener is for the WebSocket API.
    pub(super) fn is_socket_path(&self, head: &RequestHead) -> bool {
        let ws_path = self.config.http.ws_path.as_deref();
        ws_path.is_some_and(|path| path == head.path())
    }

    pub(super) fn serve_handshake(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead,
        audience: Audience,
    ) {
        let ws = &self.config.ws;
        let (acl, is_forwarded) = match audience {
            Audience::Clients => (&ws.acl, ws.acl_forwarded),
            Audience::Operators => (&ws.admin_acl, ws.admin_acl_forwarded),
        };
        let handshake = if is_forwarded && !admits_forwarded(acl, head) {
            Err(Response::text(Status::Forbidden, "not allowed\n"))
        } else if self.is_running() {
            websocket::read(head, audience, ws)
        } else {
            Err(Response {
                retry_after_s: Some(1),
                ..Response::text(Status::ServiceUnavailable, "draining\n")
            })
        };
        let accept = match handshake {
            Ok(accept) => accept,
            Err(response) => {
                self.metrics.ws_handshakes_refused += 1;
                self.respond(now, conn, &response);
                return;
            }
        };
        let upgraded = self.with_client(conn, |client, shared| {
            let protocol = audience.protocol();
            client.conn.upgrade(shared, now, &accept, protocol)
        });
        if upgraded.flatten().is_none() {
            return;
        }
        *self.metrics.http_answers.status(101) += 1;
        self.metrics.ws_sockets_opened += 1;
        self.metrics.ws_sockets_open += 1;
        let origin = self.next_origin(conn);
        if let Some(client) = self.clients.get_mut(conn) {
            client.lines = Some(Box::new(Lines::new(origin, audience)));
        }
        if self.gateway.transports().ws_logging >= SocketLog::All {
            info!(%conn, ?audience, "socket opened");
        }
        self.tell_connected(now, origin);
    }

    /// Serves the next request of a socket. `false` when there is none, or it has to wait.
    pub(super) fn serve_socket(&mut self, now: Now, conn: ConnId, out: &mut Outbox) -> bool {
        let requests_max = self.config.limits.ws_requests_count;
        let Some(client) = self.clients.get_mut(conn) else {
            return false;
        };
        let Some(lines) = client.lines.as_mut() else {
            return false;
        };
        if lines.awaited >= requests_max || !client.conn.is_socket() {
            return false;
        }
        let (origin, audience) = (lines.origin, lines.audience);
        let Some(next) = lines.batch.pop_front() else {
            return self.open_message(now, conn);
        };
        match next {
            Ok(request) => match audience {
                Audience::Clients => self.serve_line(now, origin, request, out),
                Audience::Operators => self.serve_operator(now, conn, request, out),
            },
            Err(reply) => self.say_reply(conn, &reply),
        }
        self.speak(now, conn);
        self.take_local(now, out);
        true
    }

    /// Reads the requests of a socket's next message, if there is one.
    fn open_message(&mut self, now: Now, conn: ConnId) -> bool {
        let message =
            self.with_client(conn, |client, shared| client.conn.next_message(shared, now));
        let Some(message) = message.flatten() else {
            return false;
        };
        self.metrics.ws_received_messages += 1;
        match Envelope::parse_row(&message, &self.config.limits) {
            Ok(mut batch) => {
                if mutant!(WsOneObject) {
                    batch.truncate(1);
                }
                if let Some(lines) = self.lines_mut(conn) {
                    lines.batch = batch.into();
                }
            }
            Err(reply) => {
                self.say_reply(conn, &reply);
                self.speak(now, conn);
            }
        }
        true
    }

    fn serve_line(&mut self, now: Now, socket: Origin, request: Envelope, out: &mut Outbox) {
        let conn = socket.conn;
        let via = Via::Socket(socket);
        let session = match self.gateway.route(now, via, &request, &mut self.metrics) {
            Route::Answered(reply) => return self.say_reply(conn, &reply),
            Route::Owner(session) => session,
        };
        let owner = owner_of(session, self.shards);
        let origin = self.next_origin(conn);
        if owner == self.id {
            let reply = self
                .gateway
                .execute(now, origin, via, request, &mut self.metrics);
            if let Some(reply) = reply {
                return self.say_reply(conn, &reply);
            }
            // It comes as those of other shards do.
            self.asked[usize::from(owner.0)] += 1;
            if let Some(lines) = self.lines_mut(conn) {
                lines.push(Line::Awaited(origin.serial));
            }
            return;
        }
        if !self.may_ask(owner) {
            let fault = ApiError::new(ErrorCode::Unknown, "Too busy, try again");
            return self.say_reply(conn, &request.fail(&fault));
        }
        if let Some(lines) = self.lines_mut(conn) {
            lines.push(Line::Awaited(origin.serial));
        }
        let request = Box::new(request);
        let message = MeshMsg::Request {
            origin,
            via,
            request,
        };
        self.post(owner, message, out);
    }

    fn serve_operator(&mut self, now: Now, conn: ConnId, request: Envelope, out: &mut Outbox) {
        let busy = request.fail(&ApiError::new(ErrorCode::Unknown, "Too busy, try again"));
        match self.ask_admin(now, conn, request, out) {
            AdminAnswer::Busy => self.say_reply(conn, &busy),
            AdminAnswer::Later(origin) => {
                if let Some(lines) = self.lines_mut(conn) {
                    lines.push(Line::Awaited(origin.serial));
                }
            }
            AdminAnswer::Now(reply) => self.say_reply(conn, &reply),
        }
    }

    fn say_reply(&mut self, conn: ConnId, reply: &Reply) {
        if let Some(code) = reply.fault() {
            *self.metrics.gateway_errors.code(code) += 1;
        }
        let text = self.laid_out(reply.text());
        if let Some(lines) = self.lines_mut(conn) {
            lines.push(Line::Reply(text));
        }
    }

    /// Puts the reply of another shard where it belongs; `false` when no socket waits for it.
    pub(super) fn fill_line(&mut self, now: Now, origin: Origin, reply: &Reply) -> bool {
        if self.lines_mut(origin.conn).is_none() {
            return false;
        }
        if let Some(code) = reply.fault() {
            *self.metrics.gateway_errors.code(code) += 1;
        }
        let text = self.laid_out(reply.text());
        let is_here = self
            .lines_mut(origin.conn)
            .is_some_and(|lines| lines.fill(origin.serial, text));
        if is_here {
            self.speak(now, origin.conn);
        }
        is_here
    }

    /// Says an event of a session that a socket owns, unless the socket is another one by now.
    pub(super) fn tell_socket(
        &mut self,
        now: Now,
        origin: Origin,
        event: SocketEvent,
        text: Box<str>,
        out: &mut Outbox,
    ) {
        let text = match self.gateway.transports().ws_json {
            Form::Compact => text,
            Form::Indented | Form::Plain => self.laid_out(&text).into(),
        };
        let Some(lines) = self.lines_mut(origin.conn) else {
            return;
        };
        if lines.origin != origin {
            return;
        }
        lines.push(Line::Event(event, text));
        self.speak(now, origin.conn);
        self.end_socket(origin.conn, out);
        self.act(origin.conn, out);
    }

    /// Writes what a socket can say, in order. One that does not take it is closed.
    fn speak(&mut self, now: Now, conn: ConnId) {
        loop {
            let Some(lines) = self.lines_mut(conn) else {
                return;
            };
            let origin = lines.origin;
            let Some(line) = lines.next() else { break };
            let text: &str = match &line {
                Line::Awaited(_) => unreachable!("what is awaited is not taken out"),
                Line::Event(_, text) => text,
                Line::Reply(text) => text,
            };
            let sent = self.with_client(conn, |client, shared| {
                client.conn.send_text(shared, now, text)
            });
            let end = match sent {
                Some(Ok(end)) => end,
                Some(Err(SendError::Full)) => return self.close_full(now, conn),
                Some(Err(SendError::Gone)) | None => return,
            };
            self.metrics.ws_sent_messages += 1;
            if let Line::Event(event, _) = line {
                let to = Subscription {
                    origin,
                    session: event.session,
                    owner: event.owner,
                };
                let number = Some(event.number);
                self.expect(conn, Delivery { end, to, number });
            }
        }
        let limits = &self.config.limits;
        let (count_max, bytes_max) = (limits.ws_out_messages_count, limits.out_bytes);
        let waits = self
            .lines_mut(conn)
            .map(|lines| (lines.queue.len(), lines.queue_bytes));
        if waits.is_some_and(|(count, bytes)| count > count_max || bytes > bytes_max) {
            self.close_full(now, conn);
        }
    }

    fn close_full(&mut self, now: Now, conn: ConnId) {
        self.with_client(conn, |client, shared| {
            let reason = "messages are not taken fast enough";
            client
                .conn
                .close_socket(shared, now, CloseCode::TRY_AGAIN, reason);
        });
    }

    /// Closes a socket whose session has too many undelivered events.
    pub(super) fn close_slow(&mut self, now: Now, origin: Origin, out: &mut Outbox) {
        let lines = self.lines_mut(origin.conn);
        if lines.is_some_and(|lines| lines.origin == origin) {
            self.close_full(now, origin.conn);
            self.end_socket(origin.conn, out);
            self.act(origin.conn, out);
        }
    }

    /// Closes all sockets because the gateway stops.
    pub(super) fn close_sockets(&mut self, now: Now, out: &mut Outbox) {
        let conns: Vec<ConnId> = self.clients.keys().collect();
        for conn in conns {
            self.with_client(conn, |client, shared| {
                let code = CloseCode::GOING_AWAY;
                client
                    .conn
                    .close_socket(shared, now, code, "the server stops");
            });
            self.end_socket(conn, out);
            self.act(conn, out);
        }
    }

    /// Takes note that a socket has ended, if it has.
    pub(super) fn end_socket(&mut self, conn: ConnId, out: &mut Outbox) {
        let Some(client) = self.clients.get_mut(conn) else {
            return;
        };
        if client.conn.is_socket() {
            return;
        }
        let Some(lines) = client.lines.take() else {
            return;
        };
        if let Some(end) = client.conn.take_socket_end() {
            self.count_socket_end(conn, end);
        }
        self.report_socket_lost(lines.origin, out);
    }

    fn count_socket_end(&mut self, conn: ConnId, end: SocketEnd) {
        let logging = self.gateway.transports().ws_logging;
        let is_told = match end {
            SocketEnd::Client | SocketEnd::Owner(CloseCode::GOING_AWAY) => {
                logging >= SocketLog::All
            }
            SocketEnd::Fault(_)
            | SocketEnd::Flood
            | SocketEnd::Lost
            | SocketEnd::Owner(_)
            | SocketEnd::Silent => logging >= SocketLog::Failures,
        };
        if is_told {
            info!(%conn, ?end, "socket ended");
        } else {
            debug!(%conn, ?end, "socket ended");
        }
        let ends = &mut self.metrics.ws_sockets_closed;
        *match end {
            SocketEnd::Client => &mut ends.client,
            SocketEnd::Fault(_) => &mut ends.fault,
            SocketEnd::Flood => &mut ends.flood,
            SocketEnd::Lost => &mut ends.lost,
            SocketEnd::Owner(CloseCode::GOING_AWAY) => &mut ends.shutdown,
            SocketEnd::Owner(_) => &mut ends.slow,
            SocketEnd::Silent => &mut ends.silent,
        } += 1;
    }

    fn report_socket_lost(&mut self, origin: Origin, out: &mut Outbox) {
        self.metrics.ws_sockets_open -= 1;
        self.ended_sockets.push(origin);
        for shard in (0..self.shards).map(ShardId) {
            self.post(shard, MeshMsg::SocketLost { origin }, out);
        }
    }

    fn lines_mut(&mut self, conn: ConnId) -> Option<&mut Lines> {
        self.clients.get_mut(conn)?.lines.as_deref_mut()
    }

    fn laid_out(&self, compact: &str) -> String {
        layout(compact, self.gateway.transports().ws_json)
    }
}
