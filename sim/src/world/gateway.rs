//! The gateway's host: shards, driven as the production driver drives them, a turn at a time.
//!
//! Invariant: the driver's promises of [`bifrons::shard::Input`] are kept under every fault:
//! `Wrote` never says more than was offered and comes before the `TcpClosed` that followed it,
//! and nothing comes for a connection that has ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bifrons::base::clock::{Anchor, Monotonic, Now};
use bifrons::base::id::{ConnId, ShardId, SockId};
use bifrons::base::slab::Slab;
use bifrons::config::{Config, Secret};
use bifrons::gateway::outside::{FileId, LookupId, Written};
use bifrons::media::{Certificate, Crypto, LocalSocket, SocketAct};
use bifrons::metrics::Metrics;
use bifrons::shard::mesh::MeshMsg;
use bifrons::shard::{Control, Input, Listener, Outbox, Setup, Shard, TcpAction};

use crate::faults::scenario::{Role, Scenario};
use crate::kernel::clock::{ClockChange, ClockModel, ClockOrigins};
use crate::kernel::datagrams::Flight;
use crate::kernel::key::Key;
use crate::kernel::mesh::Mesh;
use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Notice, Socket, Write};
use crate::kernel::time::SimTime;
use crate::kernel::trace::{Lane, readable};
use crate::models::peer::dtls;
use crate::oracle::fact::{Ending, Stamp};
use crate::oracle::media::fact::MediaFact;
use crate::world::physics::{Event, GATEWAY, Physics, client_host};

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

impl ShardHost {
    /// Binds a socket, unless another has its port.
    fn bind(&mut self, sock: SockId, to: SocketAddr) -> Option<SocketAddr> {
        let port = match to.port() {
            0 => EPHEMERAL_PORTS + sock.0,
            port => port,
        };
        let bound = SocketAddr::new(to.ip(), port);
        let is_taken = self.sockets.values().any(|other| other.port() == port);
        if is_taken {
            return None;
        }
        self.sockets.insert(sock, bound);
        Some(bound)
    }
}

/// Ports of sockets that may have any.
const EPHEMERAL_PORTS: u16 = 60_001;

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

const READ_BUDGET: usize = 64 << 10;

/// The secret of the Admin API.
pub const ADMIN_SECRET: &str = "a secret of some length";

/// The listeners to which the clients connect that speak something else than REST.
fn speaks(scenario: &Scenario) -> BTreeMap<HostId, Listener> {
    let clients = (0..).map(client_host).zip(&scenario.clients);
    let listener = |role| match role {
        Role::Operator => Some(Listener::Admin),
        Role::SlowSocket | Role::Socket => Some(Listener::WebSocket),
        Role::Abuser
        | Role::Browser
        | Role::HalfCloser
        | Role::ManyPolls
        | Role::Pipeliner
        | Role::SlowReader
        | Role::SlowSender
        | Role::Stream => None,
    };
    clients
        .filter_map(|(host, plan)| Some((host, listener(plan.role)?)))
        .collect()
}

impl Gateway {
    /// Starts all shards.
    pub fn new(scenario: &Scenario, physics: &Physics) -> Self {
        let plan = scenario.gateway;
        let key = physics.key.named("gateway");
        let mut config = Config::default();
        config.general.session_timeout = Some(plan.session_timeout);
        config.general.reclaim_session_timeout = plan.reclaim;
        config.admin.secret = Some(Secret::new(ADMIN_SECRET.to_owned()));
        config.limits.out_bytes = plan.out_bytes;
        config.shards = Some(plan.shards);
        let config = Arc::new(config);
        let shards = (0..plan.shards)
            .map(|id| {
                let origins = if scenario.clocks.are_apart && id > 0 {
                    ClockOrigins::draw(key.named("origins").at(u64::from(id)))
                } else {
                    scenario.clocks.origins
                };
                let clock = ClockModel::new(origins).with_granularity(scenario.clocks.granularity);
                let now = clock.read(SimTime::START);
                let setup = Setup {
                    id: ShardId(id),
                    shards: plan.shards,
                    config: Arc::clone(&config),
                    seed: key.named("shard").at(u64::from(id)).seed_bytes(),
                    anchor: Anchor::new(some_instant(), now.monotonic),
                    sockets: vec![LocalSocket {
                        bound: media_address(ShardId(id)),
                        advertised: Vec::new(),
                    }],
                    certificate: certificate(),
                    crypto: Some(Crypto::new(dtls::provider())),
                };
                ShardHost {
                    shard: Shard::new(setup, now),
                    clock,
                    conns: Slab::default(),
                    ended: BTreeSet::new(),
                    inbox: VecDeque::new(),
                    sockets: BTreeMap::new(),
                    backlog: VecDeque::new(),
                    descriptors: plan.descriptors,
                    outbox: Outbox::default(),
                    turns: 0,
                    is_turn_due: false,
                    frozen_until: SimTime::START,
                    armed: None,
                    arming: 0,
                }
            })
            .collect();
        Self {
            shards,
            mesh: Mesh::new(plan.shards, plan.mesh_max, key.named("mesh")),
            places: BTreeMap::new(),
            speaks: speaks(scenario),
            key,
            turn_max: plan.turn_max,
            slack_max: plan.slack_max,
            read_max: plan.read_max,
            write_max: plan.write_max,
            mesh_delay: (Duration::ZERO, SimTime::START),
            reference: ClockModel::new(ClockOrigins::ZERO),
        }
    }

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

