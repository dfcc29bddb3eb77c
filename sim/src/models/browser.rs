//! A page with janus.js: it creates a session, attaches handles, keeps one long poll open, and
//! sends messages.
//!
//! It does what the library does: the next poll is sent at once; whatever is not a complete 2xx
//! answer of JSON counts as a failure, and at the fourth in a row the session is given up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::scenario::{ClientPlan, Role};
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::link::{Link, LinkEvent, Loss};
use crate::models::request::Request;
use crate::models::{Model, Progress};
use crate::oracle::fact::verb_of;
use crate::world::physics::Physics;

/// A page with janus.js.
#[derive(Debug)]
pub struct Browser {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    control: Link,
    polls: Vec<Poller>,
    session: Option<u64>,
    handles: Vec<u64>,
    step: Step,
    /// Counts all requests, so that no transaction is used twice.
    requests: u64,
    sent: u32,
    /// Changes with each session: timers of an earlier one mean nothing.
    life: u64,
    control_deadline: u64,
    progress: Progress,
    is_leaving: bool,
}

#[derive(Debug)]
struct Poller {
    link: Link,
    failures: u32,
    /// Counts its polls: the timeout of an earlier one means nothing.
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Attach,
    Create,
    Idle,
    Message,
}

/// What a timer is for; the rest of its token says of which life or poll.
const MESSAGE: u64 = 0;
const POLL: u64 = 1;
const POLL_TIMEOUT: u64 = 2;
const CONTROL_TIMEOUT: u64 = 3;
const RESTART: u64 = 4;

/// janus.js gives up a poll after this.
const POLL_TIMEOUT_AFTER: Duration = Duration::from_secs(60);
/// The application gives up a request after this.
const CONTROL_TIMEOUT_AFTER: Duration = Duration::from_secs(45);
const FAILURES_MAX: u32 = 4;

impl Browser {
    /// A page on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        let polls = if plan.role == Role::ManyPolls {
            1 + 2 * plan.handles as usize
        } else {
            1
        };
        let poller = || Poller {
            link: Link::new(me, to),
            failures: 0,
            count: 0,
        };
        Self {
            plan,
            index,
            me,
            control: Link::new(me, to),
            polls: std::iter::repeat_with(poller).take(polls).collect(),
            session: None,
            handles: Vec::new(),
            step: Step::Create,
            requests: 0,
            sent: 0,
            life: 0,
            control_deadline: 0,
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn transaction(&mut self) -> String {
        self.requests += 1;
        format!("c{}-{}", self.index, self.requests)
    }

    fn post(&mut self, world: &mut Physics, path: String, mut body: Value) {
        body["transaction"] = json!(self.transaction());
        let lane = Lane::Client(self.index);
        world.line(lane, || format!("POST {path} {body}"));
        let request = Request::post(path, body.to_string());
        self.control.send(world, &request);
        if self.plan.role == Role::HalfCloser && self.step == Step::Message {
            self.control.shutdown(world);
        }
        self.control_deadline += 1;
        let token = token(CONTROL_TIMEOUT, self.control_deadline);
        world.wake(self.me, CONTROL_TIMEOUT_AFTER, token);
    }

    fn create(&mut self, world: &mut Physics) {
        self.step = Step::Create;
        self.post(world, "/janus".to_owned(), json!({"janus": "create"}));
    }

    fn attach(&mut self, world: &mut Physics, session: u64) {
        self.step = Step::Attach;
        let body = json!({"janus": "attach", "plugin": "janus.plugin.echotest"});
        self.post(world, format!("/janus/{session}"), body);
    }

    /// Begins anew, as a page that is loaded again.
    fn restart(&mut self, world: &mut Physics) {
        if self.is_leaving {
            return;
        }
        self.life += 1;
        self.session = None;
        self.handles.clear();
        self.control.close(world);
        for poller in &mut self.polls {
            poller.link.close(world);
            poller.failures = 0;
        }
        self.step = Step::Idle;
        self.progress.restarts += 1;
        world.line(Lane::Client(self.index), || {
            "gives up its session".to_owned()
        });
        world.wake(self.me, Duration::from_secs(1), token(RESTART, self.life));
    }

    fn poll(&mut self, world: &mut Physics, poller: usize) {
        let Some(session) = self.session.filter(|_| !self.is_leaving) else {
            return;
        };
        self.requests += 1;
        let target = format!(
            "/janus/{session}?rid={}&maxev={}",
            self.requests, self.plan.maxev
        );
        world.line(Lane::Client(self.index), || format!("GET {target}"));
        let state = &mut self.polls[poller];
        if state.link.is_busy() {
            return;
        }
        state.count += 1;
        let request =
            Request::new("GET", target).with("accept", "application/json, text/plain, */*");
        state.link.send(world, &request);
        let token = token(POLL_TIMEOUT, state.count << 4 | poller as u64);
        world.wake(self.me, POLL_TIMEOUT_AFTER, token);
    }

    fn poll_failed(&mut self, world: &mut Physics, poller: usize, why: &str) {
        let state = &mut self.polls[poller];
        state.failures += 1;
        let failures = state.failures;
        world.line(Lane::Client(self.index), || {
            format!("poll failed ({failures}): {why}")
        });
        if failures >= FAILURES_MAX {
            self.restart(world);
        } else {
            self.poll(world, poller);
        }
    }

    fn poll_done(&mut self, world: &mut Physics, poller: usize, status: u16, body: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            self.poll_failed(world, poller, "no JSON");
            return;
        };
        if !(200..300).contains(&status) {
            self.poll_failed(world, poller, &format!("status {status}"));
            return;
        }
        self.polls[poller].failures = 0;
        // Polls beyond the bound push each other out: at once, they would do nothing else.
        let think = if self.polls.len() > 1 {
            Duration::from_millis(1_500)
        } else {
            self.plan.think
        };
        if think.is_zero() {
            self.poll(world, poller);
        } else {
            let token = token(POLL, self.life << 4 | poller as u64);
            world.wake(self.me, think, token);
        }
        let events = value
            .as_array()
            .map_or(std::slice::from_ref(&value), Vec::as_slice);
        for event in events {
            self.progress.note(world, self.index, self.session, event);
        }
    }

    fn control_done(&mut self, world: &mut Physics, status: u16, body: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            self.control_failed(world, &format!("status {status}, no JSON"));
            return;
        };
        let id = value.pointer("/data/id").and_then(Value::as_u64);
        match (self.step, verb_of(&value), id) {
            (Step::Create, "success", Some(id)) => {
                self.session = Some(id);
                for poller in 0..self.polls.len() {
                    self.poll(world, poller);
                }
                self.attach(world, id);
            }
            (Step::Attach, "success", Some(id)) => {
                self.handles.push(id);
                let session = self.session.expect("it was created before");
                if self.handles.len() < self.plan.handles as usize {
                    self.attach(world, session);
                } else {
                    self.step = Step::Idle;
                    self.schedule_message(world);
                }
            }
            (Step::Message, "ack", _) => {
                self.progress.acks += 1;
                if !self.control.is_busy() {
                    self.step = Step::Idle;
                    self.schedule_message(world);
                }
            }
            _ => self.control_failed(world, &value.to_string()),
        }
    }

    /// A request came to nothing: its effect is unknown, so the page starts over, except when
    /// only a message is concerned.
    fn control_failed(&mut self, world: &mut Physics, why: &str) {
        world.line(Lane::Client(self.index), || {
            format!("request failed: {why}")
        });
        if self.step == Step::Message {
            self.step = Step::Idle;
            self.schedule_message(world);
        } else {
            self.restart(world);
        }
    }

    fn schedule_message(&mut self, world: &mut Physics) {
        if self.sent < self.plan.messages {
            world.wake(self.me, self.plan.gap, token(MESSAGE, self.life));
        }
    }

    fn message(&mut self, world: &mut Physics) {
        let (Some(session), Step::Idle) = (self.session, self.step) else {
            return;
        };
        if self.handles.is_empty() || self.is_leaving {
            return;
        }
        self.step = Step::Message;
        let burst = if self.plan.role == Role::Pipeliner {
            self.plan.messages - self.sent
        } else {
            1
        };
        for _ in 0..burst {
            let handle = self.handles[self.sent as usize % self.handles.len()];
            self.sent += 1;
            let body = json!({"janus": "message", "body": {"audio": true}});
            self.post(world, format!("/janus/{session}/{handle}"), body);
        }
    }
}

