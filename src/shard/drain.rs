//! Stopping in phases: refuse, wait, end, stop.
//!
//! Invariant: a connection is only given up with an answer under way when its client has not
//! taken all of it [`CLOSING`] after the sessions ended, however it progressed: a stop has an end.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::base::clock::Now;
use crate::base::id::{ConnId, ShardId};
use crate::config::Config;
use crate::shard::mesh::MeshMsg;
use crate::shard::secure::Identities;
use crate::shard::{Control, Key, Outbox, Shard, TcpAction, cors};
use crate::wire::http::Cors;

/// How long connections have to take what is due to them after the sessions ended, and the disk to
/// take the rest of recordings and captures.
const CLOSING: Duration = Duration::from_secs(2);

/// How far a shard is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It is not.
    Running,
    /// Nothing new begins; sessions may end by themselves.
    Draining,
    /// As before, with no sessions left here; other shards may have some, and their clients
    /// connections here.
    Empty,
    /// Sessions have ended; connections take what is due to them.
    Closing,
    /// It is done.
    Stopped,
}

impl Shard {
    pub(super) fn control(&mut self, now: Now, control: Control, out: &mut Outbox) {
        match control {
            Control::Configure(config) => self.configure(config),
            Control::Drain if self.phase == Phase::Running => {
                self.begin_draining(now, self.config.drain_timeout, out);
            }
            Control::Drain => {}
            Control::Signal(signal) => self.gateway.note_signal(signal),
            Control::Silent(shards) => self.silent = shards,
            Control::Stop => match self.phase {
                Phase::Running => self.begin_draining(now, Duration::ZERO, out),
                Phase::Draining | Phase::Empty => self.timers.arm(Key::Drain, now.monotonic),
                Phase::Closing | Phase::Stopped => {}
            },
        }
    }

    fn configure(&mut self, config: Arc<Config>) {
        let limits = &config.limits;
        self.rest
            .reload(limits.clone(), cors(config.http.allow_origin.as_deref()));
        self.admin.reload(limits.clone(), Cors::none());
        self.ws
            .reload(limits.clone(), cors(config.ws.allow_origin.as_deref()));
        self.identities = Identities::new(&config);
        for shared in [&mut self.rest, &mut self.ws] {
            shared.ping_every(config.ws.ping_interval);
        }
        self.gateway.configure(Arc::clone(&config));
        self.config = config;
    }

    fn begin_draining(&mut self, now: Now, within: Duration, out: &mut Outbox) {
        info!(shard = %self.id, ?within, "draining");
        self.phase = Phase::Draining;
        self.timers.arm(Key::Drain, now.monotonic + within);
        out.close_listeners = true;
        self.gateway.drain(&mut self.metrics);
        // Answers that leave from here on say that the connection closes.
        self.close_connections(out);
        self.tell_listeners(out);
    }

    fn close_connections(&mut self, out: &mut Outbox) {
        let conns: Vec<ConnId> = self.clients.keys().collect();
        for conn in conns {
            if let Some(client) = self.clients.get_mut(conn) {
                client.conn.close_when_done();
            }
            self.act(conn, out);
        }
    }

    /// Ends the connections on which nobody has asked for anything by the end of a turn. Not
    /// sooner: what is taken in later in the turn had come before.
    fn close_resting(&mut self, now: Now, out: &mut Outbox) {
        for conn in std::mem::take(&mut self.resting) {
            let is_ended = self.with_client(conn, |client, shared| {
                client.conn.close_if_idle(shared, now)
            });
            if is_ended == Some(true) {
                self.act(conn, out);
            }
        }
    }

    /// The time of a phase is over.
    pub(super) fn drain_further(&mut self, now: Now, out: &mut Outbox) {
        match self.phase {
            Phase::Draining | Phase::Empty => self.begin_closing(now, out),
            Phase::Closing => {
                self.gateway.abandon_files();
                let conns: Vec<ConnId> = self.clients.keys().collect();
                for conn in conns {
                    out.tcp.push((conn, TcpAction::Abort));
                    self.forget(conn, out);
                }
            }
            Phase::Running | Phase::Stopped => {}
        }
    }

    fn begin_closing(&mut self, now: Now, out: &mut Outbox) {
        self.phase = Phase::Closing;
        self.gateway.end_all(now, &mut self.metrics);
        self.tell_listeners(out);
        self.take_local(now, out);
        self.close_sockets(now, out);
        self.timers.arm(Key::Drain, now.monotonic + CLOSING);
    }

    /// A shard that drains, be it this one, has no sessions left.
    pub(super) const fn count_emptied(&mut self) {
        self.emptied += 1;
    }

    /// Goes on as soon as there is nothing left to wait for.
    pub(super) fn drain_on(&mut self, now: Now, out: &mut Outbox) {
        self.close_resting(now, out);
        if self.phase == Phase::Draining && !self.gateway.has_sessions() {
            self.phase = Phase::Empty;
            self.count_emptied();
            for shard in (0..self.shards).map(ShardId) {
                if shard != self.id {
                    self.post(shard, MeshMsg::Emptied, out);
                }
            }
        }
        if self.phase == Phase::Empty && self.emptied == self.shards {
            self.begin_closing(now, out);
        }
        let is_done = self.clients.is_empty() && !self.gateway.has_open_files();
        if self.phase == Phase::Closing && is_done {
            self.phase = Phase::Stopped;
            self.timers.cancel(Key::Drain);
            info!(shard = %self.id, "stopped");
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }
}
