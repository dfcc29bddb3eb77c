//! An operator's dashboard: asks the Admin API for all sessions, again and again.

use std::time::Duration;

use serde_json::json;

use crate::faults::scenario::{ClientPlan, Link as Which};
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::link::{Link, LinkEvent};
use crate::models::request::Request;
use crate::models::{Model, Progress};
use crate::world::gateway::ADMIN_SECRET;
use crate::world::physics::Physics;

/// An operator's dashboard.
#[derive(Debug)]
pub struct Operator {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    link: Link,
    requests: u64,
    progress: Progress,
    is_leaving: bool,
}

const ASK: u64 = 0;

/// The shortest time between two questions.
const PAUSE_LEAST: Duration = Duration::from_millis(500);
/// Enough to see a scenario through its faults.
const QUESTIONS_MAX: u64 = 40;

impl Operator {
    /// A dashboard on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        Self {
            plan,
            index,
            me,
            link: Link::new(me, to),
            requests: 0,
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn ask(&mut self, world: &mut Physics) {
        if self.is_leaving || self.requests >= QUESTIONS_MAX {
            return;
        }
        self.requests += 1;
        let transaction = format!("c{}-{}", self.index, self.requests);
        world.line(Lane::Client(self.index), || {
            "asks for all sessions".to_owned()
        });
        let body = json!({"janus": "list_sessions", "transaction": transaction,
            "admin_secret": ADMIN_SECRET});
        // By an address: no other name is known to be the gateway's.
        let mut request = Request::post("/admin", body.to_string());
        request.fields[0].1 = "127.0.0.1".to_owned();
        self.link.send(world, &request);
    }

    fn again(&mut self, world: &mut Physics) {
        let pause = self.plan.gap.max(PAUSE_LEAST);
        world.wake(self.me, pause, ASK);
    }
}

impl Model for Operator {
    fn start(&mut self, world: &mut Physics) {
        self.ask(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.link.socket() != Some(socket) {
            return;
        }
        for event in self.link.notice(world, notice) {
            match event {
                LinkEvent::Done(..) => {
                    self.progress.acks += 1;
                    self.again(world);
                }
                LinkEvent::Lost(loss) => {
                    self.progress.note_loss(world, self.index, socket, &loss);
                    self.again(world);
                }
                LinkEvent::Body(_) | LinkEvent::Head(_) => {}
            }
        }
    }

    fn timer(&mut self, world: &mut Physics, _token: u64) {
        self.ask(world);
    }

    fn leave(&mut self, world: &mut Physics) {
        self.is_leaving = true;
        self.link.close(world);
    }

    fn link(&self, link: Which) -> Option<Socket> {
        match link {
            Which::Control | Which::Poll => self.link.socket(),
            Which::Upstream => None,
        }
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}