    fn accept(&mut self, physics: &mut Physics, shard: u8, now: Now, stamp: Stamp) {
        let host = &mut self.shards[usize::from(shard)];
        while host.conns.len() < host.descriptors {
            let Some(socket) = host.backlog.pop_front() else {
                break;
            };
            let id = host.conns.insert(Conn {
                socket,
                reading: Reading::On,
                writing: Writing::Idle,
                is_readable_queued: true,
                is_eof_told: false,
            });
            self.places.insert(socket, (shard, id));
            host.inbox.push_front(Pending::Readable(id));
            let from = physics.tcp.host_of(socket.peer());
            let peer = peer_address(from, socket);
            physics.watch.opened(stamp, socket, from);
            physics
                .trace
                .event(stamp.sim, "accept", u64::from(socket.0), u64::from(shard));
            let input = Input::TcpOpened {
                conn: id,
                listener: self.speaks.get(&from).copied().unwrap_or(Listener::Rest),
                peer,
            };
            host.shard.handle(now, input, &mut host.outbox);
        }
    }

    fn take_in(
        &mut self,
        physics: &mut Physics,
        shard: u8,
        now: Now,
        stamp: Stamp,
        pending: Pending,
    ) {
        let index = usize::from(shard);
        match pending {
            Pending::Closed(id) => self.lost(physics, shard, now, stamp, id),
            Pending::Control(control) => {
                let host = &mut self.shards[index];
                host.shard
                    .handle(now, Input::Control(control), &mut host.outbox);
            }
            Pending::Datagram(Flight { from, bytes, .. }) => {
                let host = &mut self.shards[index];
                physics.note_datagram(from, &bytes);
                let input = Input::Datagram {
                    sock: SockId(0),
                    from,
                    bytes: &bytes,
                };
                host.shard.handle(now, input, &mut host.outbox);
            }
            Pending::LookedUp(id, address) => {
                let host = &mut self.shards[usize::from(shard)];
                let input = Input::LookedUp { id, address };
                host.shard.handle(now, input, &mut host.outbox);
            }
            Pending::Written(id, written) => {
                let host = &mut self.shards[usize::from(shard)];
                let input = Input::Written { id, written };
                host.shard.handle(now, input, &mut host.outbox);
            }
            Pending::SocketOpened(sock, bound) => {
                let host = &mut self.shards[usize::from(shard)];
                let input = Input::SocketOpened { sock, bound };
                host.shard.handle(now, input, &mut host.outbox);
            }
            Pending::Mesh => {
                while let Some((from, message)) = self.mesh.receive(physics.now(), shard) {
                    let host = &mut self.shards[index];
                    let input = Input::Mesh {
                        from: ShardId(from),
                        message,
                    };
                    host.shard.handle(now, input, &mut host.outbox);
                }
            }
            Pending::Readable(id) => self.read(physics, shard, now, stamp, id),
            Pending::Tick => {
                let host = &mut self.shards[index];
                host.shard.handle(now, Input::Tick, &mut host.outbox);
            }
            Pending::Wrote(id, count) => {
                let host = &mut self.shards[index];
                if let Some(conn) = host.conns.get_mut(id)
                    && conn.writing == Writing::Completing
                {
                    conn.writing = Writing::Idle;
                    let input = Input::Wrote { conn: id, count };
                    host.shard.handle(now, input, &mut host.outbox);
                    if !host.shard.pending(id).is_empty() {
                        host.outbox.tcp.push((id, TcpAction::Write));
                    }
                }
            }
        }
    }

