//! What the driver does with what a shard gives out: actions of connections, messages of the mesh,
//! sockets, files and datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use bifrons::base::id::{ConnId, ShardId, SockId};
use bifrons::gateway::outside::Written;
use bifrons::media::SocketAct;
use bifrons::shard::TcpAction;
use bifrons::shard::mesh::MeshMsg;

use super::{Gateway, Pending, Reading, ShardHost, Writing, media_address};
use crate::kernel::tcp::Write;
use crate::kernel::time::SimTime;
use crate::kernel::trace::{Lane, readable};
use crate::oracle::fact::{Ending, Stamp};
use crate::oracle::media::fact::MediaFact;
use crate::world::physics::{Event, GATEWAY, Physics};

/// Ports of sockets that may have any.
const EPHEMERAL_PORTS: u16 = 60_001;

impl Gateway {
    pub(super) fn serve(&mut self, physics: &mut Physics, shard: u8, stamp: Stamp) {
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
        for datagram in outbox.datagrams.iter() {
            if datagram.sock == SockId(0) {
                physics.answer_datagram(from, datagram.to, datagram.bytes.to_vec());
            }
        }
        outbox.datagrams.clear();
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
    pub(super) fn offer(&mut self, physics: &mut Physics, shard: u8, id: ConnId) {
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
