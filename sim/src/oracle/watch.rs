//! Listens at every socket of the gateway, and tells the oracles what the bytes mean.
//!
//! Invariant: it changes nothing. A run with a blind watcher has the same trace.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bifrons::base::clock::Monotonic;
use serde_json::Value;

use crate::faults::scenario::Scenario;
use crate::kernel::tcp::{HostId, Socket};
use crate::kernel::time::SimTime;
use crate::models::decode::{Asked, Decoder, FramingError, Head, Piece};
use crate::models::request::{Reader, Reading};
use crate::models::sse::{StreamItem, StreamReader};
use crate::oracle::fact::{Answer, Ask, Ended, Ending, Exchange, Stamp, Streamed};
use crate::oracle::ledger::Ledger;
use crate::oracle::media::fact::MediaFact;
use crate::oracle::tap::{SocketFact, SocketTap};
use crate::oracle::{Oracle, TurnOracle, Violation};

/// The watcher: one tap on every connection, the ledger, and the oracles.
#[derive(Debug)]
pub struct Watch {
    /// What is known.
    pub ledger: Ledger,
    taps: BTreeMap<Socket, Tap>,
    oracles: Vec<Box<dyn Oracle>>,
    /// Which of them are about turns.
    of_turns: Vec<usize>,
    violation: Option<Violation>,
    exchanges: u64,
    happenings: Vec<Happening>,
    /// Sockets that a fault has broken: whatever is lost on them is nobody's fault.
    broken: BTreeSet<Socket>,
    /// Sockets that the gateway has reset; whether it may is for the oracles to say.
    aborted: BTreeSet<Socket>,
    /// Sockets of the gateway by which anything came.
    heard: BTreeSet<Socket>,
}

/// Something that a fault may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An event of a plugin reached a client.
    Event(u32),
    /// The kernel took a part of the answer to a poll of `host`.
    PartialAnswer(HostId),
    /// A poll of `host` entered a shard.
    Poll(HostId),
}

#[derive(Debug)]
struct Tap {
    host: HostId,
    reader: Reader,
    decoder: Decoder,
    exchanges: VecDeque<Exchange>,
    inside: Option<(Head, Vec<u8>)>,
    stream: Option<StreamReader>,
    /// After the upgrade to a WebSocket.
    socket: Option<SocketTap>,
    is_malformed: bool,
    is_input_ended: bool,
    /// FIN was sent between two requests: what a client asks for after that is not answered.
    is_over: bool,
    is_last_said: bool,
    waiting: usize,
    stalled_since: Option<Stamp>,
    partial_since: Option<Stamp>,
}

impl Watch {
    /// A watcher with these oracles.
    pub fn new(scenario: &Scenario, mut oracles: Vec<Box<dyn Oracle>>) -> Self {
        let of_turns = (0..oracles.len())
            .filter(|index| oracles[*index].of_turns().is_some())
            .collect();
        Self {
            of_turns,
            ledger: Ledger::new(scenario),
            taps: BTreeMap::new(),
            oracles,
            violation: None,
            exchanges: 0,
            happenings: Vec::new(),
            broken: BTreeSet::new(),
            aborted: BTreeSet::new(),
            heard: BTreeSet::new(),
        }
    }

    /// A connection was accepted.
    pub fn opened(&mut self, _stamp: Stamp, socket: Socket, host: HostId) {
        self.taps.insert(
            socket,
            Tap {
                host,
                reader: Reader::default(),
                decoder: Decoder::default(),
                exchanges: VecDeque::new(),
                inside: None,
                stream: None,
                socket: None,
                is_malformed: false,
                is_input_ended: false,
                is_over: false,
                is_last_said: false,
                waiting: 0,
                stalled_since: None,
                partial_since: None,
            },
        );
    }

