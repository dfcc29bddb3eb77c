//! Listens at one WebSocket of the gateway: which requests wait for a reply, which pings for a
//! pong, and who has said that the connection closes.

use std::collections::VecDeque;

use serde_json::Value;

use crate::kernel::tcp::{HostId, Socket};
use crate::models::decode::Head;
use crate::models::frames::{FrameReader, Item, Writer};
use crate::models::request::Request;
use crate::oracle::fact::{Answer, Ask, Ending, Exchange, Stamp, verb_of};
use crate::oracle::ledger::Ledger;

/// A tap on a connection after its upgrade.
#[derive(Debug)]
pub(super) struct SocketTap {
    inbound: FrameReader,
    outbound: FrameReader,
    /// Requests without a reply, oldest first.
    asked: VecDeque<Exchange>,
    /// Pings without a pong, oldest first.
    pings: VecDeque<(Vec<u8>, Stamp)>,
    heard: Stamp,
    has_client_closed: bool,
    has_server_closed: bool,
}

/// What a socket said or left unsaid, for the oracles.
#[derive(Debug)]
pub enum SocketFact<'a> {
    /// It has ended.
    Ended(SocketEnded),
    /// The kernel took the last byte of an event.
    Event {
        /// The socket.
        socket: Socket,
        /// The event.
        event: &'a Value,
        /// When.
        taken: Stamp,
    },
    /// What left the gateway is no strict frame.
    Misframed(&'static str),
    /// A pong that answers no ping.
    Pong,
    /// The kernel took the last byte of the reply to the oldest request.
    Replied(&'a Exchange),
    /// All clients are about to leave, and a ping waits for its pong since then.
    UnansweredPing(Stamp),
    /// All clients are about to leave, and a request waits for its reply.
    UnansweredRequest(&'a Exchange),
    /// A reply that is not that to the oldest request.
    UnexpectedReply {
        /// What it says.
        reply: &'a Value,
        /// The transaction of the oldest request, if there is one.
        wanted: Option<&'a str>,
    },
}

/// The end of a socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketEnded {
    /// How.
    pub how: Ending,
    /// When.
    pub at: Stamp,
    /// Since when output waits that the kernel does not take.
    pub stalled_since: Option<Stamp>,
    /// When the last byte of its client came.
    pub heard: Stamp,
    /// Its client has sent FIN.
    pub is_input_ended: bool,
    /// The gateway has said that it closes.
    pub is_close_said: bool,
}

impl SocketTap {
    pub(super) fn new(now: Stamp) -> Self {
        Self {
            inbound: FrameReader::new(Writer::Client),
            outbound: FrameReader::new(Writer::Server),
            asked: VecDeque::new(),
            pings: VecDeque::new(),
            heard: now,
            has_client_closed: false,
            has_server_closed: false,
        }
    }

    /// Bytes enter a shard.
    pub(super) fn took_in(
        &mut self,
        ledger: &mut Ledger,
        (socket, host): (Socket, HostId),
        at: Stamp,
        count: &mut u64,
        bytes: &[u8],
    ) {
        self.heard = at;
        self.inbound.push(bytes);
        while let Ok(Some(item)) = self.inbound.item() {
            match item {
                Item::Close(_) => self.has_client_closed = true,
                Item::Ping(payload) if !self.has_client_closed => {
                    self.pings.push_back((payload, at));
                }
                Item::Ping(_) | Item::Pong(_) => {}
                Item::Text(text) => {
                    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
                    for value in values.map_while(Result::ok) {
                        *count += 1;
                        let request = Request::post("/", value.to_string());
                        let ask = Ask::of_body(0, 0, &request.body);
                        let exchange = Exchange {
                            number: *count,
                            silent_since: ledger.silent_since(&ask),
                            socket,
                            host,
                            request,
                            ask,
                            asked: at,
                            begun: at,
                            offered: None,
                            answer: None,
                        };
                        ledger.socket_asked(&exchange);
                        // With nothing before it, it is carried out whatever becomes of the
                        // socket.
                        if self.asked.is_empty() {
                            ledger.socket_accepted(&exchange);
                        }
                        self.asked.push_back(exchange);
                    }
                }
            }
        }
    }

    /// The kernel takes bytes from a shard.
    pub(super) fn took_out(
        &mut self,
        ledger: &mut Ledger,
        socket: Socket,
        at: Stamp,
        bytes: &[u8],
        tell: &mut dyn FnMut(&Ledger, &SocketFact<'_>),
    ) {
        self.outbound.push(bytes);
        loop {
            match self.outbound.item() {
                Ok(None) => return,
                Err(why) => return tell(ledger, &SocketFact::Misframed(why)),
                Ok(Some(Item::Close(_))) => self.has_server_closed = true,
                Ok(Some(Item::Ping(_))) => {}
                Ok(Some(Item::Pong(payload))) => {
                    // A pong may answer the latest of several pings (RFC 6455 §5.5.3), but each
                    // of ours is to be answered.
                    match self.pings.front() {
                        Some((wanted, _)) if *wanted == payload => drop(self.pings.pop_front()),
                        Some(_) | None => tell(ledger, &SocketFact::Pong),
                    }
                }
                Ok(Some(Item::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_default();
                    self.said(ledger, socket, at, &value, tell);
                }
            }
        }
    }

    fn said(
        &mut self,
        ledger: &mut Ledger,
        socket: Socket,
        at: Stamp,
        value: &Value,
        tell: &mut dyn FnMut(&Ledger, &SocketFact<'_>),
    ) {
        if !matches!(verb_of(value), "ack" | "error" | "pong" | "success") {
            let taken = at;
            let event = value;
            tell(
                ledger,
                &SocketFact::Event {
                    socket,
                    event,
                    taken,
                },
            );
            ledger.socket_event(event, at);
            return;
        }
        let wanted = self.asked.front().and_then(transaction_of);
        if wanted.is_none() || wanted != value.get("transaction").and_then(Value::as_str) {
            let reply = value;
            return tell(ledger, &SocketFact::UnexpectedReply { reply, wanted });
        }
        let mut exchange = self.asked.pop_front().expect("it was just seen");
        exchange.offered = Some(at);
        exchange.answer = Some(Answer {
            head: Head {
                version_minor: 1,
                status: 200,
                fields: Vec::new(),
            },
            body: Vec::new(),
            json: Some(value.clone()),
            taken: at,
        });
        tell(ledger, &SocketFact::Replied(&exchange));
        ledger.socket_answered(&exchange);
    }

    /// The connection ends.
    pub(super) const fn end(
        &self,
        how: Ending,
        at: Stamp,
        stalled_since: Option<Stamp>,
        is_input_ended: bool,
    ) -> SocketEnded {
        SocketEnded {
            how,
            at,
            stalled_since,
            heard: self.heard,
            is_input_ended,
            is_close_said: self.has_server_closed,
        }
    }

    /// All clients are about to leave: what is still due on this socket.
    pub(super) fn due(&self) -> Vec<SocketFact<'_>> {
        if self.has_server_closed || self.has_client_closed {
            return Vec::new();
        }
        let pings = self
            .pings
            .iter()
            .map(|&(_, at)| SocketFact::UnansweredPing(at));
        let requests = self.asked.iter().map(SocketFact::UnansweredRequest);
        pings.chain(requests).collect()
    }
}

fn transaction_of(exchange: &Exchange) -> Option<&str> {
    match &exchange.ask {
        Ask::Api { transaction, .. } => transaction.as_deref(),
        Ask::Admin | Ask::Other | Ask::Poll { .. } | Ask::Stream { .. } => None,
    }
}
