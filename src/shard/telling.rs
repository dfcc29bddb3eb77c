//! What event handlers are told of connections, and of how many of everything there are.

use std::time::Duration;

use serde_json::json;

use crate::base::clock::Now;
use crate::base::id::ShardId;
use crate::config::ReportKind;
use crate::gateway::reports::{Census, Transport};
use crate::gateway::session::Origin;
use crate::shard::mesh::MeshMsg;
use crate::shard::{Key, Outbox, Shard};

/// How often the numbers are told; Janus has the same.
const CENSUS_PERIOD: Duration = Duration::from_secs(15);
/// How much earlier the others count than the shard that tells, so that it tells what is so.
const CENSUS_AHEAD: Duration = Duration::from_millis(500);
/// The shard that tells.
const TELLER: ShardId = ShardId(0);

impl Shard {
    /// Begins to count, if somebody wants to know and it has not begun.
    pub(super) fn begin_census(&mut self, now: Now) {
        let has_begun = self.timers.deadline_of(Key::Census).is_some();
        if self.gateway.reports(ReportKind::Core) && !has_begun {
            let is_early = self.id != TELLER;
            let ahead = if is_early {
                CENSUS_AHEAD
            } else {
                Duration::ZERO
            };
            self.timers
                .arm(Key::Census, now.monotonic + (CENSUS_PERIOD - ahead));
        }
    }

    /// Counts, and tells it or has it told.
    pub(super) fn expire_census(&mut self, now: Now, out: &mut Outbox) {
        if !self.is_running() {
            return;
        }
        self.timers.arm(Key::Census, now.monotonic + CENSUS_PERIOD);
        let census = Census {
            sessions: self.metrics.gateway_sessions,
            handles: self.metrics.gateway_handles,
            peers: self.gateway.media().peers_count() as u64,
        };
        if self.id == TELLER {
            self.take_census(self.id, census);
            let all = self.censuses.iter().copied().sum();
            self.gateway.report_census(now, all);
        } else {
            self.post(TELLER, MeshMsg::Census(census), out);
        }
    }

    pub(super) fn take_census(&mut self, from: ShardId, census: Census) {
        self.censuses[usize::from(from.0)] = census;
    }

    /// Tells of an HTTP request, as Janus does of each.
    pub(super) fn tell_request(&mut self, now: Now, origin: Origin) {
        let is_wanted = self.gateway.reports(ReportKind::Transports);
        if !is_wanted || !self.gateway.transports().http_events {
            return;
        }
        let Some(client) = self.clients.get(origin.conn) else {
            return;
        };
        let (peer, is_admin) = (client.conn.peer(), client.listener.is_admin());
        let data = json!({
            "event": "request", "admin_api": is_admin,
            "ip": peer.ip().to_canonical().to_string(), "port": peer.port(),
        });
        self.gateway
            .report_transport(now, Transport::Http, origin, &data);
    }

    /// Tells of a WebSocket that was opened.
    pub(super) fn tell_connected(&mut self, now: Now, origin: Origin) {
        let is_wanted = self.gateway.reports(ReportKind::Transports);
        if !is_wanted || !self.gateway.transports().ws_events {
            return;
        }
        let Some(client) = self.clients.get(origin.conn) else {
            return;
        };
        let data = json!({
            "event": "connected", "admin_api": client.listener.is_admin(),
            "ip": client.conn.peer().ip().to_canonical().to_string(),
        });
        self.gateway
            .report_transport(now, Transport::WebSockets, origin, &data);
    }

    /// Tells of the WebSockets that ended in this turn.
    pub(super) fn tell_disconnected(&mut self, now: Now) {
        for origin in std::mem::take(&mut self.ended_sockets) {
            if !self.gateway.transports().ws_events {
                continue;
            }
            let data = json!({"event": "disconnected"});
            self.gateway
                .report_transport(now, Transport::WebSockets, origin, &data);
        }
    }
}
