//! Clients that waste the gateway's time: one lets answers pile up, one sends byte by byte.

use std::time::Duration;

use serde_json::json;

use crate::faults::scenario::{ClientPlan, Link as Which, Role};
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::decode::Asked;
use crate::models::link::{Link, LinkEvent};
use crate::models::request::Request;
use crate::models::{Model, Progress};
use crate::world::physics::Physics;

/// A slow reader asks for much at once and reads after a long pause, in small portions; a slow
/// sender trickles its requests. In both cases `think` is the pause, and `messages` how often.
#[derive(Debug)]
pub struct Slow {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    link: Link,
    unsent: Vec<u8>,
    rounds: u32,
    answers: u32,
    progress: Progress,
    is_leaving: bool,
}

const ROUND: u64 = 0;
const READ: u64 = 1;
const SEND: u64 = 2;

/// Requests of a slow reader in one round: their answers exceed every window.
const BURST: usize = 40;

impl Slow {
    /// A client on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        Self {
            plan,
            index,
            me,
            link: Link::new(me, to),
            unsent: Vec::new(),
            rounds: 0,
            answers: 0,
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn round(&mut self, world: &mut Physics) {
        if self.is_leaving || self.rounds > self.plan.messages {
            return;
        }
        self.rounds += 1;
        if self.link.is_busy() {
            self.link.abort(world);
        }
        world.line(Lane::Client(self.index), || "begins a round".to_owned());
        if self.plan.role == Role::SlowSender {
            let body =
                json!({"janus": "ping", "transaction": format!("c{}-{}", self.index, self.rounds)});
            self.unsent = Request::post("/janus", body.to_string()).encode();
            self.link.send_bytes(world, &[], Asked::Other);
            self.send_some(world);
        } else {
            self.link.set_reading(false);
            let request = Request::new("GET", "/janus/info").encode();
            let count = if self.rounds == 1 { BURST } else { 4 };
            for _ in 0..count {
                self.link.send_bytes(world, &request, Asked::Other);
            }
            world.wake(self.me, self.pause() * 8, READ);
        }
    }

    /// A slow sender may be so slow that the gateway's patience ends.
    fn pause(&self) -> Duration {
        self.plan.think.max(Duration::from_millis(20))
    }

    fn send_some(&mut self, world: &mut Physics) {
        if self.unsent.is_empty() || self.link.socket().is_none() {
            return;
        }
        let key = world.key.named("slow").at(u64::from(self.index));
        let size = 1 + key.at(self.unsent.len() as u64).below(12) as usize;
        let rest = self.unsent.split_off(size.min(self.unsent.len()));
        let portion = std::mem::replace(&mut self.unsent, rest);
        self.link.send_more(world, &portion);
        world.wake(self.me, self.pause(), SEND);
    }

    fn take(&mut self, world: &mut Physics, events: Vec<LinkEvent>) {
        let mut is_over = false;
        for event in events {
            match event {
                LinkEvent::Done(..) => {
                    self.answers += 1;
                    is_over = !self.link.is_busy();
                }
                LinkEvent::Lost(_) => is_over = true,
                LinkEvent::Body(_) | LinkEvent::Head(_) => {}
            }
        }
        if is_over {
            self.unsent.clear();
            world.wake(self.me, self.plan.gap + Duration::from_millis(1), ROUND);
        }
    }
}

impl Model for Slow {
    fn start(&mut self, world: &mut Physics) {
        self.round(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.link.socket() == Some(socket) {
            let events = self.link.notice(world, notice);
            self.take(world, events);
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        match token {
            ROUND => self.round(world),
            SEND => self.send_some(world),
            READ => {
                self.link.set_reading(true);
                self.link.limit_reads(1 + (self.plan.maxev as usize) * 100);
                let events = self.link.read(world);
                self.take(world, events);
                if self.link.is_busy() && self.link.socket().is_some() {
                    self.link.set_reading(false);
                    world.wake(self.me, Duration::from_millis(10), READ);
                }
            }
            _ => {}
        }
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
