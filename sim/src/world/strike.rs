//! Carries out faults: at their time, or when what they wait for happens.

use std::time::Duration;

use crate::faults::scenario::{Fault, FaultKind, Link, Trigger};
use crate::kernel::clock::ClockChange;
use crate::kernel::tcp::{HostId, Socket};
use crate::kernel::time::{SimTime, nanos};
use crate::kernel::trace::Lane;
use crate::oracle::watch::Happening;
use crate::world::World;
use crate::world::physics::{Event, GATEWAY, client_host, proxy_host};

impl World {
    /// Puts all faults that have a time into the queue.
    pub(super) fn schedule_faults(&mut self) {
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            if let Trigger::At(at) = fault.when {
                self.physics.queue.push(at, Event::Fault(index));
            }
        }
    }

    /// Carries out a fault.
    pub(super) fn strike(&mut self, index: usize) {
        let Fault { what, .. } = self.scenario.faults[index];
        let physics = &mut self.physics;
        let now = physics.now();
        if now >= self.scenario.heal {
            return;
        }
        physics.trace.event(now, "fault", index as u64, 0);
        physics.line(Lane::Fault, || format!("{what:?}"));
        // A span ends with the phase of faults at the latest.
        let until = |span: Duration| (now + span).min(self.scenario.heal);
        match what {
            FaultKind::ClockDrift { ppm } => {
                self.gateway
                    .change_clocks(physics, ClockChange::Drift { ppm });
            }
            FaultKind::ClockSlew { ppm, span } => {
                self.gateway
                    .change_clocks(physics, ClockChange::WallSlew { ppm });
                physics.queue.push(until(span), Event::FaultEnd(index));
            }
            FaultKind::ClockStrobe { by, every, .. } => {
                let by = nanos(by).cast_signed();
                self.gateway
                    .change_clocks(physics, ClockChange::WallStep { by });
                physics.queue.push(now + every, Event::FaultEnd(index));
            }
            FaultKind::ClockSuspend { span } => {
                physics.watch.ledger.media.note_suspend(now, until(span));
                self.gateway.change_clocks(physics, ClockChange::Suspend);
                physics.queue.push(until(span), Event::FaultEnd(index));
            }
            FaultKind::ClockWallStep { seconds } => {
                let by = seconds.saturating_mul(1_000_000_000);
                self.gateway
                    .change_clocks(physics, ClockChange::WallStep { by });
            }
            FaultKind::Descriptors { shard, count, span } => {
                if shard < self.gateway.count() {
                    self.gateway.limit_descriptors(physics, shard, count);
                    physics.queue.push(until(span), Event::FaultEnd(index));
                }
            }
            FaultKind::MeshDelay { by, span } => {
                let media = &mut physics.watch.ledger.media;
                media.note_fault(now, until(span) + by);
                self.gateway.delay_mesh(by, until(span));
                physics
                    .watch
                    .ledger
                    .note_mesh_delay(now, until(span) + by, by);
            }
            FaultKind::Refuse { span } => physics.tcp.refuse(GATEWAY, until(span)),
            FaultKind::ShardFreeze { shard, span } => {
                if shard < self.gateway.count() {
                    self.gateway.freeze(shard, until(span));
                    physics.watch.ledger.note_freeze(shard, now, until(span));
                    physics.watch.ledger.media.note_fault(now, until(span));
                }
            }
            FaultKind::TcpHold { client, way, span } => {
                physics.tcp.hold(client_host(client), way, until(span));
            }
            FaultKind::TcpReset { client, which } => {
                if let Some(socket) = self.socket_of(client, which) {
                    self.physics.watch.note_broken(socket);
                    self.physics.tcp.cut(&mut self.physics.queue, socket);
                }
            }
            FaultKind::UdpBlock { peer, way, span } => {
                physics.datagrams.block(peer, way, until(span));
                let media = &mut physics.watch.ledger.media;
                media.note_block(peer, way, now, until(span));
            }
        }
    }

    /// Ends a fault that lasts, or goes on with one that repeats.
    pub(super) fn relent(&mut self, index: usize) {
        let Fault { what, .. } = self.scenario.faults[index];
        let physics = &mut self.physics;
        match what {
            FaultKind::ClockSlew { .. } => {
                self.gateway
                    .change_clocks(physics, ClockChange::WallSlew { ppm: 0 });
            }
            FaultKind::ClockStrobe { by, times, every } => {
                self.waited[index] += 1;
                let count = self.waited[index];
                if count < times && physics.now() < self.scenario.heal {
                    let by = nanos(by).cast_signed() * if count % 2 == 1 { -1 } else { 1 };
                    self.gateway
                        .change_clocks(physics, ClockChange::WallStep { by });
                    let next = physics.now() + every;
                    physics.queue.push(next, Event::FaultEnd(index));
                }
            }
            FaultKind::ClockSuspend { .. } => {
                self.gateway.change_clocks(physics, ClockChange::Resume);
            }
            FaultKind::Descriptors { shard, .. } => {
                let usual = self.scenario.gateway.descriptors;
                self.gateway.limit_descriptors(physics, shard, usual);
            }
            FaultKind::ClockDrift { .. }
            | FaultKind::ClockWallStep { .. }
            | FaultKind::MeshDelay { .. }
            | FaultKind::Refuse { .. }
            | FaultKind::ShardFreeze { .. }
            | FaultKind::TcpHold { .. }
            | FaultKind::TcpReset { .. }
            | FaultKind::UdpBlock { .. } => {}
        }
    }

    /// Carries out the faults that waited for this.
    pub(super) fn strike_waiting(&mut self, happening: Happening) {
        for index in 0..self.scenario.faults.len() {
            let nth = match (self.scenario.faults[index].when, happening) {
                (Trigger::OnEvent { client, nth }, Happening::Event(who)) if who == client => nth,
                (Trigger::OnPoll { client, nth }, Happening::Poll(host))
                | (Trigger::OnPartialAnswer { client, nth }, Happening::PartialAnswer(host))
                    if is_of(client, host) =>
                {
                    nth
                }
                _ => continue,
            };
            self.waited[index] += 1;
            if self.waited[index] == nth {
                self.strike(index);
            }
        }
    }

    /// Lets the world be as it should be from here on.
    pub(super) fn heal(&mut self) {
        let physics = &mut self.physics;
        self.gateway
            .change_clocks(physics, ClockChange::Drift { ppm: 0 });
        self.gateway
            .change_clocks(physics, ClockChange::WallSlew { ppm: 0 });
        self.gateway.delay_mesh(Duration::ZERO, SimTime::START);
    }

    fn socket_of(&self, client: u32, which: Link) -> Option<Socket> {
        match which {
            Link::Upstream => self.physics.watch.listening_socket(proxy_host(client)),
            Link::Control | Link::Poll => self.models.get(&client_host(client))?.link(which),
        }
    }
}

fn is_of(client: u32, host: HostId) -> bool {
    host == client_host(client) || host == proxy_host(client)
}