    /// Bytes enter a shard.
    pub fn took_in(&mut self, stamp: Stamp, socket: Socket, bytes: &[u8]) {
        self.ledger.now = stamp.sim;
        self.heard.insert(socket);
        let Some(tap) = self.taps.get_mut(&socket) else {
            return;
        };
        if tap.is_malformed || tap.is_over {
            return;
        }
        if let Some(on) = &mut tap.socket {
            let who = (socket, tap.host);
            on.took_in(&mut self.ledger, who, stamp, &mut self.exchanges, bytes);
            return;
        }
        tap.reader.push(bytes);
        loop {
            match tap.reader.request() {
                Reading::Malformed => {
                    tap.is_malformed = true;
                    break;
                }
                Reading::Partial => break,
                Reading::Whole(request) => {
                    self.exchanges += 1;
                    let ask = Ask::of(&request);
                    let exchange = Exchange {
                        number: self.exchanges,
                        silent_since: self.ledger.silent_since(&ask),
                        socket,
                        host: tap.host,
                        ask,
                        request,
                        asked: stamp,
                        begun: stamp,
                        offered: None,
                        answer: None,
                    };
                    if matches!(exchange.ask, Ask::Poll { .. } | Ask::Stream { .. }) {
                        self.happenings.push(Happening::Poll(tap.host));
                    }
                    self.ledger.asked(&exchange);
                    tell(
                        &mut self.violation,
                        &mut self.oracles,
                        stamp.sim,
                        |oracle| oracle.asked(&self.ledger, &exchange),
                    );
                    tap.exchanges.push_back(exchange);
                    tap.partial_since = None;
                }
            }
        }
        if tap.reader.waiting() > 0 {
            tap.partial_since.get_or_insert(stamp);
        } else {
            tap.partial_since = None;
        }
    }

    /// A shard is told that a client sends no more.
    pub fn input_ended(&mut self, stamp: Stamp, socket: Socket) {
        self.ledger.now = stamp.sim;
        if let Some(tap) = self.taps.get_mut(&socket) {
            tap.is_input_ended = true;
            // A client that ends without a close frame is lost, whatever waits to be sent to it.
            if tap.socket.is_some() {
                self.ledger.socket_ended(socket, stamp);
            }
        }
    }

    /// A shard says that it has output.
    pub fn offered(&mut self, stamp: Stamp, socket: Socket, waiting: usize) {
        self.ledger.now = stamp.sim;
        if let Some(tap) = self.taps.get_mut(&socket) {
            tap.waiting = waiting;
            let ledger = &self.ledger;
            tell_of_turns(
                &mut self.violation,
                &mut self.oracles,
                &self.of_turns,
                stamp.sim,
                |oracle| oracle.offered(ledger, waiting),
            );
            if waiting > 0 {
                tap.stalled_since.get_or_insert(stamp);
            }
            if let Some(exchange) = tap.exchanges.front_mut() {
                exchange.offered.get_or_insert(stamp);
                self.ledger.offered(exchange);
            }
        }
    }

    /// The kernel takes bytes from a shard.
    pub fn took_out(&mut self, stamp: Stamp, socket: Socket, bytes: &[u8]) {
        self.ledger.now = stamp.sim;
        let Some(mut tap) = self.taps.remove(&socket) else {
            return;
        };
        tap.waiting = tap.waiting.saturating_sub(bytes.len());
        tap.stalled_since = (tap.waiting > 0).then_some(stamp);
        if tap.socket.is_some() {
            self.took_frames(&mut tap, stamp, socket, bytes);
            self.taps.insert(socket, tap);
            return;
        }
        tap.decoder.push(bytes);
        if let Err(error) = self.decode(&mut tap, stamp) {
            self.misframed(stamp, &tap, &error);
        }
        // Frames may follow the handshake at once: a slow client's, or those of a gateway that leaves.
        let frames = tap.socket.is_some().then(|| tap.decoder.take_rest());
        if let Some(frames) = frames.filter(|frames| !frames.is_empty()) {
            self.took_frames(&mut tap, stamp, socket, &frames);
        }
        if tap.decoder.is_inside()
            && let Some(exchange) = tap.exchanges.front()
            && matches!(exchange.ask, Ask::Poll { .. })
        {
            self.happenings.push(Happening::PartialAnswer(tap.host));
        }
        self.taps.insert(socket, tap);
    }

