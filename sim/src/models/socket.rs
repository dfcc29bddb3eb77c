//! A service with a WebSocket: several sessions on one socket, claimed again on the next one when
//! it is lost.
//!
//! It writes its requests as clients may: in fragments, with pings between, several in one
//! message. A slow one lets what is said to it pile up, until it has lost two sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::scenario::{ClientPlan, Link as Which, Role};
use crate::kernel::key::Key;
use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Notice, Socket, Write};
use crate::kernel::trace::Lane;
use crate::models::frames::{FrameReader, Item, Opcode, Writer, frame};
use crate::models::{Model, Progress};
use crate::oracle::fact::verb_of;
use crate::world::physics::Physics;

/// A service with a WebSocket.
#[derive(Debug)]
pub struct SocketClient {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    to: HostId,
    line: Line,
    slots: Vec<Slot>,
    /// Requests without a reply, with the slot that they are for.
    asked: BTreeMap<String, (usize, Step)>,
    /// Events that came by the socket at hand.
    seen: BTreeSet<String>,
    requests: u64,
    sockets: u32,
    frames: u64,
    sent: u32,
    /// Changes with each socket: timers of an earlier one mean nothing.
    life: u64,
    progress: Progress,
    is_leaving: bool,
}

/// The socket and what is on its way.
#[derive(Debug, Default)]
struct Line {
    socket: Option<Socket>,
    is_connected: bool,
    outgoing: Vec<u8>,
    /// The answer to the handshake so far; nothing once it is over.
    handshake: Option<Vec<u8>>,
    reader: Option<FrameReader>,
    is_reading: bool,
}

/// A session on the socket.
#[derive(Debug, Default)]
struct Slot {
    session: Option<u64>,
    handle: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Attach,
    Claim,
    Create,
    Keepalive,
    Message,
    Ping,
}

const MESSAGE: u64 = 0;
const RECONNECT: u64 = 1;
const LIFE: u64 = 2;
const READ: u64 = 3;
const GIVE_UP: u64 = 4;

/// How often it shows that its sessions live, as janus.js does.
const LIFE_EVERY: Duration = Duration::from_secs(15);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// It gives up a socket that does not open.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// A slow one is slow on so many sockets, and then sees what it missed.
const SLOW_SOCKETS: u32 = 2;
/// A slow one reads so rarely.
const READ_EVERY: Duration = Duration::from_secs(3);

/// What a client sends to open a WebSocket.
pub(super) const HANDSHAKE: &[u8] = b"GET /janus-ws HTTP/1.1\r\nhost: gateway.example\r\n\
    connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: janus-protocol\r\n\r\n";

impl SocketClient {
    /// A client on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        Self {
            plan,
            index,
            me,
            to,
            line: Line::default(),
            slots: (0..plan.handles).map(|_| Slot::default()).collect(),
            asked: BTreeMap::new(),
            seen: BTreeSet::new(),
            requests: 0,
            sockets: 0,
            frames: 0,
            sent: 0,
            life: 0,
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn connect(&mut self, world: &mut Physics) {
        if self.is_leaving {
            return;
        }
        self.life += 1;
        self.line = Line {
            socket: Some(world.connect(self.me, self.to)),
            outgoing: HANDSHAKE.to_vec(),
            handshake: Some(Vec::new()),
            is_reading: true,
            ..Line::default()
        };
        world.line(Lane::Client(self.index), || "opens a WebSocket".to_owned());
        world.wake(self.me, OPEN_WITHIN, self.token(GIVE_UP));
    }

    const fn token(&self, kind: u64) -> u64 {
        self.life << 3 | kind
    }

    /// The socket is open: makes sessions, or takes back those of the last one.
    fn opened(&mut self, world: &mut Physics) {
        self.sockets += 1;
        self.line.reader = Some(FrameReader::new(Writer::Server));
        let slots: Vec<usize> = (0..self.slots.len()).collect();
        let requests: Vec<Value> = slots.iter().map(|&slot| self.begin(slot)).collect();
        // Several in one message, every other time.
        if (self.sockets + self.index).is_multiple_of(2) {
            self.say(world, &requests);
        } else {
            for request in requests {
                self.say(world, &[request]);
            }
        }
        world.wake(self.me, LIFE_EVERY, self.token(LIFE));
        if self.plan.role == Role::SlowSocket && self.sockets <= SLOW_SOCKETS {
            self.line.is_reading = false;
            world.wake(self.me, READ_EVERY, self.token(READ));
        }
        self.schedule_message(world);
    }

    fn begin(&mut self, slot: usize) -> Value {
        match self.slots[slot].session {
            Some(session) => self.request(
                slot,
                Step::Claim,
                json!({"janus": "claim", "session_id": session}),
            ),
            None => self.request(slot, Step::Create, json!({"janus": "create"})),
        }
    }

    fn request(&mut self, slot: usize, step: Step, mut request: Value) -> Value {
        self.requests += 1;
        let transaction = format!("c{}-{}", self.index, self.requests);
        request["transaction"] = json!(transaction);
        self.asked.insert(transaction, (slot, step));
        request
    }

