//! A peer's session of the Janus API: one request at a time, one poll always open.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::link::{Link, LinkEvent};
use crate::models::request::Request;
use crate::world::physics::{GATEWAY, Physics};

/// A session with one handle.
#[derive(Debug)]
pub struct Api {
    index: u32,
    control: Link,
    poll: Link,
    session: Option<u64>,
    handle: Option<u64>,
    queue: VecDeque<(Ask, Value)>,
    asked: Option<Ask>,
    requests: u64,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A handle.
    Attach,
    /// A session.
    Create,
    /// That the handle goes.
    Detach,
    /// That the session goes.
    Destroy,
    /// That the call ends.
    HangUp,
    /// Something of the plugin that is answered by an event.
    Later,
    /// Something of the plugin that is answered at once.
    Now,
    /// Something of the plugin that ends a room or somebody in it.
    Power(Power),
}

/// Requests that end something of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// A room.
    Destroy,
    /// Somebody in it.
    Kick(u32),
}

/// What the session tells.
#[derive(Debug)]
pub enum News {
    /// An answer.
    Answer(Ask, Value),
    /// An event.
    Event(Value),
    /// Somebody does not talk to it any more.
    Lost,
}

impl Api {
    /// Nothing yet, of peer `index` on host `me`.
    pub fn new(index: u32, me: HostId) -> Self {
        Self {
            index,
            control: Link::new(me, GATEWAY),
            poll: Link::new(me, GATEWAY),
            session: None,
            handle: None,
            queue: VecDeque::new(),
            asked: None,
            requests: 0,
        }
    }

    /// Asks for something, after what was asked for before.
    pub fn ask(&mut self, world: &mut Physics, ask: Ask, body: Value) {
        self.queue.push_back((ask, body));
        self.pump(world);
    }

    /// Takes in what the network tells of a socket.
    pub fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) -> Vec<News> {
        let mut news = Vec::new();
        if self.control.socket() == Some(socket) {
            for event in self.control.notice(world, notice) {
                match event {
                    LinkEvent::Done(_, body) => news.extend(self.answered(world, &body)),
                    LinkEvent::Lost(_) => news.push(News::Lost),
                    LinkEvent::Body(_) | LinkEvent::Head(_) => {}
                }
            }
            self.pump(world);
        } else if self.poll.socket() == Some(socket) {
            for event in self.poll.notice(world, notice) {
                match event {
                    LinkEvent::Done(_, body) => {
                        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                        self.poll(world);
                        let events = match value {
                            Value::Array(events) => events,
                            event @ (Value::Null
                            | Value::Bool(_)
                            | Value::Number(_)
                            | Value::String(_)
                            | Value::Object(_)) => vec![event],
                        };
                        news.extend(events.into_iter().map(News::Event));
                    }
                    LinkEvent::Lost(_) => self.poll(world),
                    LinkEvent::Body(_) | LinkEvent::Head(_) => {}
                }
            }
        }
        news
    }

    /// Closes all connections.
    pub fn close(&mut self, world: &mut Physics) {
        self.session = None;
        self.queue.clear();
        self.control.close(world);
        self.poll.close(world);
    }

    /// Whether there is a session.
    pub const fn is_open(&self) -> bool {
        self.session.is_some()
    }

    fn answered(&mut self, world: &mut Physics, body: &[u8]) -> Option<News> {
        let ask = self.asked.take()?;
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let id = value.pointer("/data/id").and_then(Value::as_u64);
        match ask {
            Ask::Create => {
                self.session = id;
                self.poll(world);
            }
            Ask::Attach => self.handle = id,
            Ask::Destroy => self.session = None,
            Ask::Detach | Ask::HangUp | Ask::Later | Ask::Now | Ask::Power(_) => {}
        }
        Some(News::Answer(ask, value))
    }

    fn pump(&mut self, world: &mut Physics) {
        if self.asked.is_some() {
            return;
        }
        let Some((ask, mut body)) = self.queue.pop_front() else {
            return;
        };
        let path = match (ask, self.session, self.handle) {
            (Ask::Create, ..) => "/janus".to_owned(),
            (Ask::Attach | Ask::Destroy, Some(session), _) => format!("/janus/{session}"),
            (_, Some(session), Some(handle)) => format!("/janus/{session}/{handle}"),
            _ => return,
        };
        self.requests += 1;
        body["transaction"] = json!(format!("p{}-{}", self.index, self.requests));
        self.asked = Some(ask);
        world.line(Lane::Client(self.index), || format!("POST {path} {body}"));
        self.control
            .send(world, &Request::post(path, body.to_string()));
    }

    fn poll(&mut self, world: &mut Physics) {
        let Some(session) = self.session else { return };
        if self.poll.is_busy() {
            return;
        }
        self.requests += 1;
        let target = format!("/janus/{session}?rid={}&maxev=10", self.requests);
        self.poll.send(world, &Request::new("GET", target));
    }
}
