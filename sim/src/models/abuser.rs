//! A client that breaks every rule of HTTP and of the API, and demands to be told so.
//!
//! Each attack is a connection of its own, with the statuses that answer it. A client that is
//! refused keeps sending for a while, as attackers do: the answer must reach it all the same.

use std::time::Duration;

use crate::faults::scenario::{ClientPlan, Link as Which};
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::trace::Lane;
use crate::models::decode::Asked;
use crate::models::link::{Link, LinkEvent, Loss};
use crate::models::{Model, Progress};
use crate::world::physics::Physics;

/// A client that breaks every rule.
#[derive(Debug)]
pub struct Abuser {
    plan: ClientPlan,
    index: u32,
    me: HostId,
    to: HostId,
    link: Link,
    rounds: u32,
    attack: &'static Attack,
    progress: Progress,
    is_leaving: bool,
}

/// Bytes that are no good, and what they must be answered with.
#[derive(Debug, PartialEq, Eq)]
struct Attack {
    bytes: &'static [u8],
    statuses: &'static [u16],
}

const ROUND: u64 = 0;
const MORE: u64 = 1;

const ATTACKS: [Attack; 16] = [
    attack(b"GET /janus/info HTTP/1.1\nHost: a\n\n", &[400]),
    attack(b"GET  /janus/info HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    attack(b"GET /janus/info HTTP/1.1\r\n\r\n", &[400]),
    attack(b"GET /janus/info HTTP/2.0\r\nHost: a\r\n\r\n", &[400, 505]),
    attack(b"BREW /janus/info HTTP/1.1\r\nHost: a\r\n\r\n", &[400, 405, 501]),
    attack(b"GET /janus/info HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", &[400]),
    attack(b"GET /janus/info HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", &[400]),
    attack(b"GET /janus/info HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", &[400]),
    attack(
        b"POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    attack(
        b"POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        &[400],
    ),
    attack(b"POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde", &[400]),
    attack(
        b"POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\nabcde",
        &[400, 413],
    ),
    attack(
        b"POST /janus HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        &[400],
    ),
    attack(
        b"POST /janus HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[400, 501],
    ),
    attack(b"POST /janus HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n[}]", &[200]),
    attack(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
];

const fn attack(bytes: &'static [u8], statuses: &'static [u16]) -> Attack {
    Attack { bytes, statuses }
}

impl Abuser {
    /// A client on host `me` that talks to `to`.
    pub fn new(index: u32, plan: ClientPlan, me: HostId, to: HostId) -> Self {
        Self {
            plan,
            index,
            me,
            to,
            link: Link::new(me, to),
            rounds: 0,
            attack: &ATTACKS[0],
            progress: Progress::default(),
            is_leaving: false,
        }
    }

    fn round(&mut self, world: &mut Physics) {
        if self.is_leaving || self.rounds > self.plan.messages + 4 {
            return;
        }
        self.rounds += 1;
        let key = world.key.named("attack").at(u64::from(self.index));
        let which = key.at(u64::from(self.rounds)).below(ATTACKS.len() as u64);
        self.attack = &ATTACKS[which as usize];
        self.link.close(world);
        self.link = Link::new(self.me, self.to);
        world.line(Lane::Client(self.index), || format!("attack {which}"));
        self.link.send_bytes(world, self.attack.bytes, Asked::Other);
        world.wake(self.me, Duration::from_millis(120), MORE);
    }

    fn judge(&self, world: &mut Physics, status: u16) {
        let Attack { bytes, statuses } = self.attack;
        if !statuses.contains(&status) {
            let text = String::from_utf8_lossy(bytes);
            let detail = format!("{text:?} was answered with {status}, not {statuses:?}");
            let at = world.now();
            world.watch.report("no-smuggling", at, detail);
        }
    }
}

impl Model for Abuser {
    fn start(&mut self, world: &mut Physics) {
        self.round(world);
    }

    fn notice(&mut self, world: &mut Physics, socket: Socket, notice: Notice) {
        if self.link.socket() != Some(socket) {
            return;
        }
        for event in self.link.notice(world, notice) {
            match event {
                LinkEvent::Done(head, _) => {
                    self.judge(world, head.status);
                    world.wake(self.me, self.plan.gap + Duration::from_millis(500), ROUND);
                }
                LinkEvent::Lost(loss) => {
                    // A client that takes nothing for long is reset, by design, and one of which
                    // nothing comes is left without a word.
                    let is_due = world.watch.is_broken(socket)
                        || !world.watch.has_heard(socket)
                        || world.watch.was_aborted(socket)
                        || loss == Loss::Refused;
                    if !is_due {
                        let at = world.now();
                        let detail = format!("the answer to an attack was lost: {loss:?}");
                        world.watch.report("close-drains", at, detail);
                    }
                    world.wake(self.me, self.plan.gap + Duration::from_secs(1), ROUND);
                }
                LinkEvent::Body(_) | LinkEvent::Head(_) => {}
            }
        }
    }

    fn timer(&mut self, world: &mut Physics, token: u64) {
        match token {
            ROUND => self.round(world),
            // It sends on although it may have been refused already.
            MORE if self.link.is_busy() && !self.attack.statuses.contains(&200) => {
                self.link.send_more(world, b"and more\r\n")
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