    /// Sends one message with these requests.
    fn say(&mut self, world: &mut Physics, requests: &[Value]) {
        if self.line.reader.is_none() || requests.is_empty() {
            return;
        }
        let texts: Vec<String> = requests.iter().map(ToString::to_string).collect();
        let text = texts.join(" \n");
        world.line(Lane::Client(self.index), || format!("says {text}"));
        let key = self.key(world);
        let parts = 1 + key.named("parts").below(3) as usize;
        let size = text.len().div_ceil(parts);
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let opcode = if at == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            self.write(world, opcode, at + 1 == chunks.len(), chunk);
            if at == 0 && key.named("ping").chance(1, 3) {
                self.write(world, Opcode::Ping, true, &text.as_bytes()[..4]);
            }
        }
        self.flush(world);
    }

    fn write(&mut self, world: &Physics, opcode: Opcode, is_last: bool, payload: &[u8]) {
        let mask = self.key(world).named("mask").below(1 << 32) as u32;
        self.frames += 1;
        let bytes = frame(opcode, is_last, payload, Some(mask.to_be_bytes()));
        self.line.outgoing.extend_from_slice(&bytes);
    }

    fn key(&self, world: &Physics) -> Key {
        let key = world.key.named("websocket").at(u64::from(self.index));
        key.at(self.frames)
    }

    fn flush(&mut self, world: &mut Physics) {
        let Some(socket) = self.line.socket.filter(|_| self.line.is_connected) else {
            return;
        };
        while !self.line.outgoing.is_empty() {
            match world.write(socket, &self.line.outgoing) {
                Write::Taken(count) => {
                    self.line.outgoing.drain(..count);
                }
                Write::Blocked | Write::Broken => return,
            }
        }
    }

    fn read(&mut self, world: &mut Physics, most: usize) {
        while let Some(socket) = self.line.socket {
            let mut bytes = Vec::new();
            match world.read(socket, most, &mut bytes) {
                Read::Bytes(_) => self.take_in(world, &bytes),
                Read::Eof => {
                    world.close(socket);
                    return self.lost(world, "the end of the stream");
                }
                Read::Reset => return self.lost(world, "a reset"),
                Read::WouldBlock => return,
            }
            if !self.line.is_reading {
                return;
            }
        }
    }

    fn take_in(&mut self, world: &mut Physics, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Some(head) = &mut self.line.handshake {
            head.extend_from_slice(&bytes);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            let is_open = head.starts_with(b"HTTP/1.1 101 ");
            bytes = head.split_off(end + 4);
            self.line.handshake = None;
            if !is_open {
                return self.give_up(world, "the handshake was refused");
            }
            self.opened(world);
        }
        let Some(reader) = &mut self.line.reader else {
            return;
        };
        reader.push(&bytes);
        loop {
            // What is malformed is for the watcher to report.
            let Some(Ok(Some(item))) = self.line.reader.as_mut().map(FrameReader::item) else {
                return;
            };
            match item {
                Item::Close(code) => {
                    world.line(Lane::Client(self.index), || format!("is told {code:?}"));
                    let payload = code.map(u16::to_be_bytes);
                    let payload = payload.as_ref().map_or(&[][..], |bytes| &bytes[..]);
                    self.write(world, Opcode::Close, true, payload);
                    self.flush(world);
                }
                Item::Ping(payload) => {
                    self.write(world, Opcode::Pong, true, &payload);
                    self.flush(world);
                }
                Item::Pong(_) => {}
                Item::Text(text) => {
                    let value: Value = serde_json::from_str(&text).unwrap_or_default();
                    self.hear(world, &value);
                }
            }
        }
    }

    fn hear(&mut self, world: &mut Physics, value: &Value) {
        let transaction = value.get("transaction").and_then(Value::as_str);
        let session = value.get("session_id").and_then(Value::as_u64);
        if !matches!(verb_of(value), "ack" | "error" | "pong" | "success") {
            self.event(world, session, value);
            return;
        }
        let Some((slot, step)) = transaction.and_then(|it| self.asked.remove(it)) else {
            return;
        };
        let id = value.pointer("/data/id").and_then(Value::as_u64);
        match (step, verb_of(value), id) {
            (Step::Create, "success", Some(id)) => {
                self.slots[slot].session = Some(id);
                self.attach(world, slot, id);
            }
            (Step::Attach, "success", Some(id)) => self.slots[slot].handle = Some(id),
            (Step::Claim, "success", _) => {
                if let (Some(id), None) = (self.slots[slot].session, self.slots[slot].handle) {
                    self.attach(world, slot, id);
                }
            }
            (Step::Message, "ack", _) => self.progress.acks += 1,
            (Step::Keepalive, "ack", _) | (Step::Ping, "pong", _) => {}
            _ => self.renew(world, slot),
        }
    }

    fn attach(&mut self, world: &mut Physics, slot: usize, session: u64) {
        let body = json!({"janus": "attach", "session_id": session,
            "plugin": "janus.plugin.echotest"});
        let request = self.request(slot, Step::Attach, body);
        self.say(world, &[request]);
    }

    /// The session is gone: makes another.
    fn renew(&mut self, world: &mut Physics, slot: usize) {
        self.slots[slot] = Slot::default();
        self.progress.restarts += 1;
        let request = self.begin(slot);
        self.say(world, &[request]);
    }

    fn event(&mut self, world: &mut Physics, session: Option<u64>, event: &Value) {
        if verb_of(event) == "timeout" {
            let of = |slot: &Slot| slot.session == session;
            if let Some(slot) = self.slots.iter().position(of) {
                self.renew(world, slot);
            }
        }
        let transaction = event.get("transaction").and_then(Value::as_str);
        if let Some(transaction) = transaction
            && !self.seen.insert(transaction.to_owned())
        {
            let detail = format!(
                "client {} got the event of {transaction} twice by one socket",
                self.index
            );
            world
                .watch
                .report("event-exactly-once", world.now(), detail);
        }
        self.progress
            .note_claimed(world, self.index, session, event);
    }

    fn schedule_message(&mut self, world: &mut Physics) {
        if self.sent < self.plan.messages {
            // Without a handle there is nothing to say yet.
            let gap = self.plan.gap.max(Duration::from_millis(5));
            world.wake(self.me, gap, self.token(MESSAGE));
        }
    }

    fn message(&mut self, world: &mut Physics) {
        let slot = self.sent as usize % self.slots.len();
        if let Slot {
            session: Some(session),
            handle: Some(handle),
        } = self.slots[slot]
        {
            self.sent += 1;
            let body = json!({"janus": "message", "session_id": session, "handle_id": handle,
                "body": {"audio": true}});
            let request = self.request(slot, Step::Message, body);
            self.say(world, &[request]);
            let is_hasty =
                !self.plan.think.is_zero() && self.key(world).named("hasty").chance(1, 3);
            if is_hasty && let Some(socket) = self.line.socket {
                world.close(socket);
                return self.lost(world, "it does not wait for the answer");
            }
        }
        self.schedule_message(world);
    }

    fn show_life(&mut self, world: &mut Physics) {
        for slot in 0..self.slots.len() {
            if let Some(session) = self.slots[slot].session {
                let body = json!({"janus": "keepalive", "session_id": session});
                let request = self.request(slot, Step::Keepalive, body);
                self.say(world, &[request]);
            }
        }
        // Behind requests for other shards comes one that needs none.
        let request = self.request(0, Step::Ping, json!({"janus": "ping"}));
        self.say(world, &[request]);
        self.write(world, Opcode::Ping, true, b"are you there?");
        self.flush(world);
        world.wake(self.me, LIFE_EVERY, self.token(LIFE));
    }

    fn lost(&mut self, world: &mut Physics, why: &str) {
        let (at, client) = (world.now(), self.index);
        world.trace.event(at, "loss", u64::from(client), self.life);
        world.line(Lane::Client(client), || format!("loses its socket: {why}"));
        self.line = Line::default();
        self.life += 1;
        self.seen.clear();
        // Whether they were served nobody knows; sessions that were being made are made anew.
        self.asked.clear();
        let pause = RECONNECT_AFTER + self.plan.think;
        world.wake(self.me, pause, self.token(RECONNECT));
    }

    fn give_up(&mut self, world: &mut Physics, why: &str) {
        if let Some(socket) = self.line.socket {
            world.watch.note_broken(socket);
            world.abort(socket);
        }
        self.lost(world, why);
    }
}