    fn read(&mut self, physics: &mut Physics, shard: u8, now: Now, stamp: Stamp, id: ConnId) {
        let host = &mut self.shards[usize::from(shard)];
        let Some(conn) = host.conns.get_mut(id) else {
            return;
        };
        conn.is_readable_queued = false;
        if conn.reading == Reading::Paused || conn.is_eof_told && physics.tcp.is_whole(conn.socket)
        {
            return;
        }
        let socket = conn.socket;
        let most = self
            .key
            .named("read")
            .at(stamp.sim.as_nanos())
            .at(u64::from(socket.0))
            .below(self.read_max as u64);
        let mut bytes = Vec::new();
        match physics.read(socket, 1 + (most as usize).min(READ_BUDGET), &mut bytes) {
            Read::Bytes(_) => {
                physics
                    .trace
                    .bytes(stamp.sim, "read", u64::from(socket.0), &bytes);
                physics.line(Lane::Wire, || format!("→ {}", readable(&bytes, 160)));
                physics.watch.took_in(stamp, socket, &bytes);
                if physics.tcp.is_readable(socket) {
                    conn.is_readable_queued = true;
                    host.inbox.push_back(Pending::Readable(id));
                }
                let input = Input::TcpBytes {
                    conn: id,
                    bytes: &bytes,
                };
                host.shard.handle(now, input, &mut host.outbox);
            }
            Read::Eof => {
                if !std::mem::replace(&mut conn.is_eof_told, true) {
                    physics
                        .trace
                        .event(stamp.sim, "eof", u64::from(socket.0), 0);
                    physics.watch.input_ended(stamp, socket);
                    let input = Input::TcpEof { conn: id };
                    host.shard.handle(now, input, &mut host.outbox);
                }
            }
            Read::Reset => self.lost(physics, shard, now, stamp, id),
            Read::WouldBlock => {}
        }
    }

    /// The network ended a connection. A write that completed before is reported first.
    fn lost(&mut self, physics: &mut Physics, shard: u8, now: Now, stamp: Stamp, id: ConnId) {
        let host = &mut self.shards[usize::from(shard)];
        let Some(conn) = host.conns.get_mut(id) else {
            return;
        };
        if conn.writing == Writing::Completing {
            // Its completion is on its way and must come first.
            host.inbox.push_back(Pending::Closed(id));
            return;
        }
        let socket = conn.socket;
        host.conns.remove(id);
        self.places.remove(&socket);
        physics.close(socket);
        physics.watch.ended(stamp, socket, Ending::Lost);
        let input = Input::TcpClosed { conn: id };
        host.shard.handle(now, input, &mut host.outbox);
    }

    fn serve(&mut self, physics: &mut Physics, shard: u8, stamp: Stamp) {
        let mut outbox = std::mem::take(&mut self.shards[usize::from(shard)].outbox);
        for (id, action) in outbox.tcp.drain(..) {
            self.act(physics, shard, stamp, id, action);
        }
        for (to, message) in outbox.mesh.drain(..) {
            self.post(physics, shard, to, message);
        }
        let host = &mut self.shards[usize::from(shard)];
        for act in outbox.sockets.drain(..) {
            match act {
                SocketAct::Close(sock) => {
                    host.sockets.remove(&sock);
                }
                SocketAct::Open { sock, bind } => {
                    let bound = host.bind(sock, bind);
                    host.inbox.push_back(Pending::SocketOpened(sock, bound));
                }
            }
        }
        for lookup in outbox.lookups.drain(..) {
            // Names stand for themselves; there is no other resolver here.
            let address = lookup.literal();
            host.inbox.push_back(Pending::LookedUp(lookup.id, address));
        }
        for write in outbox.writes.drain(..) {
            let written = Pending::Written(write.id, Written::Yes);
            host.inbox.push_back(written);
        }
        let from = media_address(ShardId(shard));
        for datagram in outbox.datagrams.drain(..) {
            if datagram.sock == SockId(0) {
                physics.answer_datagram(from, datagram.to, datagram.bytes);
            }
        }
        if std::mem::take(&mut outbox.close_listeners) {
            physics.tcp.refuse(GATEWAY, SimTime::from_nanos(u64::MAX));
        }
        self.shards[usize::from(shard)].outbox = outbox;
    }

