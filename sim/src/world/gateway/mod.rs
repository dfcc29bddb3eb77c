//! The gateway's host: shards, driven as the production driver drives them, a turn at a time.
//!
//! Invariant: the driver's promises of [`bifrons::shard::Input`] are kept under every fault:
//! `Wrote` never says more than was offered and comes before the `TcpClosed` that followed it,
//! and nothing comes for a connection that has ended.

mod begin;
mod intake;
mod serving;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bifrons::base::clock::{Monotonic, Now};
use bifrons::base::id::{ConnId, ShardId, SockId};
use bifrons::base::slab::Slab;
use bifrons::gateway::outside::{FileId, LookupId, Written};
use bifrons::metrics::Metrics;
use bifrons::shard::mesh::MeshMsg;
use bifrons::shard::{Control, Listener, Outbox, Shard};

use crate::kernel::clock::{ClockChange, ClockModel};
use crate::kernel::datagrams::Flight;
use crate::kernel::key::Key;
use crate::kernel::mesh::Mesh;
use crate::kernel::tcp::{HostId, Notice, Socket};
use crate::kernel::time::SimTime;
use crate::oracle::fact::Stamp;
use crate::world::physics::{Event, Physics};

pub use begin::ADMIN_SECRET;

/// The gateway's host.
#[derive(Debug)]
pub struct Gateway {
    shards: Vec<ShardHost>,
    mesh: Mesh<MeshMsg>,
    places: BTreeMap<Socket, (u8, ConnId)>,
    /// What the connections of hosts speak that are no clients of the REST API.
    speaks: BTreeMap<HostId, Listener>,
    key: Key,
    turn_max: Duration,
    slack_max: Duration,
    read_max: usize,
    write_max: usize,
    mesh_delay: (Duration, SimTime),
    /// Goes as the clocks of all shards go, from zero.
    reference: ClockModel,
}

/// A shard and its driver.
#[derive(Debug)]
struct ShardHost {
    shard: Shard,
    clock: ClockModel,
    conns: Slab<ConnId, Conn>,
    /// Connections that the shard itself has ended: it must not name them again.
    ended: BTreeSet<ConnId>,
    inbox: VecDeque<Pending>,
    /// Sockets for plain RTP that are open.
    sockets: BTreeMap<SockId, SocketAddr>,
    backlog: VecDeque<Socket>,
    descriptors: usize,
    outbox: Outbox,
    turns: u64,
    is_turn_due: bool,
    frozen_until: SimTime,
    armed: Option<Monotonic>,
    arming: u64,
}

/// What waits for a shard's next turn.
#[derive(Debug)]
enum Pending {
    Closed(ConnId),
    Control(Control),
    Datagram(Flight),
    LookedUp(LookupId, Option<SocketAddr>),
    Mesh,
    Readable(ConnId),
    SocketOpened(SockId, Option<SocketAddr>),
    Written(FileId, Written),
    Tick,
    Wrote(ConnId, usize),
}

#[derive(Debug)]
struct Conn {
    socket: Socket,
    reading: Reading,
    writing: Writing,
    is_readable_queued: bool,
    is_eof_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    On,
    Paused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Idle,
    /// The window is full.
    Blocked,
    /// The kernel took bytes, and the driver has yet to hear of it.
    Completing,
}

impl Gateway {
    /// Arms the timers that the shards want from the beginning.
    pub fn start(&mut self, physics: &mut Physics) {
        for shard in 0..self.count() {
            self.arm(physics, shard);
        }
    }

    /// The network tells of a socket.
    pub fn notice(&mut self, physics: &mut Physics, socket: Socket, notice: Notice) {
        if notice == Notice::Incoming {
            let shard = self
                .key
                .named("accept")
                .at(u64::from(socket.0))
                .below(u64::from(self.count()));
            let shard = u8::try_from(shard).expect("shards are counted in a byte");
            self.shards[usize::from(shard)].backlog.push_back(socket);
            self.schedule_turn(physics, shard);
            return;
        }
        let Some(&(shard, id)) = self.places.get(&socket) else {
            return;
        };
        let host = &mut self.shards[usize::from(shard)];
        let Some(conn) = host.conns.get_mut(id) else {
            return;
        };
        match notice {
            Notice::Readable | Notice::Reset => {
                // A driver that neither reads nor writes does not hear of a reset either.
                if notice == Notice::Reset && conn.writing == Writing::Blocked {
                    host.inbox.push_back(Pending::Closed(id));
                } else if conn.reading == Reading::On && !conn.is_readable_queued {
                    conn.is_readable_queued = true;
                    host.inbox.push_back(Pending::Readable(id));
                } else {
                    return;
                }
            }
            Notice::Writable => {
                if conn.writing == Writing::Blocked {
                    conn.writing = Writing::Idle;
                    self.offer(physics, shard, id);
                }
                return;
            }
            Notice::Connected | Notice::Incoming | Notice::Refused => return,
        }
        self.schedule_turn(physics, shard);
    }

