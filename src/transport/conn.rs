//! The state machine of one connection: bytes and time in, requests and bytes out. It begins with
//! HTTP, and may be [upgraded](Conn::upgrade) to WebSocket.
//!
//! After each call that takes something in ([`Conn::receive`], [`Conn::eof`], [`Conn::wrote`],
//! [`Conn::timeout`], [`Conn::respond`] and so on) the owner asks for [`Conn::next_request`] until
//! there is none, drains [`Conn::next_action`], and arms the timer that [`Conn::timer`] names.
//!
//! Invariant: requests are handed out one at a time, and answered in their order. Every answer is
//! complete, or the connection ends without it having begun; a streamed answer can always be
//! ended. Nothing that a client sent after an answer that closes is executed (RFC 9112 §9.6).
//! An idle connection holds no input, at most 4 KiB of output buffer, and of its last request at
//! most 1 KiB each of head and body; one that waits for an event holds nothing of the latter.

use std::net::SocketAddr;

use crate::base::clock::{Monotonic, Now};
use crate::base::outbuf::{Full, OutBuf};
use crate::mutant;
use crate::wire::http::response::{BodyEnd, ConnectionField};
use crate::wire::http::{
    BodyReader, ChunkedBody, Connection, Finished, HeadReader, Method, OpenBody, Refusal,
    RequestHead, Response, Version,
};

mod action;
mod answering;
mod heads;
mod input;
mod kept;
mod parsing;
mod shared;
mod socket;
mod timeouts;

pub use action::ConnAction;
pub use shared::{ChunkedCounts, Shared};
pub use socket::{SendError, SocketEnd};
pub use timeouts::Expired;

use action::Actions;
use input::Input;
use kept::Kept;
use socket::Socket;

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The head.
    pub head: RequestHead,
    /// The body without its framing; empty if there is none.
    pub body: Vec<u8>,
}

/// The position of an answer's last byte in the connection's output. The kernel took the answer
/// when [`Conn::taken`] has reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt(pub u64);

impl From<Finished> for Receipt {
    fn from(finished: Finished) -> Self {
        Self(finished.end())
    }
}

/// Whether the client of a request that waits is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// It is gone; the connection ends by itself.
    Gone,
    /// It waits.
    Waiting,
}

/// Why nothing was written to an event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// There is no room for it now.
    Full,
    /// There is no such stream any more.
    Gone,
    /// The client cannot take a body of unknown length: HTTP/1.0, or HEAD. The request is still
    /// to be answered.
    Unsupported,
}

/// One connection. Lives on: the shard that accepted it.
#[derive(Debug)]
pub struct Conn {
    peer: SocketAddr,
    phase: Phase,
    /// When the phase, or its wait for a first byte, began.
    since: Monotonic,
    input: Input,
    head: HeadReader,
    /// The request whose body is being read.
    partial: Option<Partial>,
    /// The request that waits to be handed out.
    ready: Option<Box<Request>>,
    /// A request that was answered.
    kept: Option<Kept>,
    /// The request that was handed out last.
    work: Work,
    stream: Option<OpenBody>,
    /// What an upgraded connection has beside a plain one, until it ends.
    socket: Option<Box<Socket>>,
    socket_end: Option<SocketEnd>,
    out: OutBuf,
    /// When the kernel last took something, or output became pending.
    write_progress: Monotonic,
    actions: Actions,
    refusal: Option<Refusal>,
    timer_armed: Option<Monotonic>,
    served_count: u32,
    /// Input thrown away since the last answer.
    drained_bytes: usize,
    reading: Reading,
    heard: bool,
    half_closed: bool,
    draining: bool,
    gone: bool,
}

/// Where a connection is. The order is that of a request's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// A head has begun.
    Head,
    /// A head is complete, its body is not.
    Body,
    /// A complete request waits to be handed out.
    Ready,
    /// A request was handed out; its answer is due at once.
    Work,
    /// A request was handed out; its answer waits for an event.
    Parked,
    /// An answer goes on for a long time.
    Streaming,
    /// Upgraded: messages go both ways.
    Socket,
    /// The last answer was written, but not taken yet.
    Flushing,
    /// The sending half is closed; input is drained until the client closes too.
    Lingering,
    /// Over.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    Paused,
}

