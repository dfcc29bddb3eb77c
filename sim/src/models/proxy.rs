//! A reverse proxy as nginx is: it reads a request whole, asks its upstream in its own words, and
//! passes the answer on in its own framing.
//!
//! It decodes the gateway's answers strictly. It buffers, or passes bytes on as they come; speaks
//! HTTP/1.0 or 1.1 upstream; keeps upstream connections or not; gives up after 60 s without a
//! byte; retries a GET once over a fresh connection; and when its client goes, it goes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::scenario::{Link as Which, Via};
use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Notice, Socket, Write};
use crate::kernel::trace::Lane;
use crate::models::decode::Head;
use crate::models::link::{Link, LinkEvent};
use crate::models::request::{Reader, Reading, Request};
use crate::models::{Model, Progress};
use crate::world::physics::{GATEWAY, Physics};

/// A reverse proxy in front of one client.
#[derive(Debug)]
pub struct Proxy {
    index: u32,
    me: HostId,
    via: Via,
    lines: BTreeMap<u64, Line>,
    count: u64,
    progress: Progress,
}

/// A client's connection, and the upstream connection that serves it.
#[derive(Debug)]
struct Line {
    down: Socket,
    reader: Reader,
    up: Link,
    /// The request that the upstream has.
    current: Option<Request>,
    has_retried: bool,
    /// A response that is passed on in chunks is under way.
    is_passing: bool,
    outgoing: Vec<u8>,
    is_down_ended: bool,
    is_closing: bool,
    /// Counts the upstream's signs of life: an older timer means nothing.
    sign: u64,
}

/// `proxy_read_timeout`, nginx' default.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 << 10;

impl Proxy {
    /// A proxy on host `me` of a kind.
    pub fn new(index: u32, via: Via, me: HostId) -> Self {
        Self {
            index,
            me,
            via,
            lines: BTreeMap::new(),
            count: 0,
            progress: Progress::default(),
        }
    }

    fn of(&self, socket: Socket) -> Option<u64> {
        let is_of = |line: &Line| line.down == socket || line.up.socket() == Some(socket);
        self.lines
            .iter()
            .find(|(_, line)| is_of(line))
            .map(|(&id, _)| id)
    }

    fn read_down(&mut self, world: &mut Physics, id: u64) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        loop {
            let mut bytes = Vec::new();
            match world.read(line.down, BUFFER, &mut bytes) {
                Read::Bytes(_) => line.reader.push(&bytes),
                Read::Eof => {
                    // nginx takes FIN for the client's going (proxy_ignore_client_abort off).
                    line.is_down_ended = true;
                    let is_listening = line
                        .current
                        .as_ref()
                        .is_some_and(|request| request.method == "GET");
                    if line.current.is_none() && line.reader.waiting() == 0 || is_listening {
                        self.end(world, id);
                        return;
                    }
                    break;
                }
                Read::Reset => {
                    self.end(world, id);
                    return;
                }
                Read::WouldBlock => break,
            }
        }
        self.ask(world, id);
    }

    /// Passes the next request on, when the one before is answered.
    fn ask(&mut self, world: &mut Physics, id: u64) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if line.current.is_some() || line.is_closing {
            return;
        }
        match line.reader.request() {
            Reading::Partial => {
                if line.is_down_ended && line.outgoing.is_empty() {
                    self.end(world, id);
                }
            }
            Reading::Malformed => {
                self.answer_self(world, id, 400, "Bad Request");
            }
            Reading::Whole(request) => {
                line.current = Some(request);
                line.has_retried = false;
                self.forward(world, id);
            }
        }
    }

    fn forward(&mut self, world: &mut Physics, id: u64) {
        let via = self.via;
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let Some(request) = &line.current else {
            return;
        };
        let mut upstream = request.clone();
        let is_hop = |name: &str| {
            matches!(
                name,
                "connection" | "keep-alive" | "content-length" | "transfer-encoding"
            )
        };
        upstream.fields.retain(|field| !is_hop(&field.0));
        upstream = upstream.with("x-forwarded-for", "10.9.9.9");
        if via == Via::Nginx10 {
            upstream = upstream.with("connection", "close").as_http10();
        }
        world.line(Lane::Proxy(self.index), || {
            format!("passes on {} {}", upstream.method, upstream.target)
        });
        line.up.send(world, &upstream);
        self.note_life(world, id);
    }

    fn note_life(&mut self, world: &mut Physics, id: u64) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.sign += 1;
            world.wake(self.me, READ_TIMEOUT, line.sign << 24 | id);
        }
    }

    fn take(&mut self, world: &mut Physics, id: u64, event: LinkEvent) {
        let is_buffering = self.via != Via::Nginx11Unbuffered;
        self.note_life(world, id);
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        match event {
            LinkEvent::Head(head) => {
                // A stream is passed on as it comes; nginx would buffer it up to its buffer's
                // size, for which the gateway turns buffering off with a field.
                if head.is_event_stream() || !is_buffering {
                    line.is_passing = true;
                    let text = head_text(&head, "transfer-encoding: chunked");
                    line.outgoing.extend_from_slice(text.as_bytes());
                    self.flush(world, id);
                }
            }
            LinkEvent::Body(bytes) => {
                line.push_chunk(&bytes);
                self.flush(world, id);
            }
            LinkEvent::Done(head, body) => {
                if line.is_passing {
                    if !body.is_empty() {
                        line.push_chunk(&body);
                    }
                    line.outgoing.extend_from_slice(b"0\r\n\r\n");
                } else {
                    let text = head_text(&head, &format!("content-length: {}", body.len()));
                    line.outgoing.extend_from_slice(text.as_bytes());
                    let is_head = line.current.as_ref().is_some_and(|it| it.method == "HEAD");
                    if !is_head {
                        line.outgoing.extend_from_slice(&body);
                    }
                }
                line.is_passing = false;
                line.current = None;
                self.flush(world, id);
                self.ask(world, id);
            }
            LinkEvent::Lost(loss) => {
                world.line(Lane::Proxy(self.index), || {
                    format!("upstream lost: {loss:?}")
                });
                let is_get = line.current.as_ref().is_some_and(|it| it.method == "GET");
                if line.is_passing {
                    // Within a response there is nothing left but to cut it.
                    self.abort(world, id);
                } else if is_get && !line.has_retried {
                    line.has_retried = true;
                    self.forward(world, id);
                } else {
                    line.current = None;
                    self.answer_self(world, id, 502, "Bad Gateway");
                }
            }
        }
    }

    fn answer_self(&mut self, world: &mut Physics, id: u64, status: u16, reason: &str) {
        world.line(Lane::Proxy(self.index), || {
            format!("answers {status} itself")
        });
        if let Some(line) = self.lines.get_mut(&id) {
            let text = format!(
                "HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            line.outgoing.extend_from_slice(text.as_bytes());
            line.is_closing = true;
            self.flush(world, id);
        }
    }

    fn flush(&mut self, world: &mut Physics, id: u64) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        while !line.outgoing.is_empty() {
            match world.write(line.down, &line.outgoing) {
                Write::Taken(count) => {
                    line.outgoing.drain(..count);
                }
                Write::Blocked => return,
                Write::Broken => {
                    self.end(world, id);
                    return;
                }
            }
        }
        if line.is_closing || line.is_down_ended && line.current.is_none() {
            self.end(world, id);
        }
    }

    fn end(&mut self, world: &mut Physics, id: u64) {
        if let Some(mut line) = self.lines.remove(&id) {
            world.close(line.down);
            line.up.close(world);
        }
    }

    fn abort(&mut self, world: &mut Physics, id: u64) {
        if let Some(mut line) = self.lines.remove(&id) {
            world.watch.note_broken(line.down);
            world.abort(line.down);
            line.up.close(world);
        }
    }
}