    /// The deadline of a shard has come, unless another was armed since.
    pub fn deadline(&mut self, physics: &mut Physics, shard: u8, number: u64) {
        let host = &mut self.shards[usize::from(shard)];
        if host.arming == number && !host.clock.is_suspended() {
            host.armed = None;
            host.inbox.push_back(Pending::Tick);
            self.schedule_turn(physics, shard);
        }
    }

    /// A message of the mesh has arrived.
    pub fn mesh(&mut self, physics: &mut Physics, shard: u8) {
        self.shards[usize::from(shard)]
            .inbox
            .push_back(Pending::Mesh);
        self.schedule_turn(physics, shard);
    }

    /// A datagram has arrived for one of the shards.
    pub fn datagram(&mut self, physics: &mut Physics, flight: Flight) {
        let shard = flight.to.port().wrapping_sub(MEDIA_PORT);
        let Some(host) = self.shards.get_mut(usize::from(shard)) else {
            return;
        };
        // As a kernel does: what does not fit into the socket's buffer is dropped.
        let is_datagram = |pending: &&Pending| matches!(pending, Pending::Datagram(_));
        if host.inbox.iter().filter(is_datagram).count() < RECEIVE_BUFFER {
            host.inbox.push_back(Pending::Datagram(flight));
            self.schedule_turn(physics, shard as u8);
        }
    }

    /// The completion of a write arrived.
    pub fn wrote(&mut self, physics: &mut Physics, shard: u8, conn: ConnId, count: usize) {
        self.shards[usize::from(shard)]
            .inbox
            .push_back(Pending::Wrote(conn, count));
        self.schedule_turn(physics, shard);
    }

    /// The operator wants something of every shard.
    pub fn control(&mut self, physics: &mut Physics, control: &Control) {
        for shard in 0..self.count() {
            self.shards[usize::from(shard)]
                .inbox
                .push_back(Pending::Control(control.clone()));
            self.schedule_turn(physics, shard);
        }
    }

    /// A shard takes in what has gathered, and acts.
    pub fn turn(&mut self, physics: &mut Physics, shard: u8) {
        let host = &mut self.shards[usize::from(shard)];
        host.is_turn_due = false;
        if host.clock.is_suspended() || host.frozen_until > physics.now() {
            self.schedule_turn(physics, shard);
            return;
        }
        let now = host.clock.read(physics.now());
        let stamp = self.stamp(physics.now(), shard);
        physics.trace.event(
            stamp.sim,
            "turn",
            u64::from(shard),
            now.monotonic.as_nanos(),
        );
        physics.watch.turn_begins(stamp);
        self.accept(physics, shard, now, stamp);
        seed_libraries(
            self.key
                .named("libraries")
                .at(u64::from(shard))
                .at(stamp.sim.as_nanos()),
        );
        let batch = std::mem::take(&mut self.shards[usize::from(shard)].inbox);
        let mut is_tick = false;
        let mut datagrams = 0;
        let mut later = VecDeque::new();
        for pending in batch {
            is_tick |= matches!(pending, Pending::Tick);
            if matches!(pending, Pending::Datagram(_)) {
                datagrams += 1;
                if datagrams > DATAGRAMS_MAX {
                    later.push_back(pending);
                    continue;
                }
            }
            self.take_in(physics, shard, now, stamp, pending);
        }
        later.append(&mut self.shards[usize::from(shard)].inbox);
        self.shards[usize::from(shard)].inbox = later;
        let host = &mut self.shards[usize::from(shard)];
        host.shard.flush(now, &mut host.outbox);
        self.serve(physics, shard, stamp);
        self.arm(physics, shard);
        let host = &self.shards[usize::from(shard)];
        physics
            .watch
            .turn_ends(stamp, host.shard.deadline(), is_tick);
        if !host.inbox.is_empty() {
            self.schedule_turn(physics, shard);
        }
    }

