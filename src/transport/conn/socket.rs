//! A connection after its upgrade: messages in and out, pings, and the ways in which it ends.
//!
//! Invariant: the output always has room for one close frame. Frames are read while little output
//! is pending, so that there is room for the pong of every ping.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Conn, ConnAction, Expired, Phase, Receipt, Shared};
use crate::base::clock::{Monotonic, Now};
use crate::base::outbuf::Hold;
use crate::mutant;
use crate::wire::ws::frame::{CONTROL_BYTES, SERVER_HEADER_BYTES, ServerHeader};
use crate::wire::ws::{Bounds, CloseCode, Fault, Incoming, Opcode, Reader};

/// What an upgraded connection has beside a plain one.
#[derive(Debug)]
pub(super) struct Socket {
    reader: Reader,
    /// The message that waits to be handed out.
    ready: Option<Vec<u8>>,
    /// For the close frame; spent when that is written.
    close_room: Hold,
    /// The ends of the messages that the kernel has yet to take.
    pending_ends: VecDeque<u64>,
    /// When the client was last heard, or asked whether it is there.
    quiet_since: Monotonic,
    unanswered_pings: u8,
    messages: Rate,
    pings: Rate,
}

/// Why an upgraded connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketEnd {
    /// The client closed it, with a close frame.
    Client,
    /// The client broke the protocol.
    Fault(Fault),
    /// The client sent too much too fast.
    Flood,
    /// The client went away without a word.
    Lost,
    /// The owner of the connection closed it.
    Owner(CloseCode),
    /// The client answered no ping.
    Silent,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The client does not take what is due to it.
    Full,
    /// The connection does not take messages any more.
    Gone,
}

/// Pings without any sign of life after which a client counts as gone.
const UNANSWERED_PINGS_MAX: u8 = 2;

impl Conn {
    /// Answers the request in work by changing over to WebSocket. `None` if there is none any
    /// more, or if there is no room for the answer; the connection is aborted then.
    pub fn upgrade(
        &mut self,
        shared: &mut Shared,
        now: Now,
        accept: &[u8; 28],
        protocol: &str,
    ) -> Option<Receipt> {
        if !self.is_waiting() {
            return None;
        }
        self.before_write(now);
        let head = shared.heads.upgrade(now.realtime, accept, protocol);
        let Ok(close_room) = self
            .out
            .write(&[head])
            .and_then(|()| self.out.hold(SERVER_HEADER_BYTES + CONTROL_BYTES))
        else {
            self.abort(shared);
            return None;
        };
        self.after_write();
        self.served_count = self.served_count.saturating_add(1);
        self.phase = Phase::Socket;
        self.socket = Some(Box::new(Socket {
            reader: Reader::default(),
            ready: None,
            close_room,
            pending_ends: VecDeque::new(),
            quiet_since: now.monotonic,
            unanswered_pings: 0,
            messages: Rate::new(now.monotonic),
            pings: Rate::new(now.monotonic),
        }));
        Some(Receipt(self.out.written_total()))
    }

