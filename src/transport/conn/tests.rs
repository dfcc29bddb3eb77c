//! A connection against a script: what is handed out, what is written, what the socket is told.

use std::time::Duration;

use super::*;
use crate::base::clock::{Boottime, Realtime};
use crate::base::limits::Limits;
use crate::wire::http::strict::{Asked, Decoded, decode};
use crate::wire::http::{Cors, Framing, Status};

mod lifetime;
mod requests;
mod splits;
mod streams;

/// A connection, its listener and a clock.
struct Rig {
    shared: Shared,
    conn: Conn,
    now: Now,
    /// What the kernel took.
    taken: Vec<u8>,
    actions: Vec<ConnAction>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Now {
            monotonic: Monotonic::from_nanos(5_000_000_000),
            boottime: Boottime::from_nanos(77),
            realtime: Realtime::from_unix_micros(784_111_777_000_000),
        };
        let shared = Shared::new(limits, Cors::any());
        let conn = Conn::new(&shared, now, "127.0.0.1:5000".parse().unwrap());
        Self {
            shared,
            conn,
            now,
            taken: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Lets time pass on the monotonic clock, and the wall clock jump back.
    fn pass(&mut self, span: Duration) -> Option<Expired> {
        self.now.monotonic = self.now.monotonic + span;
        self.now.realtime = Realtime::from_unix_micros(1);
        let expired = self.conn.timeout(&mut self.shared, self.now);
        self.collect();
        expired
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) {
        self.conn
            .receive(&mut self.shared, self.now, bytes.as_ref());
        self.collect();
    }

    fn eof(&mut self) {
        self.conn.eof(&mut self.shared, self.now);
        self.collect();
    }

    fn next(&mut self) -> Option<Request> {
        let request = self
            .conn
            .next_request(&mut self.shared, self.now)
            .map(|boxed| *boxed);
        self.collect();
        request
    }

    fn respond(&mut self, response: &Response<'_>) -> Option<Receipt> {
        let receipt = self.conn.respond(&mut self.shared, self.now, response);
        self.collect();
        receipt
    }

    /// Lets the kernel take up to `most` bytes.
    fn write(&mut self, most: usize) {
        let count = most.min(self.conn.pending().len());
        self.taken.extend_from_slice(&self.conn.pending()[..count]);
        self.conn.wrote(&mut self.shared, self.now, count);
        self.collect();
    }

    fn write_all(&mut self) {
        self.write(usize::MAX);
    }

    /// Answers each request with its path, method and body, until there is none.
    fn echo(&mut self) {
        while let Some(request) = self.next() {
            let body = echoed(&request);
            self.respond(&Response::json(body.as_bytes())).unwrap();
            self.write_all();
            self.conn.take_back(&self.shared, Box::new(request));
        }
    }

    fn collect(&mut self) {
        while let Some(action) = self.conn.next_action() {
            self.actions.push(action);
        }
    }

    fn take_actions(&mut self) -> Vec<ConnAction> {
        std::mem::take(&mut self.actions)
    }

    /// Everything that the kernel took, as a client reads it.
    fn answers(&self) -> Vec<Decoded> {
        decode_all(&self.taken)
    }

    fn refused(&mut self) -> (u16, Option<Refusal>) {
        self.write_all();
        let answers = self.answers();
        let last = answers.last().expect("there is an answer");
        assert_eq!(last.field("Connection"), Some("close"));
        assert!(last.chunks.is_none() && !last.body.is_empty());
        (last.status, self.conn.take_refusal())
    }
}

fn echoed(request: &Request) -> String {
    format!(
        "{} {} {}",
        request.head.method().as_str(),
        request.head.path(),
        request.body.escape_ascii()
    )
}

fn decode_all(bytes: &[u8]) -> Vec<Decoded> {
    let (mut answers, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (answer, size) = decode(&bytes[at..], Asked::Other).unwrap();
        answers.push(answer);
        at += size;
    }
    answers
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let size = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n{body}")
}

const S: Duration = Duration::from_secs(1);
const NS: Duration = Duration::from_nanos(1);