    /// Changes the clocks of all shards alike, and arms their timers anew.
    pub fn change_clocks(&mut self, physics: &mut Physics, change: ClockChange) {
        self.reference.apply(physics.now(), change);
        for shard in 0..self.count() {
            let host = &mut self.shards[usize::from(shard)];
            host.clock.apply(physics.now(), change);
            // The wall clock is nobody's business: nothing at all may follow from it.
            if matches!(
                change,
                ClockChange::WallSlew { .. } | ClockChange::WallStep { .. }
            ) {
                continue;
            }
            host.armed = None;
            self.arm(physics, shard);
            self.schedule_turn(physics, shard);
        }
    }

    /// Lets a shard stand still until `until`.
    pub fn freeze(&mut self, shard: u8, until: SimTime) {
        let host = &mut self.shards[usize::from(shard)];
        host.frozen_until = host.frozen_until.max(until);
    }

    /// Lets a shard have this many descriptors.
    pub fn limit_descriptors(&mut self, physics: &mut Physics, shard: u8, count: usize) {
        self.shards[usize::from(shard)].descriptors = count;
        self.schedule_turn(physics, shard);
    }

    /// Lets messages between shards take this much longer until `until`.
    pub const fn delay_mesh(&mut self, by: Duration, until: SimTime) {
        self.mesh_delay = (by, until);
    }

    /// What the clocks of the first shard show.
    pub fn shown(&self, at: SimTime) -> Now {
        self.shards[0].clock.read(at)
    }

    /// How many shards there are.
    pub fn count(&self) -> u8 {
        u8::try_from(self.shards.len()).expect("shards are counted in a byte")
    }

    /// The shards.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().map(|host| &host.shard)
    }

    /// What all shards have counted.
    pub fn metrics(&self) -> Metrics {
        let mut sum = Metrics::default();
        for host in &self.shards {
            sum.merge(&host.shard.metrics());
        }
        sum
    }

    /// Connections that the drivers hold.
    pub fn connections(&self) -> usize {
        self.shards.iter().map(|host| host.conns.len()).sum()
    }

    /// The largest output that waits on a connection.
    pub fn pending_max(&self) -> usize {
        let of = |host: &ShardHost| {
            let pending = |id| host.shard.pending(id).len();
            host.conns.keys().map(pending).max().unwrap_or_default()
        };
        self.shards.iter().map(of).max().unwrap_or_default()
    }

    /// What the clocks of a shard show at a moment.
    pub fn stamp(&self, at: SimTime, shard: u8) -> Stamp {
        let elapsed = self.reference.read(at).monotonic.as_nanos();
        Stamp {
            sim: at,
            monotonic: self.shards[usize::from(shard)].clock.read(at).monotonic,
            elapsed: Duration::from_nanos(elapsed),
            shard,
        }
    }

    fn arm(&mut self, physics: &mut Physics, shard: u8) {
        let host = &mut self.shards[usize::from(shard)];
        let wanted = host.shard.deadline();
        if wanted == host.armed {
            return;
        }
        host.armed = wanted;
        host.arming += 1;
        let number = host.arming;
        if let Some(deadline) = wanted
            && let Some(at) = host.clock.true_time_of(deadline, physics.now())
        {
            let slack = self
                .key
                .named("slack")
                .at(u64::from(shard))
                .at(number)
                .span(Duration::ZERO, self.slack_max);
            physics
                .queue
                .push(at + slack, Event::Deadline { shard, number });
        }
    }

    fn schedule_turn(&mut self, physics: &mut Physics, shard: u8) {
        let host = &mut self.shards[usize::from(shard)];
        if host.is_turn_due || host.clock.is_suspended() {
            return;
        }
        host.is_turn_due = true;
        host.turns += 1;
        let delay = self
            .key
            .named("turn")
            .at(u64::from(shard))
            .at(host.turns)
            .span(Duration::ZERO, self.turn_max);
        let at = (physics.now() + delay).max(host.frozen_until);
        physics.queue.push(at, Event::Turn { shard });
    }
}

/// The port of the first shard's media; others follow.
pub const MEDIA_PORT: u16 = 10_000;
/// Datagrams that one turn of the driver takes in.
const DATAGRAMS_MAX: usize = 64;
/// Datagrams that a socket's buffer holds.
const RECEIVE_BUFFER: usize = 2_000;

fn media_address(shard: ShardId) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), MEDIA_PORT + u16::from(shard.0)))
}

/// Seeds the generator that the WebRTC library draws from, for one turn of one host.
pub fn seed_libraries(key: Key) {
    fastrand::seed(key.value());
}

/// A `std` instant to tie the monotonic clock to. Only differences to it ever matter.
pub fn some_instant() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "there is no other way to make an instant"
    )]
    Instant::now()
}