    fn took_frames(&mut self, tap: &mut Tap, stamp: Stamp, socket: Socket, bytes: &[u8]) {
        let Some(on) = &mut tap.socket else {
            return;
        };
        let (violation, oracles) = (&mut self.violation, &mut self.oracles);
        let mut say = |ledger: &Ledger, fact: &SocketFact<'_>| {
            tell(violation, oracles, stamp.sim, |oracle| {
                oracle.socket(ledger, fact)
            });
        };
        on.took_out(&mut self.ledger, socket, stamp, bytes, &mut say);
    }

    /// A shard ends its output and goes on listening.
    pub fn output_ended(&mut self, stamp: Stamp, socket: Socket) {
        self.ledger.now = stamp.sim;
        let Some(mut tap) = self.taps.remove(&socket) else {
            return;
        };
        self.end_output(&mut tap, stamp);
        tap.is_over = tap.exchanges.is_empty() && tap.reader.waiting() == 0;
        self.taps.insert(socket, tap);
    }

    /// A connection ends.
    pub fn ended(&mut self, stamp: Stamp, socket: Socket, how: Ending) {
        self.ledger.now = stamp.sim;
        let Some(mut tap) = self.taps.remove(&socket) else {
            return;
        };
        if how == Ending::Aborted {
            self.aborted.insert(socket);
        }
        if let Some(on) = &tap.socket {
            let ended = on.end(how, stamp, tap.stalled_since, tap.is_input_ended);
            let fact = SocketFact::Ended(ended);
            tell(
                &mut self.violation,
                &mut self.oracles,
                stamp.sim,
                |oracle| oracle.socket(&self.ledger, &fact),
            );
            self.ledger.socket_ended(socket, stamp);
            return;
        }
        let is_cut = tap.inside.is_some() || tap.decoder.is_inside();
        if how == Ending::Closed {
            self.end_output(&mut tap, stamp);
        }
        let ended = Ended {
            socket,
            host: tap.host,
            how,
            at: stamp,
            unanswered: tap.exchanges.iter().collect(),
            is_cut: is_cut && !tap.exchanges.is_empty(),
            is_input_ended: tap.is_input_ended,
            is_malformed: tap.is_malformed,
            is_last_said: tap.is_last_said,
            stalled_since: tap.stalled_since,
            partial_since: tap.partial_since,
        };
        tell(
            &mut self.violation,
            &mut self.oracles,
            stamp.sim,
            |oracle| oracle.ended(&self.ledger, &ended),
        );
        for exchange in &tap.exchanges {
            self.ledger.closed(exchange, stamp);
        }
    }

    /// A shard begins a turn.
    pub fn turn_begins(&mut self, stamp: Stamp) {
        self.ledger.now = stamp.sim;
        tell_of_turns(
            &mut self.violation,
            &mut self.oracles,
            &self.of_turns,
            stamp.sim,
            |oracle| oracle.turn_begins(stamp),
        );
    }

    /// A shard ends a turn.
    pub fn turn_ends(&mut self, stamp: Stamp, next: Option<Monotonic>, is_tick: bool) {
        tell_of_turns(
            &mut self.violation,
            &mut self.oracles,
            &self.of_turns,
            stamp.sim,
            |oracle| oracle.turn_ends(stamp, next, is_tick),
        );
    }

    /// A shard or its driver breaks a promise that they gave each other.
    pub fn contract(&mut self, stamp: Stamp, detail: String) {
        self.report("shell-contract", stamp.sim, detail);
    }

    /// All is over.
    pub fn finished(&mut self, at: SimTime) {
        self.ledger.now = at;
        tell(&mut self.violation, &mut self.oracles, at, |oracle| {
            oracle.finished(&self.ledger)
        });
    }

    /// Notes a rule that was broken. The first one counts.
    pub fn report(&mut self, invariant: &'static str, at: SimTime, detail: String) {
        note(&mut self.violation, invariant, at, detail);
    }

    /// Notes that a fault broke a connection.
    pub fn note_broken(&mut self, socket: Socket) {
        self.broken.insert(socket);
        self.broken.insert(socket.peer());
    }

    /// Whether a fault broke a connection.
    pub fn is_broken(&self, socket: Socket) -> bool {
        self.broken.contains(&socket)
    }

    /// Whether the gateway has reset the connection of a client's socket.
    pub fn was_aborted(&self, socket: Socket) -> bool {
        self.aborted.contains(&socket.peer())
    }

    /// Whether the gateway was told anything by a client's socket.
    pub fn has_heard(&self, socket: Socket) -> bool {
        self.heard.contains(&socket.peer())
    }

    /// The first rule that was broken.
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// An event of a plugin reached a client.
    pub fn client_event(&mut self, client: u32) {
        self.happenings.push(Happening::Event(client));
    }

    /// All clients are about to leave.
    pub fn leaving(&mut self, stamp: Stamp) {
        self.ledger.now = stamp.sim;
        self.ledger.leaving = Some(stamp);
        let is_stalled = |tap: &Tap| tap.stalled_since.is_some();
        let stalled = self.taps.iter().filter(|(_, tap)| is_stalled(tap));
        self.ledger.stalled = stalled.map(|(socket, _)| *socket).collect();
        let moving = self.taps.values().filter(|tap| !is_stalled(tap));
        for fact in moving
            .filter_map(|tap| tap.socket.as_ref())
            .flat_map(SocketTap::due)
        {
            tell(
                &mut self.violation,
                &mut self.oracles,
                stamp.sim,
                |oracle| oracle.socket(&self.ledger, &fact),
            );
        }
        tell(
            &mut self.violation,
            &mut self.oracles,
            stamp.sim,
            |oracle| oracle.leaving(&self.ledger, stamp),
        );
    }

    /// Something happened to a call.
    pub fn media(&mut self, at: SimTime, fact: &MediaFact) {
        self.ledger.now = at;
        self.ledger.media.note(at, fact);
        tell(&mut self.violation, &mut self.oracles, at, |oracle| {
            oracle.media(&self.ledger, at, fact)
        });
    }

    /// What has happened since the last time, for faults that wait for it.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// The gateway's sockets to a host with an open poll or stream.
    pub fn listening_socket(&self, host: HostId) -> Option<Socket> {
        self.taps.iter().find_map(|(&socket, tap)| {
            let is_listening = tap.host == host
                && tap
                    .exchanges
                    .iter()
                    .any(|exchange| matches!(exchange.ask, Ask::Poll { .. } | Ask::Stream { .. }));
            is_listening.then_some(socket)
        })
    }

    fn end_output(&mut self, tap: &mut Tap, stamp: Stamp) {
        let is_inside = tap.inside.is_some();
        match tap.decoder.end(is_inside) {
            Ok(Some(_)) => self.complete(tap, stamp),
            Ok(None) => {}
            Err(error) => self.misframed(stamp, tap, &error),
        }
    }

    fn misframed(&mut self, stamp: Stamp, tap: &Tap, error: &FramingError) {
        // A peer that does not read is cut off in the middle, by design.
        let is_stalled = self.ledger.may_give_up(tap.stalled_since, stamp);
        if is_stalled && *error == FramingError::IncompleteChunked {
            return;
        }
        tell(
            &mut self.violation,
            &mut self.oracles,
            stamp.sim,
            |oracle| oracle.misframed(&self.ledger, error),
        );
    }

    fn decode(&mut self, tap: &mut Tap, stamp: Stamp) -> Result<(), FramingError> {
        loop {
            let asked = match tap.exchanges.front() {
                Some(exchange) if exchange.request.method == "HEAD" => Asked::Head,
                Some(_) => Asked::Other,
                // The answer to something that is no request.
                None if tap.is_malformed || tap.partial_since.is_some() => Asked::Other,
                None if tap.is_input_ended => Asked::Other,
                None if tap.socket.is_some() => return Ok(()),
                None if tap.decoder.waiting() > 0 => return Err(FramingError::Unasked),
                None => return Ok(()),
            };
            match tap.decoder.piece(asked)? {
                None => return Ok(()),
                Some(Piece::Head(head)) => {
                    tap.is_last_said = head.is_last();
                    tap.stream = head.is_event_stream().then(StreamReader::default);
                    tap.inside = Some((head, Vec::new()));
                }
                Some(Piece::Body(bytes)) => {
                    if let Some(stream) = &mut tap.stream {
                        stream.push(&bytes);
                        self.stream(tap, stamp);
                    } else if let Some((_, body)) = &mut tap.inside {
                        body.extend_from_slice(&bytes);
                    }
                }
                Some(Piece::End) => self.complete(tap, stamp),
            }
        }
    }

    fn complete(&mut self, tap: &mut Tap, stamp: Stamp) {
        let (Some((head, body)), Some(mut exchange)) =
            (tap.inside.take(), tap.exchanges.pop_front())
        else {
            tap.inside = None;
            return;
        };
        if head.status == 101 {
            tap.socket = Some(SocketTap::new(stamp));
        }
        exchange.answer = Some(Answer {
            json: serde_json::from_slice(&body).ok(),
            head,
            body,
            taken: stamp,
        });
        if let Some(next) = tap.exchanges.front_mut() {
            next.begun = stamp;
            self.ledger.begun(next);
        }
        // Output of the next answer may have been offered together with this one.
        if tap.waiting > 0
            && let Some(next) = tap.exchanges.front_mut()
        {
            next.offered.get_or_insert(stamp);
        }
        tell(
            &mut self.violation,
            &mut self.oracles,
            stamp.sim,
            |oracle| oracle.answered(&self.ledger, &exchange),
        );
        self.ledger.answered(&exchange);
        self.ledger.closed(&exchange, stamp);
    }

    fn stream(&mut self, tap: &mut Tap, stamp: Stamp) {
        let (Some(stream), Some(exchange)) = (&mut tap.stream, tap.exchanges.front()) else {
            return;
        };
        loop {
            let (id, data) = match stream.item() {
                Ok(None) => return,
                Ok(Some(StreamItem::Comment)) => continue,
                Ok(Some(StreamItem::Event { id, data, .. })) => (id, data),
                Err(why) => {
                    self.report("strict-framing", stamp.sim, format!("event stream: {why}"));
                    return;
                }
            };
            let event: Value = serde_json::from_str(&data).unwrap_or(Value::Null);
            let streamed = Streamed {
                exchange,
                id: id.as_deref(),
                event: &event,
                taken: stamp,
            };
            tell(
                &mut self.violation,
                &mut self.oracles,
                stamp.sim,
                |oracle| oracle.streamed(&self.ledger, &streamed),
            );
            self.ledger.streamed(&streamed);
        }
    }

    /// For how long output has waited on a connection without progress, at most.
    pub fn stalled_max(&self, stamp: Stamp) -> Duration {
        let stalled = |tap: &Tap| tap.stalled_since.map(|since| stamp.since(since));
        self.taps
            .values()
            .filter_map(stalled)
            .max()
            .unwrap_or_default()
    }
}

fn tell(
    violation: &mut Option<Violation>,
    oracles: &mut [Box<dyn Oracle>],
    at: SimTime,
    mut ask: impl FnMut(&mut dyn Oracle) -> Result<(), String>,
) {
    for oracle in oracles {
        if let Err(detail) = ask(oracle.as_mut()) {
            note(violation, oracle.about().id, at, detail);
        }
    }
}

fn tell_of_turns(
    violation: &mut Option<Violation>,
    oracles: &mut [Box<dyn Oracle>],
    of_turns: &[usize],
    at: SimTime,
    mut ask: impl FnMut(&mut dyn TurnOracle) -> Result<(), String>,
) {
    for &index in of_turns {
        let oracle = &mut oracles[index];
        if let Some(Err(detail)) = oracle.of_turns().map(&mut ask) {
            note(violation, oracle.about().id, at, detail);
        }
    }
}

fn note(violation: &mut Option<Violation>, invariant: &'static str, at: SimTime, detail: String) {
    violation.get_or_insert(Violation {
        invariant,
        at,
        detail,
    });
}
