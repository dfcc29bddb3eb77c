//! What is known about every session, from what was on the wire alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bifrons::base::limits::Limits;
use bifrons::config::Config;
use serde_json::Value;

use crate::faults::scenario::{GatewayPlan, Scenario};
use crate::kernel::tcp::Socket;
use crate::kernel::time::SimTime;
use crate::oracle::fact::{Ask, Exchange, Stamp, Streamed, verb_of};
use crate::oracle::media::ledger::MediaLedger;

/// A gateway that stops gives all clients together so long to take what is due to them.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// The books of one run.
#[derive(Debug)]
pub struct Ledger {
    /// Every session that was created or asked for.
    pub sessions: BTreeMap<u64, Session>,
    /// The gateway's bounds.
    pub limits: Limits,
    /// The gateway as configured.
    pub plan: GatewayPlan,
    /// How coarse its clocks are.
    pub granularity: Duration,
    /// The gateway was told to stop.
    pub draining_since: Option<Stamp>,
    /// All clients are about to leave.
    pub leaving: Option<Stamp>,
    /// WebSockets whose output the kernel does not take, once all clients are about to leave.
    pub stalled: BTreeSet<Socket>,
    /// How long a client of a WebSocket may be silent before it is asked for life.
    pub ping_interval: Duration,
    /// True time of what is being told.
    pub now: SimTime,
    /// What is known of calls.
    pub media: MediaLedger,
    /// The number of the last request that was whole.
    latest: u64,
    delays: Vec<Delay>,
    freezes: Vec<(u8, SimTime, SimTime)>,
}

/// A span in which the gateway is slower by a fault.
#[derive(Clone, Copy, Debug)]
struct Delay {
    from: SimTime,
    to: SimTime,
    /// How much slower; `None` is by as much of the span as is left.
    by: Option<Duration>,
}

/// What is known about one session.
#[derive(Debug, Default)]
pub struct Session {
    /// Polls and streams that are open, by the number of their exchange.
    pub listeners: BTreeMap<u64, Listener>,
    /// When the last request entered that was answered as only a live session is.
    pub last_alive: Option<Stamp>,
    /// The last sign of life that the gateway may have seen: any request that names it, or an
    /// open event stream.
    pub last_named: Option<Stamp>,
    /// The two listeners that the gateway may take for the newest, the newest last, and since when.
    pub newest: [Option<(u64, Stamp)>; 2],
    /// When a poll last got events: then the others end, too.
    pub last_told: Option<Stamp>,
    /// When a listener last ended without an answer, which may have had events.
    pub last_lost: Option<Stamp>,
    /// Its end was asked for, or another owner; or the socket that owned it is gone, and none may
    /// claim it.
    pub ended_by: Option<Stamp>,
    /// The last request, by its number, that was whole when the reply to its creation was taken.
    /// Whatever is asked after that one finds it: at one moment many things happen in turn.
    pub created_after: Option<u64>,
    /// The WebSocket that owns it, and since when.
    pub owner: Option<(Socket, Stamp)>,
    /// When the WebSocket that owned it ended, until it is claimed.
    pub orphaned: Option<Stamp>,
    /// When a WebSocket asked for it, or ended that owned it: whatever the gateway did not know to
    /// be told by then is told again.
    pub changes: Vec<Stamp>,
    /// An event stream was ever opened on it.
    pub has_streamed: bool,
    /// Messages whose answer is an event, in the order in which they were asked.
    pub messages: Vec<Message>,
}

/// A poll or stream that is open.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// When its last byte entered a shard.
    pub asked: Stamp,
    /// Whether it is an event stream.
    pub is_stream: bool,
    /// Its answer is on its way.
    pub is_offered: bool,
}

/// A message to a plugin that answers with an event.
#[derive(Debug)]
pub struct Message {
    /// Its transaction.
    pub transaction: String,
    /// Its handle.
    pub handle: u64,
    /// When its last byte entered a shard.
    pub asked: Stamp,
    /// When its `ack` was offered.
    pub acked: Option<Stamp>,
    /// It was refused, so no event follows.
    pub is_refused: bool,
    /// How often its event was taken by the kernel in a complete answer of a poll.
    pub polled: u32,
    /// How often its event was taken by the kernel in an event stream, or by a WebSocket.
    pub streamed: u32,
    /// When its event was last taken by a WebSocket.
    pub taken: Option<Stamp>,
}

