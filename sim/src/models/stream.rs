//! A page that listens to an event stream and resumes it, as `EventSource` does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::scenario::{ClientPlan, Link as Which};
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::link::{Link, LinkEvent};
use crate::models::request::Request;
use crate::models::sse::{StreamItem, StreamReader};
use crate::models::{Model, Progress};
use crate::world::physics::Physics;

/// A page that listens to an event stream.
#[derive(Debug)]
pub struct Listener {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    control: Link,
    stream: Link,
    reader: StreamReader,
    session: Option<u64>,
    handle: Option<u64>,
    last_id: Option<String>,
    requests: u64,
    sent: u32,
    /// Changes with each request and each session: older timers mean nothing.
    control_turn: u64,
    life: u64,
    progress: Progress,
    is_leaving: bool,
}

const MESSAGE: u64 = 0;
const RECONNECT: u64 = 1;
const CONTROL_TIMEOUT: u64 = 2;
const RESTART: u64 = 3;

/// `EventSource` waits about so long before it connects again.
const RECONNECT_AFTER: Duration = Duration::from_millis(900);
const CONTROL_TIMEOUT_AFTER: Duration = Duration::from_secs(45);

impl Listener {
    /// A page on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        Self {
            plan,
            index,
            me,
            control: Link::new(me, to),
            stream: Link::new(me, to),
            reader: StreamReader::default(),
            session: None,
            handle: None,
            last_id: None,
            requests: 0,
            sent: 0,
            control_turn: 0,
            life: 0,
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn post(&mut self, world: &mut Physics, path: String, mut body: Value) {
        self.requests += 1;
        body["transaction"] = json!(format!("c{}-{}", self.index, self.requests));
        world.line(Lane::Client(self.index), || format!("POST {path} {body}"));
        self.control
            .send(world, &Request::post(path, body.to_string()));
        self.control_turn += 1;
        let token = self.control_turn << 3 | CONTROL_TIMEOUT;
        world.wake(self.me, CONTROL_TIMEOUT_AFTER, token);
    }

    fn open(&mut self, world: &mut Physics) {
        let Some(session) = self.session.filter(|_| !self.is_leaving) else {
            return;
        };
        let mut request =
            Request::new("GET", format!("/janus/{session}")).with("accept", "text/event-stream");
        if let Some(last) = &self.last_id {
            request = request.with("last-event-id", last);
        }
        let last = self.last_id.clone();
        world.line(Lane::Client(self.index), || {
            format!("GET /janus/{session} as event stream, last {last:?}")
        });
        self.reader = StreamReader::default();
        self.stream.send(world, &request);
    }

    fn restart(&mut self, world: &mut Physics) {
        if self.is_leaving {
            return;
        }
        self.life += 1;
        self.session = None;
        self.handle = None;
        self.last_id = None;
        self.control.close(world);
        self.stream.close(world);
        self.progress.restarts += 1;
        world.line(Lane::Client(self.index), || {
            "gives up its session".to_owned()
        });
        world.wake(self.me, Duration::from_secs(1), self.life << 3 | RESTART);
    }

    fn control_done(&mut self, world: &mut Physics, body: &[u8]) {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let id = value.pointer("/data/id").and_then(Value::as_u64);
        match (self.session, self.handle, id) {
            (None, None, Some(id)) => {
                self.session = Some(id);
                self.open(world);
                let body = json!({"janus": "attach", "plugin": "janus.plugin.echotest"});
                self.post(world, format!("/janus/{id}"), body);
            }
            (Some(_), None, Some(id)) => {
                self.handle = Some(id);
                self.schedule_message(world);
            }
            (Some(_), Some(_), None) if value["janus"] == "ack" => {
                self.progress.acks += 1;
                self.schedule_message(world);
            }
            _ => self.restart(world),
        }
    }

    fn schedule_message(&mut self, world: &mut Physics) {
        if self.sent < self.plan.messages {
            world.wake(self.me, self.plan.gap, self.life << 3 | MESSAGE);
        }
    }

    fn message(&mut self, world: &mut Physics) {
        let (Some(session), Some(handle), false) = (self.session, self.handle, self.is_leaving)
        else {
            return;
        };
        self.sent += 1;
        let body = json!({"janus": "message", "body": {"audio": true}});
        self.post(world, format!("/janus/{session}/{handle}"), body);
    }

    fn take_items(&mut self, world: &mut Physics, bytes: &[u8]) {
        self.reader.push(bytes);
        while let Ok(Some(item)) = self.reader.item() {
            let StreamItem::Event { id, data, .. } = item else {
                continue;
            };
            self.last_id = id.or(self.last_id.take());
            let event: Value = serde_json::from_str(&data).unwrap_or_default();
            self.progress.note(world, self.index, self.session, &event);
        }
    }

    fn reconnect(&mut self, world: &mut Physics) {
        world.wake(self.me, RECONNECT_AFTER, self.life << 3 | RECONNECT);
    }
}

impl Model for Listener {
    fn start(&mut self, world: &mut Physics) {
        self.post(world, "/janus".to_owned(), json!({"janus": "create"}));
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.control.socket() == Some(socket) {
            for event in self.control.notice(world, notice) {
                match event {
                    LinkEvent::Done(_, body) => self.control_done(world, &body),
                    LinkEvent::Lost(loss) => {
                        self.progress.note_loss(world, self.index, socket, &loss);
                        self.restart(world);
                    }
                    LinkEvent::Body(_) | LinkEvent::Head(_) => {}
                }
            }
        } else if self.stream.socket() == Some(socket) {
            for event in self.stream.notice(world, notice) {
                match event {
                    LinkEvent::Body(bytes) => self.take_items(world, &bytes),
                    LinkEvent::Done(head, _) if head.status == 200 => self.reconnect(world),
                    LinkEvent::Done(..) => self.restart(world),
                    LinkEvent::Lost(loss) => {
                        self.progress.note_loss(world, self.index, socket, &loss);
                        self.reconnect(world);
                    }
                    LinkEvent::Head(_) => {}
                }
            }
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        let (kind, rest) = (token & 7, token >> 3);
        match kind {
            MESSAGE if rest == self.life => self.message(world),
            RECONNECT if rest == self.life && !self.stream.is_busy() => self.open(world),
            CONTROL_TIMEOUT if rest == self.control_turn && self.control.is_busy() => {
                self.control.abort(world);
                self.restart(world);
            }
            RESTART if rest == self.life && !self.is_leaving => self.start(world),
            _ => {}
        }
    }

    fn leave(&mut self, world: &mut Physics) {
        self.is_leaving = true;
        self.control.close(world);
        self.stream.close(world);
    }

    fn link(&self, link: Which) -> Option<Socket> {
        match link {
            Which::Control => self.control.socket(),
            Which::Poll | Which::Upstream => self.stream.socket(),
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