    /// Takes out the next message, be it text or not. There is none while much output is pending.
    pub fn next_message(&mut self, shared: &mut Shared, now: Now) -> Option<Vec<u8>> {
        if self.socket.as_ref()?.ready.is_none() && !self.input.is_empty() {
            self.parse_input(shared, now);
        }
        let message = self.socket.as_mut()?.ready.take();
        self.pace_reading(shared);
        message
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was written then.
    pub fn send_text(
        &mut self,
        shared: &Shared,
        now: Now,
        text: &str,
    ) -> Result<Receipt, SendError> {
        let socket = self.socket.as_mut().ok_or(SendError::Gone)?;
        if socket.pending_ends.len() >= shared.limits.ws_out_messages_count {
            return Err(SendError::Full);
        }
        let header = ServerHeader::new(Opcode::Text, text.len());
        if self.out.is_empty() {
            self.write_progress = now.monotonic;
        }
        self.out
            .write(&[header.bytes(), text.as_bytes()])
            .map_err(|_| SendError::Full)?;
        socket.pending_ends.push_back(self.out.written_total());
        self.after_write();
        Ok(Receipt(self.out.written_total()))
    }

    /// Ends an upgraded connection with a close frame, after what is pending. `reason` is at most
    /// 123 bytes.
    pub fn close_socket(&mut self, shared: &mut Shared, now: Now, code: CloseCode, reason: &str) {
        self.end_socket(
            shared,
            now,
            SocketEnd::Owner(code),
            &close_payload(code, reason),
        );
    }

    /// Whether the connection was upgraded and takes messages.
    pub const fn is_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// Messages that the kernel has yet to take.
    pub fn pending_messages(&self) -> usize {
        self.socket
            .as_ref()
            .map_or(0, |socket| socket.pending_ends.len())
    }

    /// Takes out why the upgraded connection came to its end, to be counted.
    pub fn take_socket_end(&mut self) -> Option<SocketEnd> {
        self.socket_end.take()
    }

    /// Reads frames until a message is complete or more bytes are needed; says how many it used.
    pub(super) fn read_frames(&mut self, shared: &mut Shared, now: Now, bytes: &[u8]) -> usize {
        let bounds = Bounds {
            message_bytes: shared.limits.ws_message_bytes,
            fragments_count: shared.limits.ws_fragments_count,
        };
        let mut used = 0;
        while used < bytes.len() && !self.is_backed_up(shared) {
            let Some(socket) = self.socket.as_mut() else {
                return bytes.len();
            };
            if socket.ready.is_some() {
                return used;
            }
            match socket.reader.read(&bytes[used..], &bounds) {
                Ok((count, incoming)) => {
                    used += count;
                    if let Some(incoming) = incoming {
                        self.take_in(shared, now, incoming);
                    }
                }
                Err(fault) => {
                    let payload = close_payload(fault.code(), fault.text());
                    self.end_socket(shared, now, SocketEnd::Fault(fault), &payload);
                    return bytes.len();
                }
            }
        }
        used
    }

    fn take_in(&mut self, shared: &mut Shared, now: Now, incoming: Incoming) {
        let Some(socket) = self.socket.as_mut() else {
            return;
        };
        let limits = &shared.limits;
        let span = limits.ws_flood_span;
        match incoming {
            Incoming::Binary(message) | Incoming::Text(message) => {
                let is_allowed =
                    socket
                        .messages
                        .count(now.monotonic, limits.ws_messages_rate_count, span);
                socket.ready = Some(message);
                if !is_allowed {
                    self.end_flood(shared, now);
                }
            }
            Incoming::Close(close) => {
                let payload =
                    close.map_or_else(Vec::new, |(code, reason)| close_payload(code, &reason));
                self.end_socket(shared, now, SocketEnd::Client, &payload);
            }
            Incoming::Ping(_) if mutant!(WsPingIgnored) => {}
            Incoming::Ping(payload) => {
                if socket
                    .pings
                    .count(now.monotonic, limits.ws_pings_rate_count, span)
                {
                    self.write_control(now, Opcode::Pong, &payload);
                } else {
                    self.end_flood(shared, now);
                }
            }
            // That the client was heard is noted with its bytes.
            Incoming::Pong(_) => {}
        }
    }

    fn end_flood(&mut self, shared: &mut Shared, now: Now) {
        let payload = close_payload(CloseCode::POLICY, "too many messages");
        self.end_socket(shared, now, SocketEnd::Flood, &payload);
    }

    /// The client sent something, whatever it is.
    pub(super) fn heard_client(&mut self, now: Now) {
        if let Some(socket) = &mut self.socket {
            socket.quiet_since = now.monotonic;
            socket.unanswered_pings = 0;
        }
    }

    /// When the client has been silent for long enough to be asked whether it is there.
    pub(super) fn ping_due(&self, shared: &Shared) -> Option<Monotonic> {
        let socket = self.socket.as_ref()?;
        Some(socket.quiet_since + shared.ping_interval)
    }

    /// The client has been silent: asks whether it is there, or gives it up.
    pub(super) fn ask_for_life(&mut self, shared: &mut Shared, now: Now) -> Option<Expired> {
        let socket = self.socket.as_mut()?;
        if socket.unanswered_pings >= UNANSWERED_PINGS_MAX {
            self.lose_socket(SocketEnd::Silent);
            self.abort(shared);
            return Some(Expired::Silence);
        }
        socket.unanswered_pings += 1;
        socket.quiet_since = now.monotonic;
        self.write_control(now, Opcode::Ping, b"");
        None
    }

    /// The kernel took output.
    pub(super) fn count_taken_messages(&mut self) {
        let taken = self.out.taken_total();
        if let Some(socket) = &mut self.socket {
            while socket.pending_ends.front().is_some_and(|&end| end <= taken) {
                socket.pending_ends.pop_front();
            }
        }
    }

    /// The connection is over for messages, with nothing more to say.
    pub(super) fn lose_socket(&mut self, end: SocketEnd) {
        if self.socket.take().is_some() {
            self.socket_end = Some(end);
        }
    }

    /// Whether a message waits to be handed out.
    pub(super) fn has_message(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(|socket| socket.ready.is_some())
    }

    fn end_socket(&mut self, shared: &mut Shared, now: Now, end: SocketEnd, payload: &[u8]) {
        let Some(socket) = self.socket.take() else {
            return;
        };
        self.socket_end = Some(end);
        if mutant!(WsCloseBare) {
            return self.end(shared, now);
        }
        let header = ServerHeader::new(Opcode::Close, payload.len());
        self.before_write(now);
        self.out
            .write_held(socket.close_room, &[header.bytes(), payload].concat());
        self.actions.push(ConnAction::Write);
        self.end(shared, now);
    }

    /// Writes a control frame if there is room. Without room the client has enough to read, and
    /// nothing that it sent is being read.
    fn write_control(&mut self, now: Now, opcode: Opcode, payload: &[u8]) {
        let header = ServerHeader::new(opcode, payload.len());
        self.before_write(now);
        if self.out.write(&[header.bytes(), payload]).is_ok() {
            self.after_write();
        }
    }
}

fn close_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    debug_assert!(
        reason.len() + 2 <= CONTROL_BYTES,
        "a close frame is a control frame"
    );
    [&code.number().to_be_bytes()[..], reason.as_bytes()].concat()
}

/// How much a client sent lately, as the time that it may take to send so much.
#[derive(Clone, Copy, Debug)]
struct Rate {
    spent_until: Monotonic,
}

impl Rate {
    const fn new(now: Monotonic) -> Self {
        Self { spent_until: now }
    }

    /// Counts one more. `false` when the client has been faster than `rate` a second for so long
    /// that it is ahead by what `span` would allow.
    fn count(&mut self, now: Monotonic, rate: usize, span: Duration) -> bool {
        let cost = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX);
        self.spent_until = self.spent_until.max(now) + cost;
        self.spent_until.saturating_since(now) <= span
    }
}