impl Session {
    /// Whether poll `number`, which entered at `asked`, may end for another listener's sake: one
    /// that is as new, or one that got events, or gets them just now.
    pub fn may_give_way(&self, number: u64, asked: Stamp, tolerance: Duration) -> bool {
        let is_after = |stamp: Stamp| stamp.elapsed + tolerance >= asked.elapsed;
        let newest = self.newest.iter().flatten();
        let is_rivalled = newest
            .into_iter()
            .any(|(other, since)| *other != number && is_after(*since));
        let others = self.listeners.iter().filter(|(other, _)| **other != number);
        let is_told = others.into_iter().any(|(_, other)| other.is_offered);
        // Its event may be on its way to another.
        let is_due =
            |message: &Message| !message.is_refused && message.polled + message.streamed == 0;
        let is_due = !self.listeners.is_empty() && self.messages.iter().any(is_due);
        let told = [self.last_told, self.last_lost];
        is_rivalled || is_told || is_due || told.into_iter().flatten().any(is_after)
    }

    fn listens(&mut self, number: u64, since: Stamp) {
        if let [_, Some((newest, at))] = &mut self.newest
            && *newest == number
        {
            *at = since;
            return;
        }
        self.newest = [self.newest[1], Some((number, since))];
    }

    /// The message with a transaction.
    pub fn message(&self, transaction: &str) -> Option<&Message> {
        self.messages
            .iter()
            .rev()
            .find(|message| message.transaction == transaction)
    }
}