/// A request whose body is being read.
#[derive(Debug)]
struct Partial {
    /// Of its body what came so far. Boxed, because it is passed on several times and most
    /// connections have none.
    request: Box<Request>,
    reader: BodyReader,
    progress: Monotonic,
    window_start: Monotonic,
    window_bytes: usize,
}

/// What the answer to a request depends on.
#[derive(Clone, Copy, Debug)]
struct Work {
    version: Version,
    head_only: bool,
    keep_alive: bool,
}

impl Work {
    /// For answers to what could not be understood.
    const UNKNOWN: Self = Self {
        version: Version::Http11,
        head_only: false,
        keep_alive: false,
    };

    fn of(head: &RequestHead) -> Self {
        Self {
            version: head.version(),
            head_only: head.method() == Method::Head,
            keep_alive: head.keep_alive(),
        }
    }
}

/// More than what one chunk and the zero chunk need beside their data.
const CHUNKED_ROOM: usize = 32;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Conn {
    /// A connection that was accepted at `now` from `peer`.
    pub fn new(shared: &Shared, now: Now, peer: SocketAddr) -> Self {
        Self {
            peer,
            phase: Phase::Idle,
            since: now.monotonic,
            input: Input::default(),
            head: HeadReader::default(),
            partial: None,
            ready: None,
            kept: None,
            work: Work::UNKNOWN,
            stream: None,
            socket: None,
            socket_end: None,
            out: OutBuf::new(shared.limits.out_bytes),
            write_progress: now.monotonic,
            actions: Actions::default(),
            refusal: None,
            timer_armed: None,
            served_count: 0,
            drained_bytes: 0,
            reading: Reading::On,
            heard: false,
            half_closed: false,
            draining: false,
            gone: false,
        }
    }

    /// Answers before anything was asked, and ends the connection.
    pub fn turn_away(&mut self, shared: &mut Shared, now: Now, response: &Response<'_>) {
        self.work = Work::UNKNOWN;
        match self.write_response(shared, now, response, ConnectionField::Close) {
            Ok(_) => self.end(shared, now),
            Err(Full) => self.abort(shared),
        }
    }

    /// Takes in what the client sent.
    pub fn receive(&mut self, shared: &mut Shared, now: Now, bytes: &[u8]) {
        match self.phase {
            Phase::Flushing | Phase::Lingering => return self.drain(shared, bytes.len()),
            Phase::Closed => return,
            Phase::Idle
            | Phase::Head
            | Phase::Body
            | Phase::Ready
            | Phase::Work
            | Phase::Parked
            | Phase::Streaming => {}
            Phase::Socket => self.heard_client(now),
        }
        if self.input.is_empty() {
            let used = self.parse(shared, now, bytes);
            self.input.append(&bytes[used..]);
        } else {
            self.input.append(bytes);
            self.parse_input(shared, now);
        }
        self.pace_reading(shared);
    }

    /// The client closed its sending half. A request that is complete is still answered, unless
    /// it is [parked](Self::park): then the client counts as gone.
    pub fn eof(&mut self, shared: &mut Shared, now: Now) {
        if mutant!(HalfCloseAborts) {
            return self.reset(shared);
        }
        self.half_closed = true;
        match self.phase {
            Phase::Idle | Phase::Head => {
                self.parse_input(shared, now);
                self.end_cut_off(shared, now);
            }
            Phase::Body => self.end_cut_off(shared, now),
            Phase::Ready | Phase::Work => {}
            Phase::Parked => {
                self.gone = true;
                self.end(shared, now);
            }
            Phase::Streaming => {
                self.gone = true;
                self.finish_stream(shared, now);
                self.end(shared, now);
            }
            Phase::Socket => {
                self.gone = true;
                self.lose_socket(SocketEnd::Lost);
                self.end(shared, now);
            }
            Phase::Flushing | Phase::Closed => {}
            Phase::Lingering => self.close(shared),
        }
    }

    /// The connection broke. What was not taken is lost.
    pub fn reset(&mut self, shared: &mut Shared) {
        if self.phase != Phase::Closed {
            self.gone = true;
            self.close(shared);
        }
    }

    /// The client cannot be understood, nor told anything by an answer: says nothing more. What it
    /// was due is lost.
    pub fn give_up(&mut self, shared: &mut Shared, now: Now) {
        match self.phase {
            Phase::Flushing | Phase::Lingering | Phase::Closed => {}
            Phase::Idle | Phase::Head | Phase::Body if self.out.is_empty() => {
                self.end(shared, now);
            }
            Phase::Idle
            | Phase::Head
            | Phase::Body
            | Phase::Ready
            | Phase::Work
            | Phase::Parked
            | Phase::Streaming
            | Phase::Socket => self.abort(shared),
        }
    }

    /// Offers the socket to be written to: there may be output that is not in
    /// [`Self::pending`], because it belongs to what is between the connection and its socket.
    pub fn offer(&mut self) {
        if self.phase != Phase::Closed {
            self.actions.push(ConnAction::Write);
        }
    }

    /// Takes out the next complete request. There is none while one is in work, or while much
    /// output is pending.
    pub fn next_request(&mut self, shared: &mut Shared, now: Now) -> Option<Box<Request>> {
        if matches!(self.phase, Phase::Idle | Phase::Head) && !self.input.is_empty() {
            self.parse_input(shared, now);
            self.pace_reading(shared);
        }
        if self.half_closed {
            self.end_cut_off(shared, now);
        }
        let request = self.ready.take()?;
        self.work = Work::of(&request.head);
        self.phase = Phase::Work;
        Some(request)
    }

    /// Says that the answer to the request in work waits for an event, so that a client that
    /// closes its sending half counts as gone. While [reading pauses](ConnAction::PauseRead), because
    /// too much is pipelined behind the request, nobody sees that: its answer finds out.
    pub fn park(&mut self, shared: &mut Shared, now: Now) -> Parked {
        if self.phase == Phase::Work && !self.half_closed {
            self.phase = Phase::Parked;
        }
        if self.phase == Phase::Parked {
            return Parked::Waiting;
        }
        if self.phase == Phase::Work {
            self.gone = true;
            self.end(shared, now);
        }
        Parked::Gone
    }

    /// Answers the request in work. `None` if there is none any more, or if the answer does not
    /// fit beside what is pending; the connection is aborted then.
    pub fn respond(
        &mut self,
        shared: &mut Shared,
        now: Now,
        response: &Response<'_>,
    ) -> Option<Receipt> {
        if !self.is_waiting() {
            return None;
        }
        let connection = self.connection_after(response.connection);
        let answer = self.write_response(shared, now, response, connection);
        let Ok(finished) = answer else {
            self.abort(shared);
            return None;
        };
        self.after_answer(shared, now, connection);
        Some(finished.into())
    }

    /// Begins to answer the request in work with a body that goes on: the head, and
    /// `response.body` as its first chunk.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; with `Full` and `Unsupported` the request is still to be answered.
    pub fn begin_stream(
        &mut self,
        shared: &mut Shared,
        now: Now,
        response: &Response<'_>,
    ) -> Result<Receipt, StreamError> {
        if !self.is_waiting() {
            return Err(StreamError::Gone);
        }
        if self.work.version == Version::Http10 || self.work.head_only {
            return Err(StreamError::Unsupported);
        }
        let connection = self.connection_after(response.connection);
        let end = BodyEnd::Chunked;
        let head = shared.heads.answer(now.realtime, response, connection, end);
        if self.out.free() < head.len() + response.body.len() + CHUNKED_ROOM {
            return Err(StreamError::Full);
        }
        self.before_write(now);
        let mut body = ChunkedBody::begin(&mut self.out, head).expect("room was checked");
        body.chunk(response.body).expect("room was checked");
        self.stream = Some(body.leave_open());
        shared.chunked.begun_count += 1;
        self.work.keep_alive = connection != ConnectionField::Close;
        self.phase = Phase::Streaming;
        self.after_write();
        Ok(Receipt(self.out.written_total()))
    }

    /// Goes on with the body that [`Self::begin_stream`] began. Empty `data` writes nothing.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; after `Full` the stream can go on.
    pub fn stream_chunk(&mut self, now: Now, data: &[u8]) -> Result<Receipt, StreamError> {
        self.before_write(now);
        let body = self.stream.as_mut().ok_or(StreamError::Gone)?;
        body.chunk(&mut self.out, data)
            .map_err(|Full| StreamError::Full)?;
        self.after_write();
        Ok(Receipt(self.out.written_total()))
    }

    /// Ends the body that [`Self::begin_stream`] began. There is always room for that. `None` if
    /// there is no such body any more.
    pub fn end_stream(&mut self, shared: &mut Shared, now: Now) -> Option<Receipt> {
        let finished = self.finish_stream(shared, now)?;
        let connection = self.connection_after(Connection::Keep);
        self.after_answer(shared, now, connection);
        Some(finished.into())
    }

    /// The kernel took `count` bytes of [`Self::pending`].
    pub fn wrote(&mut self, shared: &mut Shared, now: Now, count: usize) {
        if self.phase == Phase::Closed {
            return;
        }
        self.out.consume(count);
        if count > 0 {
            self.write_progress = now.monotonic;
        }
        self.count_taken_messages();
        if !self.out.is_empty() {
            self.actions.push(ConnAction::Write);
            return;
        }
        match self.phase {
            Phase::Idle => self.since = now.monotonic,
            Phase::Flushing => self.flushed(shared, now.monotonic),
            Phase::Head
            | Phase::Body
            | Phase::Ready
            | Phase::Work
            | Phase::Parked
            | Phase::Streaming
            | Phase::Socket
            | Phase::Lingering
            | Phase::Closed => {}
        }
    }

    /// Ends the connection with its next answer, or when its owner finds that
    /// [nobody asks](Self::close_if_idle) for another. An open stream is for its owner to end,
    /// and so is an upgraded connection.
    pub const fn close_when_done(&mut self) {
        self.draining = true;
    }

    /// Ends a connection that is [to be ended](Self::close_when_done) and is idle; says whether it
    /// did. To be called when everything that has come in was taken in: what the client has asked
    /// for by then is still answered.
    pub fn close_if_idle(&mut self, shared: &mut Shared, now: Now) -> bool {
        if !self.draining || !self.is_idle() {
            return false;
        }
        if self.served_count > 0 && now.monotonic < self.since + shared.limits.linger_timeout {
            // The client may not have read its last answer yet, or ask for another just now: a
            // reset would cost it both (RFC 9112 §9.6).
            self.end(shared, now);
        } else {
            self.close(shared);
        }
        true
    }

    /// Takes out the next action for the socket.
    pub fn next_action(&mut self) -> Option<ConnAction> {
        self.actions.pop()
    }

    /// Takes out the reason for which this connection's last request was refused, to be counted.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// The bytes that the kernel is to take next.
    pub fn pending(&self) -> &[u8] {
        self.out.pending()
    }

    /// The position up to which the kernel took output.
    pub const fn taken(&self) -> u64 {
        self.out.taken_total()
    }

    /// Whether a request was handed out and is neither answered nor being streamed.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Work | Phase::Parked)
    }

    /// Whether it is between two requests, with everything taken.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.input.is_empty() && self.out.is_empty()
    }

    /// Whether it has nothing to be served with until something comes in.
    pub fn is_served(&self) -> bool {
        self.is_idle() && !self.half_closed
    }

    /// Whether the client went away before it had all that was due to it.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether it is over, and only has to be forgotten.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Requests answered so far.
    pub const fn served_count(&self) -> u32 {
        self.served_count
    }

    /// The other end.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

#[cfg(test)]
mod tests;