    fn act(
        &mut self,
        physics: &mut Physics,
        shard: u8,
        stamp: Stamp,
        id: ConnId,
        action: TcpAction,
    ) {
        let host = &mut self.shards[usize::from(shard)];
        let Some(conn) = host.conns.get_mut(id) else {
            // What it wanted before it was told of a loss comes to nothing.
            if host.ended.contains(&id) {
                let detail = format!("{action:?} for a connection that it has ended");
                physics.watch.contract(stamp, detail);
            }
            return;
        };
        let socket = conn.socket;
        match action {
            TcpAction::Abort | TcpAction::Close => {
                let ending = if action == TcpAction::Close {
                    physics.close(socket);
                    Ending::Closed
                } else {
                    physics.abort(socket);
                    Ending::Aborted
                };
                physics.line(Lane::Shard(shard), || {
                    format!("{action:?} of connection {}", socket.0)
                });
                host.conns.remove(id);
                host.ended.insert(id);
                self.places.remove(&socket);
                physics.watch.ended(stamp, socket, ending);
                // A descriptor is free again.
                if !host.backlog.is_empty() {
                    self.schedule_turn(physics, shard);
                }
            }
            TcpAction::PauseRead => conn.reading = Reading::Paused,
            TcpAction::ResumeRead => {
                conn.reading = Reading::On;
                if !conn.is_readable_queued && physics.tcp.is_readable(socket) {
                    conn.is_readable_queued = true;
                    host.inbox.push_back(Pending::Readable(id));
                }
            }
            TcpAction::ShutdownWrite => {
                if !host.shard.pending(id).is_empty() {
                    physics.watch.contract(
                        stamp,
                        "ShutdownWrite before all output was taken".to_owned(),
                    );
                }
                physics.shutdown(socket);
                physics.watch.output_ended(stamp, socket);
            }
            TcpAction::Write => {
                let size = host.shard.pending(id).len();
                physics.watch.offered(stamp, socket, size);
                self.offer(physics, shard, id);
            }
        }
    }

    /// Offers what waits on a connection to the kernel.
    fn offer(&mut self, physics: &mut Physics, shard: u8, id: ConnId) {
        let stamp = self.stamp(physics.now(), shard);
        let host = &mut self.shards[usize::from(shard)];
        let Some(conn) = host.conns.get_mut(id) else {
            return;
        };
        if conn.writing != Writing::Idle {
            return;
        }
        let pending = host.shard.pending(id);
        let offered = &pending[..pending.len().min(self.write_max)];
        if offered.is_empty() {
            return;
        }
        let socket = conn.socket;
        match physics.write(socket, offered) {
            Write::Taken(count) => {
                conn.writing = Writing::Completing;
                physics.line(Lane::Wire, || {
                    format!("← {}", readable(&offered[..count], 200))
                });
                physics.watch.took_out(stamp, socket, &offered[..count]);
                let delay = self
                    .key
                    .named("completion")
                    .at(stamp.sim.as_nanos())
                    .at(u64::from(socket.0))
                    .span(Duration::ZERO, self.turn_max);
                let event = Event::Wrote {
                    shard,
                    conn: id,
                    count,
                };
                physics.queue.push(stamp.sim + delay, event);
            }
            Write::Blocked => conn.writing = Writing::Blocked,
            Write::Broken => {
                host.inbox.push_back(Pending::Closed(id));
                self.schedule_turn(physics, shard);
            }
        }
    }

    fn post(&mut self, physics: &mut Physics, from: u8, to: ShardId, message: MeshMsg) {
        let now = physics.now();
        let (by, until) = self.mesh_delay;
        let sent = if until > now { now + by } else { now };
        if let MeshMsg::Media(relay) = &message
            && relay.packets_count() > 0
        {
            physics.media(&MediaFact::Relayed { from, to: to.0 });
        }
        let at = self.mesh.send(sent, from, to.0, message);
        physics
            .trace
            .event(now, "mesh", u64::from(from), u64::from(to.0));
        physics.queue.push(at, Event::Mesh { shard: to.0 });
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

/// The address that a connection of `host` comes from.
fn peer_address(host: HostId, socket: Socket) -> SocketAddr {
    let [_, _, high, low] = host.0.to_be_bytes();
    let port = 1_024 + (socket.0 % 60_000) as u16;
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), port))
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

/// One certificate for all runs: its fingerprint stands in every session description.
fn certificate() -> Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    let pem = include_str!("certificate.pem");
    CERTIFICATE
        .get_or_init(|| Certificate::from_pem(pem, pem).expect("it is a certificate and its key"))
        .clone()
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