impl Model for SocketClient {
    fn start(&mut self, world: &mut Physics) {
        self.connect(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.line.socket != Some(socket) {
            return;
        }
        match notice {
            Notice::Connected => {
                self.line.is_connected = true;
                self.flush(world);
            }
            Notice::Writable => self.flush(world),
            Notice::Refused => self.lost(world, "nobody listens"),
            Notice::Readable | Notice::Reset if self.line.is_reading => self.read(world, 64 << 10),
            Notice::Incoming | Notice::Readable | Notice::Reset => {}
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        if token >> 3 != self.life || self.is_leaving {
            return;
        }
        match token & 7 {
            MESSAGE => self.message(world),
            RECONNECT => self.connect(world),
            LIFE => self.show_life(world),
            READ => {
                let most = 1 + self.plan.maxev as usize * 200;
                self.read(world, most);
                if self.line.socket.is_some() {
                    world.wake(self.me, READ_EVERY, self.token(READ));
                }
            }
            GIVE_UP if self.line.reader.is_none() => self.give_up(world, "it does not open"),
            _ => {}
        }
    }

    fn leave(&mut self, world: &mut Physics) {
        self.is_leaving = true;
        if self.line.reader.is_some() {
            self.write(world, Opcode::Close, true, &1000_u16.to_be_bytes());
            self.flush(world);
        }
        if let Some(socket) = self.line.socket.take() {
            world.close(socket);
        }
    }

    fn link(&self, link: Which) -> Option<Socket> {
        match link {
            Which::Control | Which::Poll => self.line.socket,
            Which::Upstream => None,
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