impl Model for Browser {
    fn start(&mut self, world: &mut Physics) {
        self.create(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.control.socket() == Some(socket) {
            for event in self.control.notice(world, notice) {
                match event {
                    LinkEvent::Done(head, body) => self.control_done(world, head.status, &body),
                    LinkEvent::Lost(loss) => {
                        self.progress.note_loss(world, self.index, socket, &loss);
                        self.control_failed(world, &format!("{loss:?}"));
                    }
                    LinkEvent::Body(_) | LinkEvent::Head(_) => {}
                }
            }
            return;
        }
        let is_of = |poller: &Poller| poller.link.socket() == Some(socket);
        let Some(poller) = self.polls.iter().position(is_of) else {
            return;
        };
        for event in self.polls[poller].link.notice(world, notice) {
            match event {
                LinkEvent::Done(head, body) => self.poll_done(world, poller, head.status, &body),
                LinkEvent::Lost(loss) => {
                    self.progress.note_loss(world, self.index, socket, &loss);
                    self.poll_lost(world, poller, &loss);
                }
                LinkEvent::Body(_) | LinkEvent::Head(_) => {}
            }
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        let (kind, rest) = (token & 7, token >> 3);
        match kind {
            MESSAGE if rest == self.life => self.message(world),
            POLL if rest >> 4 == self.life => self.poll(world, (rest & 15) as usize),
            POLL_TIMEOUT => {
                let poller = (rest & 15) as usize;
                if self.polls[poller].count == rest >> 4 && self.polls[poller].link.is_busy() {
                    self.polls[poller].link.abort(world);
                    self.poll_failed(world, poller, "timeout");
                }
            }
            CONTROL_TIMEOUT if rest == self.control_deadline && self.control.is_busy() => {
                self.control.abort(world);
                self.control_failed(world, "timeout");
            }
            RESTART if rest == self.life && !self.is_leaving => self.create(world),
            _ => {}
        }
    }

    fn leave(&mut self, world: &mut Physics) {
        self.is_leaving = true;
        self.control.close(world);
        for poller in &mut self.polls {
            poller.link.close(world);
        }
    }

    fn link(&self, link: crate::faults::scenario::Link) -> Option<Socket> {
        use crate::faults::scenario::Link as Which;
        match link {
            Which::Control => self.control.socket(),
            Which::Poll | Which::Upstream => self.polls[0].link.socket(),
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Browser {
    fn poll_lost(&mut self, world: &mut Physics, poller: usize, loss: &Loss) {
        self.poll_failed(world, poller, &format!("{loss:?}"));
    }
}

const fn token(kind: u64, rest: u64) -> u64 {
    rest << 3 | kind
}