impl Line {
    fn push_chunk(&mut self, bytes: &[u8]) {
        self.outgoing
            .extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.outgoing.extend_from_slice(bytes);
        self.outgoing.extend_from_slice(b"\r\n");
    }
}

fn head_text(head: &Head, framing: &str) -> String {
    let mut text = format!("HTTP/1.1 {} From upstream\r\n", head.status);
    for (name, value) in &head.fields {
        if !matches!(
            name.as_str(),
            "connection" | "keep-alive" | "content-length" | "transfer-encoding"
        ) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text + framing + "\r\n\r\n"
}

impl Model for Proxy {
    fn start(&mut self, _world: &mut Physics) {}

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if notice == Notice::Incoming {
            self.count += 1;
            let line = Line {
                down: socket,
                reader: Reader::default(),
                up: Link::new(self.me, GATEWAY),
                current: None,
                has_retried: false,
                is_passing: false,
                outgoing: Vec::new(),
                is_down_ended: false,
                is_closing: false,
                sign: 0,
            };
            self.lines.insert(self.count, line);
            return;
        }
        let Some(id) = self.of(socket) else {
            return;
        };
        if self.lines[&id].down == socket {
            match notice {
                Notice::Writable => self.flush(world, id),
                Notice::Readable | Notice::Reset => self.read_down(world, id),
                Notice::Connected | Notice::Incoming | Notice::Refused => {}
            }
            return;
        }
        let events = match self.lines.get_mut(&id) {
            Some(line) => line.up.notice(world, notice),
            None => Vec::new(),
        };
        for event in events {
            self.take(world, id, event);
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        let (sign, id) = (token >> 24, token & 0xff_ffff);
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if line.sign != sign || line.current.is_none() {
            return;
        }
        world.line(Lane::Proxy(self.index), || "upstream timed out".to_owned());
        line.up.close(world);
        if line.is_passing {
            self.abort(world, id);
        } else {
            line.current = None;
            self.answer_self(world, id, 504, "Gateway Timeout");
        }
    }

    fn leave(&mut self, world: &mut Physics) {
        let ids: Vec<u64> = self.lines.keys().copied().collect();
        for id in ids {
            self.end(world, id);
        }
    }

    fn link(&self, _link: Which) -> Option<Socket> {
        None
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