impl Ledger {
    /// Empty books.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            sessions: BTreeMap::new(),
            limits: Limits {
                out_bytes: scenario.gateway.out_bytes,
                ..Limits::default()
            },
            plan: scenario.gateway,
            granularity: scenario.clocks.granularity,
            draining_since: None,
            leaving: None,
            stalled: BTreeSet::new(),
            ping_interval: Config::default().ws.ping_interval,
            now: SimTime::START,
            media: MediaLedger::new(&scenario.media),
            latest: 0,
            delays: Vec::new(),
            freezes: Vec::new(),
        }
    }

    /// Notes that a shard stands still in a span.
    pub fn note_freeze(&mut self, shard: u8, from: SimTime, to: SimTime) {
        self.delays.push(Delay { from, to, by: None });
        self.freezes.push((shard, from, to));
    }

    /// How long a shard stood still between two moments.
    pub fn frozen(&self, shard: u8, from: SimTime, to: SimTime) -> Duration {
        let own = self.freezes.iter().filter(|(which, ..)| *which == shard);
        let within = |&(_, start, end): &(u8, SimTime, SimTime)| {
            end.min(to).saturating_since(start.max(from))
        };
        own.map(within).sum()
    }

    /// Notes that messages between shards take longer in a span.
    pub fn note_mesh_delay(&mut self, from: SimTime, to: SimTime, by: Duration) {
        let by = Some(by);
        self.delays.push(Delay { from, to, by });
    }

    /// How late the gateway may be with what it does between two moments: the slack of its timer,
    /// a few turns, a few messages between shards, and what faults add to each. Doubled, because
    /// its clock may run faster than true time.
    pub fn tolerance(&self, from: SimTime, to: SimTime) -> Duration {
        let plan = &self.plan;
        let base =
            plan.slack_max + plan.turn_max * 8 + plan.mesh_max * 4 + Duration::from_millis(1);
        let faults: Duration = self.delays.iter().map(|delay| delay.within(from, to)).sum();
        (base + faults) * 2 + self.granularity * 4
    }

    /// The last sign of life of the session that a request names; `None` while a stream is open.
    pub fn silent_since(&self, ask: &Ask) -> Option<Stamp> {
        let session = self.sessions.get(&ask.session()?)?;
        let is_streaming = session.listeners.values().any(|it| it.is_stream);
        session.last_named.filter(|_| !is_streaming)
    }

    /// Whether the gateway may give up a connection whose client does not take its output: after
    /// the write timeout without progress, or when it stops and has waited for everybody.
    pub fn may_give_up(&self, stalled_since: Option<Stamp>, now: Stamp) -> bool {
        let has_waited = |since: Stamp, patience: Duration| {
            now.since(since) + self.tolerance(since.sim, now.sim) >= patience
        };
        stalled_since.is_some_and(|since| has_waited(since, self.limits.write_timeout))
            || self
                .draining_since
                .is_some_and(|since| has_waited(since, DRAIN_PATIENCE))
    }

    /// Takes in a request.
    pub fn asked(&mut self, exchange: &Exchange) {
        self.latest = exchange.number;
        let Some(id) = exchange.ask.session() else {
            return;
        };
        let session = self.sessions.entry(id).or_default();
        session.last_named = Some(exchange.asked);
        let is_stream = matches!(exchange.ask, Ask::Stream { .. });
        match &exchange.ask {
            Ask::Poll { .. } | Ask::Stream { .. } => {
                let asked = exchange.asked;
                session.has_streamed |= is_stream;
                session.listens(exchange.number, asked);
                session.listeners.insert(
                    exchange.number,
                    Listener {
                        asked,
                        is_stream,
                        is_offered: false,
                    },
                );
            }
            Ask::Api {
                verb,
                handle,
                transaction,
                ..
            } => match verb.as_str() {
                "claim" | "destroy" => {
                    session.ended_by.get_or_insert(exchange.asked);
                }
                "message" => session.messages.push(Message {
                    transaction: transaction.clone().unwrap_or_default(),
                    handle: *handle,
                    asked: exchange.asked,
                    acked: None,
                    is_refused: false,
                    polled: 0,
                    streamed: 0,
                    taken: None,
                }),
                _ => {}
            },
            Ask::Admin | Ask::Other => {}
        }
    }

    /// Takes in a request that came by a WebSocket. A claim is not the end of its session there.
    pub fn socket_asked(&mut self, exchange: &Exchange) {
        let is_claim = matches!(&exchange.ask, Ask::Api { verb, .. } if verb == "claim");
        if !is_claim {
            return self.asked(exchange);
        }
        self.latest = exchange.number;
        if let Some(id) = exchange.ask.session() {
            let session = self.sessions.entry(id).or_default();
            session.last_named = Some(exchange.asked);
            session.changes.push(exchange.asked);
        }
    }

    /// A message to a plugin is sure to be carried out: its event will come.
    pub fn socket_accepted(&mut self, exchange: &Exchange) {
        let session = exchange.ask.session();
        let session = session.and_then(|id| self.sessions.get_mut(&id));
        if let (Some(session), Ask::Api { verb, .. }) = (session, &exchange.ask)
            && verb == "message"
            && let Some(message) = session.messages.last_mut()
        {
            message.acked = Some(exchange.asked);
        }
    }

    /// A request that was pipelined has its turn.
    pub fn begun(&mut self, exchange: &Exchange) {
        let session = exchange.ask.session();
        let session = session.and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session
            && matches!(exchange.ask, Ask::Poll { .. } | Ask::Stream { .. })
        {
            session.listens(exchange.number, exchange.begun);
        }
    }

    /// The answer to a request is on its way.
    pub fn offered(&mut self, exchange: &Exchange) {
        let session = exchange
            .ask
            .session()
            .and_then(|id| self.sessions.get_mut(&id));
        if let Some(listener) =
            session.and_then(|session| session.listeners.get_mut(&exchange.number))
        {
            listener.is_offered = true;
        }
    }

    /// Takes in a complete answer.
    pub fn answered(&mut self, exchange: &Exchange) {
        let (Some(answer), Some(offered)) = (&exchange.answer, exchange.offered) else {
            return;
        };
        if let Ask::Api { verb, .. } = &exchange.ask
            && verb == "create"
            && let Some(id) = answer
                .json
                .as_ref()
                .and_then(|json| json.pointer("/data/id"))
            && let Some(id) = id.as_u64()
        {
            let session = self.sessions.entry(id).or_default();
            session.last_alive = Some(exchange.asked);
            session.last_named = Some(exchange.asked);
            session.created_after = Some(self.latest);
            return;
        }
        let Some(session) = exchange
            .ask
            .session()
            .and_then(|id| self.sessions.get_mut(&id))
        else {
            return;
        };
        if answer.proves_life() {
            let asked = exchange.asked;
            let is_latest = session
                .last_alive
                .is_none_or(|last| last.elapsed < asked.elapsed);
            if is_latest {
                session.last_alive = Some(asked);
            }
        }
        match &exchange.ask {
            Ask::Api { transaction, .. } => {
                let transaction = transaction.as_deref().unwrap_or_default();
                let mut messages = session.messages.iter_mut().rev();
                if let Some(message) = messages.find(|it| it.transaction == transaction) {
                    message.is_refused |= answer.verb() != "ack";
                    message.acked.get_or_insert(offered);
                }
            }
            Ask::Poll { .. } => {
                if !answer.is_keepalive() {
                    session.last_told = Some(answer.taken);
                }
                for event in answer.events() {
                    if let Some(message) = session.message_of(event) {
                        message.polled += 1;
                    }
                }
            }
            Ask::Admin | Ask::Other | Ask::Stream { .. } => {}
        }
    }

    /// Takes in a reply that a WebSocket told: it owns what it made or claimed.
    pub fn socket_answered(&mut self, exchange: &Exchange) {
        self.answered(exchange);
        let (Some(answer), Ask::Api { verb, .. }) = (&exchange.answer, &exchange.ask) else {
            return;
        };
        let made = answer
            .json
            .as_ref()
            .and_then(|json| json.pointer("/data/id"));
        let id = match verb.as_str() {
            "claim" => exchange.ask.session(),
            "create" => made.and_then(Value::as_u64),
            _ => None,
        };
        let session = id.and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session.filter(|_| answer.verb() == "success") {
            session.owner = Some((exchange.socket, answer.taken));
            session.orphaned = None;
        }
    }

    /// Takes in an event that a WebSocket told.
    pub fn socket_event(&mut self, event: &Value, taken: Stamp) {
        let mut sessions = self.sessions.values_mut();
        if let Some(message) = sessions.find_map(|session| session.message_of(event)) {
            message.streamed += 1;
            message.taken = Some(taken);
        }
    }

    /// A WebSocket is no more: its sessions end, or wait to be claimed.
    pub fn socket_ended(&mut self, socket: Socket, at: Stamp) {
        let reclaim = self.plan.reclaim;
        let is_of = |session: &&mut Session| session.owner.is_some_and(|owner| owner.0 == socket);
        for session in self.sessions.values_mut().filter(is_of) {
            session.owner = None;
            session.orphaned = Some(at);
            session.changes.push(at);
            if reclaim.is_zero() {
                session.ended_by.get_or_insert(at);
            }
        }
    }

    /// The message that an event answers, and its session.
    pub fn message_anywhere(&self, event: &Value) -> Option<(&Session, &Message)> {
        if verb_of(event) != "event" {
            return None;
        }
        let transaction = event.get("transaction")?.as_str()?;
        let mut sessions = self.sessions.values();
        sessions.find_map(|session| Some((session, session.message(transaction)?)))
    }

    /// Takes in an event of a stream.
    pub fn streamed(&mut self, streamed: &Streamed<'_>) {
        let session = streamed
            .exchange
            .ask
            .session()
            .and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session
            && let Some(message) = session.message_of(streamed.event)
        {
            message.streamed += 1;
        }
    }

    /// A poll or stream is over, answered or not.
    pub fn closed(&mut self, exchange: &Exchange, at: Stamp) {
        let session = exchange
            .ask
            .session()
            .and_then(|id| self.sessions.get_mut(&id));
        if let Some(session) = session
            && let Some(listener) = session.listeners.remove(&exchange.number)
        {
            if exchange.answer.is_none() {
                session.last_lost = Some(at);
            }
            if listener.is_stream {
                session.last_named = Some(at);
            }
        }
    }
}

impl Session {
    fn message_of(&mut self, event: &Value) -> Option<&mut Message> {
        if verb_of(event) != "event" {
            return None;
        }
        let transaction = event.get("transaction")?.as_str()?;
        self.messages
            .iter_mut()
            .rev()
            .find(|message| message.transaction == transaction)
    }
}

impl Delay {
    fn within(&self, from: SimTime, to: SimTime) -> Duration {
        let (start, end) = (self.from.max(from), self.to.min(to));
        let overlap = end.saturating_since(start);
        match self.by {
            // A request crosses, and its answer crosses back.
            Some(by) if !overlap.is_zero() => by * 2,
            Some(_) => Duration::ZERO,
            None => overlap,
        }
    }
}
