//! What the driver tells a shard in a turn: what it accepts, reads, and heard of since the last.

use std::net::{Ipv4Addr, SocketAddr};

use bifrons::base::clock::Now;
use bifrons::base::id::{ConnId, ShardId, SockId};
use bifrons::shard::{Input, Listener, TcpAction};

use super::{Conn, Gateway, Pending, Reading, Writing};
use crate::kernel::datagrams::Flight;
use crate::kernel::pipe::Read;
use crate::kernel::tcp::{HostId, Socket};
use crate::kernel::trace::{Lane, readable};
use crate::oracle::fact::{Ending, Stamp};
use crate::world::physics::Physics;

const READ_BUDGET: usize = 64 << 10;

impl Gateway {
    pub(super) fn accept(&mut self, physics: &mut Physics, shard: u8, now: Now, stamp: Stamp) {
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

    pub(super) fn take_in(
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
}

/// The address that a connection of `host` comes from.
fn peer_address(host: HostId, socket: Socket) -> SocketAddr {
    let [_, _, high, low] = host.0.to_be_bytes();
    let port = 1_024 + (socket.0 % 60_000) as u16;
    SocketAddr::from((Ipv4Addr::new(10, 0, high, low), port))
}
